"""Statistics over several days of one vehicle's quantity, from its daily cells.

What belongs here: arrays [vehicle] out of `pm.features.cells.Days`. Sums run day by day from the
latest day back, never in an order that depends on how many vehicles are asked: a vehicle's values
are the same bits alone and in a fleet. NaN: not computable.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from pm.features.cells import Days
from pm.features.featureset import BEFORE_D

Numbers = npt.NDArray[np.float64]

MINIMUM_SLOPE_DAYS: Final = 4
MINIMUM_DAYS_BEFORE: Final = 7
"""Days with data that a truck's own past needs before a change against it means anything."""


class WindowStatistics:
    """All statistics of one as-of; what several features share is computed once."""

    def __init__(self, days: Days, models: npt.NDArray[np.int64]) -> None:
        self._days = days
        self._models = models
        self._pooled: dict[tuple[int, int], tuple[Numbers, Numbers, Numbers]] = {}
        self._known: dict[tuple[str, int], Numbers] = {}

    def mean(self, quantity: int, days: int) -> Numbers:
        """Mean of all values of the last `days` days."""
        return self._of_all("mean", days, self._means)[:, quantity]

    def std(self, quantity: int, days: int) -> Numbers:
        """Sample standard deviation (n - 1) of all values of the last `days` days."""
        return self._of_all("std", days, self._stds)[:, quantity]

    def minimum(self, quantity: int, days: int) -> Numbers:
        """Least value of the last `days` days."""
        return self._of_all("minimum", days, lambda d: _finite(self._days.minimum[:d].min(axis=0)))[:, quantity]

    def maximum(self, quantity: int, days: int) -> Numbers:
        """Greatest value of the last `days` days."""
        return self._of_all("maximum", days, lambda d: _finite(self._days.maximum[:d].max(axis=0)))[:, quantity]

    def _of_all(self, kind: str, days: int, compute: Callable[[int], Numbers]) -> Numbers:
        """A statistic of every quantity [vehicle, quantity], computed once: 60 cost little more than one."""
        if (kind, days) not in self._known:
            self._known[kind, days] = compute(days)
        return self._known[kind, days]

    def _means(self, days: int) -> Numbers:
        n, mean, _ = self._pool(0, days)
        return _only(n > 0, mean)

    def _stds(self, days: int) -> Numbers:
        n, _, m2 = self._pool(0, days)
        enough = n > 1
        return _only(enough, np.sqrt(m2 / np.where(enough, n - 1, 1.0)))

    def slope(self, quantity: int, days: int) -> Numbers:
        """Least-squares slope a day of the daily means; needs 4 days with data."""
        there = self._days.n[:days, :, quantity] > 0
        y = self._days.mean[:days, :, quantity]
        x = -np.arange(days, dtype=np.float64)[:, None] * np.ones_like(y)
        k = there.sum(axis=0)
        enough = k >= MINIMUM_SLOPE_DAYS
        safe = np.where(enough, k, 1)
        dx = np.where(there, x - _day_sum(np.where(there, x, 0.0)) / safe, 0.0)
        dy = np.where(there, y - _day_sum(np.where(there, y, 0.0)) / safe, 0.0)
        return _only(enough, _day_sum(dx * dy) / np.where(enough, _day_sum(dx * dx), 1.0))

    def change(self, quantity: int, days: int) -> Numbers:
        """Mean of the last `days` days minus that of the 28 days before, where 7 of them have data."""
        n, past, _ = self._pool(days, days + BEFORE_D)
        n_days = (self._days.n[days : days + BEFORE_D, :, quantity] > 0).sum(axis=0)
        enough = (n_days >= MINIMUM_DAYS_BEFORE) & (n[:, quantity] > 0)
        return _only(enough, self.mean(quantity, days) - past[:, quantity])

    def excess(self, quantity: int, over: int, days: int) -> Numbers:
        """Mean of one quantity minus that of another over the last `days` days."""
        return self.mean(quantity, days) - self.mean(over, days)

    def latest(self, quantity: int, days: int) -> Numbers:
        """Last value of the latest day with data among the last `days` days."""
        there = self._days.n[:days, :, quantity] > 0
        newest = there.argmax(axis=0)
        values = self._days.last_value[newest, np.arange(newest.size), quantity]
        return _only(np.any(there, axis=0), values)

    def gain(self, quantity: int, days: int) -> Numbers:
        """What a counter gained over the last `days` days, between days without data too.

        A counter that falls was reset: the falling step itself counts nothing, so a reset makes the
        gain too small, never negative or huge. Within a day the reset's both sides are known from
        the day's extremes.
        """
        grid = self._days
        total = np.zeros(grid.n.shape[1])
        later_first = np.full(grid.n.shape[1], np.nan)
        for day in range(days):
            there = grid.n[day, :, quantity] > 0
            first, last = grid.first_value[day, :, quantity], grid.last_value[day, :, quantity]
            low, high = grid.minimum[day, :, quantity], grid.maximum[day, :, quantity]
            within = np.where(last >= first, last - first, (high - first) + (last - low))
            between = np.where(np.isfinite(later_first), np.maximum(later_first - last, 0.0), 0.0)
            total = np.where(there, total + within + between, total)
            later_first = np.where(there, first, later_first)
        return _only(np.isfinite(later_first), total)

    def quantile(self, quantity: int, days: int, q: float) -> Numbers:
        """The value that the share `q` of all values of the last `days` days stays below.

        From the days' sketches, off by at most half the width of their buckets (`pm.features.sketch.half_width`),
        and never outside the least and greatest value. Days whose sketch was not kept do not count.
        """
        grid = self._days
        found = grid.sketches.quantiles(grid.sketch[:days, :, quantity], q)
        low, high = grid.minimum[:days, :, quantity].min(axis=0), grid.maximum[:days, :, quantity].max(axis=0)
        return _only(np.isfinite(found), np.clip(found, low, high))

    def share_in_range(self, quantity: int, range_index: int, days: int) -> Numbers:
        """Share of the time with values of the last `days` days in one of the quantity's ranges, from 0.

        Ranges are declared in `pm.features.ranges`. NaN where the quantity has no such range or no time was counted.
        """
        in_range = [_counted_sum(grid[:days, :, quantity]) for grid in self._days.range_us]
        total = np.zeros(self._models.size)
        for time_us in in_range:
            total = total + np.where(np.isnan(time_us), 0.0, time_us)
        if not 0 <= range_index < len(in_range):
            return np.full(self._models.size, np.nan)
        return _only(total > 0, in_range[range_index] / np.where(total > 0, total, 1.0))

    def transitions(self, quantity: int, days: int) -> Numbers:
        """How often a value differed from the one before it over the last `days` days, within a day and log file."""
        return _counted_sum(self._days.n_transitions[:days, :, quantity])

    def starts(self, quantity: int, days: int) -> Numbers:
        """How often the quantity went from standing to running over the last `days` days, within a day and log file.

        Its ranges declare both (`pm.features.ranges.Ranges.start`). NaN where they do not, or nothing was counted.
        """
        return _counted_sum(self._days.n_starts[:days, :, quantity])

    def _pool(self, start: int, stop: int) -> tuple[Numbers, Numbers, Numbers]:
        """n, mean and m2 [vehicle, quantity] over the days start to before stop."""
        if (start, stop) not in self._pooled:
            n_day, mean_day, m2_day = (part[start:stop] for part in (self._days.n, self._days.mean, self._days.m2))
            n = _day_sum(n_day)
            mean = _day_sum(n_day * mean_day) / np.where(n > 0, n, 1.0)
            self._pooled[start, stop] = (n, mean, _day_sum(m2_day + n_day * (mean_day - mean) ** 2))
        return self._pooled[start, stop]


def _day_sum(values: Numbers) -> Numbers:
    """Sum over the first axis, strictly one after the other."""
    total = np.zeros(values.shape[1:])
    for one_day in values:
        total = total + one_day
    return total


def _counted_sum(values: Numbers) -> Numbers:
    """Sum over the first axis of what was counted; NaN where nothing was."""
    there = np.isfinite(values)
    return _only(np.any(there, axis=0), _day_sum(np.where(there, values, 0.0)))


def _finite(values: Numbers) -> Numbers:
    return _only(np.isfinite(values), values)


def _only(valid: npt.NDArray[np.bool_], values: Numbers) -> Numbers:
    return np.where(valid, values, np.nan)
