"""Quantile sketches of a signal's values: small, mergeable, the same bytes in any order.

What belongs here: what a sketch is, merging packed ones, and asking for quantiles. Loops are
`pm.features.sketch_kernels`; which signals and days, `pm.features.daily` and `pm.features.cells`.

A sketch is a histogram with buckets of one width, a power of two, and only those that hold a value. It begins with
2^-10 of the signal's unit; where a day has more than 64 buckets, each two neighbours become one and the width doubles
(the uniform collapse of UDDSketch: Epicoco, Melle, Cafaro, Pulimeno, Morleo, "UDDSketch: accurate tracking of
quantiles in data streams", IEEE Access 8 (2020) 147604-147617). The width reached depends on the set of values alone,
because no part of a set has more buckets than the set; so partials merge to the same bytes in any order.

A quantile is off by at most half a width. DDSketch's buckets of equal ratio (Masson, Rim, Lee, PVLDB 12 (2019)
2195-2205) were measured at the same number of buckets and are coarser on nearly every signal of a truck, because
temperatures, pressures and voltages stand far from 0 (`docs/features.md`).

Packed, in numbers of 7 bits a byte: the level (width 2^(level - 10)), how many zero bits all keys end in, then two
numbers a bucket, ascending: how many empty buckets lie between it and the one before (the first: its key, in zigzag),
and its count less one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from pm.errors import DataError
from pm.features import sketch_kernels
from pm.features.sketch_kernels import FINEST, MOST_BUCKETS

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]

BYTES_A_BUCKET: Final = 18
"""At most, of a bucket and of the head: 63 bits of key and 63 of count."""


def half_width(level: int) -> float:
    """How far a quantile of a sketch of this level can be from the value of that rank, in the signal's unit."""
    return math.ldexp(1.0, level - FINEST - 1)


@dataclass(frozen=True)
class Sketches:
    """Packed sketches one after the other: i stands in the bytes ends[i] to before ends[i + 1]; none is empty bytes."""

    data: Bytes
    ends: Whole

    @classmethod
    def of(cls, series: pl.Series) -> "Sketches":
        """The sketches of a Binary column; null is none."""
        array = series.to_arrow(compat_level=pl.CompatLevel.oldest())
        _, offsets, content = array.buffers()
        if content is None or not len(array):
            return cls(np.zeros(0, np.uint8), np.zeros(len(array) + 1, np.int64))
        ends = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
        return cls(np.frombuffer(content, np.uint8), ends)

    @classmethod
    def joined(cls, parts: Sequence["Sketches"]) -> "Sketches":
        """All of them, one after the other."""
        sizes = np.concatenate([part.sizes for part in parts])
        return cls(np.concatenate([part.data for part in parts]), np.concatenate([[0], np.cumsum(sizes)]))

    @property
    def sizes(self) -> Whole:
        """Bytes of each."""
        return np.diff(self.ends)

    def series(self) -> pl.Series:
        """A Binary column; none is null."""
        there = pa.py_buffer(np.packbits(self.sizes > 0, bitorder="little"))
        buffers = [there, pa.py_buffer(np.ascontiguousarray(self.ends)), pa.py_buffer(self.data)]
        return pl.Series(pa.LargeBinaryArray.from_buffers(pa.large_binary(), self.sizes.size, buffers))

    def merged(self, a: Whole, b: Whole) -> "Sketches":
        """Sketch i of the result holds the values of a[i] and b[i]; none where either is none.

        Raises:
            DataError: the bytes of one are no sketch.
        """
        both = np.flatnonzero((self.sizes[a] > 0) & (self.sizes[b] > 0))
        sizes = self.sizes[a[both]] + self.sizes[b[both]]
        keys, counts, merged_keys, merged_counts = np.empty((4, int(sizes.max(initial=0)) // 2 + 1), np.int64)
        # By buckets, of two bytes at least: what had many zero bits in common may take more bytes than before.
        out, ends = (
            np.empty((int(sizes.sum()) // 2 + both.size) * BYTES_A_BUCKET, np.uint8),
            np.zeros(both.size + 1, np.int64),
        )
        damaged = sketch_kernels.merge_pairs(
            self.data, self.ends, a[both], b[both], keys, counts, merged_keys, merged_counts, out, ends
        )
        if damaged >= 0:
            raise DataError(f"quantile sketch: expected packed buckets, but got a damaged one at {int(both[damaged])}")
        all_sizes = np.zeros(a.size, np.int64)
        all_sizes[both] = np.diff(ends)
        return Sketches(out[: int(ends[-1])], np.concatenate([[0], np.cumsum(all_sizes)]))

    def merged_runs(self, starts: npt.NDArray[np.intp]) -> "Sketches":
        """One sketch for those from each of `starts` to before the next."""
        n = np.diff(starts, append=self.sizes.size)
        total, number = self, starts.astype(np.int64)
        for step in range(1, int(n.max(initial=0))):
            into = np.flatnonzero(n > step)
            merged = total.merged(number[into], starts[into] + step)
            number[into] = total.sizes.size + np.arange(into.size)
            total = Sketches.joined([total, merged])
        return total.taken(number)

    def taken(self, numbers: Whole) -> "Sketches":
        """Those with these numbers, in this order."""
        sizes = self.sizes[numbers]
        ends = np.concatenate([[0], np.cumsum(sizes)])
        places = np.repeat(self.ends[:-1][numbers] - ends[:-1], sizes) + np.arange(int(ends[-1]))
        return Sketches(self.data[places], ends)

    def quantiles(self, grid: Whole, q: float) -> Numbers:
        """For each column of `grid` [day, vehicle] the quantile q of all its sketches' values; NaN where it has none.

        A place of `grid` is the number of a sketch, or -1. The quantile is the middle of the bucket that holds the
        value of rank floor(q (n - 1)), from 0: off by at most `half_width` of the coarsest of them.

        Raises:
            DataError: the bytes of one are no sketch, or q is no share.
        """
        if not 0 <= q <= 1:
            raise DataError(f"quantile: expected a level from 0 to 1, but got {q}")
        known = np.where((grid >= 0) & (self.sizes[grid] > 0), grid, -1) if self.sizes.size else np.full_like(grid, -1)
        most = int(np.where(known >= 0, self.sizes[known], 0).sum(axis=0).max(initial=0)) if self.sizes.size else 0
        keys, totals = np.empty(most // 2 + 1, np.int64), np.empty(most // 2 + 1, np.int64)
        starts, levels = np.empty(grid.shape[0] + 1, np.int64), np.empty(grid.shape[0] + 1, np.int64)
        key, level = np.zeros(grid.shape[1], np.int64), np.full(grid.shape[1], -1, np.int64)
        damaged = sketch_kernels.rank_keys(
            self.data, self.ends, np.ascontiguousarray(known), q, keys, totals, starts, levels, key, level
        )
        if damaged >= 0:
            raise DataError(f"quantile sketch: expected packed buckets, but got a damaged one at {damaged}")
        return np.where(level >= 0, middles(key, np.maximum(level, 0)), np.nan)


def middles(keys: Whole, levels: Whole) -> Numbers:
    """The middles of buckets, which stand for all that is in them."""
    return np.asarray(np.ldexp(keys.astype(np.float64) + 0.5, levels - FINEST))


def sketch_of(values: Numbers) -> bytes:
    """The packed sketch of some values, of which those that are not finite do not count; empty where none is."""
    finite = np.ascontiguousarray(values[np.isfinite(values)], np.float64)
    keys, counts = np.empty(MOST_BUCKETS + 1, np.int64), np.empty(MOST_BUCKETS + 1, np.int64)
    level = max(0, sketch_kernels.start_level(float(np.abs(finite).max(initial=0.0))))
    level, n = sketch_kernels.count_values(finite, 0, finite.size, level, keys, counts)
    out = np.empty((n + 1) * BYTES_A_BUCKET, np.uint8)
    return out[: sketch_kernels.pack(level, keys, counts, n, out, 0)].tobytes()
