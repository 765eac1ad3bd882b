"""Rows of decoded telemetry, in and out.

What belongs here: writing the rows of one message of one log file, reading a vehicle's rows back.
Tables and names are `pm.store.telemetry_tables`.
"""

from datetime import datetime
from typing import Final

import polars as pl
import psycopg
from psycopg import sql

from pm.asof import known, require_instant
from pm.canbus.dbc import MessagePlan
from pm.errors import DataError
from pm.schema import UTC_INSTANT
from pm.store import frames
from pm.store.logs import fetch_log_files
from pm.store.side_session import make_chunks
from pm.store.telemetry_tables import (
    KEY,
    TelemetryTable,
    ensure_table,
    ensure_tables,
    fetch_dictionary,
    stored_messages,
    stored_table,
)

__all__ = ["ensure_tables", "fetch_dictionary", "fetch_signals", "insert_signals", "stored_messages"]

_ROW_TYPES: Final[dict[str, pl.DataType]] = {
    "time": UTC_INSTANT,
    "channel": pl.String(),
    "source_address": pl.Int16(),
    "destination_address": pl.Int16(),
}
_PLACEHOLDER: Final = {"vehicle_id": 0, "source_address": 0, "destination_address": 0, "channel": "", "log_file_id": 0}
_READ_TYPES: Final[dict[str, pl.DataType]] = {"log_file_id": pl.Int64(), **_ROW_TYPES}


def insert_signals(
    conn: psycopg.Connection, message: MessagePlan, frame: pl.DataFrame, *, vehicle_id: int, log_file_id: int
) -> int:
    """Write decoded rows of one message of one log file; returns rows written.

    Args:
        frame: time, channel, source_address, destination_address and one column a signal, as
            `pm.canbus.decode` gives them. A NaN is stored as null: no measurement.

    Of rows with one key, in the frame or stored, the first stays. The message's table is made on
    first use, in a session of its own; the rows are in the caller's transaction.

    Raises:
        DataError: the frame lacks a column, or one has another type or nulls in the key.
        ConfigError: see `ensure_table`.
        StoreError: the database could not do it.
    """
    if not message.signals or frame.height == 0:
        return 0
    table = ensure_table(conn, message)
    rows = _stored_form(table, message, frame, vehicle_id, log_file_id)
    make_chunks(conn, table.target.identifier, rows["time"], _PLACEHOLDER)
    return frames.write_new(conn, table.target, rows)


def _stored_form(
    table: TelemetryTable, message: MessagePlan, frame: pl.DataFrame, vehicle_id: int, log_file_id: int
) -> pl.DataFrame:
    _check(message, frame)
    signals = []
    for signal in message.signals:
        value = pl.col(signal.column)
        dtype = table.dtypes[signal.column]
        signals.append(
            (value if signal.is_text else value.cast(dtype).fill_nan(None)).alias(table.columns[signal.column])
        )
    return frame.select(
        pl.lit(vehicle_id, pl.Int32()).alias("vehicle_id"),
        "source_address",
        "destination_address",
        "channel",
        "time",
        pl.lit(log_file_id, pl.Int64()).alias("log_file_id"),
        *signals,
    )


def _check(message: MessagePlan, frame: pl.DataFrame) -> None:
    where = f"message {message.name}"
    numbers = (pl.Float64(), pl.Float32())
    wanted: dict[str, tuple[pl.DataType, ...]] = {name: (dtype,) for name, dtype in _ROW_TYPES.items()}
    wanted |= {signal.column: (pl.String(),) if signal.is_text else numbers for signal in message.signals}
    absent = [name for name in wanted if name not in frame.columns]
    if absent:
        raise DataError(f"{where}: expected columns {absent}, but got {frame.columns}")
    for name, dtypes in wanted.items():
        if frame.schema[name] not in dtypes:
            raise DataError(f"{where}, column {name}: expected {dtypes[0]}, but got {frame.schema[name]}")
    for name in _ROW_TYPES:
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
    """Rows of one vehicle with start <= time < end, sorted by key.

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
    # After the rows, so that every row's file is there; joined here, so that known_at is not sent with each row.
    files = fetch_log_files(conn, vehicle_id=vehicle_id).select("log_file_id", "known_at")
    if log_file_known is not None:
        files = known(files, log_file_known)
    return (
        rows.join(files, on="log_file_id")
        .select(
            pl.lit(vehicle_id, pl.Int32()).alias("vehicle_id"),
            "log_file_id",
            "known_at",
            *_ROW_TYPES,
            *(_read_form(table, signal) for signal in table.dtypes),
        )
        .sort(KEY)
    )


def _reading(table: TelemetryTable) -> sql.Composed:
    names = [*_READ_TYPES, *table.columns.values()]
    return sql.SQL(
        "SELECT {} FROM {} WHERE vehicle_id = %(vehicle_id)s AND time >= %(start)s AND time < %(end)s"
    ).format(sql.SQL(", ").join(map(sql.Identifier, names)), table.target.identifier)


def _read_form(table: TelemetryTable, signal: str) -> pl.Expr:
    return pl.col(signal) if table.dtypes[signal] == pl.String() else pl.col(signal).cast(pl.Float64())
