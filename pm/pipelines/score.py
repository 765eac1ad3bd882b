"""Serving bundles and feature vectors -> ranked predictions of one as-of."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from pm.errors import DataError
from pm.features.featureset import FeatureSet
from pm.models.baselines import RULES
from pm.models.bundle import Bundle
from pm.pipelines.assumptions import require_fleet_unblocked, withheld_vehicles
from pm.pipelines.feature_sets import set_in_use
from pm.policy import Policy
from pm.scoring.predict import score
from pm.store import artifacts, feature_vectors, predictions, registry, serving, vehicles
from pm.store.connection import Connection
from pm.tables import PREDICTION

_TICK: Final = timedelta(microseconds=1)
_RECENT: Final = timedelta(days=14)
"""How far back running alerts and the week's budget are looked up."""


@dataclass(frozen=True)
class ScoreReport:
    """What was predicted at an as-of."""

    as_of: datetime
    n_predictions: int
    n_by_status: dict[str, int]
    n_alerts: int


def score_fleet(
    conn: Connection,
    as_of: datetime,
    policy: Policy,
    *,
    artifact_folder: Path,
    scored_at: datetime,
    configured: FeatureSet | None = None,
) -> ScoreReport:
    """Score every vehicle and component at `as_of` and replace what was stored for it.

    Raises:
        DataError: there are no vectors at that as-of, or no model serves and none can stand in, or the check of
            the daily aggregates blocked the whole fleet. A vehicle that it blocked gets "insufficient_data".
    """
    require_fleet_unblocked(conn, [as_of])
    feature_set = set_in_use(conn, policy, configured)
    vectors = feature_vectors.fetch_vectors(conn, feature_set.feature_set_id, since=as_of, until=as_of)
    if vectors.is_empty():
        raise DataError(f"expected feature vectors at {as_of.isoformat()}, but got none: run `pm features` first")
    champions = _bundles(conn, artifact_folder, registry.serving(conn))
    fallbacks = _bundles(conn, artifact_folder, _newest_rules(conn))
    if not champions and not fallbacks:
        raise DataError("expected a serving model, but got none: run `pm train` first")
    found = PREDICTION.check(
        score(
            champions,
            vectors,
            feature_set=feature_set,
            policy=policy,
            fallbacks=fallbacks,
            scored_at=scored_at,
            vehicles=vehicles.fetch_vehicles(conn),
            withheld=withheld_vehicles(conn, as_of),
            recent=serving.fetch_alert_history(conn, since=as_of - _RECENT, until=as_of - _TICK),
        )
    )
    predictions.replace_predictions(conn, as_of, found)
    counts = dict(sorted(found["status"].value_counts().iter_rows()))
    return ScoreReport(as_of, found.height, counts, int(found["alert"].sum()))


def _bundles(conn: Connection, folder: Path, serving: dict[str, str]) -> dict[str, Bundle]:
    return {
        component: Bundle.from_bytes(artifacts.get(folder, registry.bundle_sha256(conn, model_id)))
        for component, model_id in serving.items()
    }


def _newest_rules(conn: Connection) -> dict[str, str]:
    """The simple rule registered last, by component."""
    rules = (
        registry.fetch_models(conn)
        .filter(pl.col("kind").is_in(RULES))
        .unique("component", keep="first", maintain_order=True)
    )
    return dict(rules.select("component", "model_id").iter_rows())
