"""MF4 (ASAM MDF 4 bus logging) through asammdf, an optional package.

What belongs here: reading the CAN_DataFrame channel groups in pieces and merging them by time. A
logger may write one group for the whole bus or one for each channel and identifier width.
"""

import logging
import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from pm.canbus.formats.block import (
    BLOCK_FRAMES,
    ERROR_FRAME,
    I64,
    MAXIMUM_CHANNELS,
    MAXIMUM_FRAME_BYTES,
    REMOTE_FRAME,
    U8,
    FrameBlock,
    Source,
    merged,
    widened,
)
from pm.canbus.formats.mdf_check import check_whole
from pm.errors import ConfigError

_DATA_FRAME: Final = "CAN_DataFrame"
_COUNTED: Final = {"CAN_RemoteFrame": REMOTE_FRAME, "CAN_ErrorFrame": ERROR_FRAME}
_EXTENDED_BIT: Final = 0x80000000


def mdf_blocks(path: Path, source: Source) -> Iterator[FrameBlock]:
    """Read an MF4 log, frames of all groups in order of time.

    Raises:
        ConfigError: asammdf is not installed.
        ValueError: the file is truncated or damaged (asammdf's own errors pass through as well).
    """
    try:
        from asammdf import MDF
    except ImportError:
        raise ConfigError(
            f"log {path}: expected the extra pm[mdf] for MF4 files, but asammdf is not installed"
        ) from None
    check_whole(path)
    _quieten()
    # An unfinished file is copied before it is read; the copy goes with this folder, whatever happens.
    with tempfile.TemporaryDirectory() as folder, MDF(path, temporary_folder=folder) as mdf:
        groups = [_Group(mdf, index, source) for index in _data_groups(mdf, source)]
        yield from _merge(groups, source)


def _quieten() -> None:
    """Keep asammdf's dumps of damaged files off the screen: what it finds is raised, and told once."""
    from asammdf.blocks.mdf_v4 import MDF4

    logging.getLogger("asammdf").setLevel(logging.CRITICAL)

    def close_what_was_opened(mdf: Any) -> None:
        # Its own __del__ fails with a stack trace on an object whose __init__ failed, and after its folder is gone.
        with suppress(AttributeError, OSError):
            mdf.close()

    MDF4.__del__ = close_what_was_opened


def _data_groups(mdf: Any, source: Source) -> list[int]:
    """Groups that hold data frames; remote and error frames are counted on the way."""
    found = []
    for index, group in enumerate(mdf.groups):
        names = {channel.name for channel in group.channels}
        cycles = int(group.channel_group.cycles_nr)
        for name, reason in _COUNTED.items():
            if name in names and cycles:
                source.rejected[reason] += cycles
        if _DATA_FRAME in names and cycles:
            found.append(index)
    return found


class _Group:
    """One channel group, read in pieces of `BLOCK_FRAMES` records."""

    def __init__(self, mdf: Any, index: int, source: Source) -> None:
        self._mdf, self._index, self._source = mdf, index, source
        group = mdf.groups[index]
        self._names = {channel.name for channel in group.channels}
        self._left = int(group.channel_group.cycles_nr)
        self._offset = 0
        acquisition = str(getattr(group.channel_group, "acq_name", "") or "")
        number = re.search(r"CAN\D*(\d+)", acquisition)
        self._bus = number[1] if number else "0"
        self._start_us = _start_us(mdf.header.start_time)
        self.block: FrameBlock | None = None
        self.load()

    @property
    def is_exhausted(self) -> bool:
        return self._left <= 0

    def load(self) -> None:
        """Replace `block` by the next piece, None after the last."""
        if self.is_exhausted:
            self.block = None
            return
        count = min(BLOCK_FRAMES, self._left)
        block = self._read(count)
        if len(block) != count:
            raise ValueError(f"expected {count} records in group {self._index}, but got {len(block)}: truncated")
        self._left -= count
        self._offset += count
        self.block = block

    def _signal(self, field: str, count: int) -> Any:
        # Converted values: loggers keep a group's bus and identifier width as a conversion of the record number.
        return self._mdf.get(
            f"{_DATA_FRAME}.{field}",
            group=self._index,
            record_offset=self._offset,
            record_count=count,
        )

    def _read(self, count: int) -> FrameBlock:
        identifiers = self._signal("ID", count)
        can_id = np.asarray(identifiers.samples).astype(np.uint32)
        is_extended = (can_id & _EXTENDED_BIT) != 0
        if f"{_DATA_FRAME}.IDE" in self._names:
            is_extended = is_extended | (np.asarray(self._signal("IDE", count).samples) != 0)
        payload = np.asarray(self._signal("DataBytes", count).samples).astype(np.uint8)
        sizes = "DataLength" if f"{_DATA_FRAME}.DataLength" in self._names else "DLC"
        length = np.asarray(self._signal(sizes, count).samples).astype(np.uint8)
        return FrameBlock(
            time_us=self._start_us + np.rint(np.asarray(identifiers.timestamps) * 1e6).astype(np.int64),
            channel=self._channels(count),
            can_id=can_id & np.where(is_extended, np.uint32(0x1FFFFFFF), np.uint32(0x7FF)),
            is_extended=is_extended,
            length=np.minimum(length, payload.shape[1]).astype(np.uint8),
            data=_payload(payload, length),
            channels=self._source.channels.names,
        )

    def _channels(self, count: int) -> Any:
        if f"{_DATA_FRAME}.BusChannel" not in self._names:
            numbers, where = np.array([self._bus]), np.zeros(count, dtype=np.intp)
        else:
            numbers, where = np.unique(np.asarray(self._signal("BusChannel", count).samples), return_inverse=True)
        indices = [self._source.channels.index(_bus_name(number)) for number in numbers.tolist()]
        if None in indices:
            raise ValueError(f"expected at most {MAXIMUM_CHANNELS} bus channels, but got more")
        return np.array(indices, dtype=np.int16)[where]


def _bus_name(number: float | str) -> str:
    return str(int(number)) if isinstance(number, float) else str(number)


def _payload(payload: U8, length: U8) -> U8:
    """Columns up to 8 or 64 bytes, with zeros beyond each frame's length."""
    longest = int(length.max(initial=0))
    width = 8 if longest <= 8 else MAXIMUM_FRAME_BYTES
    data = widened(np.ascontiguousarray(payload[:, :width]), width)
    beyond = np.arange(width) >= length[:, None]
    return np.where(beyond, np.uint8(0), data)


def _start_us(start: datetime) -> int:
    aware = start if start.tzinfo is not None else start.replace(tzinfo=UTC)
    return round((aware - datetime.fromtimestamp(0, UTC)).total_seconds() * 1e6)


def _merge(groups: list[_Group], source: Source) -> Iterator[FrameBlock]:
    """Blocks in order of time; frames of one time keep the order of the groups."""
    waiting: list[FrameBlock] = []
    while live := [group for group in groups if group.block is not None]:
        # Until its group is exhausted, nothing older than a piece's last time can follow it.
        bound = min(
            (int(group.block.time_us[-1]) for group in live if group.block and not group.is_exhausted), default=None
        )
        pieces = waiting
        for group in live:
            if group.block is not None and (
                bound is None or group.is_exhausted or int(group.block.time_us[-1]) <= bound
            ):
                pieces.append(group.block)
                group.load()
        everything = merged(pieces, None, source)
        order = np.argsort(everything.time_us, kind="stable")
        ready = len(order) if not any(group.block for group in groups) else _ready(everything, order, groups)
        waiting = [merged([everything], order[ready:], source)] if ready < len(order) else []
        if ready:
            yield merged([everything], order[:ready], source)


def _ready(everything: FrameBlock, order: I64, groups: list[_Group]) -> int:
    """How many frames, in order of time, are older than everything still to come."""
    first = min(int(group.block.time_us[0]) for group in groups if group.block is not None)
    return int(np.searchsorted(everything.time_us[order], first, side="left"))
