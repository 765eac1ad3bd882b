"""What every log reader yields: CAN frames as columns, a block at a time.

What belongs here: the `FrameBlock` type, the numbering of bus channels, the `Source` that readers
share, and the block builder for readers that hand over one frame at a time. No file is opened here.
"""

from collections import Counter
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


class Frame(NamedTuple):
    """One data frame, for readers that have no columns."""

    time_us: int
    channel: int
    can_id: int
    is_extended: bool
    payload: bytes


def block_of(frames: list[Frame], source: Source) -> FrameBlock:
    """Columns of `frames`."""
    longest = max((len(frame.payload) for frame in frames), default=0)
    width = CLASSIC_BYTES if longest <= CLASSIC_BYTES else MAXIMUM_FRAME_BYTES
    packed = b"".join(frame.payload.ljust(width, b"\0") for frame in frames)
    return FrameBlock(
        time_us=np.array([frame.time_us for frame in frames], dtype=np.int64),
        channel=np.array([frame.channel for frame in frames], dtype=np.int16),
        can_id=np.array([frame.can_id for frame in frames], dtype=np.uint32),
        is_extended=np.array([frame.is_extended for frame in frames], dtype=np.bool_),
        length=np.array([len(frame.payload) for frame in frames], dtype=np.uint8),
        data=np.frombuffer(packed, dtype=np.uint8).reshape(len(frames), width),
        channels=source.channels.names,
    )


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
