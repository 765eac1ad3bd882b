"""Unpacking logs: gzip, zstd and zip, one layer, within bounds.

What belongs here: which packing a file has by its first bytes, its content as a stream of bytes, and
a bounded copy on disk for a reader that has to jump about in its file. What the content is, is the
business of `sniff`.
"""

import gzip
import io
import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, cast

Packing = Literal["gzip", "zstd", "zip"]

LARGEST_RATIO: Final = 250
"""A text log packs about 1:10; a packed file beyond this ratio is an attack or a mistake."""
RATIO_FREE_BYTES: Final = 1 << 26
LARGEST_COPY_BYTES: Final = 1 << 32
"""Largest copy on disk, 4 GiB: a packed MF4 log beyond it has to be unpacked by hand."""
LARGEST_DIRECTORY_BYTES: Final = 1 << 20
"""Largest directory of a zip archive, about ten thousand members: it is held in memory."""
MAGIC_BYTES: Final = 4

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE: Final = b"\x2a\x4d\x18"
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_READ_BYTES: Final = 1 << 20
_DIRECTORY_END: Final = b"PK\x05\x06"
_DIRECTORY_END_64: Final = b"PK\x06\x06"
_LONGEST_TAIL: Final = 65_535 + 22 + 20 + 56
_ENCRYPTED: Final = 1
_KNOWN_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_BESIDES: Final = ("__macosx/", "thumbs.db", "desktop.ini")


def packing_of(magic: bytes) -> Packing | None:
    """Packing that the first `MAGIC_BYTES` of a file name; None for a file that is not packed.

    Sources: RFC 1952 (gzip), RFC 8878 (zstd, also its skippable frames), PKWARE APPNOTE 4.3 (zip).
    """
    if magic.startswith(_GZIP):
        return "gzip"
    if magic.startswith(_ZSTD) or (magic[1:4] == _ZSTD_SKIPPABLE and magic[0] & 0xF0 == 0x50):
        return "zstd"
    return "zip" if magic.startswith(_ZIP) else None


@contextmanager
def unpacked(path: Path, packing: Packing) -> Iterator[BinaryIO]:
    """The content of a packed file, to be read from its beginning to its end.

    Members of a gzip file and frames of a zstd file follow each other without a seam. A zip archive holds
    exactly one log; folders, hidden files and what operating systems add are passed over.

    Raises:
        ValueError, OSError, EOFError, zlib.error, zipfile.BadZipFile: the file is truncated, damaged or
            encrypted, holds several logs, or unpacks to more than `LARGEST_RATIO` times its size beyond
            `RATIO_FREE_BYTES`. Damage shows where it is reached, so blocks may have been read before.
    """
    with ExitStack() as stack:
        match packing:
            case "gzip":
                inner: Any = stack.enter_context(gzip.open(path, "rb"))
            case "zstd":
                inner = stack.enter_context(_open_zstd(path))
            case "zip":
                archive = stack.enter_context(_open_archive(path))
                log = _only_log(archive)
                inner = _Member(stack.enter_context(archive.open(log)), log.file_size)
        bounded = _Bounded(inner, RATIO_FREE_BYTES + LARGEST_RATIO * path.stat().st_size)
        yield cast("BinaryIO", stack.enter_context(io.BufferedReader(bounded, _READ_BYTES)))


@contextmanager
def unpacked_copy(path: Path, packing: Packing) -> Iterator[Path]:
    """A copy of the content in the temporary folder, at most `LARGEST_COPY_BYTES`, gone afterwards.

    Raises:
        ValueError: the content is larger; and what `unpacked` raises.
    """
    with tempfile.NamedTemporaryFile(prefix="pm-") as copy:
        with unpacked(path, packing) as stream:
            n_left = LARGEST_COPY_BYTES
            while piece := stream.read(_READ_BYTES):
                n_left -= len(piece)
                if n_left < 0:
                    raise ValueError(
                        f"expected at most {LARGEST_COPY_BYTES} bytes unpacked, but got more: unpack it before"
                    )
                copy.write(piece)
        copy.flush()
        yield Path(copy.name)


class _Bounded(io.RawIOBase):
    """The bytes of `inner`, up to a limit."""

    def __init__(self, inner: Any, n_left: int) -> None:
        self._inner, self._n_left = inner, n_left

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        got = self._inner.read(len(view))
        self._n_left -= len(got)
        if self._n_left < 0:
            raise ValueError(f"expected at most {LARGEST_RATIO} times the packed size, but got more")
        view[: len(got)] = got
        return len(got)


class _Member:
    """A member of an archive; what the archive says of its size is only compared at the end."""

    def __init__(self, member: Any, n_bytes: int) -> None:
        self._member, self._n_left = member, n_bytes

    def read(self, size: int) -> bytes:
        got = cast("bytes", self._member.read(size))
        self._n_left -= len(got)
        if not got and self._n_left > 0:
            raise ValueError(f"expected {self._n_left} more bytes in the zip archive, but got its end: truncated")
        return got


def _open_zstd(path: Path) -> Any:
    # Python has no zstd of its own before 3.14; a frame that needs more than 128 MB of window is refused.
    import pyarrow

    return pyarrow.CompressedInputStream(pyarrow.OSFile(os.fspath(path)), "zstd")


def _open_archive(path: Path) -> zipfile.ZipFile:
    with path.open("rb") as stream:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(max(0, size - _LONGEST_TAIL))
        tail = stream.read()
    at = tail.rfind(_DIRECTORY_END)
    if at < 0 or len(tail) < at + 22:
        raise ValueError("expected a zip archive with its directory at the end, but got none: truncated")
    n_bytes = int.from_bytes(tail[at + 12 : at + 16], "little")
    if n_bytes == 0xFFFFFFFF:
        at = tail.rfind(_DIRECTORY_END_64)
        n_bytes = int.from_bytes(tail[at + 40 : at + 48], "little") if at >= 0 else n_bytes
    if n_bytes > LARGEST_DIRECTORY_BYTES:
        raise ValueError(f"expected a zip archive with one log, but got {n_bytes} bytes of directory")
    return zipfile.ZipFile(path)


def _only_log(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    logs = [member for member in archive.infolist() if not member.is_dir() and not _is_beside(member.filename)]
    if len(logs) != 1:
        names = ", ".join(repr(member.filename[:60]) for member in logs[:3]) + (", ..." if len(logs) > 3 else "")
        found = f"{len(logs)} ({names})" if logs else "none"
        raise ValueError(f"expected exactly one log in the zip archive, but got {found}")
    (log,) = logs
    if log.flag_bits & _ENCRYPTED:
        raise ValueError(f"expected a zip archive without a password, but {log.filename[:60]!r} is encrypted")
    if log.compress_type not in _KNOWN_METHODS:
        raise ValueError(f"expected a zip archive that deflates, but got method {log.compress_type}")
    return log


def _is_beside(name: str) -> bool:
    """Is it a hidden file, or one that an operating system adds to archives?"""
    lower = name.lower()
    base = lower.rpartition("/")[2]
    return lower.startswith(_BESIDES[0]) or base.startswith(".") or base in _BESIDES[1:]
