"""Vectors and labels as arrays, and which rows train and which calibrate.

What belongs here: the join, the split in time and the hash of what went in. It knows nothing of
estimators.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

import numpy as np
import polars as pl

from pm.asof import latest_known, require_known
from pm.errors import LeakageError, ModelError
from pm.features.featureset import FeatureSet
from pm.policy import Policy
from pm.tables import FEATURE_VECTOR, LABEL

USUAL_LOW: Final = 0.05
USUAL_HIGH: Final = 0.95


@dataclass(frozen=True)
class Rows:
    """Matured rows of one component, sorted by as_of and vehicle."""

    vehicle: np.ndarray
    day: np.ndarray
    """Days since 1970-01-01, int64."""
    features: np.ndarray
    """Shape (n, f), float32, NaN for missing."""
    positive: np.ndarray
    failed_us: np.ndarray
    """Microseconds since 1970 of the failure behind a positive row, int64; -1 elsewhere."""

    def take(self, mask: np.ndarray) -> "Rows":
        """The rows where `mask` is true."""
        kept = (self.vehicle, self.day, self.features, self.positive, self.failed_us)
        return Rows(*(part[mask] for part in kept))

    @property
    def n_failures(self) -> int:
        """Distinct failures behind the positive rows."""
        pairs = np.column_stack([self.vehicle, self.failed_us])[self.positive]
        return int(np.unique(pairs, axis=0).shape[0])

    @property
    def n_rows(self) -> int:
        return int(self.positive.size)

    @property
    def n_positives(self) -> int:
        return int(self.positive.sum())

    @cached_property
    def sha256(self) -> str:
        """Hash of features and labels, hex."""
        digest = hashlib.sha256()
        for part in (self.vehicle, self.day, self.features, self.positive):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    @cached_property
    def usual_range(self) -> tuple[tuple[float | None, ...], tuple[float | None, ...]]:
        """5 % and 95 % of each feature over rows without failure; None where it was never known."""
        ends = [_ends(column) for column in self.features[~self.positive].T]
        return tuple(low for low, _ in ends), tuple(high for _, high in ends)


def _ends(column: np.ndarray) -> tuple[float | None, float | None]:
    known = column[~np.isnan(column)].astype(np.float64)
    if not known.size:
        return None, None
    low, high = np.quantile(known, [USUAL_LOW, USUAL_HIGH])
    return float(low), float(high)


def feature_matrix(vectors: pl.DataFrame, n_features: int) -> np.ndarray:
    """Features of a FEATURE_VECTOR frame, shape (n, n_features), float32, NaN for missing.

    Raises:
        ModelError: a row has another number of features.
    """
    lengths = vectors["features"].list.len()
    wrong = sorted(set(lengths.drop_nulls().to_list()) - {n_features})
    if wrong or lengths.null_count():
        raise ModelError(f"feature vectors: expected {n_features} numbers a row, but got {wrong or 'none'}")
    flat = vectors["features"].explode(empty_as_null=False, keep_nulls=False).fill_null(float("nan")).to_numpy()
    return np.array(flat, dtype=np.float32).reshape(vectors.height, n_features)


def labelled_rows(
    component: str,
    vectors: pl.DataFrame,
    labels: pl.DataFrame,
    *,
    feature_set: FeatureSet,
    policy: Policy,
    cutoff: datetime,
) -> Rows:
    """Rows of `component` whose label is positive or negative and was known by `cutoff`.

    Of each vehicle, one row every `policy.backtest.as_of_step_d` days.

    Raises:
        LeakageError: a label or vector is of after `cutoff`.
        ModelError: vectors of another feature set, a label of another horizon, or no row at all.
    """
    others = sorted(set(vectors["feature_set_id"].unique()) - {feature_set.feature_set_id})
    if others:
        raise ModelError(f"feature vectors: expected feature set {feature_set.feature_set_id}, but got {others}")
    keys = FEATURE_VECTOR.check(vectors).select("vehicle_id", "as_of")
    found = labelled_keys(component, keys, labels, policy=policy, cutoff=cutoff)
    return rows_at(found, feature_matrix(vectors[found["row"]], len(feature_set.names)))


def labelled_keys(
    component: str, keys: pl.DataFrame, labels: pl.DataFrame, *, policy: Policy, cutoff: datetime
) -> pl.DataFrame:
    """Which of `keys` (vehicle_id, as_of) are training rows of `component`, as `labelled_rows` says.

    Columns: row (the line of `keys`), vehicle_id, day, positive, failed_at; sorted by as-of and vehicle.

    Raises:
        LeakageError: a label or key is of after `cutoff`.
        ModelError: a label of another horizon, or no row at all.
    """
    mine = require_known(LABEL.check(labels).filter(pl.col("component") == component), cutoff, f"labels of {component}")
    mine = latest_known(mine, cutoff, ["vehicle_id", "as_of", "horizon_d"])
    mine = mine.filter(pl.col("state").is_in(["positive", "negative"]))
    horizons = sorted(set(mine["horizon_d"].unique()) - {policy.horizon.days})
    if horizons:
        raise ModelError(f"labels: expected a horizon of {policy.horizon.days} d, but got {horizons}")
    joined = (
        keys.with_row_index("row")
        .join(mine.select("vehicle_id", "as_of", "state", "failed_at"), on=["vehicle_id", "as_of"], how="inner")
        .with_columns(day=pl.col("as_of").dt.epoch("d").cast(pl.Int64), positive=pl.col("state") == "positive")
        .filter(pl.col("day") % policy.backtest.as_of_step_d == 0)
        .sort("as_of", "vehicle_id")
    )
    late = joined.filter(pl.col("as_of") > cutoff)
    if late.height:
        raise LeakageError(
            f"training rows of {component}: expected as_of by {cutoff}, but got {late.height} later rows"
        )
    if not joined.height:
        raise ModelError(f"component {component}: expected matured labels with vectors by {cutoff}, but got none")
    return joined.select("row", "vehicle_id", "day", "positive", "failed_at")


def rows_at(found: pl.DataFrame, features: np.ndarray) -> Rows:
    """The rows that `labelled_keys` found, with their `features` in the same order."""
    return Rows(
        found["vehicle_id"].to_numpy().astype(np.int64),
        found["day"].to_numpy(),
        features,
        found["positive"].to_numpy(),
        found["failed_at"].dt.epoch("us").fill_null(-1).to_numpy(),
    )


def latest_days(rows: Rows, policy: Policy) -> np.ndarray:
    """Mask of the rows of the latest `calibration_share` of the as-of days: those that calibrate."""
    days = np.unique(rows.day)
    n_days = max(1, round(policy.backtest.calibration_share * days.size))
    return np.asarray(rows.day >= days[-n_days])


def vehicle_groups(rows: Rows, n_groups: int, seed: int) -> np.ndarray:
    """Group number of each row, 0 to `n_groups` - 1; all rows of a vehicle are in one group.

    Vehicles are dealt out in a random order that the seed fixes, those with a positive row first, so
    that every group gets its share of failures.
    """
    vehicles = np.unique(rows.vehicle)
    fails = np.isin(vehicles, rows.vehicle[rows.positive])
    shuffled = np.random.default_rng(seed % 2**31).permutation(vehicles.size)
    order = shuffled[np.argsort(~fails[shuffled], kind="stable")]
    group = np.empty(vehicles.size, dtype=np.int64)
    group[order] = np.arange(vehicles.size) % n_groups
    return group[np.searchsorted(vehicles, rows.vehicle)]
