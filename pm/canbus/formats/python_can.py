"""BLF, ASC, TRC and CSV through python-can's readers.

What belongs here: turning python-can messages into blocks, and what its readers leave open: a start
time without a zone, the numbering of channels, a truncated file.
"""

import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any, BinaryIO, Final, Literal

from can.io.asc import ASCReader
from can.io.blf import BLFReader
from can.io.csv import CSVReader
from can.io.trc import TRCReader

from pm.canbus.formats.block import (
    BLOCK_FRAMES,
    ERROR_FRAME,
    MALFORMED_LINE,
    REMOTE_FRAME,
    TOO_MANY_CHANNELS,
    Frame,
    FrameBlock,
    Source,
    block_of,
)

PythonCanFormat = Literal["asc", "blf", "trc", "csv"]

NO_CHANNEL: Final = "unknown"
"""Channel name where the format has none (CSV)."""

_BLF_FILE_SIZE: Final = slice(16, 24)
_HEAD_BYTES: Final = 4096
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_ASC_START: Final = re.compile(
    r"^(?:begin triggerblock|date)\s+\w+\s+(?P<month>\w{3})\s+(?P<day>\d+)\s+"
    r"(?P<hour>\d+):(?P<minute>\d+):(?P<second>\d+)"
    r"(?:\.(?P<ms>\d{1,3}))?\s*(?P<half>[ap]m)?\s+(?P<year>\d{4})",
    re.IGNORECASE | re.MULTILINE,
)


def python_can_blocks(
    stream: BinaryIO, kind: PythonCanFormat, source: Source, *, start: datetime | None, file_size: int | None
) -> Iterator[FrameBlock]:
    """Read `stream` to its end, `BLOCK_FRAMES` frames a block.

    `start` replaces the start that an ASC or TRC header names without a zone; `file_size`, if known,
    is held against the size a BLF header promises.

    Raises:
        ValueError: the file is truncated or damaged (python-can's own errors pass through as well).
    """
    reader, offset_s = _open_reader(stream, kind, start, file_size)
    messages = iter(_messages(reader, source))
    while batch := list(islice(messages, BLOCK_FRAMES)):
        # Formats count channels from 1; python-can subtracts one from BLF's and ASC's.
        added = 1 if kind in ("asc", "blf") else 0
        frames = [frame for message in batch if (frame := _frame(message, offset_s, added, source)) is not None]
        if frames:
            yield block_of(frames, source)


def _open_reader(
    stream: BinaryIO, kind: PythonCanFormat, start: datetime | None, file_size: int | None
) -> tuple[Any, float]:
    """(reader, seconds to add to its times)."""
    if kind == "blf":
        _check_blf_size(stream, file_size)
        return BLFReader(stream), 0.0
    text = io.TextIOWrapper(stream, encoding="utf-8", errors="replace")
    if kind == "csv":
        return CSVReader(text), 0.0
    if kind == "asc":
        head = text.read(_HEAD_BYTES)
        text.seek(0)
        return ASCReader(text, relative_timestamp=True), (start or _asc_start(head)).timestamp()
    reader = TRCReader(text)
    return reader, 0.0 if start is None else _trc_shift_s(reader, start)


def _check_blf_size(stream: BinaryIO, file_size: int | None) -> None:
    head = stream.read(144)
    stream.seek(0)
    promised = int.from_bytes(head[_BLF_FILE_SIZE], "little")
    if file_size is not None and file_size < max(promised, 144):
        raise ValueError(f"expected {max(promised, 144)} bytes as the header says, but got {file_size}: truncated")


def _asc_start(head: str) -> datetime:
    """Start of an ASC log: the last of its header's dates; 1970-01-01 where it names none.

    The milliseconds are a number, not a fraction: python-can writes 6 ms as `.6`, Vector as `.006`.
    """
    found = list(_ASC_START.finditer(head))
    if not found:
        return datetime.fromtimestamp(0, UTC)
    part = found[-1]
    hour = int(part["hour"])
    if part["half"]:
        hour = hour % 12 + (12 if part["half"].lower() == "pm" else 0)
    month = _MONTHS.index(part["month"].lower()) + 1
    micro = int(part["ms"] or 0) * 1000
    day, minute, second = int(part["day"]), int(part["minute"]), int(part["second"])
    return datetime(int(part["year"]), month, day, hour, minute, second, micro, UTC)


def _trc_shift_s(reader: Any, start: datetime) -> float:
    # The header is parsed only when the first frame is asked for, so the start is read from it here.
    position = reader.file.tell()
    reader._extract_header()
    reader.file.seek(position)
    return start.timestamp() - float(reader._start_time)


def _messages(reader: Any, source: Source) -> Iterator[Any]:
    iterator = iter(reader)
    while True:
        try:
            message = next(iterator)
        except StopIteration:
            return
        if message.is_error_frame:
            source.rejected[ERROR_FRAME] += 1
        elif message.is_remote_frame:
            source.rejected[REMOTE_FRAME] += 1
        else:
            yield message


def _frame(message: Any, offset_s: float, added: int, source: Source) -> Frame | None:
    number = message.channel
    channel = source.channels.index(NO_CHANNEL if number is None else str(int(number) + added))
    if channel is None:
        source.rejected[TOO_MANY_CHANNELS] += 1
        return None
    if not 0 <= message.arbitration_id <= (0x1FFFFFFF if message.is_extended_id else 0x7FF):
        source.rejected[MALFORMED_LINE] += 1
        return None
    time_us = round((message.timestamp + offset_s) * 1e6)
    return Frame(time_us, channel, message.arbitration_id, message.is_extended_id, bytes(message.data[:64]))
