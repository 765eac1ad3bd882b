"""Frames waiting to be decoded, as columns.

What belongs here: collecting matched frames and reassembled messages in the order of the log, and
keeping the last one of each series and period before any bit is decoded (sampling).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pm.canbus.formats.block import CLASSIC_BYTES, I64, U8

I32 = NDArray[np.int32]


@dataclass(frozen=True)
class Rows:
    """n frames or reassembled messages."""

    position: I64
    """Number of the frame in the log (of the last one, for a reassembled message)."""
    time_us: I64
    series: I32
    length: I32
    """Payload bytes."""
    head: U8
    """First eight payload bytes, shape (n, 8)."""
    long: dict[int, bytes]
    """Payload by position, where it is longer than eight bytes."""

    def __len__(self) -> int:
        return len(self.position)

    def take(self, chosen: NDArray[np.intp]) -> "Rows":
        """The rows with these numbers, in this order."""
        position = self.position[chosen]
        long = self.long
        if long:
            kept = np.isin(list(long), position)
            long = {at: payload for (at, payload), keep in zip(long.items(), kept.tolist(), strict=True) if keep}
        return Rows(position, self.time_us[chosen], self.series[chosen], self.length[chosen], self.head[chosen], long)

    def payloads(self) -> U8:
        """All payloads, shape (n, longest), zeros beyond each one's length."""
        if not self.long:
            return self.head
        data = np.zeros((len(self), int(self.length.max())), dtype=np.uint8)
        data[:, :CLASSIC_BYTES] = self.head
        places = np.searchsorted(self.position, list(self.long))
        for place, payload in zip(places.tolist(), self.long.values(), strict=True):
            data[place, : len(payload)] = np.frombuffer(payload, dtype=np.uint8)
        return data


def joined(parts: list[Rows]) -> Rows:
    """All rows of `parts` in the order of the log."""
    if len(parts) == 1:
        return parts[0]
    rows = Rows(
        position=np.concatenate([part.position for part in parts]),
        time_us=np.concatenate([part.time_us for part in parts]),
        series=np.concatenate([part.series for part in parts]),
        length=np.concatenate([part.length for part in parts]),
        head=np.concatenate([part.head for part in parts]),
        long={at: payload for part in parts for at, payload in part.long.items()},
    )
    if (np.diff(rows.position) > 0).all():
        return rows
    return rows.take(np.argsort(rows.position, kind="stable"))


def sampled(rows: Rows, period_us: int, *, at_end: bool) -> tuple[Rows, Rows]:
    """(rows to decode, rows to hold back) when only the last one of each series and period is kept.

    Periods are aligned to 1970-01-01. The last row of each series is held back, because a later one of
    its period may still come, unless `at_end`. Where the clock of the log jumps back, a period that
    comes again gives another row.
    """
    if not len(rows):
        return rows, rows
    # numpy sorts 16-bit numbers in linear time, and a log hardly ever has more series than that.
    narrow = rows.series.astype(np.uint16) if int(rows.series.max()) < 1 << 16 else rows.series
    order = np.argsort(narrow, kind="stable")
    series, period = rows.series[order], rows.time_us[order] // period_us
    ends_series = np.append(series[1:] != series[:-1], True)
    ends_period = ends_series | np.append(period[1:] != period[:-1], True)
    done = ends_period if at_end else ends_period & ~ends_series
    held = order[:0] if at_end else order[ends_series]
    return rows.take(np.sort(order[done])), rows.take(np.sort(held))
