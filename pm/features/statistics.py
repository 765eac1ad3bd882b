"""Statistics over several days of one vehicle's quantity, from its daily cells.

What belongs here: arrays [vehicle] out of `pm.features.cells.Days`. Sums run day by day from the
latest day back, never in an order that depends on how many vehicles are asked: a vehicle's values
are the same bits alone and in a fleet. NaN: not computable.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from pm.features.cells import Days
from pm.features.featureset import BEFORE_D

Numbers = npt.NDArray[np.float64]

MINIMUM_SLOPE_DAYS: Final = 4
MINIMUM_DAYS_BEFORE: Final = 7
"""Days with data that a truck's own past needs before a change against it means anything."""
MINIMUM_PEERS: Final = 3


class WindowStatistics:
    """All statistics of one as-of; what several features share is computed once."""

    def __init__(self, days: Days, models: npt.NDArray[np.int64]) -> None:
        self._days = days
        self._models = models
        self._pooled: dict[tuple[int, int], tuple[Numbers, Numbers, Numbers]] = {}

    def mean(self, quantity: int, days: int) -> Numbers:
        """Mean of all values of the last `days` days."""
        n, mean, _ = self._pool(0, days)
        return _only(n[:, quantity] > 0, mean[:, quantity])

    def std(self, quantity: int, days: int) -> Numbers:
        """Sample standard deviation (n - 1) of all values of the last `days` days."""
        n, _, m2 = self._pool(0, days)
        enough = n[:, quantity] > 1
        return _only(enough, np.sqrt(m2[:, quantity] / np.where(enough, n[:, quantity] - 1, 1.0)))

    def minimum(self, quantity: int, days: int) -> Numbers:
        low: Numbers = self._days.minimum[:days, :, quantity].min(axis=0)
        return _only(np.isfinite(low), low)

    def maximum(self, quantity: int, days: int) -> Numbers:
        high: Numbers = self._days.maximum[:days, :, quantity].max(axis=0)
        return _only(np.isfinite(high), high)

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

    def against_peers(self, quantity: int, days: int) -> Numbers:
        """Mean of the last `days` days minus the median over trucks of the same model, at least 3."""
        own = self.mean(quantity, days)
        middle = np.full_like(own, np.nan)
        for model in np.unique(self._models):
            members = self._models == model
            seen = own[members & np.isfinite(own)]
            if seen.size >= MINIMUM_PEERS:
                middle[members] = np.median(seen)
        return own - middle

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


def _only(valid: npt.NDArray[np.bool_], values: Numbers) -> Numbers:
    return np.where(valid, values, np.nan)
