"""The compiled loops of quantile sketches.

What belongs here: counting values into buckets, the packed bytes, merging, ranks. What a sketch is, and its public
functions, is `pm.features.sketch`.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from pm.canbus.jit import inline_kernel, kernel

Bytes = npt.NDArray[np.uint8]
Whole = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]

FINEST: Final = 10
"""At level 0 a bucket is 2^-10 wide."""
MOST_BUCKETS: Final = 64
TOP_LEVEL: Final = 1200
"""No float64 needs more: here the greatest has a small key, and one bucket a sign is left."""
_KEY_BITS: Final = 50
_KEY_END: Final = 1 << 62
_LAST_SHIFT: Final = 49
"""Numbers of up to 56 bits are read; a key has at most 52, zigzag included."""


@inline_kernel
def start_level(greatest: float) -> int:
    """The first level at which the key of this magnitude has at most 50 bits."""
    return max(0, math.frexp(greatest)[1] + FINEST - _KEY_BITS)


@inline_kernel
def _key_of(value: float, scale: float) -> int:
    """floor(value * scale); scaling by a power of two is exact, but what is too small for it becomes 0."""
    key = math.floor(value * scale)
    return min(key, -1) if value < 0 else key


@inline_kernel
def _place_of(keys: Whole, n: int, key: int) -> int:
    """Where the key stands among the first n, which rise, or would."""
    low, high = 0, n
    while low < high:
        middle = (low + high) >> 1
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def collapse(keys: Whole, counts: Whole, n: int) -> int:
    """Of two neighbours one bucket of twice the width, all along; returns how many are left."""
    kept = -1
    for i in range(n):
        key = keys[i] >> 1
        if kept >= 0 and keys[kept] == key:
            counts[kept] += counts[i]
        else:
            kept += 1
            keys[kept] = key
            counts[kept] = counts[i]
    return kept + 1


@kernel
def count_values(  # noqa: PLR0917 - a kernel takes its arrays by place
    values: Numbers, first: int, last: int, level: int, keys: Whole, counts: Whole
) -> tuple[int, int]:
    """The values first to before last in at most `MOST_BUCKETS` buckets, ascending: (level, number of buckets).

    Values that are not finite are passed over. `level` is `start_level` of the greatest magnitude. `keys` and
    `counts` have room for one bucket more than the most.
    """
    n, at, scale = 0, 0, math.ldexp(1.0, FINEST - level)
    for row in range(first, last):
        if not np.isfinite(values[row]):
            continue
        key = _key_of(values[row], scale)
        if at < n and keys[at] == key:
            counts[at] += 1
            continue
        at = _place_of(keys, n, key)
        if at < n and keys[at] == key:
            counts[at] += 1
            continue
        for place in range(n, at, -1):
            keys[place] = keys[place - 1]
            counts[place] = counts[place - 1]
        keys[at], counts[at] = key, 1
        n += 1
        while n > MOST_BUCKETS:
            n = collapse(keys, counts, n)
            level += 1
            scale /= 2
    return level, n


@inline_kernel
def _put(out: Bytes, at: int, number: int) -> int:
    while number >= 128:
        out[at] = (number & 127) | 128
        number >>= 7
        at += 1
    out[at] = number
    return at + 1


@inline_kernel
def _common_zeros(keys: Whole, n: int) -> int:
    """How many zero bits all keys end in: a signal of whole degrees has keys that are multiples of 1024."""
    bits = 0
    for i in range(n):
        bits |= int(keys[i])
    zeros = 0
    while bits != 0 and bits & 1 == 0:
        bits >>= 1
        zeros += 1
    return zeros


@kernel
def pack(  # noqa: PLR0917 - a kernel takes its arrays by place
    level: int, keys: Whole, counts: Whole, n: int, out: Bytes, at: int
) -> int:
    """Write a sketch from byte `at` on; returns where it ends. No buckets: nothing is written."""
    if n == 0:
        return at
    zeros = _common_zeros(keys, n)
    at = _put(out, at, level)
    at = _put(out, at, zeros)
    before = 0
    for i in range(n):
        key = keys[i] >> zeros
        at = _put(out, at, key - before - 1 if i > 0 else (key << 1) ^ (key >> 63))
        at = _put(out, at, counts[i] - 1)
        before = key
    return at


@inline_kernel
def _get(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """The number from byte `at` on, and where the next begins; -1 where it is cut off or too long."""
    number, shift = 0, 0
    while at < end and shift <= _LAST_SHIFT:
        byte = int(np.int64(data[at]))
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7
    return -1, at


@kernel
def unpack(  # noqa: PLR0917 - a kernel takes its arrays by place
    data: Bytes, at: int, end: int, keys: Whole, counts: Whole, n: int
) -> tuple[int, int]:
    """Read the sketch in the bytes at to before end into keys and counts from place n on: (level, place after it).

    Level -1: the bytes are no sketch, or there is no room.
    """
    first = n
    level, at = _get(data, at, end)
    zeros, at = _get(data, at, end)
    if level < 0 or level > TOP_LEVEL or zeros < 0 or zeros > _KEY_BITS:
        return -1, n
    before = 0
    while at < end:
        gap, at = _get(data, at, end)
        count, at = _get(data, at, end)
        if gap < 0 or count < 0 or n >= keys.size:
            return -1, n
        key = before + gap + 1 if n > first else (gap >> 1) ^ -(gap & 1)
        if abs(key) >= _KEY_END >> zeros:
            return -1, n
        keys[n], counts[n], before = key << zeros, count + 1, key
        n += 1
    return (level if n > first else -1), n


@inline_kernel
def _shift(level: int, from_level: int) -> int:
    """By how many bits keys of one level are shifted to another; by 64 or more a processor does what it likes."""
    return min(level - from_level, 63)


@kernel
def merge_pairs(  # noqa: PLR0917 - a kernel takes its arrays by place
    data: Bytes, ends: Whole, a: Whole, b: Whole,
    keys: Whole, counts: Whole, merged_keys: Whole, merged_counts: Whole, out: Bytes, out_ends: Whole,
) -> int:  # fmt: skip
    """Sketch i of the result is a[i] and b[i] together; returns the first pair that is damaged, or -1."""
    at = 0
    for i in range(a.size):
        level_a, n_a = unpack(data, ends[a[i]], ends[a[i] + 1], keys, counts, 0)
        level_b, n_b = unpack(data, ends[b[i]], ends[b[i] + 1], keys, counts, n_a)
        if level_a < 0 or level_b < 0:
            return i
        level = max(level_a, level_b)
        up_a, up_b = _shift(level, level_a), _shift(level, level_b)
        from_a, from_b, n = 0, n_a, 0
        while from_a < n_a or from_b < n_b:
            takes_a = from_b >= n_b or (from_a < n_a and keys[from_a] >> up_a <= keys[from_b] >> up_b)
            key = keys[from_a] >> up_a if takes_a else keys[from_b] >> up_b
            count = counts[from_a] if takes_a else counts[from_b]
            from_a += 1 if takes_a else 0
            from_b += 0 if takes_a else 1
            if n > 0 and merged_keys[n - 1] == key:
                merged_counts[n - 1] += count
            else:
                merged_keys[n], merged_counts[n] = key, count
                n += 1
        at = pack(level, merged_keys, merged_counts, n, out, at)
        out_ends[i + 1] = at
    return -1


@inline_kernel
def _n_up_to(  # noqa: PLR0917 - a kernel takes its arrays by place
    keys: Whole, totals: Whole, first: int, last: int, shift: int, key: int
) -> int:
    """Values of one sketch in buckets up to `key` of a coarser level; `totals` are running."""
    low, high = first, last
    while low < high:
        middle = (low + high) >> 1
        if keys[middle] >> shift <= key:
            low = middle + 1
        else:
            high = middle
    return int(totals[low - 1]) if low > first else 0


@kernel
def rank_keys(  # noqa: PLR0917 - a kernel takes its arrays by place
    data: Bytes, ends: Whole, grid: npt.NDArray[np.int64], q: float,
    keys: Whole, totals: Whole, starts: Whole, levels: Whole, out_key: Whole, out_level: Whole,
) -> int:  # fmt: skip
    """For each column of `grid` [day, vehicle] the bucket of rank floor(q (n - 1)) of its sketches together.

    A place of `grid` is the number of a sketch, or -1. `out_level` is -1 where a vehicle has none. Returns
    the number of a damaged sketch, or -1.
    """
    for vehicle in range(grid.shape[1]):
        n_sketches, n, level, total = 0, 0, -1, 0
        starts[0] = 0
        for day in range(grid.shape[0]):
            number = grid[day, vehicle]
            if number < 0:
                continue
            first = n
            levels[n_sketches], n = unpack(data, ends[number], ends[number + 1], keys, totals, first)
            if levels[n_sketches] < 0:
                return int(number)
            level = max(level, int(levels[n_sketches]))
            for i in range(first + 1, n):
                totals[i] += totals[i - 1]
            total += int(totals[n - 1])
            n_sketches += 1
            starts[n_sketches] = n
        out_level[vehicle] = level
        if level < 0:
            continue
        rank = math.floor(q * (total - 1))
        low = high = int(keys[0]) >> _shift(level, int(levels[0]))
        for i in range(n_sketches):
            low = min(low, int(keys[starts[i]]) >> _shift(level, int(levels[i])))
            high = max(high, int(keys[starts[i + 1] - 1]) >> _shift(level, int(levels[i])))
        while low < high:
            middle = (low + high) >> 1
            up_to = 0
            for i in range(n_sketches):
                up_to += _n_up_to(
                    keys, totals, int(starts[i]), int(starts[i + 1]), _shift(level, int(levels[i])), middle
                )
            if up_to > rank:
                high = middle
            else:
                low = middle + 1
        out_key[vehicle] = low
    return -1
