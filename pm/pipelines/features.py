"""Daily aggregates -> feature vectors at the given as-ofs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from pm.asof import known
from pm.features.featureset import FeatureSet, default_feature_set
from pm.features.windows import build_vectors
from pm.policy import Policy
from pm.progress import Track, silent
from pm.store import dailies, feature_vectors, vehicles, work_orders
from pm.store.connection import Connection
from pm.tables import FEATURE_VECTOR


@dataclass(frozen=True)
class FeaturesReport:
    """Which set made how many vectors."""

    feature_set_id: str
    n_features: int
    n_as_ofs: int
    n_vectors: int
    n_without_data: int


def build_features(
    conn: Connection, as_ofs: Sequence[datetime], policy: Policy, *, track: Track = silent
) -> FeaturesReport:
    """Compute and store the vectors of every vehicle at each as-of, from rows known by then."""
    feature_set = default_feature_set(policy)
    feature_vectors.put_feature_set(conn, feature_set)
    blocks = [tuple(as_ofs[at : at + 14]) for at in range(0, len(as_ofs), 14)]
    n_vectors = n_without_data = 0
    for block in track(blocks, "features", len(blocks)):
        vectors = _vectors(conn, feature_set, block, policy)
        feature_vectors.put_vectors(conn, vectors)
        n_vectors += vectors.height
        n_without_data += vectors["data_until"].null_count()
    return FeaturesReport(feature_set.feature_set_id, len(feature_set.names), len(as_ofs), n_vectors, n_without_data)


def _vectors(conn: Connection, feature_set: FeatureSet, as_ofs: Sequence[datetime], policy: Policy) -> pl.DataFrame:
    last = max(as_ofs)
    start = (min(as_ofs) - timedelta(days=feature_set.lookback_d)).date()
    return FEATURE_VECTOR.check(
        build_vectors(
            feature_set,
            as_ofs,
            vehicles=vehicles.fetch_vehicles(conn),
            daily_signals=dailies.fetch_daily_signals(conn, start=start, known_by=last),
            daily_faults=dailies.fetch_daily_faults(conn, start=start, known_by=last),
            failures=known(work_orders.fetch_failures(conn), last),
            policy=policy,
        )
    )
