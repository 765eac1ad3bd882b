"""Log files: the manifest `pm.log_file` and the days it made dirty, `pm.dirty_day`.

What belongs here: claiming a file once, what came of it, which vehicle days must be aggregated
again. The rows of the file are in `pm.store.telemetry` and `pm.store.faults`.

A file is one transaction of the caller: `hold_vehicle`, `reserve`, rows, `claim`, `finish`, `mark_dirty`; where
rows overlap those of another file, `claim` comes before them. So a
manifest row that anybody else can see stands for a file that is stored whole.

Files of one vehicle follow each other, because which of two overlapping files keeps its rows is
decided by looking at both manifest rows (`pm.store.frames.write_first_known`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Final

import polars as pl
import psycopg

from pm.asof import require_instant
from pm.errors import DataError
from pm.store import frames
from pm.store.queries import refusals, run
from pm.tables import DIRTY_DAY, LOG_FILE

_CLAIMED: Final = ("log_file_id", "vehicle_id", "sha256", "part")
_PART: Final = replace(
    LOG_FILE,
    key=("vehicle_id", "sha256", "part"),
    columns=tuple(column for column in LOG_FILE.columns if column.name not in ("log_file_id", "ingested_at")),
)
"""A part as it is claimed."""


def hold_vehicle(conn: psycopg.Connection, vehicle_id: int) -> None:
    """Keep other writers of this vehicle's rows waiting until the transaction ends."""
    run(conn, "log_file", "hold_vehicle", vehicle_id=vehicle_id)


def hold_all(conn: psycopg.Connection) -> None:
    """Keep all other writers of telemetry waiting until the transaction ends; readers go on."""
    run(conn, "log_file", "hold_all")


def reserve(conn: psycopg.Connection) -> int:
    """A log_file_id for rows that are written before their file is claimed; nobody else gets it."""
    row = run(conn, "log_file", "reserve").fetchone()
    assert row is not None  # noqa: S101 - a SELECT of one value
    return int(row[0])


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
    size_bytes: int | None = None,
    starts_at: datetime | None = None,
    sample_period_s: float | None = None,
    log_file_id: int | None = None,
) -> int | None:
    """Write the manifest row of a log, counts still zero; returns its log_file_id, a reserved one or the next.

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
        log_file_id=log_file_id,
        sha256=sha256,
        vehicle_id=vehicle_id,
        file_name=file_name,
        format=format,
        known_at=require_instant(known_at, "known_at"),
        dbc_sha256=list(dbc_sha256),
        decoder_version=decoder_version,
        size_bytes=size_bytes,
        starts_at=starts_at,
        sample_period_s=sample_period_s,
    ).fetchone()
    return None if row is None else int(row[0])


def claim_parts(conn: psycopg.Connection, parts: pl.DataFrame) -> pl.DataFrame:
    """Write the manifest rows of an imported file's parts, complete; inside a transaction only.

    Args:
        parts: LOG_FILE without log_file_id and ingested_at.

    Returns log_file_id, vehicle_id, sha256 and part of those that were not there before.

    Raises:
        DataError: the frame does not fit its declaration, or there is no such vehicle.
    """
    checked = _PART.check(parts)
    with refusals("table pm.log_file"), frames.staged(conn, frames.target_of(LOG_FILE), checked):
        rows = run(conn, "log_file", "claim_staged").fetchall()
    return pl.DataFrame(rows, schema={name: LOG_FILE.schema[name] for name in _CLAIMED}, orient="row")


def dropped_before(conn: psycopg.Connection) -> datetime | None:
    """The instant before which telemetry was dropped for its age; None: nothing was."""
    row = run(conn, "retention", "dropped_before", what="telemetry").fetchone()
    return None if row is None else row[0].astimezone(UTC)


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
