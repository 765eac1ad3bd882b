"""The frames of one data group of an MDF 4 file, a piece at a time.

What belongs here: reading records from their data blocks, of one kind or of several mixed (unsorted),
and the streams of payloads of variable length beside them. Groups are put in order by `mdf_merge`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

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
from pm.canbus.formats.mdf_layout import ChannelGroup, DataGroup, layouts_of
from pm.canbus.formats.mdf_records import (
    BAD_PAYLOAD,
    BAD_TIME,
    LONGEST_VALUE,
    N_CHANNELS,
    N_FRAMES,
    N_MALFORMED,
    N_NO_CHANNEL,
    STREAM,
    TOO_LONG,
    TOO_WIDE,
    UNKNOWN_RECORD,
    VARIABLE,
    Layouts,
    Records,
    State,
    Values,
    find_range,
    gather,
    new_state,
    positions,
    read_frames,
    room,
    walk,
)

MALFORMED_RECORD: Final = "malformed_record"
"""Reason for a record with an identifier that cannot be: over 0x7FF and not extended."""
LARGEST_WINDOW: Final = 1 << 24
"""Most bytes of a stream of payloads held at once, 16 MiB: records and payloads are written side by side."""

_BUFFER_BYTES: Final = 1 << 20
_KEPT_BEHIND: Final = 1 << 20
_MOST_STREAMS: Final = 64
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
    """What the groups of one file share."""

    file: MdfFile
    source: Source
    start_us: int
    piece_frames: int
    """Most frames in a piece: fewer, the more groups are read side by side."""
    budget: Budget
    keeps_inflated: bool
    """Inflated data blocks may stay in memory while other groups are read."""


class ValueSource(Protocol):
    """Where the bytes of a stream of payloads come from."""

    def fill(self, out: U8) -> int:
        """Put the next bytes into `out`, 0 at the end."""


class _SignalData:
    """A stream of payloads in SD blocks of its own."""

    def __init__(self, stream: DataStream) -> None:
        self._stream = stream

    def fill(self, out: U8) -> int:
        return self._stream.read_into(out)


class _Buffer:
    """Bytes of records of mixed kinds: a whole number of them from `at` on, and a part of one."""

    def __init__(self, stream: DataStream, n_bytes: int) -> None:
        self._stream = stream
        self.data = np.zeros(n_bytes + SPARE_BYTES, dtype=np.uint8)
        self.at = self.end = 0
        self.n_dropped = 0
        """Bytes before the first of `data`."""

    def refill(self) -> bool:
        """Drop what lies before `at`, read on; False at the end of the stream.

        Raises:
            ValueError: the stream ends within a record.
        """
        while self.at > self.end:  # a long record that is passed over
            n_skipped = self.at - self.end
            n = self._stream.read_into(self.data[: min(n_skipped, len(self.data) - SPARE_BYTES)])
            if n == 0:
                raise ValueError(f"expected {n_skipped} more bytes of a record, but got the end of the data: truncated")
            self.n_dropped += self.end
            self.at, self.end = self.at - self.end, n
        n_kept = self.end - self.at
        self.data[:n_kept] = self.data[self.at : self.end].copy()
        self.n_dropped += self.at
        n = self._stream.read_into(self.data[n_kept : len(self.data) - SPARE_BYTES])
        self.at, self.end = 0, n_kept + n
        if n == 0 and n_kept:
            raise ValueError(f"expected whole records up to the end, but got {n_kept} bytes of another: truncated")
        return n > 0

    def refuse_unknown(self, n_id_bytes: int) -> ValueError:
        """What to raise at a record whose id no channel group has."""
        found = int.from_bytes(self.data[self.at : self.at + n_id_bytes].tobytes(), "little")
        return ValueError(f"expected a record at byte {self.n_dropped + self.at} of the data, but got id {found}")


class _GatheredValues:
    """A stream of payloads whose values are records among all others: read for itself, beside them."""

    def __init__(self, stream: DataStream, records: Records, wanted: int) -> None:
        self._buffer = _Buffer(stream, _BUFFER_BYTES)
        self._records, self._wanted = records, wanted

    def fill(self, out: U8) -> int:
        buffer = self._buffer
        while True:
            buffer.at, n, why = gather(buffer.data, buffer.at, buffer.end, self._records, self._wanted, out)
            if why == UNKNOWN_RECORD:
                raise buffer.refuse_unknown(self._records.n_id_bytes)
            if why == TOO_LONG:
                raise ValueError(f"expected payloads of at most {LONGEST_VALUE} bytes, but got a longer one")
            if n:
                return n
            if not buffer.refill():
                return 0


class _Window:
    """The part of a stream of payloads that the records at hand need."""

    def __init__(self, source: ValueSource) -> None:
        self._source = source
        self._data = np.zeros(2 * _BUFFER_BYTES + SPARE_BYTES, dtype=np.uint8)
        self.base = 0
        self.n = 0

    @property
    def data(self) -> U8:
        return self._data

    def cover(self, lowest: int, highest: int) -> None:
        """Hold the payloads from offset `lowest` to the one at `highest`.

        Raises:
            ValueError: the stream has none there, or they lie too far from each other or from those before.
        """
        if lowest < self.base or highest - max(lowest, self.base) > LARGEST_WINDOW:
            raise ValueError("expected payloads in the order of their records, but got them in another")
        self._reach(lowest, highest + 4)
        at = highest - self.base
        n_value = int.from_bytes(self._data[at : at + 4].tobytes(), "little")
        if n_value > LONGEST_VALUE:
            raise ValueError(f"expected payloads of at most {LONGEST_VALUE} bytes, but got {n_value}")
        self._reach(lowest, highest + 4 + n_value)

    def _reach(self, lowest: int, end: int) -> None:
        while self.base + self.n < end:
            self._make_room(lowest)
            n = self._source.fill(self._data[self.n : len(self._data) - SPARE_BYTES])
            if n == 0:
                raise ValueError(f"expected a payload before byte {end} of its stream, but got its end: truncated")
            self.n += n

    def _make_room(self, lowest: int) -> None:
        if len(self._data) - SPARE_BYTES - self.n >= _BUFFER_BYTES:
            return
        n_dropped = max(min(lowest - self.base - _KEPT_BEHIND, self.n), 0)
        kept = self._data[n_dropped : self.n].copy()
        if 2 * len(kept) > len(self._data):
            self._data = np.zeros(2 * len(self._data), dtype=np.uint8)
        self._data[: len(kept)] = kept
        self.base, self.n = self.base + n_dropped, len(kept)


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

    def _with_streams(self, layouts: Layouts) -> tuple[Layouts, list[_Window]]:
        """Number the streams of payloads that the groups name."""
        number_of: dict[int, int] = {}
        windows: list[_Window] = []
        for row, member in enumerate(self._members):
            link = member.frames.signal_link if member.frames else 0
            if not link:
                continue
            if link not in number_of:
                number_of[link] = len(windows)
                windows.append(_Window(self._value_source(link)))
                if len(windows) > _MOST_STREAMS:
                    raise ValueError(f"expected at most {_MOST_STREAMS} streams of payloads, but got more")
            layouts.groups[row, STREAM] = number_of[link]
        return layouts, windows

    def _value_source(self, link: int) -> ValueSource:
        file = self._shared.file
        budget = Budget(file.size)
        if file.head(link)[0] != b"##CG":
            return _SignalData(DataStream(file, link, _SIGNALS, budget))
        wanted = next((number for number, member in enumerate(self._group.groups) if member.at == link), None)
        if self._records is None or wanted is None or self._group.groups[wanted].record_bytes != VARIABLE:
            raise UnusualLayoutError("expected payloads among the records of their group, but got them elsewhere")
        own = self._records._replace(counts=np.zeros_like(self._records.counts))
        return _GatheredValues(DataStream(file, self._group.data_link, _RECORDS, budget), own, wanted)

    def _stream(self) -> DataStream:
        return DataStream(self._shared.file, self._group.data_link, _RECORDS, self._shared.budget)

    def _of_one_size(self, member: ChannelGroup) -> Iterator[Piece]:
        """Records of one channel group."""
        stream, size = self._stream(), member.record_bytes
        if size <= 0 or (member.frames is None and member.n_records is not None):
            return
        n_piece = min(self._shared.piece_frames, max(4 * _BUFFER_BYTES // size, 1))
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
            if not self._shared.keeps_inflated:
                stream.release()
            if member.frames is not None:
                yield from self._read(data, starts, groups, n)
            elif member.counted and n:
                self._shared.source.rejected[member.counted] += n
            if n < n_wanted:
                return
            n_left = None if n_left is None else n_left - n

    def _of_many(self, records: Records) -> Iterator[Piece]:
        """Records of several channel groups, mixed."""
        buffer = _Buffer(self._stream(), _BUFFER_BYTES)
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
