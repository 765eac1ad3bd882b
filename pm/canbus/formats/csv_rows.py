"""Tables of CAN frames (python-can, Vehicle Spy, Vector) as blocks of frames.

What belongs here: going through the rows of a table whose columns `csv_header` found, a kernel for all of
them. A row is one line; a cell may stand in quotes.
"""

import io
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, cast

import numpy as np
from numpy.typing import NDArray

from pm.canbus.formats.block import (
    CLASSIC_BYTES,
    I64,
    MAXIMUM_FRAME_BYTES,
    U8,
    FrameBlock,
    Frames,
    Source,
    block_of,
    count_rejected,
    new_text_frames,
    shift_to_utc_us,
)
from pm.canbus.formats.csv_header import LARGEST_HEAD_BYTES, csv_layout
from pm.canbus.formats.csv_row import (
    CAN_ID,
    CHANNEL,
    IS_EXTENDED,
    LENGTH,
    N_OTHER,
    TIME_US,
    Names,
    Row,
    new_row,
    read_row,
    settings_of,
)
from pm.canbus.formats.lines import whole_lines
from pm.canbus.formats.textframes import (
    FRAME,
    LONGEST_LINE,
    REASONS,
    TOO_LONG,
)
from pm.canbus.formats.textscan import RETURN, find_newline
from pm.canbus.jit import kernel

UNNAMED_CHANNEL: Final = "unknown"
"""Channel where a table has none (python-can), or an empty cell."""


class _Behind(io.RawIOBase):
    """The rest of the first bytes of a file, then what is left of its stream."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head, self._stream = memoryview(head), stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._head:
            return cast("int", self._stream.readinto(buffer))  # type: ignore[attr-defined]
        n = min(len(buffer), len(self._head))
        buffer[:n], self._head = self._head[:n], self._head[n:]
        return n


def csv_blocks(stream: BinaryIO, source: Source, *, start_us: int | None) -> Iterator[FrameBlock]:
    """Read a table to its end, about a megabyte of text a block.

    Times before 1980 count from the start of the log: `start_us`, microseconds since 1970-01-01 UTC, or
    else what the lines above a Vehicle Spy header name. A frame is extended if its column says so; without
    such a column if its identifier ends in `x`, has eight digits, or is above 0x7FF. A row with fewer cells
    than the header needs, or whose payload is shorter than its length, is malformed.

    Raises:
        ValueError: no header is known, or times count from a start that nobody names.
    """
    head = _read_head(stream)
    layout = csv_layout(head)
    if layout is None:
        raise ValueError("expected the header of a table of CAN frames, but got none")
    settings, row = settings_of(layout), new_row(layout)
    counts, numbers = np.zeros(max(REASONS) + 1, dtype=np.int64), np.full(len(row.names.length), -1, dtype=np.int16)
    body = cast("BinaryIO", io.BufferedReader(_Behind(head[layout.data_at :], stream)))
    shift_us, width = None, CLASSIC_BYTES
    for text, end in whole_lines(body, source, maximum=LONGEST_LINE):
        at = 0
        while at < end:
            frames = new_text_frames(end - at, width)
            at, n, is_too_narrow = _read_rows(text, at, end, settings, frames, row, counts)
            width = MAXIMUM_FRAME_BYTES if is_too_narrow else CLASSIC_BYTES
            count_rejected(counts, REASONS, source)
            if n:
                if shift_us is None:
                    shift_us = shift_to_utc_us(int(frames.time_us[0]), start_us, layout.start_us)
                _register(row.names, int(settings[N_OTHER]), numbers, source)
                frames.time_us[:n] += shift_us
                frames.channel[:n] = numbers[frames.channel[:n]]
                yield block_of(frames, n, source)


def _read_head(stream: BinaryIO) -> bytes:
    head = b""
    while len(head) < LARGEST_HEAD_BYTES and (more := stream.read(LARGEST_HEAD_BYTES - len(head))):
        head += more
    return head


def _register(names: Names, n_other: int, numbers: NDArray[np.int16], source: Source) -> None:
    """Give every new name its number in the log."""
    for place in range(n_other, int(names.n[0])):
        if numbers[place] < 0:
            name = names.text[place, : names.length[place]].tobytes().decode("utf-8", "backslashreplace")
            found = source.channels.index(name or UNNAMED_CHANNEL)
            numbers[place] = -1 if found is None else found


@kernel
def _read_rows(
    text: U8, at: int, end: int, settings: I64, frames: Frames, row: Row, counts: I64
) -> tuple[int, int, bool]:
    """Read rows from `at` on until the end, full columns, or a frame longer than the columns are wide.

    Returns (place of the next row, frames read, whether the next frame is too long). `text[end - 1]` is a
    newline.
    """
    n = 0
    while at < end and n < len(frames.time_us):
        newline = find_newline(text, at)
        row_end = newline - 1 if newline > at and text[newline - 1] == RETURN else newline
        if row_end - at > LONGEST_LINE:
            counts[TOO_LONG] += 1
        elif row_end > at:
            code = read_row(text, at, row_end, settings, row)
            length = row.fields[LENGTH]
            if code != FRAME:
                counts[code] += 1
            elif length > frames.data.shape[1]:
                return at, n, True
            else:
                frames.time_us[n] = row.fields[TIME_US]
                frames.channel[n] = row.fields[CHANNEL]
                frames.can_id[n] = row.fields[CAN_ID]
                frames.is_extended[n] = row.fields[IS_EXTENDED] != 0
                frames.length[n] = length
                for i in range(length):
                    frames.data[n, i] = row.data[i]
                n += 1
        at = newline + 1
    return at, n, False
