"""Rows of decoded telemetry, in and out.

What belongs here: writing the rows of one message of one log file, reading a vehicle's rows back.
Tables and names are `pm.store.telemetry_tables`.
"""

from dataclasses import replace
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import psycopg
from psycopg import sql

from pm.asof import require_instant
from pm.canbus.columns import DecodedMessage
from pm.canbus.dbc import MessagePlan
from pm.canbus.extract import Numbers
from pm.errors import DataError
from pm.schema import UTC_INSTANT
from pm.store import copy_decoded, frames
from pm.store.queries import run
from pm.store.side_session import days_of, make_chunks
from pm.store.telemetry_tables import (
    TelemetryTable,
    ensure_table,
    ensure_tables,
    fetch_dictionary,
    stored_messages,
    stored_table,
)

__all__ = [
    "ensure_tables",
    "fetch_dictionary",
    "fetch_signals",
    "insert_decoded",
    "insert_rows",
    "insert_signals",
    "stored_messages",
]

_ROW_TYPES: Final[dict[str, pl.DataType]] = {
    "time": UTC_INSTANT,
    "channel": pl.String(),
    "source_address": pl.Int16(),
    "destination_address": pl.Int16(),
}
_IDS: Final[dict[str, pl.DataType]] = {"vehicle_id": pl.Int32(), "log_file_id": pl.Int64()}
_READ_AS: Final[dict[pl.DataType, pl.DataType]] = {pl.Float32(): pl.Float64()}
_DAY_US: Final = 86_400_000_000
_PLACEHOLDER: Final = {"vehicle_id": 0, "source_address": 0, "destination_address": 0, "channel": "", "log_file_id": 0}
_READ_TYPES: Final[dict[str, pl.DataType]] = {"log_file_id": pl.Int64(), **_ROW_TYPES}


def insert_decoded(
    conn: psycopg.Connection, message: DecodedMessage, *, vehicle_id: int, log_file_id: int, expect_new: bool = False
) -> int:
    """Write the decoded rows of one message of one log file, as `insert_signals` does, without a frame.

    Raises:
        KeyStoredError: see `pm.store.frames.write_first_known`, where `expect_new` is explained.
        ConfigError: see `ensure_table`.
        StoreError: the database could not do it.
    """
    plan = message.plan
    if not plan.signals or message.n_rows == 0:
        return 0
    single = _without_repeats(message)
    if not all(isinstance(column, Numbers) for column in single.columns):
        return _insert(conn, plan, _with_ids(single.frame(), vehicle_id, log_file_id), expect_new=expect_new)
    table = ensure_table(conn, plan)
    if expect_new:
        single = _without_empty_columns(single)
        plan = single.plan
    make_chunks(conn, table.target.identifier, set(np.unique(single.time_us // _DAY_US).tolist()), _PLACEHOLDER)
    wide = [table.dtypes[signal.column] == pl.Float64() for signal in plan.signals]
    columns = (*copy_decoded.KEY_COLUMNS, *(table.columns[signal.column] for signal in plan.signals))
    rows = frames.Rows(
        columns,
        single.n_rows,
        lambda: copy_decoded.encode_decoded(single, wide=wide, vehicle_id=vehicle_id, log_file_id=log_file_id),
    )
    return frames.write_first_known(conn, table.target, rows, expect_new=expect_new)


def _without_empty_columns(message: DecodedMessage) -> DecodedMessage:
    """The signals that have a value: what a new row does not name is null. Many a truck never sends a third of them.

    For new rows only: one that is written over another must name what it has not.
    """
    pairs = zip(message.plan.signals, message.columns, strict=True)
    kept = tuple(
        signal for signal, column in pairs if not isinstance(column, Numbers) or column.n_null < message.n_rows
    )
    return message if len(kept) == len(message.columns) else message.only(replace(message.plan, signals=kept))


def _without_repeats(message: DecodedMessage) -> DecodedMessage:
    """The first of payloads with one time, channel, source and destination."""
    later = np.diff(message.time_us) > 0
    if later.all():  # nearly always; two sources may send at one instant
        return message
    order = np.lexsort((message.channel, message.destination, message.source, message.time_us))
    columns = (message.time_us, message.source, message.destination, message.channel)
    differs = np.any([np.diff(column[order]) != 0 for column in columns], axis=0)
    if differs.all():
        return message
    return message.take(np.sort(order[np.concatenate([[True], differs])]))


def insert_signals(
    conn: psycopg.Connection, message: MessagePlan, frame: pl.DataFrame, *, vehicle_id: int, log_file_id: int
) -> int:
    """Write decoded rows of one message of one log file; returns rows written, anew or over others.

    Args:
        frame: time, channel, source_address, destination_address and one column a signal, as
            `pm.canbus.decode` gives them. A NaN is stored as null: no measurement.

    Of rows with one key, in the frame or stored, that of the file known first stays
    (`pm.store.frames.write_first_known`). The message's table is made on first use, in a session of
    its own; the rows are in the caller's transaction.

    Raises:
        DataError: the frame lacks a column, or one has another type or nulls in the key.
        ConfigError: see `ensure_table`.
        StoreError: the database could not do it.
    """
    return insert_rows(conn, message, _with_ids(frame, vehicle_id, log_file_id))


def insert_rows(conn: psycopg.Connection, message: MessagePlan, frame: pl.DataFrame) -> int:
    """Write rows of one message of many vehicles and files; see `insert_signals`.

    Args:
        frame: as there, with vehicle_id (Int32) and log_file_id (Int64).
    """
    return _insert(conn, message, frame, expect_new=False)


def _with_ids(frame: pl.DataFrame, vehicle_id: int, log_file_id: int) -> pl.DataFrame:
    ids = {"vehicle_id": pl.lit(vehicle_id, pl.Int32()), "log_file_id": pl.lit(log_file_id, pl.Int64())}
    return frame.with_columns(**ids)


def _insert(conn: psycopg.Connection, message: MessagePlan, frame: pl.DataFrame, *, expect_new: bool) -> int:
    if not message.signals or frame.height == 0:
        return 0
    table = ensure_table(conn, message)
    rows = _stored_form(table, message, frame)
    make_chunks(conn, table.target.identifier, days_of(rows["time"]), _PLACEHOLDER)
    coming = frames.rows_of(table.target, rows)
    return frames.write_first_known(conn, table.target, coming, expect_new=expect_new)


def _stored_form(table: TelemetryTable, message: MessagePlan, frame: pl.DataFrame) -> pl.DataFrame:
    _check(message, frame)
    signals = []
    for signal in message.signals:
        value = pl.col(signal.column)
        dtype = table.dtypes[signal.column]
        signals.append(
            (value if signal.is_text else value.cast(dtype).fill_nan(None)).alias(table.columns[signal.column])
        )
    return frame.select(*_IDS, *_ROW_TYPES, *signals)


def _check(message: MessagePlan, frame: pl.DataFrame) -> None:
    where = f"message {message.name}"
    numbers = (pl.Float64(), pl.Float32())
    wanted: dict[str, tuple[pl.DataType, ...]] = {name: (dtype,) for name, dtype in (_ROW_TYPES | _IDS).items()}
    wanted |= {signal.column: (pl.String(),) if signal.is_text else numbers for signal in message.signals}
    absent = [name for name in wanted if name not in frame.columns]
    if absent:
        raise DataError(f"{where}: expected columns {absent}, but got {frame.columns}")
    for name, dtypes in wanted.items():
        if frame.schema[name] not in dtypes:
            raise DataError(f"{where}, column {name}: expected {dtypes[0]}, but got {frame.schema[name]}")
    for name in (*_IDS, *_ROW_TYPES):
        if frame[name].null_count():
            raise DataError(f"{where}, column {name}: expected no nulls, but got {frame[name].null_count()}")


def fetch_signals(
    conn: psycopg.Connection,
    message: str,
    *,
    vehicle_id: int,
    start: datetime,
    end: datetime,
    log_file_known: datetime | None = None,
) -> pl.DataFrame:
    """Rows of one vehicle with start <= time < end, by source, destination, channel and time.

    Returns vehicle_id, log_file_id, known_at, time, channel, source_address, destination_address,
    then one column a stored signal under its DBC name: Float64, or String for text. With
    `log_file_known`, rows of files known by then.

    Raises:
        DataError: nothing was ever stored of `message`, or an instant is not UTC.
        StoreError: the database could not do it.
    """
    table = stored_table(conn, message)
    if table is None:
        raise DataError(f"message {message}: expected a stored message, but got none of that name")
    params = {"vehicle_id": vehicle_id, "start": require_instant(start, "start"), "end": require_instant(end, "end")}
    rows = frames.copy_query(conn, _reading(table), params, {**_READ_TYPES, **table.dtypes}, what=f"message {message}")
    # After the rows, so that every row's file is there, and so that known_at is not sent with each row.
    known_at = _known_at(conn, rows["log_file_id"])
    seen = known_at.is_not_null() if log_file_known is None else known_at <= require_instant(log_file_known, "known")
    order = _order(rows, seen)
    # A column at a time: a whole frame would go through polars' threads, which costs more than the work.
    head = [pl.Series("vehicle_id", [vehicle_id], pl.Int32()).new_from_index(0, len(order))]
    head += [
        rows["log_file_id"].gather(order),
        known_at.gather(order),
        *(rows[name].gather(order) for name in _ROW_TYPES),
    ]
    signals = (rows[signal].gather(order) for signal in table.dtypes)
    return pl.DataFrame([*head, *(values.cast(_READ_AS.get(values.dtype, values.dtype)) for values in signals)])


def _known_at(conn: psycopg.Connection, log_file_ids: pl.Series) -> pl.Series:
    """When the file of each row became known; null where there is no such file."""
    ids, place = np.unique(log_file_ids.to_numpy(), return_inverse=True)
    found = dict(run(conn, "log_file", "known_at_of", log_file_ids=ids.tolist()).fetchall())
    instants = pl.Series("known_at", [found.get(number) for number in ids.tolist()], dtype=UTC_INSTANT)
    return instants.gather(place)


def _order(rows: pl.DataFrame, seen: pl.Series) -> npt.NDArray[np.intp]:
    """Places of the rows that are seen, by source, destination, channel and time."""
    names, channel = np.unique(rows["channel"].to_numpy(), return_inverse=True)
    keys = [rows["time"].to_physical().to_numpy()]
    keys += [channel] if len(names) > 1 else []
    keys += [rows["destination_address"].to_numpy(), rows["source_address"].to_numpy()]
    order = np.lexsort(keys)
    return order if seen.all() else order[seen.to_numpy()[order]]


def _reading(table: TelemetryTable) -> sql.Composed:
    names = [*_READ_TYPES, *table.columns.values()]
    return sql.SQL(
        "SELECT {} FROM {} WHERE vehicle_id = %(vehicle_id)s AND time >= %(start)s AND time < %(end)s"
    ).format(sql.SQL(", ").join(map(sql.Identifier, names)), table.target.identifier)
