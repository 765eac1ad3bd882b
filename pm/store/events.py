"""Events: `pm.event`.

What belongs here: writing and reading events that are no J1939 trouble codes. Those are `pm.store.faults`.
"""

from datetime import datetime
from typing import Final

import polars as pl
import psycopg

from pm.schema import Table
from pm.store import frames
from pm.store.queries import named
from pm.store.side_session import days_of, make_chunks
from pm.tables import EVENT, LOG_FILE

_PLACEHOLDER: Final = {"vehicle_id": 0, "kind": "", "code": "", "log_file_id": 0}
KNOWN_EVENT: Final = Table(
    "event",
    "Events with the instant their file became known.",
    EVENT.key,
    (*EVENT.columns, next(column for column in LOG_FILE.columns if column.name == "known_at")),
)


def insert_events(conn: psycopg.Connection, events: pl.DataFrame) -> int:
    """Write events (EVENT), of many vehicles and files at once; returns rows written.

    Of overlapping files, the rows of the one known first stay (`pm.store.frames.write_first_known`).

    Raises:
        DataError: the frame does not fit the declaration.
    """
    target, checked = frames.target_of(EVENT), EVENT.check(events, unique=False)
    # Sorted as the key is, which loads faster; the ids of one import's parts rise with their knowledge time.
    ordered = checked.sort([*EVENT.key, "log_file_id"], maintain_order=True)
    make_chunks(conn, target.identifier, days_of(ordered["time"]), _PLACEHOLDER)
    return frames.write_first_known(conn, target, frames.rows_of(target, ordered))


def fetch_events(
    conn: psycopg.Connection,
    *,
    vehicle_id: int | None = None,
    start: datetime,
    end: datetime,
    known_by: datetime | None = None,
) -> pl.DataFrame:
    """Events with start <= time < end: KNOWN_EVENT, by key; with `known_by`, of files known by then."""
    params = {"vehicle_id": vehicle_id, "start": start, "end": end, "known_by": known_by}
    return KNOWN_EVENT.check(frames.select(conn, named("event", "span"), params, KNOWN_EVENT))
