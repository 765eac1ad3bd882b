"""Logs that are decoded again: which there are, taking their old rows out, what came of them.

What belongs here: the reads and deletions of redecoding. New rows are written as at ingest
(`pm.store.telemetry`, `pm.store.faults`, `pm.store.log_signals`).
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

import polars as pl
import psycopg
from psycopg import sql

from pm.asof import require_instant
from pm.store import frames, logs
from pm.store.queries import named, refusals, run
from pm.tables import LOG_FILE

FAULTS: Final = "trouble codes"
"""What the rows of pm.fault are called beside the messages."""


@dataclass(frozen=True)
class DeletedRows:
    """Rows that were taken out."""

    by_message: Counter[str]
    """How many, by message; those of pm.fault under `FAULTS`."""
    days: frozenset[tuple[int, date]]
    """(vehicle_id, UTC day) that they were of."""


def fetch_logs(
    conn: psycopg.Connection, *, formats: Collection[str], vehicle_ids: Sequence[int] | None = None
) -> pl.DataFrame:
    """Logs of these vehicles (None: of all): LOG_FILE, those known first ahead, then by sha256.

    Imported files and their parts are none, nor is a file without a frame's time.
    """
    query, ids = named("redecoding", "logs"), None if vehicle_ids is None else list(vehicle_ids)
    return LOG_FILE.check(frames.select(conn, query, {"formats": list(formats), "vehicle_ids": ids}, LOG_FILE))


def messages_with_rows(conn: psycopg.Connection, files: pl.DataFrame) -> tuple[str, ...]:
    """Messages of which a row of these files (LOG_FILE) is stored, sorted."""
    groups = list(_by_vehicle(files))
    return tuple(message for message, table in _tables(conn) if any(_has_rows(conn, table, group) for group in groups))


def delete_rows(conn: psycopg.Connection, files: pl.DataFrame) -> DeletedRows:
    """Take out every row of telemetry, trouble codes and signal counts of these files (LOG_FILE).

    Inside the caller's transaction, which holds all writers (`pm.store.logs.hold_all`).

    Raises:
        StoreError: the database could not do it.
    """
    counts: Counter[str] = Counter()
    days: set[tuple[int, date]] = set()
    with refusals("redecoding"):
        for group in _by_vehicle(files):
            for message, table in (*_tables(conn), (FAULTS, sql.Identifier("pm", "fault"))):
                for day, n_rows in conn.execute(_query("delete_rows", table), group.params).fetchall():
                    counts[message] += n_rows
                    days.add((group.vehicle_id, day))
        run(conn, "redecoding", "delete_log_signals", log_file_ids=files["log_file_id"].to_list())
    return DeletedRows(counts, frozenset(days))


def finish(
    conn: psycopg.Connection,
    log_file_id: int,
    *,
    first_at: datetime | None,
    last_at: datetime | None,
    n_frames: int,
    n_decoded: int,
    rejected_json: str,
    dbc_sha256: Sequence[str],
    decoder_version: str,
    sample_period_s: float,
    redecoded_at: datetime,
) -> None:
    """Write what came of a file that was decoded again; its known_at stays.

    Raises:
        DataError: there is no such file, or a value does not fit its column.
    """
    logs.finish(
        conn,
        log_file_id,
        first_at=first_at,
        last_at=last_at,
        n_frames=n_frames,
        n_decoded=n_decoded,
        rejected_json=rejected_json,
    )
    run(
        conn,
        "redecoding",
        "note",
        log_file_id=log_file_id,
        dbc_sha256=list(dbc_sha256),
        decoder_version=decoder_version,
        sample_period_s=sample_period_s,
        redecoded_at=require_instant(redecoded_at, "redecoded_at"),
    )


@dataclass(frozen=True)
class _VehicleFiles:
    """Files of one vehicle and the span they cover: a stretch of each table's key."""

    vehicle_id: int
    params: dict[str, object]


def _by_vehicle(files: pl.DataFrame) -> Iterator[_VehicleFiles]:
    spans = files.group_by("vehicle_id").agg("log_file_id", pl.col("first_at").min(), pl.col("last_at").max())
    for vehicle_id, ids, first_at, last_at in spans.sort("vehicle_id").iter_rows():
        params = {"vehicle_id": vehicle_id, "log_file_ids": ids, "first_at": first_at, "last_at": last_at}
        yield _VehicleFiles(vehicle_id, params)


def _tables(conn: psycopg.Connection) -> list[tuple[str, sql.Identifier]]:
    rows = run(conn, "redecoding", "tables").fetchall()
    return [(str(message), sql.Identifier("telemetry", str(name))) for message, name in rows]


def _has_rows(conn: psycopg.Connection, table: sql.Identifier, group: _VehicleFiles) -> bool:
    with refusals("redecoding"):
        row = conn.execute(_query("has_rows", table), group.params).fetchone()
    return row is not None and bool(row[0])


def _query(name: str, table: sql.Identifier) -> sql.Composed:
    return sql.SQL(named("redecoding", name)).format(table=table)
