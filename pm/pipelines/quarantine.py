"""Refused log files -> archive and quarantine, with the reason.

Trying them again is `pm.pipelines.quarantine_retry`, giving them up `pm.pipelines.quarantine_drop`.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from pm.canbus.decode import DECODER_VERSION
from pm.errors import DataError
from pm.pipelines.sifting import without_vin
from pm.store import archive, logs, quarantine
from pm.store.connection import Connection, transaction

LARGEST_KEPT_BYTES: Final = 1 << 32
"""Largest refused file that is kept, 4 GiB: whatever lands in the inbox by mistake must not fill the archive."""
LONGEST_REASON: Final = 1000


@dataclass(frozen=True)
class SetAside:
    """What became of a refused file."""

    sha256: str | None
    """Under which it waits in quarantine; None: its bytes were not kept."""
    reason: str
    """Why it was refused, with the file's name and without its folder; and why it was not kept."""


def set_aside(
    conn: Connection,
    path: Path,
    reason: str,
    *,
    archive_address: str,
    vehicle_id: int,
    known_at: datetime,
    starts_at: datetime | None,
    largest_bytes: int = LARGEST_KEPT_BYTES,
) -> SetAside:
    """Keep a file that was refused, to try it again later; the same bytes again count one attempt more.

    The bytes are in the archive before the row can be seen. What is no readable file, or larger than
    `largest_bytes`, is not kept.

    Raises:
        StoreError: the archive or the database could not do it.
    """
    said = private_reason(reason, path)
    try:
        sha256, size_bytes = _look_at(path, largest_bytes)
        with transaction(conn):
            logs.hold_vehicle(conn, vehicle_id)
            is_kept = quarantine.set_aside(
                conn,
                vehicle_id=vehicle_id,
                sha256=sha256,
                file_name=without_vin(path.name),
                size_bytes=size_bytes,
                known_at=known_at,
                starts_at=starts_at,
                reason=said,
                decoder_version=DECODER_VERSION,
            )
            if is_kept:
                archive.put(archive_address, path, sha256=sha256)
    except DataError as why:
        return SetAside(None, f"{said}; not kept in quarantine: {private_reason(str(why), path)}")
    return SetAside(sha256 if is_kept else None, said)


def private_reason(reason: str, path: Path) -> str:
    """`reason` with the file's name in place of its path, without what looks like a VIN, not too long."""
    return without_vin(reason.replace(str(path), path.name))[:LONGEST_REASON]


def _look_at(path: Path, largest_bytes: int) -> tuple[str, int]:
    """(sha256, bytes) of a file that may be kept."""
    try:
        if not path.is_file():  # a pipe would keep us waiting
            raise DataError("expected a file, but got a directory, a device or nothing")
        size_bytes = path.stat().st_size
        if size_bytes > largest_bytes:
            raise DataError(f"expected at most {largest_bytes} bytes, but got {size_bytes}")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), size_bytes
    except OSError as error:
        raise DataError(f"expected a readable file, but got: {error.strerror}") from None
