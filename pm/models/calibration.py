"""Scores to probabilities, fitted on rows the estimator did not see.

What belongs here: the calibration maps, their fit and their JSON. Choosing which rows calibrate is
`pm.models.train`; measuring how well it held is `pm.backtest.metrics`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from sklearn.isotonic import IsotonicRegression

from pm.errors import ModelError

Method = Literal["platt", "isotonic", "prior"]
METHODS: Final = ("platt", "isotonic", "prior")

MINIMUM_POSITIVES: Final = 5
"""Below this many positive rows a slope cannot be fitted: only the mean is put right ("prior")."""
ISOTONIC_POSITIVES: Final = 1000
"""From this many positive rows on a free monotone curve is worth its variance."""
SLOPE_SPREAD: Final = 0.5
MINIMUM_SLOPE: Final = 1e-3
"""A calibration never turns the ranking round; a useless score ends near the base rate."""
EDGE: Final = 1e-6
"""Probabilities stay inside [EDGE, 1 - EDGE]."""


def sigmoid(log_odds: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    half = 0.5 * np.tanh(0.5 * np.asarray(log_odds, dtype=np.float64))
    return np.asarray(half + 0.5)


def logit(p: np.ndarray | float, edge: float = EDGE) -> np.ndarray:
    """ln(p / (1 - p)) of `p` clipped to [edge, 1 - edge]."""
    clipped = np.clip(np.asarray(p, dtype=np.float64), edge, 1 - edge)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


@dataclass(frozen=True)
class Calibration:
    """A monotone map from raw scores (log odds) to probabilities.

    "platt" and "prior": sigmoid(slope * score + intercept). "isotonic": linear between knots,
    and where that is flat rising by no more than 2 `EDGE`: the ranking within a level is the score's.
    (On 3,000 rows of 27 % positives the flat levels alone cost a PR-AUC of .36 instead of .39.)
    """

    method: Method
    slope: float = 1.0
    intercept: float = 0.0
    knots_score: tuple[float, ...] = ()
    knots_p: tuple[float, ...] = ()

    def apply(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities, shape of `scores`, float64."""
        if self.method == "isotonic":
            level = np.clip(np.interp(scores, self.knots_score, self.knots_p), 2 * EDGE, 1 - 2 * EDGE)
            p = level + EDGE * (2 * sigmoid(scores) - 1)
        else:
            p = sigmoid(self.slope * np.asarray(scores, dtype=np.float64) + self.intercept)
        return np.asarray(np.clip(p, EDGE, 1 - EDGE))

    def as_document(self) -> dict[str, Any]:
        """JSON-able content."""
        return {
            "method": self.method,
            "slope": self.slope,
            "intercept": self.intercept,
            "knots_score": list(self.knots_score),
            "knots_p": list(self.knots_p),
        }


def read_calibration(document: Mapping[str, Any]) -> Calibration:
    """A calibration from its JSON content.

    Raises:
        ModelError: it is no such content, or the map would not be monotone.
    """
    try:
        read = Calibration(
            document["method"],
            float(document["slope"]),
            float(document["intercept"]),
            tuple(float(value) for value in document["knots_score"]),
            tuple(float(value) for value in document["knots_p"]),
        )
    except (KeyError, TypeError, ValueError) as reason:
        raise ModelError(f"calibration: expected a calibration document, but got {reason!r}") from None
    numbers = np.array([read.slope, read.intercept, *read.knots_score, *read.knots_p])
    if read.method not in METHODS or not np.isfinite(numbers).all() or read.slope < 0:
        raise ModelError(f"calibration: expected a finite, rising {METHODS}, but got {read.method}, slope {read.slope}")
    if read.method == "isotonic" and not _rising(read):
        raise ModelError("calibration: expected rising knots, but got others")
    return read


def _rising(read: Calibration) -> bool:
    scores, p = np.array(read.knots_score), np.array(read.knots_p)
    return bool(scores.size and scores.size == p.size and (np.diff(scores) > 0).all() and (np.diff(p) >= 0).all())


def fit_calibration(
    scores: np.ndarray,
    positive: np.ndarray,
    *,
    prior: float,
    rows_per_failure: float = 1.0,
    method: Method | None = None,
) -> Calibration:
    """The map that fits `positive` (bool, n) given raw `scores` (log odds, n).

    `method` None: isotonic with at least ISOTONIC_POSITIVES positives, Platt with at least
    MINIMUM_POSITIVES of each class, else only the mean is moved to `prior`.

    One failure makes about `rows_per_failure` rows that tell the same story, so each row weighs
    one part of that. Platt's slope is drawn to 1 (the score as it is) with a standard deviation of
    SLOPE_SPREAD, which keeps it finite and sane over few failures and is forgotten over many.

    Sigmoid: J. Platt, "Probabilistic outputs for support vector machines", 1999; here with a prior
    on the slope in place of his smoothed targets, which over few failures lift the mean. Isotonic:
    B. Zadrozny, C. Elkan, KDD 2002.
    """
    chosen = method or _choose(int(positive.sum()), positive.size)
    if chosen == "isotonic":
        return _fit_isotonic(scores, positive)
    if chosen == "platt":
        return _fit_platt(scores, positive.astype(np.float64), 1 / max(rows_per_failure, 1.0))
    return _fit_prior(scores, prior)


def _choose(n_positives: int, n_rows: int) -> Method:
    if min(n_positives, n_rows - n_positives) < MINIMUM_POSITIVES:
        return "prior"
    return "isotonic" if n_positives >= ISOTONIC_POSITIVES else "platt"


def _fit_isotonic(scores: np.ndarray, positive: np.ndarray) -> Calibration:
    fitted = IsotonicRegression(y_min=EDGE, y_max=1 - EDGE, out_of_bounds="clip").fit(scores, positive.astype(float))
    knots = [float(value) for value in fitted.X_thresholds_]
    return Calibration("isotonic", 1.0, 0.0, tuple(knots), tuple(float(value) for value in fitted.y_thresholds_))


def _fit_prior(scores: np.ndarray, prior: float) -> Calibration:
    """Slope 1; the intercept, found by bisection, makes the mean probability equal `prior`."""
    low, high = -60.0, 60.0
    for _ in range(80):
        middle = (low + high) / 2
        too_low = float(sigmoid(scores + middle).mean()) < prior if scores.size else False
        low, high = (middle, high) if too_low else (low, middle)
    return Calibration("prior", 1.0, (low + high) / 2)


def _fit_platt(scores: np.ndarray, target: np.ndarray, weight: float) -> Calibration:
    centre = float(scores.mean())
    slope, intercept = _newton(scores - centre, target, weight)
    if slope >= MINIMUM_SLOPE:
        return Calibration("platt", slope, intercept - slope * centre)
    flat = _fit_prior(MINIMUM_SLOPE * scores, float(target.mean()))
    return Calibration("platt", MINIMUM_SLOPE, flat.intercept)


def _newton(scores: np.ndarray, target: np.ndarray, weight: float) -> tuple[float, float]:
    """Slope and intercept of the least penalised log loss; a step is halved until it helps."""
    design = np.column_stack([scores, np.ones_like(scores)])
    penalty = np.array([SLOPE_SPREAD**-2, 0.0])
    centre = np.array([1.0, 0.0])

    def loss(at: np.ndarray) -> float:
        log_odds = design @ at
        fit = weight * float((np.logaddexp(0.0, log_odds) - target * log_odds).sum())
        return fit + 0.5 * float(penalty @ (at - centre) ** 2)

    weights = np.array([1.0, float(logit(float(target.mean())))])
    before = loss(weights)
    for _ in range(100):
        p = sigmoid(design @ weights)
        gradient = weight * (design.T @ (p - target)) + penalty * (weights - centre)
        hessian = weight * ((design * (p * (1 - p))[:, None]).T @ design) + np.diag(penalty) + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        scale = 1.0
        while scale > 1e-6 and loss(weights - scale * step) > before:
            scale /= 2
        weights = weights - scale * step
        after = loss(weights)
        if before - after < 1e-10:
            break
        before = after
    return float(weights[0]), float(weights[1])
