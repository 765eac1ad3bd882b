"""Artifacts: files named by the sha256 of their bytes, in one folder.

What belongs here: model bundles and reports as bytes. What they are and which one serves is in the
database (`pm.store.registry`).
"""

import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import Final

from pm.errors import StoreError

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def put(folder: Path, data: bytes) -> str:
    """Store `data`; returns its sha256 (hex). The same bytes again change nothing.

    The file appears whole or not at all, and is on the disk when this returns.

    Raises:
        StoreError: the folder cannot be written.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    place = path(folder, sha256)
    try:
        if place.exists() and place.read_bytes() == data:
            return sha256
        place.parent.mkdir(parents=True, exist_ok=True)
        _write(place, data)
    except OSError as reason:
        raise StoreError(f"artifact {place}: expected a folder to write to, but got: {reason.strerror}") from None
    return sha256


def get(folder: Path, sha256: str) -> bytes:
    """The bytes stored under `sha256`, verified.

    Raises:
        StoreError: there is no such artifact, or its bytes are others.
    """
    place = path(folder, sha256)
    try:
        data = place.read_bytes()
    except OSError as reason:
        raise StoreError(f"artifact {place}: expected a readable file, but got: {reason.strerror}") from None
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise StoreError(f"artifact {place}: expected bytes of sha256 {sha256}, but got {found}")
    return data


def path(folder: Path, sha256: str) -> Path:
    """Where the artifact stands: two levels, so that no folder grows large.

    Raises:
        StoreError: `sha256` is none, so it cannot lead out of the folder.
    """
    if not _SHA256.fullmatch(sha256):
        raise StoreError(f"artifact: expected 64 hex digits, but got {sha256!r}")
    return folder / sha256[:2] / sha256


def _write(place: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=".part-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(place)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
