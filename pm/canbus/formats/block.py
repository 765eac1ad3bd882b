"""What every log reader yields: CAN frames as columns, a block at a time.

What belongs here: the `FrameBlock` type, the numbering of bus channels, the `Source` that readers
share, and joining blocks. No file is opened here.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]

BLOCK_FRAMES: Final = 65_536
MAXIMUM_CHANNELS: Final = 256
CLASSIC_BYTES: Final = 8
MAXIMUM_FRAME_BYTES: Final = 64

REMOTE_FRAME: Final = "remote_frame"
ERROR_FRAME: Final = "error_frame"
MALFORMED_LINE: Final = "malformed_line"
LINE_TOO_LONG: Final = "line_too_long"
TOO_MANY_CHANNELS: Final = "too_many_channels"

UTF8_MARK: Final = b"\xef\xbb\xbf"
NEEDS_START: Final = "expected the instant of time zero (--start), because the log's times are relative, but got none"
RELATIVE_BEFORE_US: Final = 315_532_800_000_000
"""Ten years: a log whose first time is earlier counts from its start, for no log is that old or that long."""


@dataclass(frozen=True)
class FrameBlock:
    """n data frames in the order of the log, one array row each."""

    time_us: I64
    """Microseconds since 1970-01-01 UTC."""
    channel: NDArray[np.int16]
    """Index into `channels`."""
    can_id: U32
    """Identifier without flags: 29 or 11 bits."""
    is_extended: NDArray[np.bool_]
    length: U8
    """Payload bytes, 0 to 64."""
    data: U8
    """Shape (n, 8), or (n, 64) when a frame is longer than 8; C order, zeros beyond `length`."""
    channels: tuple[str, ...]
    """Channel names of this log so far, as the log names them."""

    def __len__(self) -> int:
        return len(self.time_us)


class ChannelNames:
    """Numbers the channel names of one log in order of appearance."""

    def __init__(self) -> None:
        self._index: dict[str, int] = {}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._index)

    def index(self, name: str) -> int | None:
        """Number of `name`; None when there are already `MAXIMUM_CHANNELS` others."""
        found = self._index.get(name)
        if found is None and len(self._index) < MAXIMUM_CHANNELS:
            found = self._index[name] = len(self._index)
        return found


@dataclass
class Source:
    """State that the readers of one log share: channel names and counts of what was not a data frame."""

    channels: ChannelNames = field(default_factory=ChannelNames)
    rejected: Counter[str] = field(default_factory=Counter)


class Frames(NamedTuple):
    """Columns of frames as kernels fill and take them; like `FrameBlock`, but `data` may be flat."""

    time_us: I64
    channel: NDArray[np.int16]
    can_id: U32
    is_extended: NDArray[np.bool_]
    length: U8
    data: U8


def new_frames(n: int, width: int) -> Frames:
    """Room for n frames with payloads of up to `width` bytes (8 or 64), `data` of shape (n, width) and zero."""
    return Frames(
        np.empty(n, dtype=np.int64),
        np.empty(n, dtype=np.int16),
        np.empty(n, dtype=np.uint32),
        np.empty(n, dtype=np.bool_),
        np.empty(n, dtype=np.uint8),
        np.zeros((n, width), dtype=np.uint8),
    )


def new_text_frames(text_bytes: int, width: int) -> Frames:
    """Room for what so many bytes of text usually hold, at most a block."""
    return new_frames(min(text_bytes // 24 + 64, BLOCK_FRAMES), width)


def block_of(frames: Frames, n: int, source: Source) -> FrameBlock:
    """The first n frames as a block."""
    return FrameBlock(
        time_us=frames.time_us[:n],
        channel=frames.channel[:n],
        can_id=frames.can_id[:n],
        is_extended=frames.is_extended[:n],
        length=frames.length[:n],
        data=frames.data[:n],
        channels=source.channels.names,
    )


def shift_to_utc_us(first_us: int, start_us: int | None, named_us: int | None = None) -> int:
    """What to add to the times of a log whose first time is `first_us`: 0 unless they count from its start.

    That start is what the user gave, `start_us`, or else what the log names, `named_us`.

    Raises:
        ValueError: nobody says when it was.
    """
    if first_us >= RELATIVE_BEFORE_US:
        return 0
    zero_us = named_us if start_us is None else start_us
    if zero_us is None:
        raise ValueError(NEEDS_START)
    return zero_us


def count_rejected(counts: I64, reasons: Mapping[int, str], source: Source) -> None:
    """Move the counts of what was no data frame, by code, to `source`, by reason."""
    for code, reason in reasons.items():
        if counts[code]:
            source.rejected[reason] += int(counts[code])
    counts[:] = 0


def widened(data: U8, width: int) -> U8:
    """`data` with zeros appended to `width` columns."""
    if data.shape[1] == width:
        return data
    wide = np.zeros((len(data), width), dtype=np.uint8)
    wide[:, : data.shape[1]] = data
    return wide


def merged(blocks: list[FrameBlock], order: I64 | None, source: Source) -> FrameBlock:
    """One block of all rows of `blocks`, in `order` (row numbers of the concatenation) if given."""
    width = max(block.data.shape[1] for block in blocks)

    def column(parts: list[NDArray[Any]]) -> NDArray[Any]:
        joined = np.concatenate(parts)
        return joined if order is None else joined[order]

    return FrameBlock(
        time_us=column([block.time_us for block in blocks]),
        channel=column([block.channel for block in blocks]),
        can_id=column([block.can_id for block in blocks]),
        is_extended=column([block.is_extended for block in blocks]),
        length=column([block.length for block in blocks]),
        data=column([widened(block.data, width) for block in blocks]),
        channels=source.channels.names,
    )
