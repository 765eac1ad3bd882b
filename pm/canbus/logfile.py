"""Opening a CAN log, whatever its format.

What belongs here: one `LogFile` for all formats, packed or not, and turning every failure of a reader into
one `DataError` that names the file. Formats are told apart in `formats.sniff` and read by the other
modules of `formats`; nothing else in the product reads logs.
"""

import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final, cast

from pm.asof import require_instant
from pm.canbus.formats.asc import asc_blocks
from pm.canbus.formats.blf import blf_blocks
from pm.canbus.formats.block import UTF8_MARK, FrameBlock, Source
from pm.canbus.formats.candump import candump_blocks
from pm.canbus.formats.csv_rows import csv_blocks
from pm.canbus.formats.mdf import mdf_blocks
from pm.canbus.formats.packed import MAGIC_BYTES, Packing, packing_of, unpacked, unpacked_copy
from pm.canbus.formats.sniff import EXPECTED, SNIFFED_BYTES, LogFormat, sniff, what_it_is
from pm.canbus.formats.trc import trc_blocks
from pm.errors import ConfigError, DataError, PmError

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class LogFile:
    """One log. `rejected` grows while `blocks()` is read; read it once."""

    path: Path
    format: LogFormat
    packing: Packing | None
    start: datetime | None
    source: Source = field(default_factory=Source)

    @property
    def rejected(self) -> dict[str, int]:
        """Counts of what was no data frame, by reason (remote and error frames, malformed lines)."""
        return dict(self.source.rejected)

    def blocks(self) -> Iterator[FrameBlock]:
        """Data frames in the order of the log, a block at a time; damage may show behind the first blocks.

        Raises:
            DataError: the file is truncated or damaged, holds no data frame, or has relative times and
                no `start`.
            ConfigError: the format needs an optional package that is not installed.
        """
        n_frames = 0
        try:
            for block in self._read():
                n_frames += len(block)
                yield block
        except PmError:
            raise
        except Exception as reason:  # readers of binary formats fail in many ways on damaged input
            raise _unreadable(self.path, self.format, reason) from None
        if n_frames == 0:
            found = ", ".join(f"{count} {name}" for name, count in self.rejected.items()) or "nothing"
            raise DataError(f"log {self.path}: expected at least one CAN data frame, but got {found}")

    def _read(self) -> Iterator[FrameBlock]:
        if self.format == "mf4":
            yield from self._read_mf4()
            return
        start_us = None if self.start is None else (self.start - EPOCH) // timedelta(microseconds=1)
        with _open(self.path, self.packing) as stream:
            match self.format:
                case "candump" | "candump_screen" as style:
                    _skip_mark(stream)
                    yield from candump_blocks(stream, style, self.source, start_us=start_us)
                case "asc":
                    yield from asc_blocks(stream, self.source, start_us=start_us)
                case "trc":
                    yield from trc_blocks(stream, self.source, start_us=start_us)
                case "csv":
                    yield from csv_blocks(stream, self.source, start_us=start_us)
                case "blf":
                    size = None if self.packing else self.path.stat().st_size
                    yield from blf_blocks(stream, self.source, file_size=size, start_us=start_us)

    def _read_mf4(self) -> Iterator[FrameBlock]:
        """MF4 readers jump about in their file, so a packed one is unpacked on disk before."""
        if self.packing is None:
            yield from mdf_blocks(self.path, self.source)
            return
        with unpacked_copy(self.path, self.packing) as copy:
            try:
                yield from mdf_blocks(copy, self.source)
            except ConfigError as reason:
                raise ConfigError(str(reason).replace(str(copy), str(self.path))) from None


def open_log(path: Path, *, start: datetime | None = None) -> LogFile:
    """Open a log and tell its format by its content; one layer of gzip, zstd or zip is unpacked on the way.

    Times are UTC. `start` is the instant of time zero of a log with relative times, which cannot be read
    without: candump -tz and the screen, CSV, where the first time lies before 1980. It replaces the start
    that a header names without a zone (ASC, TRC, BLF, Vehicle Spy), which is taken as UTC otherwise. To a log
    with absolute times (candump -L, MF4, CSV) it is not applied.

    Raises:
        DataError: the file cannot be read, is empty, or has no known format.
    """
    if start is not None:
        require_instant(start, "start")
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError("expected a file, but got a directory or a device")
        with path.open("rb") as raw:
            packing = packing_of(raw.read(MAGIC_BYTES))
        with _open(path, packing) as stream:
            head = _read_head(stream)
    except Exception as reason:  # the readers of packed files fail in many ways on damaged input
        raise _unreadable(path, "CAN", reason) from None
    if not head:
        raise DataError(f"log {path}: expected {EXPECTED}, but got an empty file")
    found = sniff(head)
    if found is None:
        raise DataError(f"log {path}: expected {EXPECTED}, but got {what_it_is(head)}")
    return LogFile(path, found, packing, start)


def _open(path: Path, packing: Packing | None) -> AbstractContextManager[BinaryIO]:
    return unpacked(path, packing) if packing else path.open("rb")


def _read_head(stream: BinaryIO) -> bytes:
    head = b""
    while len(head) < SNIFFED_BYTES and (more := stream.read(SNIFFED_BYTES - len(head))):
        head += more
    return head


def _skip_mark(stream: BinaryIO) -> None:
    # Editors on Windows put it in front of UTF-8 text.
    ahead = cast("bytes", stream.peek(len(UTF8_MARK)))  # type: ignore[attr-defined]
    if ahead.startswith(UTF8_MARK):
        stream.read(len(UTF8_MARK))


def _unreadable(path: Path, kind: str, reason: Exception) -> DataError:
    said = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
    first_line = ((said.splitlines() or [""])[0] or type(reason).__name__)[:200]
    if first_line.startswith("expected "):
        return DataError(f"log {path}: {first_line}")
    return DataError(f"log {path}: expected a readable {kind} log, but got: {first_line}")
