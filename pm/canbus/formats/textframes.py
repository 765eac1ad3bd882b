"""From the lines of a text log to blocks: columns to fill, numbered channels, time zero.

What belongs here: what the readers of ASC and TRC share and what has nothing to do with how a line
looks. Their channels are numbers, and their times count from a start that the header names or the user
gives.
"""

from collections.abc import Callable, Iterator
from typing import BinaryIO, Final, NamedTuple

import numpy as np

from pm.canbus.formats.block import (
    CLASSIC_BYTES,
    ERROR_FRAME,
    I64,
    LINE_TOO_LONG,
    MALFORMED_LINE,
    MAXIMUM_CHANNELS,
    MAXIMUM_FRAME_BYTES,
    NEEDS_START,
    RELATIVE_BEFORE_US,
    REMOTE_FRAME,
    TOO_MANY_CHANNELS,
    U8,
    UTF8_MARK,
    FrameBlock,
    Frames,
    Source,
    block_of,
    count_rejected,
    new_text_frames,
)
from pm.canbus.formats.lines import whole_lines
from pm.canbus.formats.textscan import find_newline
from pm.canbus.jit import inline_kernel

OTHER_EVENT: Final = "other_event"
"""A line that is no CAN frame and no damage either: bus statistics, status, reassembled messages."""
TRANSMIT_REQUEST: Final = "transmit_request"
"""A frame handed to the controller; the log has it once more when it was sent."""

LONGEST_LINE: Final = 8192
"""Bytes of the longest line read: a reassembled J1939 message of 1,785 bytes needs about 5,500."""

FRAME, SKIP, MALFORMED, REMOTE, ERROR, OTHER, REQUEST, NO_CHANNEL, TOO_LONG = range(9)
"""What a line was."""
REASONS: Final = {
    MALFORMED: MALFORMED_LINE,
    REMOTE: REMOTE_FRAME,
    ERROR: ERROR_FRAME,
    OTHER: OTHER_EVENT,
    REQUEST: TRANSMIT_REQUEST,
    NO_CHANNEL: TOO_MANY_CHANNELS,
    TOO_LONG: LINE_TOO_LONG,
}
"""Under which reason a line that was no frame is counted."""

END, FULL, TOO_WIDE, HEADER, NO_START, NO_COLUMNS = range(6)
"""Why a kernel stopped: at the end of the text, with full columns, at a frame longer than the columns are
wide, at a line of the header, at a frame without time zero, at a frame before the header named its columns."""

CHANNEL, CAN_ID, IS_EXTENDED, LENGTH = range(4)
"""Places in `Line.fields`."""
ZERO_US, HAS_ZERO = range(2)
"""Places in `Log.zero`."""


class Line(NamedTuple):
    """The frame of one line."""

    fields: I64
    data: U8
    """Payload, with room for the longest frame."""


class Log(NamedTuple):
    """What a kernel keeps from line to line."""

    zero: I64
    """Time zero, and whether there is one."""
    state: I64
    """What the format needs."""
    line: Line
    channels: I64
    """Channel numbers in order of appearance, and at the end how many there are."""
    counts: I64
    """Lines by what they were."""


ReadLines = Callable[[U8, int, int, Frames, int, Log], tuple[int, int, int]]
"""(text, place, end, frames, row, log) -> (place of the next line, next row, why it stopped)."""


class Origin:
    """Time zero of a log: what its header names last, or what the user gave.

    A log may name several (one a trigger block). With `start_us` the one in force at the first frame is
    replaced by it, and later ones keep their distance to that one.
    """

    def __init__(self, start_us: int | None) -> None:
        self._start_us = start_us
        self._named_us: int | None = None
        self._first_us: int | None = None
        self._is_fixed = False

    def name(self, named_us: int) -> None:
        self._named_us = named_us

    def fix(self) -> None:
        """A frame was read."""
        if not self._is_fixed:
            self._is_fixed, self._first_us = True, self._named_us

    @property
    def zero_us(self) -> int | None:
        """Microseconds since 1970-01-01 UTC, None if nobody knows."""
        if self._start_us is None:
            return self._named_us
        if self._first_us is None or self._named_us is None:
            return self._start_us
        return self._start_us + self._named_us - self._first_us


def new_log(state: I64) -> Log:
    line = Line(np.zeros(4, dtype=np.int64), np.zeros(MAXIMUM_FRAME_BYTES, dtype=np.uint8))
    channels, counts = np.zeros(MAXIMUM_CHANNELS + 1, dtype=np.int64), np.zeros(TOO_LONG + 1, dtype=np.int64)
    return Log(np.zeros(2, dtype=np.int64), state, line, channels, counts)


def text_blocks(
    stream: BinaryIO,
    source: Source,
    log: Log,
    origin: Origin,
    read_lines: ReadLines,
    read_header: Callable[[bytes], bool],
) -> Iterator[FrameBlock]:
    """Read `stream` to its end, about a megabyte of text or 65,536 frames a block.

    `read_lines` is a kernel; where it stops at a line of the header, `read_header` takes over what the
    line says and returns whether it is whole.

    Raises:
        ValueError: a frame comes before time zero or the order of the columns is known.
    """
    width, is_first = CLASSIC_BYTES, True
    for text, end in whole_lines(stream, source, maximum=LONGEST_LINE):
        at = len(UTF8_MARK) if is_first and text[: len(UTF8_MARK)].tobytes() == UTF8_MARK else 0
        is_first = False
        while at < end:
            frames, row, why = new_text_frames(end - at, width), 0, HEADER
            while why == HEADER:
                zero_us = origin.zero_us
                log.zero[ZERO_US], log.zero[HAS_ZERO] = zero_us or 0, zero_us is not None
                at, row, why = read_lines(text, at, end, frames, row, log)
                if row:
                    origin.fix()
                if why == HEADER:
                    behind = int(find_newline(text, at))
                    log.counts[SKIP if read_header(text[at:behind].tobytes()) else MALFORMED] += 1
                    at = behind + 1
            _register(log.channels, source)
            count_rejected(log.counts, REASONS, source)
            if row:
                yield block_of(frames, row, source)
            if why == NO_START:
                raise ValueError(NEEDS_START)
            if why == NO_COLUMNS:
                raise ValueError("expected the order of the columns in the header, but got a frame")
            if why == TOO_WIDE:
                width = MAXIMUM_FRAME_BYTES


def _register(channels: I64, source: Source) -> None:
    """Name the channels that are new."""
    for number in channels[len(source.channels.names) : channels[-1]].tolist():
        source.channels.index(str(number))


@inline_kernel
def _channel_index(number: int, channels: I64) -> int:
    """Index of a channel number, learnt here if it is new; -1 when there are too many."""
    n = channels[MAXIMUM_CHANNELS]
    index = 0
    while index < n and channels[index] != number:
        index += 1
    if index == MAXIMUM_CHANNELS:
        return -1
    if index == n:
        channels[n] = number
        channels[MAXIMUM_CHANNELS] = n + 1
    return index


@inline_kernel
def store(time_us: int, log: Log, frames: Frames, row: int) -> int:
    """Write the frame of `log.line` into row `row`: `FRAME`, `NO_CHANNEL`, or why the kernel must stop, negated."""
    fields = log.line.fields
    length = fields[LENGTH]
    # python-can's ASC writer gives frames older than the first one as seconds since 1970.
    is_relative = time_us < RELATIVE_BEFORE_US
    code = FRAME
    if row == len(frames.time_us):
        code = -FULL
    elif length > frames.data.shape[1]:
        code = -TOO_WIDE
    elif is_relative and log.zero[HAS_ZERO] == 0:
        code = -NO_START
    else:
        channel = _channel_index(fields[CHANNEL], log.channels)
        if channel < 0:
            code = NO_CHANNEL
        else:
            frames.time_us[row] = time_us + (log.zero[ZERO_US] if is_relative else 0)
            frames.channel[row] = channel
            frames.can_id[row] = fields[CAN_ID]
            frames.is_extended[row] = fields[IS_EXTENDED] != 0
            frames.length[row] = length
            for i in range(length):
                frames.data[row, i] = log.line.data[i]
    return code
