"""Archive: raw log files named by the sha256 of their bytes, in a folder or an object store.

What belongs here: putting a file in once, getting it back verified. Which files there are is in the
manifest (`pm.store.logs`) and in quarantine (`pm.store.quarantine`): the archive itself is never listed.

The address is a folder or what fsspec understands (s3://bucket/logs, with the package for that store
installed). A file stands at `<aa>/<sha256>.zst`, compressed by zstd at level 1 (RFC 8878) whatever it is, so
that one look says whether it is there. Measured: text logs shrink to a third or a tenth, MF4 to two thirds
or a fifth, BLF not at all and at no cost in size. sha256 and sizes are those of the bytes as they came.
"""

import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import fsspec
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from pm.errors import ConfigError, DataError, StoreError

LARGEST_BYTES: Final = 1 << 36
"""Largest file that is fetched where its size is not known, 64 GiB: a small object may unpack to anything."""

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_CREDENTIALS: Final = re.compile(r"//[^/\s@]*@|\?\S*")
_PIECE_BYTES: Final = 1 << 20
_PART: Final = ".part-"
_WHOLE_UPLOADS: Final = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "oci"})
"""Object stores, where an upload appears at its end. Elsewhere a file gets its name when it is complete."""


@dataclass(frozen=True)
class Archived:
    """A file in the archive."""

    sha256: str
    size_bytes: int
    """Of the bytes as they came."""
    stored_bytes: int
    """What they take in the archive."""
    is_new: bool
    """Whether they were put there now."""


def put(address: str, path: Path, *, sha256: str) -> Archived:
    """Store the file's bytes, which have this sha256; the same bytes again cost one look.

    The file appears whole or not at all; in a folder it is on the disk when this returns.

    Raises:
        DataError: the file cannot be read, or its bytes are others (it is still being written).
        StoreError: the archive cannot be reached or written.
        ConfigError: the address names a store that is not known or whose package is not installed.
    """
    place = _Place(address, sha256)
    stored = place.stored_bytes()
    size_bytes = _size_of(path)
    if stored is not None:
        return Archived(sha256, size_bytes, stored, is_new=False)
    with place.writing():
        stored = _put_local(place, path) if place.is_local else _put_remote(place, path)
    return Archived(sha256, size_bytes, stored, is_new=True)


def fetch(address: str, sha256: str, folder: Path, name: str, *, size_bytes: int | None = None) -> Path:
    """The file's bytes as `folder`/`name`, verified.

    Args:
        size_bytes: how many they are, where that is known: no more than these are unpacked, else
            `LARGEST_BYTES`.

    Raises:
        StoreError: there is no such file, its bytes are others, or the folder cannot be written.
    """
    place = _Place(address, sha256)
    if name != Path(name).name or name in ("", ".", ".."):
        raise StoreError(f"archive {place}: expected a file name without folder, but got {name!r}")
    if place.stored_bytes() is None:
        raise StoreError(f"archive {place}: expected a file in the archive, but got none")
    target = folder / name
    try:
        with place.reading(), target.open("wb") as file, place.unpacked() as stream:
            found = _copy(stream, file, LARGEST_BYTES if size_bytes is None else size_bytes)
        if found != sha256:
            raise StoreError(f"archive {place}: expected bytes of sha256 {sha256}, but got {found}")
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return target


def has(address: str, sha256: str) -> bool:
    """Whether the file is in the archive."""
    return size(address, sha256) is not None


def size(address: str, sha256: str) -> int | None:
    """Bytes that the file takes in the archive; None where it is not there."""
    return _Place(address, sha256).stored_bytes()


def delete(address: str, sha256: str) -> bool:
    """Take the file out of the archive; whether it was there. Who still needs it is the caller's question."""
    place = _Place(address, sha256)
    with place.writing():
        try:
            place.filesystem.rm_file(place.path)
        except FileNotFoundError:
            return False
        return True


def sweep(address: str) -> int:
    """Remove what processes that were killed left half-written; returns how many files.

    Only while nothing is being put into the archive: a file that is being written looks the same.
    """
    place = _Place(address, "0" * 64)
    if place.uploads_whole:
        return 0
    with place.writing():
        parts = place.filesystem.glob(f"{place.root}/*/{_PART}*")
        for part in parts:
            place.filesystem.rm_file(part)
    return len(parts)


class _Place:
    """Where one file stands in the archive; two levels, so that no folder grows large."""

    def __init__(self, address: str, sha256: str) -> None:
        if not _SHA256.fullmatch(sha256):
            raise StoreError(f"archive {_shown(address)}: expected 64 hex digits, but got {sha256!r}")
        self.sha256, self.address = sha256, address
        try:
            filesystem, root = fsspec.core.url_to_fs(address)
        except (ImportError, ValueError) as reason:
            raise ConfigError(
                f"archive {_shown(address)}: expected a folder or an address that fsspec can open, "
                f"but got: {_said(reason)}"
            ) from None
        self.filesystem: Any = filesystem
        self.root: str = str(root).rstrip("/")

    def __str__(self) -> str:
        return f"{_shown(self.address)}, file {self.sha256}"

    @property
    def is_local(self) -> bool:
        return isinstance(self.filesystem, LocalFileSystem)

    @property
    def uploads_whole(self) -> bool:
        protocol = self.filesystem.protocol
        names = {protocol} if isinstance(protocol, str) else set(protocol)
        return bool(_WHOLE_UPLOADS & names)

    @property
    def folder(self) -> str:
        return f"{self.root}/{self.sha256[:2]}"

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.sha256}.zst"

    def stored_bytes(self) -> int | None:
        with self.reading():
            # A store remembers what it has listed; another process may have put or deleted since.
            self.filesystem.invalidate_cache()
            try:
                return int(self.filesystem.info(self.path)["size"])
            except FileNotFoundError:
                return None

    @contextmanager
    def unpacked(self) -> Iterator[BinaryIO]:
        with self.filesystem.open(self.path, "rb") as packed, pa.CompressedInputStream(packed, "zstd") as stream:
            yield cast("BinaryIO", stream)

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self._refusals("an archive to write to"):
            yield

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._refusals("a readable file"):
            yield

    @contextmanager
    def _refusals(self, expected: str) -> Iterator[None]:
        try:
            yield
        except (DataError, StoreError):
            raise
        except Exception as reason:  # every store has errors of its own
            raise StoreError(f"archive {self}: expected {expected}, but got: {_said(reason)}") from None


def _put_local(place: _Place, path: Path) -> int:
    """Through a temporary name in the same folder; bytes on disk."""
    folder = Path(place.folder)
    if not folder.exists():
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # raw logs hold VINs and positions
        folder.mkdir(mode=0o700, exist_ok=True)
        _sync(folder.parent)
    handle, name = tempfile.mkstemp(dir=folder, prefix=_PART)
    os.close(handle)
    try:
        _compress(path, Path(name), place.sha256)
        _sync(Path(name))
        stored = Path(name).stat().st_size
        Path(name).replace(place.path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync(folder)
    return stored


def _put_remote(place: _Place, path: Path) -> int:
    """Compressed and verified on this machine before, because a store's own stream would keep what an error cut off."""
    with tempfile.TemporaryDirectory(prefix="pm-archive-") as folder:
        packed = Path(folder) / f"{place.sha256}.zst"
        _compress(path, packed, place.sha256)
        if place.uploads_whole:
            place.filesystem.put_file(os.fspath(packed), place.path)
        else:
            _upload_and_rename(place, packed)
        return packed.stat().st_size


def _upload_and_rename(place: _Place, packed: Path) -> None:
    part = f"{place.folder}/{_PART}{secrets.token_hex(8)}"
    place.filesystem.makedirs(place.folder, exist_ok=True)
    try:
        place.filesystem.put_file(os.fspath(packed), part)
        place.filesystem.mv(part, place.path)
    except BaseException:
        if place.filesystem.exists(part):
            place.filesystem.rm_file(part)
        raise


def _compress(path: Path, target: Path, sha256: str) -> None:
    """Write the file's bytes to `target`, compressed; level 1 is what Arrow takes for zstd."""
    state = hashlib.sha256()
    with target.open("wb") as file, pa.CompressedOutputStream(file, "zstd") as stream:
        for piece in _pieces(path):
            state.update(piece)
            stream.write(piece)
    if state.hexdigest() != sha256:
        raise DataError(
            f"{path}: expected the bytes of sha256 {sha256}, but got {state.hexdigest()}: it changed while it was read"
        )


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                yield piece
    except OSError as reason:
        raise DataError(f"{path}: expected a readable file, but got: {reason.strerror}") from None


def _copy(stream: BinaryIO, file: BinaryIO, most_bytes: int) -> str:
    """Copy at most so many bytes; their sha256."""
    state, n_bytes = hashlib.sha256(), 0
    while piece := stream.read(_PIECE_BYTES):
        n_bytes += len(piece)
        if n_bytes > most_bytes:
            raise ValueError(f"more than {most_bytes} bytes")
        state.update(piece)
        file.write(piece)
    return state.hexdigest()


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as reason:
        raise DataError(f"{path}: expected a readable file, but got: {reason.strerror}") from None


def _sync(path: Path) -> None:
    """What stands in the file or folder is on the disk when this returns."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _shown(address: str) -> str:
    """The address without user, password and what follows a question mark."""
    return _CREDENTIALS.sub(lambda found: "//" if found[0].startswith("//") else "", address)


def _said(reason: Exception) -> str:
    text = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
    return _shown((text.splitlines() or [""])[0][:200]) or type(reason).__name__
