"""What lies in the inbox: which log file, of which vehicle, known since when.

Layout: `logs/<vehicle_ref>/<file>`. A file named in `uploads.csv` (`file`, `vehicle_ref`,
`uploaded_at`) became known at that instant, any other when it is first seen. A file's own
modification time is never trusted: copying tools carry old ones over, and a knowledge time that
is too early is a leak.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import polars as pl

from pm.pipelines.imports.tabular import read_rows
from pm.schema import UTC_INSTANT, Column

MANIFEST_NAME: Final = "uploads.csv"
_COLUMNS: Final = (
    Column("file", pl.String(), "path below the inbox"),
    Column("vehicle_ref", pl.String(), "unit number"),
    Column("uploaded_at", UTC_INSTANT, "when it arrived"),
)


@dataclass(frozen=True, order=True)
class Upload:
    """One log file waiting in the inbox."""

    uploaded_at: datetime
    path: Path
    vehicle_ref: str
    is_listed: bool = True
    """Whether `uploads.csv` says when it arrived."""


def list_uploads(inbox: Path, *, seen_at: datetime) -> tuple[Upload, ...]:
    """Every log file of the inbox in order of arrival.

    Raises:
        DataError: `uploads.csv` is there and cannot be read.
    """
    listed = _manifest(inbox)
    found = []
    for path in sorted((inbox / "logs").glob("*/*")):
        if path.is_file() and not path.name.startswith("."):
            name = path.relative_to(inbox).as_posix()
            vehicle_ref, uploaded_at = listed.get(name, (path.parent.name, seen_at))
            found.append(Upload(uploaded_at, path, vehicle_ref, name in listed))
    return tuple(sorted(found))


def uploads_between(uploads: Sequence[Upload], start: datetime, end: datetime) -> tuple[Upload, ...]:
    """The uploads that became known in [start, end)."""
    return tuple(upload for upload in uploads if start <= upload.uploaded_at < end)


def placed_ns(upload: Upload) -> int:
    """When the file was put into the inbox, nanoseconds since 1970 by the file system's change time.

    Good for seeing that a file is new, as no copying tool can set it; no knowledge time all the
    same, because moving the whole inbox changes it.
    """
    return upload.path.stat().st_ctime_ns


def _manifest(inbox: Path) -> dict[str, tuple[str, datetime]]:
    path = inbox / MANIFEST_NAME
    if not path.is_file():
        return {}
    rows = read_rows(path, _COLUMNS).frame.drop("line")
    return {file: (vehicle_ref, uploaded_at) for file, vehicle_ref, uploaded_at in rows.iter_rows()}
