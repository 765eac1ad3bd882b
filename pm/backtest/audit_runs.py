"""The same task run again under other splits, labels and days.

What belongs here: rows in, scores out, and how good scores are against chance. What follows from them
is said by `pm.backtest.audit_task` and `pm.backtest.audit_features`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import lightgbm
import numpy as np

from pm.backtest.audit_rows import FoldRows, Grid, Labelled
from pm.backtest.figures import Figure, vehicle_weights
from pm.backtest.metrics import Judged, average_precision
from pm.models.gbm import GbmModel, fit_gbm
from pm.models.rows import Rows, vehicle_groups

N_GROUPS: Final = 3
"""Groups of vehicles of the split by vehicle."""


@dataclass(frozen=True)
class Scored:
    """Rows with their outcome and a score each; higher is riskier."""

    rows: Labelled
    score: np.ndarray

    def take(self, mask: np.ndarray) -> "Scored":
        """The rows where `mask` is true."""
        return Scored(self.rows.take(mask), self.score[mask])


def pooled(parts: Sequence[Scored]) -> Scored:
    """The rows of all `parts`, one under the other."""
    rows = [part.rows for part in parts]
    return Scored(
        Labelled(
            np.concatenate([one.vehicle for one in rows]),
            np.concatenate([one.day for one in rows]),
            np.concatenate([one.positive for one in rows]),
        ),
        np.concatenate([part.score for part in parts]),
    )


def score(grid: Grid, train: Labelled, test: Labelled, seed: int, *, shift_d: int = 0) -> Scored:
    """Train the booster on `train` and score `test`, both with the features of `shift_d` days later."""
    model = fit_gbm(grid.matrix(train, shift_d), train.positive, seed, grid.booster)
    return Scored(test, model.raw(grid.matrix(test, shift_d)))


def honest(grid: Grid, fold: FoldRows, seed: int) -> tuple[Scored, GbmModel]:
    """The fold as it is, and the model it made."""
    model = fit_gbm(grid.matrix(fold.train), fold.train.positive, seed, grid.booster)
    return Scored(fold.test, model.raw(grid.matrix(fold.test))), model


def random_split(grid: Grid, fold: FoldRows, seed: int) -> tuple[Scored, Labelled]:
    """All rows of the fold dealt out at random, with as many test rows as the fold has; and the training rows."""
    train, test = fold.train, fold.test
    both = pooled([Scored(train, np.zeros(train.day.size)), Scored(test, np.zeros(test.day.size))]).rows
    order = np.random.default_rng(seed).permutation(both.day.size)
    chosen, rest = both.take(np.sort(order[: test.day.size])), both.take(np.sort(order[test.day.size :]))
    return plainly_scored(grid, rest, chosen, seed), rest


def plainly_scored(grid: Grid, train: Labelled, test: Labelled, seed: int) -> Scored:
    """As `score`, by LightGBM as it comes: 100 trees of 31 leaves.

    The product's booster is held small on purpose and memorises little; what a split lets through shows in
    one that can.
    """
    parameters = {"objective": "binary", "seed": seed % 2**31, "deterministic": True, "force_row_wise": True,
                  "num_threads": 1, "verbosity": -1}  # fmt: skip
    data = lightgbm.Dataset(grid.matrix(train), train.positive.astype(np.float64), params=parameters)
    booster = lightgbm.train(parameters, data)
    return Scored(test, np.asarray(booster.predict(grid.matrix(test), raw_score=True), dtype=np.float64))


def split_by_vehicle(grid: Grid, fold: FoldRows, seed: int) -> Scored:
    """The fold's test rows, each scored by a model that never saw the vehicle."""
    train, test = fold.train, fold.test
    both = np.concatenate([train.vehicle, test.vehicle])
    positive = np.concatenate([train.positive, np.zeros(test.day.size, dtype=bool)])
    empty = np.zeros((both.size, 0), dtype=np.float32)
    rows = Rows(both, np.zeros(both.size, dtype=np.int64), empty, positive, np.full(both.size, -1))
    group = vehicle_groups(rows, N_GROUPS, seed)
    of_train, of_test = group[: train.day.size], group[train.day.size :]
    parts = [
        score(grid, train.take(of_train != number), test.take(of_test == number), seed)
        for number in range(N_GROUPS)
        if (of_test == number).any() and train.take(of_train != number).n_positives > 0
    ]
    return pooled(parts)


def shuffled(grid: Grid, fold: FoldRows, how: str, seed: int) -> Scored:
    """The fold with its labels shuffled, in training and in the test alike; see `shuffled_positions`."""
    rng = np.random.default_rng(seed)
    names = np.unique(np.concatenate([fold.train.vehicle, fold.test.vehicle]))
    other = rng.permutation(names)
    train, test = (
        _relabelled(rows, _within_days(rows, rng) if how == "as_of" else _of_others(rows, names, other))
        for rows in (fold.train, fold.test)
    )
    return score(grid, train, test, seed)


def shuffled_positions(rows: Labelled, how: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Which rows stay, and the row whose label each of them gets.

    "as_of": among the vehicles of each day, so that days keep their base rate. "vehicle": each vehicle
    gets the whole history of another, so that the days of a vehicle still tell one story; days on which
    the other has no row are left out. Permutation as in M. Ojala and G. C. Garriga, "Permutation tests
    for studying classifier performance", JMLR 11 (2010) 1833-1863.
    """
    if how == "as_of":
        return _within_days(rows, rng)
    names = np.unique(rows.vehicle)
    return _of_others(rows, names, rng.permutation(names))


def _within_days(rows: Labelled, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    source = np.empty(rows.day.size, dtype=np.int64)
    source[np.argsort(rows.day, kind="stable")] = np.lexsort((rng.random(rows.day.size), rows.day))
    return np.arange(rows.day.size), source


def _of_others(rows: Labelled, names: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`other` holds, for each of the rising `names`, the vehicle whose labels it gets."""
    span = int(rows.day.max()) + 1
    key = rows.vehicle * span + rows.day
    order = np.argsort(key)
    wanted = other[np.searchsorted(names, rows.vehicle)] * span + rows.day
    source = order[np.minimum(np.searchsorted(key[order], wanted), key.size - 1)]
    kept = np.flatnonzero(key[source] == wanted)
    return kept, source[kept]


def _relabelled(rows: Labelled, positions: tuple[np.ndarray, np.ndarray]) -> Labelled:
    kept, source = positions
    return Labelled(rows.vehicle[kept], rows.day[kept], rows.positive[source])


def pr_auc(scored: Scored, samples: int, seed: int) -> tuple[Figure, np.ndarray]:
    """PR-AUC with its interval over vehicles, and its values over the resamples, shape (1 + samples,)."""
    rows = _judged(scored, samples, seed)
    values = average_precision(rows.positive.astype(np.float64), scored.score, rows.row_weights)
    return rows.figure(values, "one class only"), values


def base_rate(scored: Scored, samples: int, seed: int) -> Figure:
    """Share of positive rows: the PR-AUC of a score that knows nothing."""
    rows = _judged(scored, samples, seed)
    weights = rows.row_weights
    return rows.figure(weights @ rows.positive / np.maximum(weights.sum(axis=1), 1), "no rows")


def difference(one: np.ndarray, other: np.ndarray, scored: Scored, samples: int, seed: int) -> Figure:
    """`one` less `other`, both from `pr_auc` over the same vehicles and resamples."""
    return _judged(scored, samples, seed).figure(one - other, "one class only")


def _judged(scored: Scored, samples: int, seed: int) -> Judged:
    names, vehicle = np.unique(scored.rows.vehicle, return_inverse=True)
    return Judged(vehicle, scored.rows.day, scored.rows.positive, vehicle_weights(names.size, samples, seed))


def chance(scored: Scored, how: str, permutations: int, seed: int) -> np.ndarray:
    """PR-AUC of the same scores on shuffled outcomes, shape (permutations,): what chance reaches."""
    rng = np.random.default_rng(seed)
    reached = np.empty(permutations)
    for number in range(permutations):
        kept, source = shuffled_positions(scored.rows, how, rng)
        outcome = scored.rows.positive[source].astype(np.float64)
        reached[number] = average_precision(outcome, scored.score[kept], np.ones((1, kept.size)))[0]
    return reached


def above_chance(value: float, reached: np.ndarray) -> float:
    """p-value of `value` among what chance reached (Phipson and Smyth, 2010: never 0)."""
    defined = reached[np.isfinite(reached)]
    return float((1 + (defined >= value).sum()) / (1 + defined.size))
