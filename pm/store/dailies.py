"""Daily aggregates: `pm.daily_signal`, `pm.daily_fault`.

What belongs here: reading what whole vehicle days are made from, replacing them, and reading them as they were
known. What an aggregate is, is `pm.features.daily`; the marks are `pm.store.logs`.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

import polars as pl
import psycopg
from psycopg import sql

from pm.errors import DataError
from pm.schema import UTC_INSTANT
from pm.store import frames
from pm.store.faults import KNOWN_FAULT
from pm.store.logs import clear_dirty
from pm.store.queries import named, refusals, run
from pm.store.telemetry_tables import stored_table
from pm.tables import DAILY_FAULT, DAILY_SIGNAL, DIRTY_DAY

_VEHICLE_DAY = ["vehicle_id", "day"]
_DAYS = frames.Target("pm", "dirty_day", tuple(_VEHICLE_DAY))
_ROW_TYPES: Final[dict[str, pl.DataType]] = {
    "vehicle_id": pl.Int32(),
    "log_file_id": pl.Int64(),
    "time": UTC_INSTANT,
    "channel": pl.String(),
    "source_address": pl.Int16(),
    "destination_address": pl.Int16(),
}


def fetch_telemetry(
    conn: psycopg.Connection, message: str, *, vehicle_ids: Sequence[int], start: datetime, end: datetime
) -> pl.DataFrame:
    """Rows of some vehicles with start <= time < end, as `pm.features.daily.aggregate_signals` takes them.

    Numbers only, as they are stored, in no order. One query for all vehicles: with few rows each, a query a
    vehicle costs many times what its rows do.

    Raises:
        DataError: nothing was ever stored of `message`.
        StoreError: the database could not do it.
    """
    table = stored_table(conn, message)
    if table is None:
        raise DataError(f"message {message}: expected a stored message, but got none of that name")
    numbers = {signal: dtype for signal, dtype in table.dtypes.items() if dtype.is_float()}
    names = [*_ROW_TYPES, *(table.columns[signal] for signal in numbers)]
    reading = sql.SQL(
        "SELECT {} FROM {} WHERE vehicle_id = ANY(%(vehicle_ids)s::integer[]) AND time >= %(start)s AND time < %(end)s"
    ).format(sql.SQL(", ").join(map(sql.Identifier, names)), table.target.identifier)
    params = {"vehicle_ids": list(vehicle_ids), "start": start, "end": end}
    rows = frames.copy_query(conn, reading, params, {**_ROW_TYPES, **numbers}, what=f"message {message}")
    # After the rows, so that every row's file is there, and so that known_at is not sent with each row.
    ids = rows["log_file_id"].unique()
    found = run(conn, "log_file", "known_at_of", log_file_ids=ids.to_list()).fetchall()
    files = pl.DataFrame(found, schema={"log_file_id": pl.Int64(), "known_at": UTC_INSTANT}, orient="row")
    return rows.join(files, on="log_file_id")


def fetch_faults(
    conn: psycopg.Connection, *, vehicle_ids: Sequence[int], start: datetime, end: datetime
) -> pl.DataFrame:
    """Faults of some vehicles with start <= time < end, as `pm.features.daily.aggregate_faults` takes them."""
    params = {"vehicle_ids": list(vehicle_ids), "start": start, "end": end}
    return KNOWN_FAULT.check(frames.select(conn, named("daily_fault", "reports"), params, KNOWN_FAULT))


def fetch_pace(conn: psycopg.Connection) -> pl.DataFrame:
    """vehicle_id and frames_a_day: how dense the logs of vehicles with dirty days are."""
    rows = run(conn, "dirty_day", "frames_a_day").fetchall()
    return pl.DataFrame(rows, schema={"vehicle_id": pl.Int32(), "frames_a_day": pl.Float64()}, orient="row")


def replace_days(
    conn: psycopg.Connection, days: pl.DataFrame, daily_signals: pl.DataFrame, daily_faults: pl.DataFrame
) -> int:
    """Write the aggregates of `days` in place of those stored, and take back their marks; returns days replaced.

    Args:
        days: DIRTY_DAY as read before the telemetry was; days of them without rows become empty.
        daily_signals: DAILY_SIGNAL, of those days only.
        daily_faults: DAILY_FAULT, of those days only.

    One transaction. A day marked anew since `days` was read keeps that mark. A day whose mark is
    gone was rebuilt by another worker, from at least as much: it is left as it is.

    Raises:
        DataError: a frame does not fit its declaration, or has rows of other days.
    """
    marks = DIRTY_DAY.check(days)
    signals, faults = DAILY_SIGNAL.check(daily_signals), DAILY_FAULT.check(daily_faults)
    for name, frame in ((DAILY_SIGNAL.name, signals), (DAILY_FAULT.name, faults)):
        _require_days(name, frame, marks)
    with refusals("table pm.daily_signal"), frames.atomic(conn):
        still = _lock(conn, marks)
        with frames.staged(conn, _DAYS, still.select(_VEHICLE_DAY)):
            run(conn, "daily_signal", "delete_staged_days")
            run(conn, "daily_fault", "delete_staged_days")
        frames.insert(conn, DAILY_SIGNAL, signals.join(still, on=_VEHICLE_DAY, how="semi"))
        frames.insert(conn, DAILY_FAULT, faults.join(still, on=_VEHICLE_DAY, how="semi"))
        clear_dirty(conn, still)
    return still.height


def _require_days(name: str, frame: pl.DataFrame, marks: pl.DataFrame) -> None:
    others = frame.join(marks, on=_VEHICLE_DAY, how="anti")
    if others.height:
        raise DataError(f"table {name}: expected rows of the given days, but got {others.select(_VEHICLE_DAY).row(0)}")


def _lock(conn: psycopg.Connection, marks: pl.DataFrame) -> pl.DataFrame:
    """The marks whose days are still dirty, locked until the transaction ends."""
    with frames.staged(conn, _DAYS, marks.select(_VEHICLE_DAY)):
        rows = run(conn, "dirty_day", "lock_staged").fetchall()
    there = pl.DataFrame(rows, schema={"vehicle_id": pl.Int32(), "day": pl.Date()}, orient="row")
    return marks.join(there, on=_VEHICLE_DAY, how="semi")


def fetch_daily_signals(
    conn: psycopg.Connection,
    *,
    start: date | None = None,
    end: date | None = None,
    known_by: datetime | None = None,
) -> pl.DataFrame:
    """Aggregates: DAILY_SIGNAL by key, of the days start <= day < end, of files known by `known_by`."""
    return frames.fetch(conn, DAILY_SIGNAL, "span", start=start, end=end, known_by=known_by)


def fetch_daily_faults(
    conn: psycopg.Connection,
    *,
    start: date | None = None,
    end: date | None = None,
    known_by: datetime | None = None,
) -> pl.DataFrame:
    """Counts: DAILY_FAULT by key, of the days start <= day < end, of files known by `known_by`."""
    return frames.fetch(conn, DAILY_FAULT, "span", start=start, end=end, known_by=known_by)
