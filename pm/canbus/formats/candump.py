"""candump text, `-L` and screen, as blocks of frames.

What belongs here: reading many lines at once. Lines of one layout (same width of the time, same
channel, same width of the identifier) differ only in digits at known places, so one pass of array
arithmetic reads them all; the next line that does not fit gives the next layout. Lines without a
layout (CAN FD, remote frames, garbage) are read one by one by `pm.canbus.formats.line`.
"""

from collections.abc import Iterator
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from pm.canbus.formats.ascii import words_at_every_byte
from pm.canbus.formats.block import (
    CLASSIC_BYTES,
    ERROR_FRAME,
    I64,
    LINE_TOO_LONG,
    MALFORMED_LINE,
    MAXIMUM_FRAME_BYTES,
    TOO_MANY_CHANNELS,
    U64,
    FrameBlock,
    Source,
    widened,
)
from pm.canbus.formats.layout import Layout, find_layout, read_columns
from pm.canbus.formats.line import (
    ERROR_FLAG,
    LARGEST_EXTENDED,
    LARGEST_STANDARD,
    MAXIMUM_LINE,
    LineFrame,
    Style,
    read_line,
)

READ_BYTES: Final = 1 << 20
BEFORE: Final = 16
"""Spare bytes in front of the text, for words that end where the seconds end."""
AFTER: Final = MAXIMUM_LINE + 64
MAXIMUM_LAYOUTS: Final = 24
"""Layouts tried a block; what is left then is read line by line."""

RELATIVE_BEFORE_US: Final = 315_532_800_000_000
"""Times before 1980 count from the start of the log: no log is that old."""

_NEWLINE, _RETURN, _SPACE = 10, 13, 32


def candump_blocks(stream: BinaryIO, style: Style, origin_us: int, source: Source) -> Iterator[FrameBlock]:
    """Read `stream` to its end, about a megabyte of text a block; `origin_us` is added to relative times."""
    for text in _whole_lines(stream, source):
        block = _Lines(text, style, source).block()
        if len(block):
            early = block.time_us < RELATIVE_BEFORE_US
            np.add(block.time_us, origin_us, out=block.time_us, where=early)
            yield block


def _whole_lines(stream: BinaryIO, source: Source) -> Iterator[bytes]:
    rest, skipping = b"", False
    while chunk := stream.read(READ_BYTES):
        if skipping:
            _, newline, chunk = chunk.partition(b"\n")
            skipping = not newline
        text = rest + chunk
        end = text.rfind(b"\n") + 1
        rest = b"" if skipping else text[end:]
        if len(rest) > MAXIMUM_LINE:
            source.rejected[LINE_TOO_LONG] += 1
            rest, skipping = b"", True
        if end:
            yield text[:end]
    if rest:
        yield rest + b"\n"


class _Lines:
    """The lines of one block of text and the columns they fill, layout by layout."""

    def __init__(self, text: bytes, style: Style, source: Source) -> None:
        self.buffer = np.zeros(BEFORE + len(text) + AFTER, dtype=np.uint8)
        self.buffer[BEFORE : BEFORE + len(text)] = np.frombuffer(text, dtype=np.uint8)
        self.style: Style = style
        self.source = source
        self.starts, self.ends = self._bounds()
        n_lines = len(self.starts)
        self.time_us = np.zeros(n_lines, dtype=np.int64)
        self.channel = np.zeros(n_lines, dtype=np.int16)
        self.can_id = np.zeros(n_lines, dtype=np.uint32)
        self.is_extended = np.zeros(n_lines, dtype=np.bool_)
        self.length = np.zeros(n_lines, dtype=np.uint8)
        self.data = np.zeros((n_lines, CLASSIC_BYTES), dtype=np.uint8)
        self.is_frame = np.zeros(n_lines, dtype=np.bool_)

    def block(self) -> FrameBlock:
        words = words_at_every_byte(self.buffer)
        left: I64 = np.arange(len(self.starts))
        for _ in range(MAXIMUM_LAYOUTS):
            left, layout = self._next_layout(left)
            if layout is None:
                break
            left = left[~self._read_layout(words, layout, left)]
        for row in left.tolist():
            self._read_single(row)
        keep = slice(None) if self.is_frame.all() else self.is_frame
        return FrameBlock(
            time_us=self.time_us[keep],
            channel=self.channel[keep],
            can_id=self.can_id[keep],
            is_extended=self.is_extended[keep],
            length=self.length[keep],
            data=self.data[keep],
            channels=self.source.channels.names,
        )

    def _bounds(self) -> tuple[I64, I64]:
        newlines = np.flatnonzero(self.buffer == _NEWLINE)
        starts, ends = np.empty_like(newlines), newlines.copy()
        starts[:1] = BEFORE
        starts[1:] = newlines[:-1] + 1
        ends -= self.buffer[ends - 1] == _RETURN
        if self.style == "candump":  # python-can and candump -x append the direction
            last = self.buffer[ends - 1]
            ends -= 2 * ((self.buffer[ends - 2] == _SPACE) & ((last == ord("R")) | (last == ord("T"))))
        too_long = ends - starts > MAXIMUM_LINE
        if too_long.any():
            self.source.rejected[LINE_TOO_LONG] += int(too_long.sum())
        keep = (ends > starts) & ~too_long
        return (starts, ends) if keep.all() else (starts[keep], ends[keep])

    def _line(self, row: int) -> bytes:
        return self.buffer[self.starts[row] : self.ends[row]].tobytes()

    def _next_layout(self, left: I64) -> tuple[I64, Layout | None]:
        """Read lines one by one until one has a layout; that line stays among those left."""
        for taken, row in enumerate(left.tolist()):
            line = self._line(row)
            if not isinstance(read_line(line, self.style), str):
                layout = find_layout(line, self.style, self.source)
                if layout is not None:
                    return left[taken:], layout
            self._read_single(row)
        return left[:0], None

    def _read_single(self, row: int) -> None:
        frame = read_line(self._line(row), self.style)
        if isinstance(frame, str):
            self.source.rejected[frame] += 1
            return
        channel = self.source.channels.index(frame.channel)
        if channel is None:
            self.source.rejected[TOO_MANY_CHANNELS] += 1
            return
        self._put(row, frame, channel)

    def _put(self, row: int, frame: LineFrame, channel: int) -> None:
        if len(frame.payload) > self.data.shape[1]:
            self.data = widened(self.data, MAXIMUM_FRAME_BYTES)
        self.time_us[row], self.channel[row], self.can_id[row] = frame.time_us, channel, frame.can_id
        self.is_extended[row], self.length[row], self.is_frame[row] = frame.is_extended, len(frame.payload), True
        self.data[row, : len(frame.payload)] = np.frombuffer(frame.payload, dtype=np.uint8)

    def _read_layout(self, words: U64, layout: Layout, rows: I64) -> NDArray[np.bool_]:
        """Fill the columns at `rows` from the lines that have the layout; which ones they were."""
        read = read_columns(words, self.starts[rows], self.ends[rows], layout)
        is_extended = layout.n_id == 8
        is_frame = read.can_id <= (LARGEST_EXTENDED if is_extended else LARGEST_STANDARD)
        self._count_no_frames(read.can_id[read.fits & ~is_frame], is_extended)
        kept = read.fits & is_frame
        target = rows[kept]
        self.time_us[target] = read.time_us[kept]
        self.channel[target] = layout.channel
        self.can_id[target] = read.can_id[kept]
        self.is_extended[target] = is_extended
        self.length[target] = read.length[kept]
        self.data[target, :CLASSIC_BYTES] = read.data[kept]
        self.is_frame[target] = True
        return read.fits

    def _count_no_frames(self, can_id: U64, is_extended: bool) -> None:
        n_error = int(((can_id & np.uint64(ERROR_FLAG)) != 0).sum()) if is_extended else 0
        for reason, count in ((ERROR_FRAME, n_error), (MALFORMED_LINE, len(can_id) - n_error)):
            if count:
                self.source.rejected[reason] += count
