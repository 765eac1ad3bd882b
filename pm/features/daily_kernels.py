"""The compiled loop over one signal's values of many days.

What belongs here: what is counted of each series of a day in one pass after another. Frames in and out are
`pm.features.daily`.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from pm.canbus.jit import inline_kernel, kernel
from pm.features.sketch_kernels import count_values, pack, start_level

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]

GREATEST: Final = 1e150
"""Magnitudes above this do not count: their squares are no float64."""
_UNKNOWN, _STANDING, _RUNNING = -1, 0, 1


@inline_kernel
def _range_of(edges: Numbers, value: float) -> int:
    """How many edges the value has reached."""
    place = 0
    while place < edges.size and value >= edges[place]:
        place += 1
    return place


@kernel
def measure(  # noqa: PLR0917 - a kernel takes its arrays by place
    values: Numbers, time_us: Whole, starts: Whole, edges: Numbers, longest_gap_us: int, start: Numbers,
    numbers: Numbers, places: Whole, range_us: Whole, keys: Whole, counts: Whole, out: Bytes, out_ends: Whole,
) -> None:  # fmt: skip
    """Measure each series i, the rows starts[i] to before starts[i + 1], in order of time.

    A value that is NaN or above `GREATEST` in magnitude is put to NaN and does not count. Where none counts, n is 0
    and the rest means nothing. `start` holds below which it stands and from where it runs (empty: no starts).

    Writes numbers [i] mean, m2, minimum, maximum; places [i] n, first row, last row, transitions, starts; range_us
    [i, range]: how long values stood in each range, each until the next one or for the longest gap; packed sketches.
    """
    at = 0
    for i in range(starts.size - 1):
        n, first, last, n_transitions, n_starts, state = 0, -1, -1, 0, 0, _UNKNOWN
        total, low, high = 0.0, np.inf, -np.inf
        for row in range(starts[i], starts[i + 1]):
            value = values[row]
            if not abs(value) <= GREATEST:
                values[row] = np.nan
                continue
            if n == 0:
                first = row
            else:
                n_transitions += value != values[last]
                if edges.size:
                    span = min(time_us[row] - time_us[last], longest_gap_us)
                    range_us[i, _range_of(edges, values[last])] += span
            if start.size:
                if value < start[0]:
                    state = _STANDING
                elif value >= start[1]:
                    n_starts += state == _STANDING
                    state = _RUNNING
            n += 1
            last = row
            total += value
            low, high = min(low, value), max(high, value)
        places[i, 0], places[i, 1], places[i, 2], places[i, 3], places[i, 4] = n, first, last, n_transitions, n_starts
        if n:
            mean, m2 = total / n, 0.0
            for row in range(first, last + 1):
                if not np.isnan(values[row]):
                    m2 += (values[row] - mean) ** 2
            numbers[i, 0], numbers[i, 1], numbers[i, 2], numbers[i, 3] = mean, m2, low, high
            level = start_level(max(abs(low), abs(high)))
            level, n_buckets = count_values(values, first, last + 1, level, keys, counts)
            at = pack(level, keys, counts, n_buckets, out, at)
        out_ends[i + 1] = at
