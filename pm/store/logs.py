"""Log files: the manifest `pm.log_file` and the days it made dirty, `pm.dirty_day`.

What belongs here: claiming a file once, what came of it, which vehicle days must be aggregated
again. The rows of the file are in `pm.store.telemetry` and `pm.store.faults`.

A file is one transaction of the caller: `claim`, rows, `finish`, `mark_dirty`. So a manifest row
that anybody else can see stands for a file that is stored whole.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime

import polars as pl
import psycopg

from pm.asof import require_instant
from pm.errors import DataError
from pm.store import frames
from pm.store.queries import refusals, run
from pm.tables import DIRTY_DAY, LOG_FILE


def claim(
    conn: psycopg.Connection,
    *,
    sha256: str,
    vehicle_id: int,
    file_name: str,
    format: str,
    known_at: datetime,
    dbc_sha256: Sequence[str],
    decoder_version: str,
) -> int | None:
    """Write the manifest row, counts still zero; returns its log_file_id.

    None: a file of these bytes is committed for this vehicle already. A second worker with the
    same file waits here until the first one's transaction ends: then it gets None, or the file if
    that failed.

    Raises:
        DataError: an instant is not UTC, or there is no such vehicle.
        StoreError: the database could not do it.
    """
    row = run(
        conn,
        "log_file",
        "claim",
        sha256=sha256,
        vehicle_id=vehicle_id,
        file_name=file_name,
        format=format,
        known_at=require_instant(known_at, "known_at"),
        dbc_sha256=list(dbc_sha256),
        decoder_version=decoder_version,
    ).fetchone()
    return None if row is None else int(row[0])


def finish(
    conn: psycopg.Connection,
    log_file_id: int,
    *,
    first_at: datetime | None,
    last_at: datetime | None,
    n_frames: int,
    n_decoded: int,
    rejected_json: str,
) -> None:
    """Write what came of a claimed file; `rejected_json` holds the counts of what was not used, by reason.

    Raises:
        DataError: there is no such file, or a value does not fit its column.
    """
    done = run(
        conn,
        "log_file",
        "finish",
        log_file_id=log_file_id,
        first_at=first_at,
        last_at=last_at,
        n_frames=n_frames,
        n_decoded=n_decoded,
        rejected_json=rejected_json,
    )
    if done.rowcount != 1:
        raise DataError(f"log file {log_file_id}: expected a claimed file, but got no such file")


def fetch_log_files(
    conn: psycopg.Connection,
    *,
    vehicle_id: int | None = None,
    known_from: datetime | None = None,
    known_to: datetime | None = None,
) -> pl.DataFrame:
    """The manifest: LOG_FILE, of one vehicle or all, with known_from <= known_at < known_to, by log_file_id."""
    params = {"vehicle_id": vehicle_id, "known_from": known_from, "known_to": known_to}
    return frames.fetch(conn, LOG_FILE, "span", **params)


def mark_dirty(conn: psycopg.Connection, vehicle_id: int, days: Iterable[date]) -> int:
    """Mark UTC days of a vehicle; returns how many. A day that is marked already gets a newer mark.

    Raises:
        DataError: there is no such vehicle.
    """
    return run(conn, "dirty_day", "mark", vehicle_id=vehicle_id, days=sorted(set(days))).rowcount


def fetch_dirty(conn: psycopg.Connection) -> pl.DataFrame:
    """The marks: DIRTY_DAY, by vehicle and day."""
    return frames.fetch(conn, DIRTY_DAY, "all")


def clear_dirty(conn: psycopg.Connection, marks: pl.DataFrame) -> int:
    """Take back marks as they were read (DIRTY_DAY); returns how many. One marked anew since stays."""
    checked = DIRTY_DAY.check(marks)
    with refusals("table pm.dirty_day"), frames.atomic(conn), frames.staged(conn, frames.target_of(DIRTY_DAY), checked):
        return run(conn, "dirty_day", "clear_staged").rowcount
