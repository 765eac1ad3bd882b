"""The parts of an MDF 4 file's data that are in memory: records, and payloads of variable length beside them.

What belongs here: a buffer that moves over records, and a window that moves over a stream of payloads,
wherever its bytes come from. Variable length: ASAM MDF 4.1, SD block and VLSD channel groups.
"""

from typing import Final, Protocol

import numpy as np

from pm.canbus.bits import SPARE_BYTES
from pm.canbus.formats.block import U8
from pm.canbus.formats.mdf_file import DataStream
from pm.canbus.formats.mdf_records import LONGEST_VALUE, TOO_LONG, UNKNOWN_RECORD, Records, gather

_FILL_BYTES: Final = 1 << 18
_KEPT_BEHIND: Final = 1 << 20
"""Bytes of payloads kept before those at hand, for records that come a little later than their payloads."""


class ValueSource(Protocol):
    """Where the bytes of a stream of payloads come from."""

    def fill(self, out: U8) -> int:
        """Put the next bytes into `out`, 0 at the end."""


class SignalData:
    """A stream of payloads in SD blocks of its own."""

    def __init__(self, stream: DataStream) -> None:
        self._stream = stream

    def fill(self, out: U8) -> int:
        return self._stream.read_into(out)


class RecordBuffer:
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


class GatheredValues:
    """A stream of payloads whose values are records among all others: read for itself, beside them."""

    def __init__(self, buffer: RecordBuffer, records: Records, wanted: int) -> None:
        self._buffer, self._records, self._wanted = buffer, records, wanted

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


class ValueWindow:
    """The part of a stream of payloads that the records at hand need."""

    def __init__(self, source: ValueSource, n_bytes: int) -> None:
        self._source, self._n_bytes = source, n_bytes
        self._data = np.zeros(SPARE_BYTES, dtype=np.uint8)
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
        if lowest < self.base or highest - lowest > self._n_bytes:
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
        if len(self._data) - SPARE_BYTES - self.n >= _FILL_BYTES:
            return
        n_dropped = max(min(lowest - self.base - _KEPT_BEHIND, self.n), 0)
        kept = self._data[n_dropped : self.n].copy()
        n_needed = len(kept) + _FILL_BYTES + SPARE_BYTES
        if n_needed > len(self._data):
            self._data = np.zeros(max(n_needed, 2 * len(self._data)), dtype=np.uint8)
        self._data[: len(kept)] = kept
        self.base, self.n = self.base + n_dropped, len(kept)
