"""`pm import telemetry`: already-decoded signals of a file by its mapping, one transaction a file."""

from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

import polars as pl

from pm.canbus.dbc import SignalDatabase
from pm.pipelines.imports.decoded import Clocks, Decode, store_decoded_rows
from pm.pipelines.imports.mapping import FileMapping
from pm.pipelines.imports.mapping_cells import RowValues
from pm.pipelines.imports.plans import PlannedMessage, plan_messages
from pm.pipelines.imports.reading import ROUNDED, ImportReport, Tally
from pm.pipelines.imports.rows import DecodedRows
from pm.pipelines.imports.vehicle_refs import VehicleFinder
from pm.policy import Policy
from pm.progress import Track, silent
from pm.store import telemetry
from pm.store.connection import Connection

_BUS: Final = {"channel": pl.String(), "source_address": pl.Int16(), "destination_address": pl.Int16()}
_SINGLE_BITS: Final = 24
_EXACT: Final = 2.0**_SINGLE_BITS
"""Whole numbers up to this stand exactly in single precision."""


def import_telemetry(
    conn: Connection,
    path: Path,
    mapping: FileMapping,
    *,
    database: SignalDatabase,
    policy: Policy,
    imported_at: datetime,
    track: Track = silent,
) -> ImportReport:
    """Store the signals of a file; the same file by the same mapping again changes nothing.

    A bad row is refused with its reason and the others go on. A value outside its limits is no value. What
    was refused for its vehicle alone is taken when the file is imported again and the vehicle is known.

    Raises:
        DataError: the file cannot be read, or lacks a column.
        ConfigError: the mapping asks for what cannot be, see `plan_messages`.
        StoreError: the database could not do it.
    """

    def decoder(conn: Connection) -> Decode:
        messages = plan_messages(mapping, database, telemetry.fetch_dictionary(conn), policy.privacy)
        return partial(_decode, mapping=mapping, messages=messages)

    return store_decoded_rows(conn, path, mapping, decoder=decoder, policy=policy, imported_at=imported_at, track=track)


def _decode(
    rows: RowValues,
    clocks: Clocks,
    finder: VehicleFinder,
    tally: Tally,
    *,
    mapping: FileMapping,
    messages: tuple[PlannedMessage, ...],
) -> DecodedRows:
    time, known_at = clocks
    bus = {name: rows.value(mapping.cells[name]).cast(dtype) for name, dtype in _BUS.items()}
    values = [[rows.number(cell, tally.counts) for cell in message.cells] for message in messages]
    filled = [_any_value(each) for each in values]
    nothing = ~pl.select(pl.any_horizontal(*map(pl.lit, filled))).to_series()
    rows.refuse(nothing & rows.is_good(), "expected a value of at least one signal, but got none")
    ids = finder.find(rows, known_at)
    good = rows.is_good()
    head = {"vehicle_id": ids, "time": time, "known_at": known_at, **bus}
    decoded = []
    for message, found, there in zip(messages, values, filled, strict=True):
        columns = [signal.column for signal in message.plan.signals]
        named = {**head, **dict(zip(columns, found, strict=True))}
        frame = pl.DataFrame([series.alias(name) for name, series in named.items()]).filter(good & there)
        _count_rounded(message, frame, tally)
        if frame.height:
            decoded.append((message.plan, frame))
    return DecodedRows(tuple(decoded))


def _any_value(values: list[pl.Series]) -> pl.Series:
    return pl.select(pl.any_horizontal(*(pl.lit(series.is_not_null()) for series in values))).to_series()


def _count_rounded(message: PlannedMessage, frame: pl.DataFrame, tally: Tally) -> None:
    """Counts numbers too large for single precision: they would lose whole units."""
    for signal in message.plan.signals:
        if signal.length <= _SINGLE_BITS:
            n_large = int((frame[signal.column].abs() > _EXACT).sum())
            if n_large:
                name = f"{ROUNDED}{message.plan.name}.{signal.name}"
                tally.counts[name] = tally.counts.get(name, 0) + n_large
