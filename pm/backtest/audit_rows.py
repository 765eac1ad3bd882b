"""The rows that an audit trains and tests on: the product's own folds, as arrays.

What belongs here: which folds are audited, their training and test rows, and the vectors of the same
vehicles on other days. What is done with them is `pm.backtest.audit_runs`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from pm.backtest.folds import Fold, judging_labels, training_labels
from pm.features.featureset import FeatureSet
from pm.labels.maturation import LagEstimate, matured
from pm.models.rows import feature_matrix
from pm.policy import Booster, Policy

_KEY_SHIFT: Final = 2**32


@dataclass(frozen=True)
class Grid:
    """Every vector as one matrix, found by vehicle and day."""

    features: np.ndarray
    """Shape (n, f), float32, NaN for missing."""
    key: np.ndarray
    """Rising, int64: vehicle and day of each line of `features`."""
    booster: Booster = field(default_factory=Booster)
    """The trees that are trained on it, as the policy has them."""

    def find(self, vehicle: np.ndarray, day: np.ndarray) -> np.ndarray:
        """Lines of `features`; -1 where there is no such vector."""
        wanted = vehicle * _KEY_SHIFT + day
        at = np.minimum(np.searchsorted(self.key, wanted), self.key.size - 1)
        return np.where(self.key[at] == wanted, at, -1)

    def matrix(self, rows: "Labelled", shift_d: int = 0) -> np.ndarray:
        """The features of `rows` as they are `shift_d` days later; every row must have a vector there."""
        return np.asarray(self.features[self.find(rows.vehicle, rows.day + shift_d)])

    @property
    def vehicle(self) -> np.ndarray:
        """Vehicle of each line."""
        return np.asarray(self.key // _KEY_SHIFT)

    @property
    def spacing_d(self) -> int:
        """Days between neighbouring as-ofs, the smallest there is."""
        days = np.unique(self.key % _KEY_SHIFT)
        return int(np.diff(days).min()) if days.size > 1 else 1


@dataclass(frozen=True)
class Labelled:
    """Rows with a label, one array element a row, by day and vehicle."""

    vehicle: np.ndarray
    day: np.ndarray
    """As-of in days since 1970, int64."""
    positive: np.ndarray

    def take(self, mask: np.ndarray) -> "Labelled":
        """The rows where `mask` is true, or those at the positions `mask`."""
        return Labelled(self.vehicle[mask], self.day[mask], self.positive[mask])

    @property
    def n_positives(self) -> int:
        return int(self.positive.sum())


@dataclass(frozen=True)
class FoldRows:
    """One component in one fold."""

    number: int
    cutoff: str
    train: Labelled
    test: Labelled


@dataclass(frozen=True)
class FoldLabels:
    """All components in one fold: what may be trained on, and what it is judged by."""

    fold: Fold
    lag: LagEstimate
    """As estimated at the cutoff."""
    training: pl.DataFrame
    """LABEL, matured by the cutoff."""
    judged: pl.DataFrame
    """LABEL, positive or negative, matured by the end."""


def grid_of(vectors: pl.DataFrame, feature_set: FeatureSet, booster: Booster) -> Grid:
    """The matrix of a FEATURE_VECTOR frame.

    Raises:
        ModelError: a vector has another number of features than the set.
    """
    keyed = vectors.with_columns(
        key=pl.col("vehicle_id").cast(pl.Int64) * _KEY_SHIFT + pl.col("as_of").dt.epoch("d").cast(pl.Int64)
    ).sort("key")
    return Grid(feature_matrix(keyed, len(feature_set.names)), keyed["key"].to_numpy(), booster)


def fold_labels(
    folds: Sequence[Fold],
    *,
    vehicles: pl.DataFrame,
    failures: pl.DataFrame,
    components: Sequence[str],
    policy: Policy,
    known_until: datetime,
    observed_until: datetime,
) -> tuple[list[FoldLabels], pl.DataFrame]:
    """Labels of the folds to audit, oldest first, and all judged labels of every as-of.

    Audited are `policy.audit.folds` of the folds in which anything failed, the latest and every second
    before it: late folds train on most, and two apart share fewer test days' causes.
    """
    everything = sorted({day for fold in folds for day in (*fold.train_as_ofs, *fold.test_as_ofs)})
    whole = replace(folds[-1], train_as_ofs=(), test_as_ofs=tuple(everything))
    labels, lag = judging_labels(
        whole, vehicles=vehicles, failures=failures, components=components, known_until=known_until,
        observed_until=observed_until, policy=policy,
    )  # fmt: skip
    judged = matured(labels, known_until, lag.lag_d, policy, booking=lag.booking)
    found = []
    for fold in _chosen(folds, judged, policy.audit.folds):
        training, then = training_labels(
            fold, vehicles=vehicles, failures=failures, components=components, observed_until=observed_until,
            policy=policy,
        )  # fmt: skip
        found.append(FoldLabels(fold, then, training, judged.filter(pl.col("as_of").is_in(fold.test_as_ofs))))
    return found, judged


def _chosen(folds: Sequence[Fold], judged: pl.DataFrame, wanted: int) -> list[Fold]:
    days = set(judged.filter(pl.col("state") == "positive")["as_of"].unique().to_list())
    failing = [fold for fold in folds if not days.isdisjoint(fold.test_as_ofs)]
    every_second = failing[::-1][: 2 * wanted][:: 2 if len(failing) >= 2 * wanted else 1]
    return sorted(every_second[:wanted], key=lambda fold: fold.number)


def rows_of(labels: FoldLabels, component: str, grid: Grid, policy: Policy) -> FoldRows:
    """The fold's rows of one component that have a vector.

    Training rows are thinned to `policy.backtest.as_of_step_d`, and by days further to about
    `policy.audit.maximum_rows`, so that the cost of an audit is bounded.
    """
    train = _labelled(labels.training, component, grid)
    train = train.take(train.day % policy.backtest.as_of_step_d == 0)
    days = np.unique(train.day)
    every = max(1, -(-train.day.size // policy.audit.maximum_rows))
    train = train.take(np.isin(train.day, days[::-1][::every]))
    return FoldRows(
        labels.fold.number, labels.fold.cutoff.date().isoformat(), train, _labelled(labels.judged, component, grid)
    )


def _labelled(labels: pl.DataFrame, component: str, grid: Grid) -> Labelled:
    mine = labels.filter(pl.col("component") == component).sort("as_of", "vehicle_id")
    rows = Labelled(
        mine["vehicle_id"].to_numpy().astype(np.int64),
        mine["as_of"].dt.epoch("d").to_numpy().astype(np.int64),
        (mine["state"] == "positive").to_numpy(),
    )
    return rows.take(grid.find(rows.vehicle, rows.day) >= 0)


def positive_shares(judged: pl.DataFrame, component: str) -> dict[int, float]:
    """Share of positive rows a vehicle, over every as-of: what a target-encoded vehicle would hold."""
    mine = judged.filter(pl.col("component") == component)
    shares = mine.group_by("vehicle_id").agg((pl.col("state") == "positive").mean().alias("share"))
    return dict(shares.iter_rows())
