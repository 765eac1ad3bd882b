"""Imported files: the manifest `pm.import_file`, the rows that were refused, and what an import writes in bulk.

What belongs here: whether a file was imported, what came of it, and marks on days of many vehicles. The
rows themselves are in `pm.store.telemetry`, `pm.store.events`, `pm.store.faults`, `pm.store.work_orders`
and `pm.store.vehicles`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl
import psycopg

from pm.asof import require_instant
from pm.store import frames
from pm.store.queries import refusals, run
from pm.tables import REJECTED_ROW

KEPT_REJECTED: Final = 10_000
"""So many refused rows of a file are kept with their reasons; all are counted."""

_DAYS: Final = frames.Target("pm", "dirty_day", ("vehicle_id", "day"))


@dataclass(frozen=True)
class ImportedFile:
    """What is imported; sha256, kind and mapping_sha256 tell one import from another."""

    sha256: str
    """Of the file's bytes, hex."""
    kind: str
    """telemetry, events, work-orders or vehicles."""
    mapping_sha256: str
    """Of the mapping file's bytes, hex; empty: no mapping."""
    file_name: str
    """Name without folder, and without a VIN."""
    format: str
    """csv, parquet, jsonl or rfms."""
    size_bytes: int


@dataclass(frozen=True)
class RejectedRow:
    """A row that was not taken: its line in a text file (the header is line 1), else its number from 1; and why."""

    line: int
    reason: str


@dataclass(frozen=True)
class ImportRecord:
    """What the manifest says of an import."""

    n_rows: int
    n_stored: int
    n_rejected: int
    imported_at: datetime


def find(conn: psycopg.Connection, file: ImportedFile) -> ImportRecord | None:
    """The manifest row of this file, kind and mapping; None: it was not imported."""
    row = run(conn, "import_file", "find", **_key(file)).fetchone()
    return None if row is None else ImportRecord(*row)


def other_mappings(conn: psycopg.Connection, file: ImportedFile) -> int:
    """How often the same bytes were imported as this kind with another mapping."""
    row = run(conn, "import_file", "other_mappings", **_key(file)).fetchone()
    return 0 if row is None else int(row[0])


def record(
    conn: psycopg.Connection,
    file: ImportedFile,
    *,
    imported_at: datetime,
    n_rows: int,
    n_stored: int,
    n_rejected: int,
    rejected: Sequence[RejectedRow],
) -> None:
    """Write the manifest row and the refused rows.

    Of a file that was imported before: rows stored now are added to those, and what is refused still takes
    the place of what was refused then; where nothing was stored now, nothing changes.

    Raises:
        DataError: an instant is not UTC, or a count is negative.
    """
    require_instant(imported_at, "imported_at")
    if n_stored == 0 and find(conn, file) is not None:
        return
    kept = REJECTED_ROW.frame(
        [{**_key(file), "row_no": row.line, "reason": row.reason} for row in rejected[:KEPT_REJECTED]]
    )
    with frames.atomic(conn):
        run(
            conn,
            "import_file",
            "record",
            **_key(file),
            file_name=file.file_name,
            format=file.format,
            n_rows=n_rows,
            n_stored=n_stored,
            n_rejected=n_rejected,
            imported_at=imported_at,
        )
        run(conn, "import_file", "forget_rejected", **_key(file))
        frames.insert(conn, REJECTED_ROW, kept)


def fetch_rejected(conn: psycopg.Connection, file: ImportedFile) -> pl.DataFrame:
    """The refused rows that were kept: REJECTED_ROW, by row."""
    return frames.fetch(conn, REJECTED_ROW, "of_file", **_key(file))


def _key(file: ImportedFile) -> dict[str, object]:
    return {"sha256": file.sha256, "kind": file.kind, "mapping_sha256": file.mapping_sha256}


def vehicles_with_parts(conn: psycopg.Connection, file: ImportedFile) -> pl.Series:
    """Vehicles (Int32) of which this file has stored rows by this mapping."""
    rows = run(conn, "import_file", "vehicles_with_parts", sha256=file.sha256, mapping=[file.mapping_sha256]).fetchall()
    return pl.Series("vehicle_id", [row[0] for row in rows], pl.Int32())


def last_part(conn: psycopg.Connection, sha256: str) -> int:
    """The greatest part number of the manifest rows of a file; 0 where it has none."""
    row = run(conn, "import_file", "last_part", sha256=sha256).fetchone()
    return 0 if row is None or row[0] is None else int(row[0])


def mark_days_dirty(conn: psycopg.Connection, days: pl.DataFrame) -> int:
    """Mark UTC days of many vehicles (vehicle_id Int32, day Date) as `logs.mark_dirty` does; returns how many.

    Inside a transaction only.
    """
    with refusals("table pm.dirty_day"), frames.staged(conn, _DAYS, days.select("vehicle_id", "day")):
        return run(conn, "import_file", "mark_staged_days").rowcount
