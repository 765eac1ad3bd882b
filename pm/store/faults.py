"""Trouble codes: `pm.fault`.

What belongs here: writing and reading DTC rows. Their daily counts are in `pm.store.dailies`.
"""

from datetime import datetime
from typing import Final

import numpy as np
import polars as pl
import psycopg

from pm.schema import Table
from pm.store import frames
from pm.store.queries import named
from pm.store.side_session import days_of, make_chunks
from pm.tables import FAULT, LOG_FILE

_PLACEHOLDER: Final = {
    column.name: "" if column.dtype == pl.String() else 0
    for column in FAULT.columns
    if column.name != "time" and not column.nullable
} | {"dm": 1, "conversion_method": 4}
"""A row that the table's checks let pass."""
KNOWN_FAULT: Final = Table(
    "fault",
    "Trouble codes with the instant their log file became known.",
    FAULT.key,
    (*FAULT.columns, next(column for column in LOG_FILE.columns if column.name == "known_at")),
)
"""FAULT and `known_at`, as `pm.features.daily.aggregate_faults` takes it."""


def insert_faults(conn: psycopg.Connection, faults: pl.DataFrame, *, expect_new: bool = False) -> int:
    """Write decoded faults (FAULT) of one log file; returns rows written.

    Of overlapping files, the rows of the one known first stay (`pm.store.frames.write_first_known`, which
    explains `expect_new` too).

    Raises:
        DataError: the frame does not fit the declaration.
    """
    target, checked = frames.target_of(FAULT), FAULT.check(faults, unique=False)
    make_chunks(conn, target.identifier, days_of(checked["time"]), _PLACEHOLDER)
    rows = frames.plain_rows(target, _first_of_each(checked))
    return frames.write_first_known(conn, target, rows, expect_new=expect_new)


def _first_of_each(faults: pl.DataFrame) -> pl.DataFrame:
    """The first row of each key, in the order given."""
    address = faults["vehicle_id"].to_numpy().astype(np.int64) << 8 | faults["source_address"].to_numpy() & 0xFF
    code = faults["spn"].to_numpy().astype(np.int64) << 8 | faults["fmi"].to_numpy() << 2 | faults["dm"].to_numpy()
    columns = [code, address, faults["time"].to_physical().to_numpy()]
    if faults["channel"].n_unique() > 1:
        columns.insert(0, np.unique(faults["channel"].to_numpy(), return_inverse=True)[1])
    order = np.lexsort(columns)
    differs = np.any([np.diff(column[order]) != 0 for column in columns], axis=0)
    if differs.all():
        return faults
    return faults[np.sort(order[np.concatenate([[True], differs])])]


def fetch_faults(
    conn: psycopg.Connection,
    *,
    vehicle_id: int | None = None,
    start: datetime,
    end: datetime,
    known_by: datetime | None = None,
) -> pl.DataFrame:
    """Faults with start <= time < end: KNOWN_FAULT, by key; with `known_by`, of files known by then."""
    params = {"vehicle_id": vehicle_id, "start": start, "end": end, "known_by": known_by}
    return KNOWN_FAULT.check(frames.select(conn, named("fault", "span"), params, KNOWN_FAULT))
