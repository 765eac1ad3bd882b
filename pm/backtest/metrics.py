"""How good ranked probabilities were: row by row, with intervals over vehicles.

What belongs here: measures of (probability, outcome) rows. Measures of alerts, which are about
episodes and failures, are `pm.backtest.episodes`. Every function takes weights a resample and row,
so that all resamples are computed at once.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pm.backtest.figures import Figure, figure
from pm.backtest.resampling import ranking, weighted

N_BINS: Final = 10
TOP_K: Final = 5
MAXIMUM_CURVE_POINTS: Final = 80


@dataclass(frozen=True)
class Judged:
    """Rows with a known outcome, one array element a row."""

    vehicle: np.ndarray
    """Position of the vehicle in `weights`, int64."""
    day: np.ndarray
    """As-of in days since 1970, int64."""
    positive: np.ndarray
    weights: np.ndarray
    """Shape (1 + samples, n_vehicles), from `vehicle_weights`."""

    @property
    def row_weights(self) -> np.ndarray:
        """A column a row; large: `sums` and `ranking` do without."""
        return np.asarray(self.weights[:, self.vehicle])

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sum of `values`, one a row, in each resample, shape (1 + samples,)."""
        counts = np.bincount(self.vehicle, weights=values, minlength=self.weights.shape[1])
        return weighted(self.weights, counts)

    @property
    def n_vehicles(self) -> int:
        return int(np.unique(self.vehicle).size)

    @property
    def n_failing(self) -> int:
        """Vehicles with a positive row: what a measure of finding them rests on."""
        return int(np.unique(self.vehicle[self.positive]).size)

    def figure(self, values: np.ndarray, undefined: str, *, n_vehicles: int | None = None) -> Figure:
        """A figure over these rows; its interval rests on `n_vehicles` (None: on the failing ones)."""
        return figure(
            values,
            n_rows=int(self.positive.size),
            n_positives=int(self.positive.sum()),
            n_vehicles=self.n_failing if n_vehicles is None else n_vehicles,
            undefined=undefined,
        )


def _cumulated(positive: np.ndarray, p: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight of positives and of all rows at or above each distinct score, highest first."""
    order = np.argsort(-p, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(p[order]) != 0, True)) if p.size else np.zeros(0, dtype=int)
    sorted_weights = weights[:, order]
    hits = np.cumsum(sorted_weights * positive[order], axis=1)[:, ends]
    return hits, np.cumsum(sorted_weights, axis=1)[:, ends]


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """above / below, NaN where below is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(below > 0, above / below, np.nan))


def average_precision(positive: np.ndarray, p: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the precision-recall curve as average precision, shape (samples,).

    sum over thresholds of (R_k - R_(k-1)) P_k; NaN in a resample without positives. `weights` has a
    column a row.
    """
    return ranking(positive, p, np.arange(p.size), weights)[0]


def roc_auc(positive: np.ndarray, p: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Probability that a positive row scores above a negative one, ties half, shape (samples,)."""
    return ranking(positive, p, np.arange(p.size), weights)[1]


def brier(rows: Judged, p: np.ndarray) -> np.ndarray:
    """Mean squared difference of probability and outcome, shape (samples,) (Brier, 1950)."""
    return _ratio(rows.sums((p - rows.positive) ** 2), rows.sums(np.ones(p.size)))


def calibration_error(rows: Judged, p: np.ndarray) -> np.ndarray:
    """Expected calibration error over N_BINS bins of equal count, shape (samples,).

    Mean over bins of |mean probability - observed share| by weight (Naeini et al., AAAI 2015).
    """
    inside = _bins(p)
    gaps = [np.abs(rows.sums(column * (p - rows.positive))) for column in inside.T]
    return _ratio(np.sum(gaps, axis=0), rows.sums(np.ones(p.size)))


def _bins(p: np.ndarray) -> np.ndarray:
    """Which bin each row is in, shape (n, bins), 0 or 1; equal scores share a bin."""
    edges = np.unique(np.quantile(p, np.linspace(0, 1, N_BINS + 1)[1:-1])) if p.size else np.zeros(0)
    return np.eye(edges.size + 1)[np.searchsorted(edges, p, side="right")]


def top_share(day: np.ndarray, p: np.ndarray, k: int) -> np.ndarray:
    """How much of each row is among the `k` highest of its day, shape (n,), 0 to 1.

    Rows that tie for the last places share them: what a random order would give on average.
    """
    share = np.zeros(p.size)
    for one in np.unique(day):
        rows = np.flatnonzero(day == one)
        ordered = np.sort(p[rows])[::-1]
        last = ordered[min(k, rows.size) - 1]
        above, tied = p[rows] > last, p[rows] == last
        share[rows] = above + tied * (min(k, rows.size) - above.sum()) / tied.sum()
    return share


def row_figures(rows: Judged, p: np.ndarray, p_base_rate: np.ndarray | None) -> dict[str, Figure]:
    """PR-AUC, ROC-AUC, Brier, Brier skill, calibration error, precision and lift of the daily top."""
    n_positives, n_rows = int(rows.positive.sum()), int(rows.positive.size)
    if not n_rows:
        empty = Figure(None, reason="no matured test row")
        return dict.fromkeys(ROW_MEASURES, empty)
    one_class = f"one class only: {n_positives} positive of {n_rows} rows"
    squared = brier(rows, p)
    reference = brier(rows, p_base_rate) if p_base_rate is not None else np.full(squared.size, np.nan)
    chosen = top_share(rows.day, p, TOP_K)
    precision = _ratio(rows.sums(chosen * rows.positive), rows.sums(chosen))
    rate = _ratio(rows.sums(rows.positive.astype(np.float64)), rows.sums(np.ones(n_rows)))
    average, auc = ranking(rows.positive, p, rows.vehicle, rows.weights)
    made = {
        "base_rate": (rate, "", rows.n_vehicles),
        "pr_auc": (average, one_class, None),
        "roc_auc": (auc, one_class, None),
        "brier": (squared, "", rows.n_vehicles),
        "brier_skill": (1 - _ratio(squared, reference), "the base rate has no score on these rows", rows.n_vehicles),
        "calibration_error": (calibration_error(rows, p), "", rows.n_vehicles),
        "precision_top5": (precision, "", rows.n_vehicles),
        "lift_top5": (_ratio(precision, rate), one_class, None),
    }
    return {name: rows.figure(values, undefined, n_vehicles=n) for name, (values, undefined, n) in made.items()}


ROW_MEASURES: Final = (
    "base_rate", "pr_auc", "roc_auc", "brier", "brier_skill", "calibration_error", "precision_top5", "lift_top5",
)  # fmt: skip


def pr_curve(positive: np.ndarray, p: np.ndarray) -> list[list[float]]:
    """[recall, precision] points, at most MAXIMUM_CURVE_POINTS; empty where there is no positive."""
    if not positive.any():
        return []
    hits, rows = _cumulated(positive.astype(np.float64), p, np.ones((1, p.size)))
    points = np.column_stack([hits[0] / hits[0, -1], hits[0] / rows[0]])
    wanted = np.linspace(0, 1, MAXIMUM_CURVE_POINTS - 1)
    kept = np.unique(np.append(0, np.minimum(np.searchsorted(points[:, 0], wanted), len(points) - 1)))
    return [[float(recall), float(precision)] for recall, precision in points[kept]]


def reliability(positive: np.ndarray, p: np.ndarray) -> list[dict[str, Any]]:
    """A bin a dict: mean probability, observed share, rows and positives; lowest first."""
    inside = _bins(p).astype(bool)
    return [
        {
            "p_mean": float(p[rows].mean()),
            "observed": float(positive[rows].mean()),
            "n_rows": int(rows.sum()),
            "n_positives": int(positive[rows].sum()),
        }
        for rows in inside.T
        if rows.any()
    ]
