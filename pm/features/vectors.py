"""The values of one as-of, and the rows that hold them.

What belongs here: from a matrix to `FEATURE_VECTOR`, and putting columns of several sets together. How values are
computed is `pm.features.windows`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from pm.schema import UTC_INSTANT

Values = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Batch:
    """Some features of the fleet at one as-of."""

    as_of: datetime
    vehicle_ids: pl.Series
    data_until: pl.Series
    """Instant of the last value [vehicle]; null: no data in the lookback."""
    values: Values
    """[vehicle, feature], NaN for null."""


def as_vectors(feature_set_id: str, batch: Batch) -> pl.DataFrame:
    """`FEATURE_VECTOR`, a row a vehicle."""
    n = batch.vehicle_ids.len()
    values = np.ascontiguousarray(batch.values, dtype="<f4")
    values[np.isnan(values)] = np.nan  # one bit pattern for null, whatever made it
    hashes = [
        _inputs_hash(feature_set_id, vehicle_id, batch.as_of, row)
        for vehicle_id, row in zip(batch.vehicle_ids, values, strict=True)
    ]
    lists = pl.Series(values.ravel(), dtype=pl.Float32).fill_nan(None).reshape(values.shape).arr.to_list()
    return pl.DataFrame(
        {
            "feature_set_id": pl.repeat(feature_set_id, n, eager=True),
            "vehicle_id": batch.vehicle_ids,
            "as_of": pl.repeat(batch.as_of, n, dtype=UTC_INSTANT, eager=True),
            "data_until": batch.data_until,
            "features": lists,
            "inputs_hash": hashes,
        }
    )


def matrix_of(vectors: pl.DataFrame, n_features: int) -> Values:
    """The values of `FEATURE_VECTOR` rows, [row, feature], NaN for null."""
    flat = vectors["features"].explode(empty_as_null=False, keep_nulls=False).fill_null(float("nan")).to_numpy()
    return np.asarray(flat, dtype=np.float32).reshape(vectors.height, n_features)


def put_together(n_features: int, parts: Sequence[tuple[Mapping[int, int], Values]]) -> Values:
    """A matrix from columns of others: each part says which of its columns goes where, as {to: from}."""
    made = np.empty((parts[0][1].shape[0], n_features), dtype="<f4")
    for places, values in parts:
        made[:, list(places)] = values[:, list(places.values())]
    return made


def _inputs_hash(feature_set_id: str, vehicle_id: int, as_of: datetime, values: Values) -> str:
    head = f"{feature_set_id}|{vehicle_id}|{as_of.isoformat()}|".encode()
    return hashlib.sha256(head + values.tobytes()).hexdigest()[:16]
