"""Opening a CAN log, whatever its format.

What belongs here: telling formats apart by content, one `LogFile` for all of them, and turning every
failure of a reader into one `DataError` that names the file. The readers are the other `logfile_*`
modules; nothing else in the product reads logs.
"""

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

from pm.asof import require_instant
from pm.canbus.formats.block import FrameBlock, Source
from pm.canbus.formats.candump import candump_blocks
from pm.canbus.formats.line import read_line
from pm.canbus.formats.mdf import mdf_blocks
from pm.canbus.formats.python_can import python_can_blocks
from pm.errors import DataError, PmError

LogFormat = Literal["candump", "candump_screen", "asc", "blf", "trc", "csv", "mf4"]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SNIFFED_BYTES: Final = 65_536
SNIFFED_LINES: Final = 200
LARGEST_RATIO: Final = 250
"""A text log packs about 1:10; a gzip file beyond this ratio is an attack or a mistake."""
RATIO_FREE_BYTES: Final = 1 << 26

_GZIP_MAGIC: Final = b"\x1f\x8b"
_ASC: Final = re.compile(rb"^(date |base (hex|dec)|begin triggerblock)", re.IGNORECASE | re.MULTILINE)


class _BoundedGzip(io.RawIOBase):
    """The unpacked bytes of a gzip file, up to `LARGEST_RATIO` times its size."""

    def __init__(self, path: Path) -> None:
        self._stream = gzip.open(path, "rb")  # noqa: SIM115 - closed in close()
        self._left = RATIO_FREE_BYTES + LARGEST_RATIO * path.stat().st_size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        got = self._stream.read(len(view))
        self._left -= len(got)
        if self._left < 0:
            raise ValueError(f"expected at most {LARGEST_RATIO} times the packed size, but got more")
        view[: len(got)] = got
        return len(got)

    def close(self) -> None:
        self._stream.close()
        super().close()


@dataclass
class LogFile:
    """One log. `rejected` grows while `blocks()` is read; read it once."""

    path: Path
    format: LogFormat
    is_packed: bool
    start: datetime | None
    source: Source = field(default_factory=Source)

    @property
    def rejected(self) -> dict[str, int]:
        """Counts of what was no data frame, by reason (remote and error frames, malformed lines)."""
        return dict(self.source.rejected)

    def blocks(self) -> Iterator[FrameBlock]:
        """Data frames in the order of the log, a block at a time.

        Raises:
            DataError: the file is truncated or damaged, or holds no data frame.
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
            yield from mdf_blocks(self.path, self.source)
            return
        with _open(self.path, is_packed=self.is_packed) as stream:
            match self.format:
                case "candump" | "candump_screen" as style:
                    origin_us = 0 if self.start is None else (self.start - EPOCH) // timedelta(microseconds=1)
                    yield from candump_blocks(stream, style, origin_us, self.source)
                case kind:
                    size = None if self.is_packed else self.path.stat().st_size
                    yield from python_can_blocks(stream, kind, self.source, start=self.start, file_size=size)


def open_log(path: Path, *, start: datetime | None = None) -> LogFile:
    """Open a log and tell its format by its content; gzip is unpacked on the way (not for MF4).

    `start` is the UTC instant of time zero for logs that hold only relative times or a start without
    a zone (candump on the screen, ASC, TRC). Without it relative times count from 1970-01-01 and a
    start without a zone is taken as UTC.

    Raises:
        DataError: the file cannot be read, is empty, or has no known format.
    """
    if start is not None:
        require_instant(start, "start")
    try:
        with path.open("rb") as raw:
            is_packed = raw.read(2) == _GZIP_MAGIC
        with _open(path, is_packed=is_packed) as stream:
            head = _read_head(stream)
    except (OSError, EOFError, zlib.error, ValueError) as reason:
        raise _unreadable(path, "CAN", reason) from None
    if not head:
        raise DataError(f"log {path}: expected CAN frames, but got an empty file")
    found = _sniff(head)
    if found is None:
        raise DataError(f"log {path}: expected candump, ASC, BLF, TRC, CSV or MF4, but got something else")
    if found == "mf4" and is_packed:
        raise DataError(f"log {path}: expected MF4 without gzip, but got a packed one")
    return LogFile(path, found, is_packed, start)


def _open(path: Path, *, is_packed: bool) -> BinaryIO:
    return io.BufferedReader(_BoundedGzip(path), 1 << 20) if is_packed else path.open("rb")


def _read_head(stream: BinaryIO) -> bytes:
    head = b""
    while len(head) < SNIFFED_BYTES and (more := stream.read(SNIFFED_BYTES - len(head))):
        head += more
    return head


def _unreadable(path: Path, kind: str, reason: Exception) -> DataError:
    said = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
    first_line = ((said.splitlines() or [""])[0] or type(reason).__name__)[:200]
    if first_line.startswith("expected "):
        return DataError(f"log {path}: {first_line}")
    return DataError(f"log {path}: expected a readable {kind} log, but got: {first_line}")


def _sniff(head: bytes) -> LogFormat | None:
    if head.startswith(b"LOGG"):
        return "blf"
    if head.startswith((b"MDF     ", b"UnFinMF ")):
        return "mf4"
    text = head.removeprefix(b"\xef\xbb\xbf")
    if text.startswith(b"timestamp,arbitration_id,extended,remote,error,dlc,data"):
        return "csv"
    if text.startswith(b";$FILEVERSION"):
        return "trc"
    return _sniff_candump(text) or ("asc" if _ASC.search(text) else None)


def _sniff_candump(text: bytes) -> LogFormat | None:
    for line in text.split(b"\n")[:SNIFFED_LINES]:
        stripped = line.rstrip(b"\r")
        for style in ("candump", "candump_screen"):
            if "malformed" not in str(read_line(stripped, style)):
                return style
    return None
