"""What single features know: alone, inside the model, and about which vehicle it is.

What belongs here: numbers a feature. Which of them are an alarm is said by `pm.backtest.audit_task`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import lightgbm
import numpy as np

from pm.backtest.audit_rows import FoldRows, Grid, Labelled
from pm.backtest.audit_runs import Scored, pooled
from pm.backtest.metrics import average_precision
from pm.models.gbm import GbmModel

N_BINS: Final = 24
N_PERMUTED: Final = 10
"""Features of the highest split gain whose permutation importance is measured."""
MINIMUM_VEHICLES: Final = 12
"""Below it a correlation over vehicles is high by chance."""
_CONSTANT: Final = 0.01
"""Share of a feature's variance inside vehicles below which it is constant a vehicle."""


@dataclass(frozen=True)
class Alone:
    """One feature as the only input."""

    position: int
    pr_auc: float
    scored: Scored


def alone(grid: Grid, folds: Sequence[FoldRows], position: int) -> Scored:
    """Test rows scored by one feature: the smoothed share of positives in its bin, as trained.

    Bins hold equally many training rows, a missing value has one of its own; so a relation of any
    shape is found, and there is next to nothing to overfit.
    """
    return pooled([Scored(fold.test, _bin_scores(grid, fold, position)) for fold in folds])


def _bin_scores(grid: Grid, fold: FoldRows, position: int) -> np.ndarray:
    train, test = (grid.matrix(rows)[:, position] for rows in (fold.train, fold.test))
    known = train[~np.isnan(train)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, N_BINS + 1)[1:-1])) if known.size else np.zeros(0)
    prior = fold.train.positive.mean()
    of_train, of_test = (
        np.where(np.isnan(column), edges.size + 1, np.searchsorted(edges, column, side="right"))
        for column in (train, test)
    )
    n = np.bincount(of_train, minlength=edges.size + 2)
    hits = np.bincount(of_train, weights=fold.train.positive, minlength=edges.size + 2)
    return np.asarray(((hits + prior) / (n + 1))[of_test])


def all_alone(grid: Grid, folds: Sequence[FoldRows]) -> list[Alone]:
    """Every feature as the only input, the best first."""
    made = []
    for position in range(grid.features.shape[1]):
        scored = alone(grid, folds, position)
        outcome = scored.rows.positive.astype(np.float64)
        value = float(average_precision(outcome, scored.score, np.ones((1, outcome.size)))[0])
        made.append(Alone(position, value, scored))
    return sorted(made, key=lambda one: (-one.pr_auc, one.position))


@dataclass(frozen=True)
class Importance:
    """What the fold models rest on."""

    gain_share: np.ndarray
    """Split gain a feature, summed over the folds, as shares of 1."""
    permuted: Mapping[int, Scored]
    """The test rows scored with one feature dealt out anew among the vehicles of each day."""


def importance(
    grid: Grid, folds: Sequence[FoldRows], models: Sequence[GbmModel], seed: int, more: Sequence[int] = ()
) -> Importance:
    """Split gain of all features, and scores without what each of the strongest (and of `more`) knows.

    `models` are the folds' honest ones.

    Permutation importance as in L. Breiman, "Random Forests", Machine Learning 45 (2001) 5-32, on the
    honest test rows.
    """
    gain = np.sum([_gain(model) for model in models], axis=0)
    strongest = [int(position) for position in np.argsort(-gain, kind="stable")[:N_PERMUTED] if gain[position] > 0]
    wanted = dict.fromkeys([*strongest, *more])
    permuted = {
        position: pooled([
            Scored(fold.test, _without(grid, fold.test, model, position, seed))
            for fold, model in zip(folds, models, strict=True)
        ])
        for position in wanted
    }  # fmt: skip
    return Importance(gain / max(float(gain.sum()), 1e-12), permuted)


def _gain(model: GbmModel) -> np.ndarray:
    booster: lightgbm.Booster = model.booster
    return np.asarray(booster.feature_importance("gain"), dtype=np.float64)


def _without(grid: Grid, rows: Labelled, model: GbmModel, position: int, seed: int) -> np.ndarray:
    features = grid.matrix(rows).copy()
    drawn = np.lexsort((np.random.default_rng(seed).random(rows.day.size), rows.day))
    there = np.argsort(rows.day, kind="stable")
    features[there, position] = features[drawn, position]
    return model.raw(features)


@dataclass(frozen=True)
class Identity:
    """A feature that hardly changes a vehicle."""

    position: int
    n_vehicles: int
    distinct_share: float
    """Different values a vehicle: 1 where each has its own."""
    correlation: float | None
    """With the vehicle's share of positive rows, the larger of Pearson's and Spearman's in size."""


def identities(grid: Grid, shares: Mapping[int, float]) -> list[Identity]:
    """The features that are constant a vehicle; correlations need 12 vehicles and different shares."""
    names, at = np.unique(grid.vehicle, return_inverse=True)
    target = np.array([shares.get(int(name), np.nan) for name in names])
    made = []
    for position, column in enumerate(grid.features.T):
        means, constant = _vehicle_means(column.astype(np.float64), at, names.size)
        known = ~np.isnan(means)
        if constant and known.sum() > 1:
            distinct = np.unique(np.round(means[known], 6)).size / known.sum()
            both = known & ~np.isnan(target)
            made.append(Identity(position, int(known.sum()), float(distinct), _related(means[both], target[both])))
    return made


def _vehicle_means(column: np.ndarray, at: np.ndarray, n_vehicles: int) -> tuple[np.ndarray, bool]:
    """Mean a vehicle, and whether next to all of the variance lies between vehicles."""
    known = ~np.isnan(column)
    values, where = column[known], at[known]
    n = np.bincount(where, minlength=n_vehicles)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.bincount(where, weights=values, minlength=n_vehicles) / n
    inside = values - means[where]
    total = values - values.mean() if values.size else values
    spread = float((total**2).sum())
    return means, spread > 0 and float((inside**2).sum()) < _CONSTANT * spread


def _related(means: np.ndarray, target: np.ndarray) -> float | None:
    if means.size < MINIMUM_VEHICLES or np.ptp(means) == 0 or np.ptp(target) == 0:
        return None
    plain = np.corrcoef(means, target)[0, 1]
    ranked = np.corrcoef(_ranks(means), _ranks(target))[0, 1]
    return float(max(abs(plain), abs(ranked)))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks, ties at their mean."""
    _, at, n = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(n) - (n - 1) / 2)[at])
