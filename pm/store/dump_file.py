"""The dump file: a zip of one Zstandard-compressed binary COPY a table, and the manifest.

What belongs here: writing entries in a stream and reading them back within bounds. What is in the
entries is `pm.store.dump`, where they go `pm.store.dump_restore`.

A zip, because its directory stands at the end: a file that was cut off is no zip. The entries are
stored and compressed inside (zip's own method is slower and packs less); `unzip -p FILE
pm.vehicle.copy.zst | zstd -d` gives what psql's \\copy takes. Memory is flat: a block at a time.
"""

import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa

from pm.errors import DataError, StoreError
from pm.store.dump_manifest import DumpedTable, Manifest, read_manifest, write_manifest

BLOCK: Final = 1_000_000
"""Bytes of COPY handed on at a time."""
_MANIFEST: Final = "manifest.json"
_LARGEST_MANIFEST: Final = 64_000_000
_LARGEST_RATIO: Final = 10_000
"""Rows of nulls alone pack 86 times at 50 columns and 1000 times at 1590 (measured); what claims to grow more is no
dump."""
_DAMAGES: Final = (
    zipfile.BadZipFile, zlib.error, struct.error, pa.ArrowException,
    EOFError, NotImplementedError, OSError, RuntimeError, ValueError,
)  # fmt: skip
"""What zipfile and pyarrow say of damaged bytes."""


class TableWriter:
    """One entry that is being written."""

    def __init__(self, packed: Any) -> None:
        self._packed = packed
        self.n_bytes = 0
        """Written so far, before compression."""

    def write(self, block: bytes) -> None:
        self._packed.write(block)
        self.n_bytes += len(block)


class DumpWriter:
    """Entries of a dump that is being written."""

    def __init__(self, zip_file: zipfile.ZipFile) -> None:
        self._zip = zip_file

    @contextmanager
    def table(self, entry: str) -> Iterator[TableWriter]:
        """The entry of one table, to be written in a stream."""
        with (
            self._zip.open(zipfile.ZipInfo(entry), "w", force_zip64=True) as stored,
            pa.PythonFile(stored, "w") as sink,
            pa.CompressedOutputStream(sink, "zstd") as packed,
        ):
            yield TableWriter(packed)

    def write_manifest(self, manifest: Manifest) -> None:
        """The last entry."""
        self._zip.writestr(zipfile.ZipInfo(_MANIFEST), write_manifest(manifest), zipfile.ZIP_DEFLATED)


@contextmanager
def create_dump(path: Path, *, replace: bool = False) -> Iterator[DumpWriter]:
    """A writer; the file appears at `path` whole, when the block ends, or not at all.

    Only its owner can read it (mode 0600): a dump holds VINs.

    Raises:
        DataError: there is a file already and `replace` is false.
        StoreError: the folder cannot be written.
    """
    if path.exists() and not replace:
        raise DataError(
            f"dump {path}: expected a new file, but got one that is there already (--replace writes over it)"
        )
    try:
        # mkstemp: mode 0600 from the first byte on.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.part-")
        part = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as zip_file:
                    yield DumpWriter(zip_file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as reason:
        raise StoreError(f"dump {path}: expected a folder to write to, but got: {reason.strerror or reason}") from None


class DumpReader:
    """A dump whose manifest and directory agree."""

    def __init__(self, path: Path, zip_file: zipfile.ZipFile, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._zip = zip_file

    def blocks(self, table: DumpedTable) -> Iterator[bytes]:
        """The table's entry in blocks, exactly the bytes the manifest says.

        Raises:
            DataError: the entry is damaged, or longer or shorter than that.
        """
        where = f"dump {self.path}, table {table}"
        n_bytes = 0
        with (
            _refusing(where),
            self._zip.open(table.entry) as stored,
            pa.PythonFile(stored, "r") as source,
            pa.CompressedInputStream(source, "zstd") as unpacked,
        ):
            while n_bytes <= table.n_bytes and (block := unpacked.read(BLOCK)):
                n_bytes += len(block)
                if n_bytes <= table.n_bytes:
                    yield block
            if n_bytes == table.n_bytes:
                # To the end of the entry: only there zip compares its CRC.
                while stored.read(BLOCK):
                    pass
        if n_bytes != table.n_bytes:
            got = "more" if n_bytes > table.n_bytes else f"{n_bytes}"
            raise DataError(f"{where}: expected {table.n_bytes} bytes, but got {got}")


@contextmanager
def open_dump(path: Path) -> Iterator[DumpReader]:
    """A reader of the dump; whatever is wrong with the file's frame is found here.

    Raises:
        DataError: the file is no dump, is cut off, is of another version, or holds other entries
            than its manifest says.
        StoreError: the file cannot be read.
    """
    where = f"dump {path}"
    try:
        file: IO[bytes] = path.open("rb")
    except OSError as reason:
        raise DataError(f"{where}: expected a readable file, but got: {reason.strerror}") from None
    with file:
        try:
            zip_file = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, *_DAMAGES):
            raise DataError(f"{where}: expected a whole dump, but got a file that is cut off or no dump") from None
        with zip_file:
            with _refusing(where):
                manifest = _read_manifest(zip_file, where)
            _require_entries(zip_file, manifest, where)
            yield DumpReader(path, zip_file, manifest)


def _read_manifest(zip_file: zipfile.ZipFile, where: str) -> Manifest:
    names = zip_file.namelist()
    if names.count(_MANIFEST) != 1:
        raise DataError(f"{where}: expected one {_MANIFEST}, but got {names.count(_MANIFEST)}")
    with zip_file.open(_MANIFEST) as entry:
        text = entry.read(_LARGEST_MANIFEST + 1)
    if len(text) > _LARGEST_MANIFEST:
        raise DataError(f"{where}: expected a manifest of at most {_LARGEST_MANIFEST} bytes, but got more")
    return read_manifest(text, where)


def _require_entries(zip_file: zipfile.ZipFile, manifest: Manifest, where: str) -> None:
    names, wanted = zip_file.namelist(), [*(table.entry for table in manifest.tables), _MANIFEST]
    if sorted(names) != sorted(wanted):
        other = sorted(set(names) ^ set(wanted)) or sorted({name for name in names if names.count(name) > 1})
        raise DataError(f"{where}: expected the entries its manifest names, but {other[:5]!r} differ")
    for table in manifest.tables:
        info = zip_file.getinfo(table.entry)
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise DataError(f"{where}, table {table}: expected a stored entry, but got one that zip packed or locked")
        if table.n_bytes > _LARGEST_RATIO * max(info.file_size, 1):
            raise DataError(
                f"{where}, table {table}: expected at most {_LARGEST_RATIO} times {info.file_size} bytes, "
                f"but got a manifest that says {table.n_bytes}"
            )


@contextmanager
def _refusing(where: str) -> Iterator[None]:
    """Turns what a damaged file makes zipfile and pyarrow say into a DataError."""
    try:
        yield
    except _DAMAGES as reason:
        raise DataError(f"{where}: expected an undamaged file, but got: {reason}") from None
