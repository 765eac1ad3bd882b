"""The inbox -> the inbox without a vehicle's files."""

import csv
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from pm.errors import StoreError
from pm.pipelines.uploads import MANIFEST_NAME, list_uploads


def inbox_files(inbox: Path, vehicle_ref: str) -> tuple[Path, ...]:
    """Files of the vehicle: those `uploads.csv` says are its, and whatever else lies in its folder, sorted.

    Raises:
        DataError: `uploads.csv` is there and cannot be read.
    """
    uploads = list_uploads(inbox, seen_at=datetime.max.replace(tzinfo=UTC))
    own = {upload.path for upload in uploads if upload.vehicle_ref == vehicle_ref}
    others = {upload.path for upload in uploads} - own
    folder = _folder(inbox, vehicle_ref)
    lying = set() if folder is None else {path for path in folder.rglob("*") if not path.is_dir()}
    return tuple(sorted((own | lying) - others))


def forget_inbox(inbox: Path, vehicle_ref: str) -> int:
    """Delete the vehicle's files and its lines of `uploads.csv`; how many files.

    What was deleted before is no error, so that it can be done again where it stopped.

    Raises:
        DataError: `uploads.csv` is there and cannot be read.
        StoreError: a file cannot be deleted.
    """
    files = inbox_files(inbox, vehicle_ref)
    try:
        for path in files:
            path.unlink(missing_ok=True)
        _forget_lines(inbox / MANIFEST_NAME, vehicle_ref)
        folder = _folder(inbox, vehicle_ref)
        if folder is not None and folder.is_dir():
            _remove_empty(folder)
    except OSError as reason:
        raise StoreError(f"inbox {inbox}: expected to delete {reason.filename}, but got: {reason.strerror}") from None
    return len(files)


def _folder(inbox: Path, vehicle_ref: str) -> Path | None:
    """The vehicle's folder; None where the unit number is no name of one, so that it cannot lead elsewhere."""
    if vehicle_ref in ("", ".", "..") or Path(vehicle_ref).name != vehicle_ref or "\0" in vehicle_ref:
        return None
    folder = inbox / "logs" / vehicle_ref
    return None if folder.is_symlink() else folder


def _remove_empty(folder: Path) -> None:
    for below in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        if not any(below.iterdir()):
            below.rmdir()
    if not any(folder.iterdir()):
        folder.rmdir()


def _forget_lines(manifest: Path, vehicle_ref: str) -> None:
    if not manifest.is_file():
        return
    with manifest.open(encoding="utf-8-sig", newline="") as file:
        header, *rows = csv.reader(file)
    at = header.index("vehicle_ref")
    kept = [row for row in rows if len(row) <= at or row[at].strip() != vehicle_ref]
    if len(kept) == len(rows):
        return
    handle, name = tempfile.mkstemp(dir=manifest.parent, prefix=f".{manifest.name}.part-")
    with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *kept])
        file.flush()
        os.fsync(file.fileno())
    Path(name).chmod(manifest.stat().st_mode & 0o777)
    Path(name).replace(manifest)
