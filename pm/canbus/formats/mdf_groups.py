"""The frames of one data group of an MDF 4 file, a piece at a time.

What belongs here: reading records of one kind or of several mixed (unsorted), with their payloads of
variable length, into blocks of frames. Groups are put in order by `mdf_merge`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pm.canbus.bits import SPARE_BYTES
from pm.canbus.formats.block import (
    CLASSIC_BYTES,
    I64,
    MAXIMUM_FRAME_BYTES,
    TOO_MANY_CHANNELS,
    U8,
    FrameBlock,
    Source,
)
from pm.canbus.formats.mdf_file import Budget, DataStream, MdfFile, UnusualLayoutError
from pm.canbus.formats.mdf_frames import (
    BAD_PAYLOAD,
    BAD_TIME,
    N_CHANNELS,
    N_FRAMES,
    N_MALFORMED,
    N_NO_CHANNEL,
    STREAM,
    TOO_WIDE,
    Layouts,
    State,
    Values,
    find_range,
    new_state,
    read_frames,
    room,
)
from pm.canbus.formats.mdf_layout import ChannelGroup, DataGroup, layouts_of
from pm.canbus.formats.mdf_records import UNKNOWN_RECORD, VARIABLE, Records, positions, walk
from pm.canbus.formats.mdf_values import GatheredValues, RecordBuffer, SignalData, ValueSource, ValueWindow

MALFORMED_RECORD: Final = "malformed_record"
"""Reason for a record with an identifier that cannot be: over 0x7FF and not extended."""
_LARGEST_RECORD_ID: Final = 0xFFFF
_RECORDS: Final = (b"##DT", b"##DV")
_SIGNALS: Final = (b"##SD",)


class Piece(NamedTuple):
    """Frames of a data group, in the order of its records."""

    block: FrameBlock
    key_us: I64
    """Highest time so far, in each group for itself."""


@dataclass
class Shared:
    """What the groups of one file share. The more groups are read side by side, the less each may hold."""

    file: MdfFile
    source: Source
    start_us: int
    budget: Budget
    piece_frames: int
    """Most frames in a piece."""
    buffer_bytes: int
    """Bytes of records read at once; at least two of the largest records."""
    window_bytes: int
    """Most bytes of a stream of payloads held at once: records and payloads are written side by side."""


class GroupReader:
    """The frames of a data group; `pieces` reads them once."""

    def __init__(self, group: DataGroup, shared: Shared) -> None:
        self._group, self._shared = group, shared
        self._members = [member for member in group.groups if member.frames is not None]
        frames = [member.frames for member in self._members if member.frames is not None]
        self._state: State = new_state(len(frames))
        self._channel_of = np.zeros(0, dtype=np.int16)
        self._n_bytes = CLASSIC_BYTES
        self._records = None if group.n_id_bytes == 0 else _records(group, self._members)
        self._layouts, self._windows = self._with_streams(layouts_of(frames))

    @property
    def is_mixed(self) -> bool:
        """Its frames come from several channel groups, each in order of time for itself."""
        return len(self._members) > 1

    def pieces(self) -> Iterator[Piece]:
        """Frames in the order of the records, a piece at a time.

        Raises:
            ValueError: the data is truncated or damaged.
        """
        for member in self._group.groups:
            if member.counted and member.n_records:
                self._shared.source.rejected[member.counted] += member.n_records
        if self._records is None:
            yield from self._of_one_size(self._group.groups[0])
        else:
            yield from self._of_many(self._records)

    def _with_streams(self, layouts: Layouts) -> tuple[Layouts, list[ValueWindow]]:
        """Number the streams of payloads that the groups name."""
        number_of: dict[int, int] = {}
        windows: list[ValueWindow] = []
        for row, member in enumerate(self._members):
            link = member.frames.signal_link if member.frames else 0
            if not link:
                continue
            if link not in number_of:
                number_of[link] = len(windows)
                windows.append(ValueWindow(self._value_source(link), self._shared.window_bytes))
            layouts.groups[row, STREAM] = number_of[link]
        return layouts, windows

    def _value_source(self, link: int) -> ValueSource:
        file, budget = self._shared.file, self._shared.budget
        if file.head(link)[0] != b"##CG":
            return SignalData(DataStream(file, link, _SIGNALS, budget))
        wanted = next((number for number, member in enumerate(self._group.groups) if member.at == link), None)
        if self._records is None or wanted is None or self._group.groups[wanted].record_bytes != VARIABLE:
            raise UnusualLayoutError("expected payloads among the records of their group, but got them elsewhere")
        own = self._records._replace(counts=np.zeros_like(self._records.counts))
        return GatheredValues(RecordBuffer(self._stream(), self._shared.buffer_bytes), own, wanted)

    def _stream(self) -> DataStream:
        return DataStream(self._shared.file, self._group.data_link, _RECORDS, self._shared.budget)

    def _of_one_size(self, member: ChannelGroup) -> Iterator[Piece]:
        """Records of one channel group."""
        stream, size = self._stream(), member.record_bytes
        if size <= 0 or (member.frames is None and member.n_records is not None):
            return
        n_piece = min(self._shared.piece_frames, max(self._shared.buffer_bytes // size, 1))
        groups = np.zeros(n_piece, dtype=np.int32)
        starts = positions(n_piece, size)
        data = np.zeros(n_piece * size + SPARE_BYTES, dtype=np.uint8)
        n_left = member.n_records
        while n_left is None or n_left > 0:
            n_wanted = n_piece if n_left is None else min(n_piece, n_left)
            n_bytes = stream.read_into(data[: n_wanted * size])
            n, n_over = divmod(n_bytes, size)
            if n_over or (n_left is not None and n < n_wanted):
                raise ValueError(f"expected {n_wanted} whole records, but got {n} and {n_over} bytes: truncated")
            if member.frames is not None:
                yield from self._read(data, starts, groups, n)
            elif member.counted and n:
                self._shared.source.rejected[member.counted] += n
            if n < n_wanted:
                return
            n_left = None if n_left is None else n_left - n

    def _of_many(self, records: Records) -> Iterator[Piece]:
        """Records of several channel groups, mixed."""
        buffer = RecordBuffer(self._stream(), self._shared.buffer_bytes)
        starts = np.zeros(self._shared.piece_frames, dtype=np.int64)
        groups = np.zeros(self._shared.piece_frames, dtype=np.int32)
        while buffer.refill():
            n = 1
            while n:
                buffer.at, n, why = walk(buffer.data, buffer.at, buffer.end, records, starts, groups)
                if why == UNKNOWN_RECORD:
                    raise buffer.refuse_unknown(records.n_id_bytes)
                yield from self._read(buffer.data, starts, groups, n)
        for number, member in enumerate(self._group.groups):
            if member.counted and member.n_records is None and records.counts[number]:
                self._shared.source.rejected[member.counted] += int(records.counts[number])

    def _read(self, data: U8, starts: I64, groups: NDArray[np.int32], n: int) -> Iterator[Piece]:
        """Frames of the n records at `starts`."""
        if n == 0:
            return
        values = self._values(data, starts, groups, n)
        columns = room(n, self._n_bytes)
        numbers = self._state.numbers
        numbers[N_FRAMES] = 0
        at = 0
        while at < n:
            at, why = read_frames(
                data, starts, groups, at, n, self._layouts, values, self._shared.start_us, columns, self._state
            )
            if why == TOO_WIDE:
                self._n_bytes = MAXIMUM_FRAME_BYTES
                wide = np.zeros((n, MAXIMUM_FRAME_BYTES // 8), dtype=np.uint64)
                wide[:, :1] = columns.words
                columns = columns._replace(words=wide)
            elif why == BAD_TIME:
                raise ValueError("expected a time from 1970 to 9999, but got another: damaged records")
            elif why == BAD_PAYLOAD:
                raise ValueError("expected a payload within its stream, but got one that ends behind it")
        rejected = self._shared.source.rejected
        for place, reason in ((N_MALFORMED, MALFORMED_RECORD), (N_NO_CHANNEL, TOO_MANY_CHANNELS)):
            if numbers[place]:
                rejected[reason] += int(numbers[place])
                numbers[place] = 0
        m = int(numbers[N_FRAMES])
        if m == 0:
            return
        yield Piece(
            FrameBlock(
                time_us=columns.time_us[:m],
                channel=self._numbered(columns.channel[:m]),
                can_id=columns.can_id[:m],
                is_extended=columns.is_extended[:m],
                length=columns.length[:m],
                data=columns.words[:m].view(np.uint8),
                channels=self._shared.source.channels.names,
            ),
            columns.key_us[:m],
        )

    def _numbered(self, channel: NDArray[np.int16]) -> NDArray[np.int16]:
        """Indices of this group's bus numbers as those of the log's channel names."""
        channels, n = self._shared.source.channels, int(self._state.numbers[N_CHANNELS])
        if n > len(self._channel_of):
            found = [channels.index(str(number)) for number in self._state.channels[:n].tolist()]
            if None in found:
                raise ValueError("expected at most 256 bus channels, but got more")
            self._channel_of = np.array(found, dtype=np.int16)
        if (self._channel_of == np.arange(n)).all():
            return channel
        return self._channel_of[channel]

    def _values(self, data: U8, starts: I64, groups: NDArray[np.int32], n: int) -> Values:
        """The streams of payloads, as far as n records need them."""
        for number, window in enumerate(self._windows):
            lowest, highest = find_range(data, starts, groups, n, self._layouts, number)
            if lowest == -2:
                raise ValueError("expected the place of a payload, but got one beyond every file")
            if lowest >= 0:
                window.cover(lowest, highest)
        windows = self._windows
        if not windows:
            return _NO_VALUES
        sizes = np.array([window.n for window in windows], dtype=np.int64)
        start = np.cumsum(sizes) - sizes
        if len(windows) == 1:
            joined = windows[0].data
        else:
            joined = np.concatenate([*(window.data[: window.n] for window in windows), np.zeros(SPARE_BYTES, np.uint8)])
        return Values(joined, start, start + sizes, np.array([window.base for window in windows], dtype=np.int64))


_NONE: Final = np.zeros(0, dtype=np.int64)
_NO_VALUES: Final = Values(np.zeros(SPARE_BYTES, dtype=np.uint8), _NONE, _NONE, _NONE)


def _records(group: DataGroup, members: list[ChannelGroup]) -> Records:
    """Record ids as a table. Groups without frames are passed over, whatever their size."""
    highest = max(member.record_id for member in group.groups)
    if highest > _LARGEST_RECORD_ID:
        raise UnusualLayoutError(f"expected record ids up to {_LARGEST_RECORD_ID}, but got {highest}")
    kind_of = np.full(highest + 1, -1, dtype=np.int64)
    for number, member in enumerate(group.groups):
        kind_of[member.record_id] = number
    targets = {member.at: row for row, member in enumerate(members)}
    return Records(
        n_id_bytes=group.n_id_bytes,
        kind_of=kind_of,
        size=np.array([member.record_bytes for member in group.groups], dtype=np.int64),
        target=np.array([targets.get(member.at, -1) for member in group.groups], dtype=np.int64),
        counts=np.zeros(len(group.groups), dtype=np.int64),
    )
