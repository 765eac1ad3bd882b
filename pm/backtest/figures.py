"""A measured number with its interval and the rows behind it, or null with the reason.

What belongs here: the `Figure` and the resampling of vehicles. What is measured is
`pm.backtest.metrics` and `pm.backtest.episodes`.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

LOW: Final = 2.5
HIGH: Final = 97.5
MINIMUM_VEHICLES: Final = 5
"""An interval over fewer vehicles says nothing."""
MAXIMUM_UNDEFINED: Final = 0.2
"""Resamples in which the measure is undefined are left out, up to this share."""


@dataclass(frozen=True)
class Figure:
    """One number of a report; `value` None: `reason` says why there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n_rows: int = 0
    n_positives: int = 0
    reason: str | None = None
    """Why there is no value, or, beside a value, why there is no interval."""

    def as_document(self) -> dict[str, Any]:
        """JSON-able content."""
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "n_rows": self.n_rows,
            "n_positives": self.n_positives,
            "reason": self.reason,
        }


def vehicle_weights(n_vehicles: int, samples: int, seed: int) -> np.ndarray:
    """How often each vehicle stands in each resample, shape (1 + samples, n_vehicles), float64.

    Row 0 is the data itself (all ones). Whole vehicles are drawn with replacement, because the
    rows of one vehicle tell nearly the same story (block bootstrap; Efron, Tibshirani, 1993).
    """
    drawn = np.random.default_rng(seed).multinomial(n_vehicles, np.full(n_vehicles, 1 / n_vehicles), size=samples)
    return np.concatenate([np.ones((1, n_vehicles)), drawn.astype(np.float64)])


def figure(values: np.ndarray, *, n_rows: int, n_positives: int, n_vehicles: int, undefined: str) -> Figure:
    """A figure from `values` (1 + samples): the data's own value, then one a resample; NaN: undefined."""
    point = float(values[0])
    if not math.isfinite(point):
        return Figure(None, n_rows=n_rows, n_positives=n_positives, reason=undefined)
    low, high, reason = interval(values[1:], n_vehicles)
    return Figure(point, low, high, n_rows, n_positives, reason)


def interval(resampled: np.ndarray, n_vehicles: int) -> tuple[float | None, float | None, str | None]:
    """95 % percentile interval, or the reason why there is none."""
    if n_vehicles < MINIMUM_VEHICLES:
        return None, None, f"no interval: it rests on {n_vehicles} vehicles, {MINIMUM_VEHICLES} needed"
    defined = resampled[np.isfinite(resampled)]
    if defined.size < (1 - MAXIMUM_UNDEFINED) * max(resampled.size, 1):
        return None, None, f"no interval: undefined in {resampled.size - defined.size} of {resampled.size} resamples"
    low, high = np.percentile(defined, [LOW, HIGH])
    return float(low), float(high), None
