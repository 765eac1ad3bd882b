"""Quarantine: log files that were refused, `pm.quarantine`, and rows that imports refused, to look at.

What belongs here: which files wait with which reason. Their bytes are in `pm.store.archive`; imports
write their own refusals (`pm.store.imports`).
"""

from collections.abc import Sequence
from datetime import datetime

import polars as pl
import psycopg

from pm.asof import require_instant
from pm.store import frames
from pm.store.queries import named, run
from pm.tables import IMPORT_FILE, QUARANTINE, REJECTED_ROW


def set_aside(
    conn: psycopg.Connection,
    *,
    vehicle_id: int,
    sha256: str,
    file_name: str,
    size_bytes: int,
    known_at: datetime,
    starts_at: datetime | None,
    reason: str,
    decoder_version: str,
) -> bool:
    """Note a refused file, or that it was refused once more; False where its bytes are stored for the vehicle.

    Of a file noted before, name and the earliest known_at stay; the reason is that of this attempt, which is now.

    Raises:
        DataError: an instant is not UTC, or there is no such vehicle.
        StoreError: the database could not do it.
    """
    noted = run(
        conn,
        "quarantine",
        "set_aside",
        vehicle_id=vehicle_id,
        sha256=sha256,
        file_name=file_name,
        size_bytes=size_bytes,
        known_at=require_instant(known_at, "known_at"),
        starts_at=starts_at if starts_at is None else require_instant(starts_at, "starts_at"),
        reason=reason,
        decoder_version=decoder_version,
    )
    return noted.rowcount == 1


def release(conn: psycopg.Connection, *, vehicle_id: int, sha256: str) -> bool:
    """Take a file out of quarantine; whether it was there. Its bytes stay in the archive."""
    return run(conn, "quarantine", "release", vehicle_id=vehicle_id, sha256=sha256).rowcount == 1


def fetch_quarantine(
    conn: psycopg.Connection, *, prefix: str | None = None, vehicle_ids: Sequence[int] | None = None
) -> pl.DataFrame:
    """Files in quarantine: QUARANTINE, those known first ahead; with `prefix`, whose sha256 begins so."""
    params = {"prefix": prefix, "vehicle_ids": None if vehicle_ids is None else list(vehicle_ids)}
    return frames.fetch(conn, QUARANTINE, "matching", **params)


def is_named(conn: psycopg.Connection, sha256: str) -> bool:
    """Whether a stored log file or one in quarantine, of any vehicle, has these bytes."""
    row = run(conn, "quarantine", "is_named", sha256=sha256).fetchone()
    return row is not None and bool(row[0])


def fetch_refusing_imports(conn: psycopg.Connection) -> pl.DataFrame:
    """Imports that refused rows: IMPORT_FILE, by the instant of the import."""
    return IMPORT_FILE.check(frames.select(conn, named("quarantine", "imports"), {}, IMPORT_FILE))


def fetch_rejected_rows(conn: psycopg.Connection) -> pl.DataFrame:
    """Rows that imports refused and kept: REJECTED_ROW, by file and row."""
    return REJECTED_ROW.check(frames.select(conn, named("quarantine", "rejected_rows"), {}, REJECTED_ROW))
