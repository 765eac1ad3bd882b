"""The vehicles of one as-of with their features as columns of numbers.

What belongs here: checking the vectors that reach scoring and laying them out for a model. What a
model makes of them is `predict`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pm.errors import DataError, LeakageError, ModelError
from pm.features.featureset import Feature, FeatureSet
from pm.policy import Policy
from pm.tables import FEATURE_VECTOR, VEHICLE

COVERAGE_FEATURE: Final = "n_days_with_data_14d"
"""Days of the last 14 with telemetry; below the policy's minimum there is no score. 0 is for fleets that are known
through events and repairs alone."""


@dataclass(frozen=True)
class Batch:
    """One row a vehicle, in vehicle order; `values` holds one float32 array a feature."""

    as_of: datetime
    feature_set_id: str
    rows: pl.DataFrame
    features: Mapping[str, Feature]
    values: Mapping[str, npt.NDArray[np.float32]]

    def matrix(self, names: Sequence[str], chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
        """Features `names` of the `chosen` rows, shape (rows, names), NaN where not computable.

        Raises:
            ModelError: the feature set has no such feature.
        """
        absent = [name for name in names if name not in self.values]
        if absent:
            raise ModelError(f"expected features of the set in use, but got a model that needs {absent}")
        made = np.empty((int(chosen.sum()), len(names)), dtype=np.float32)
        for at, name in enumerate(names):
            made[:, at] = self.values[name][chosen]
        return made

    def days_with_data(self) -> npt.NDArray[np.float64]:
        """Days of the last 14 with telemetry; 0 where the feature is null."""
        if COVERAGE_FEATURE not in self.values:
            raise DataError(f"scoring: expected feature {COVERAGE_FEATURE} in the set, but got {sorted(self.values)}")
        return np.nan_to_num(self.values[COVERAGE_FEATURE].astype(np.float64), nan=0.0)

    def has_data(self, policy: Policy) -> npt.NDArray[np.bool_]:
        """Whether each vehicle sent enough for a score; all of them where the policy asks for no day with data."""
        if policy.features.minimum_days_with_data == 0:
            return np.ones(self.rows.height, dtype=np.bool_)
        some = self.rows["data_until"].is_not_null().to_numpy()
        return np.asarray(some & (self.days_with_data() >= policy.features.minimum_days_with_data))


def lay_out(vectors: pl.DataFrame, feature_set: FeatureSet, vehicles: pl.DataFrame | None) -> Batch | None:
    """The batch of `vectors` (FEATURE_VECTOR), or None where no vehicle is in the fleet.

    Raises:
        DataError: the vectors are of several as-ofs or of another feature set.
        LeakageError: a vector's data is newer than its as-of.
    """
    rows = _in_fleet(FEATURE_VECTOR.check(vectors), vehicles).sort("vehicle_id")
    if rows.is_empty():
        return None
    as_ofs = rows["as_of"].unique().sort().to_list()
    if len(as_ofs) > 1:
        raise DataError(f"scoring: expected vectors of one as-of, but got {len(as_ofs)}, {as_ofs[0]} to {as_ofs[-1]}")
    _check(rows, feature_set)
    names = {feature.name: feature for feature in feature_set.features}
    return Batch(as_ofs[0], feature_set.feature_set_id, rows, names, _values(rows, tuple(names)))


def _in_fleet(vectors: pl.DataFrame, vehicles: pl.DataFrame | None) -> pl.DataFrame:
    if vehicles is None:
        return vectors
    left = VEHICLE.check(vehicles).select("vehicle_id", "left_at")
    there = vectors.join(left, on="vehicle_id", how="inner")
    return there.filter(pl.col("left_at").is_null() | (pl.col("left_at") > pl.col("as_of"))).drop("left_at")


def _check(rows: pl.DataFrame, feature_set: FeatureSet) -> None:
    sets = rows["feature_set_id"].unique().to_list()
    if sets != [feature_set.feature_set_id]:
        raise DataError(f"scoring: expected feature set {feature_set.feature_set_id}, but got {sorted(sets)}")
    late = rows.filter(pl.col("data_until") > pl.col("as_of"))
    if late.height:
        vehicle, until, as_of = late.select("vehicle_id", "data_until", "as_of").row(0)
        raise LeakageError(f"vehicle {vehicle}: expected data until {as_of} at the latest, but got {until}")
    short = rows.filter(pl.col("features").list.len() != len(feature_set.features))
    if short.height:
        vehicle, n_features = short.select("vehicle_id", pl.col("features").list.len()).row(0)
        raise DataError(f"vehicle {vehicle}: expected {len(feature_set.features)} features, but got {n_features}")


def _values(rows: pl.DataFrame, names: Sequence[str]) -> dict[str, npt.NDArray[np.float32]]:
    flat = rows["features"].explode(empty_as_null=False).fill_null(float("nan")).to_numpy()
    table = flat.reshape(rows.height, len(names))
    return {name: table[:, at] for at, name in enumerate(names)}
