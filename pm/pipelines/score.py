"""Serving bundles and feature vectors -> ranked predictions of one as-of."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg

from pm.errors import DataError
from pm.features.featureset import default_feature_set
from pm.models.bundle import Bundle
from pm.policy import Policy
from pm.scoring.predict import score
from pm.store import artifacts, feature_vectors, predictions, registry
from pm.tables import PREDICTION


@dataclass(frozen=True)
class ScoreReport:
    """What was predicted at an as-of."""

    as_of: datetime
    n_predictions: int
    n_by_status: dict[str, int]
    n_alerts: int


def score_fleet(
    conn: psycopg.Connection, as_of: datetime, policy: Policy, *, artifact_folder: Path, scored_at: datetime
) -> ScoreReport:
    """Score every vehicle and component at `as_of` and replace what was stored for it.

    Raises:
        DataError: there are no vectors at that as-of, or no model serves and none can stand in.
    """
    feature_set = default_feature_set(policy)
    vectors = feature_vectors.fetch_vectors(conn, feature_set.feature_set_id, since=as_of, until=as_of)
    if vectors.is_empty():
        raise DataError(f"expected feature vectors at {as_of.isoformat()}, but got none: run `pm features` first")
    champions = _bundles(conn, artifact_folder, registry.serving(conn))
    fallbacks = _bundles(conn, artifact_folder, registry.fallbacks(conn))
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
        )
    )
    predictions.replace_predictions(conn, as_of, found)
    counts = dict(sorted(found["status"].value_counts().iter_rows()))
    return ScoreReport(as_of, found.height, counts, int(found["alert"].sum()))


def _bundles(conn: psycopg.Connection, folder: Path, serving: dict[str, str]) -> dict[str, Bundle]:
    return {
        component: Bundle.from_bytes(artifacts.get(folder, registry.bundle_sha256(conn, model_id)))
        for component, model_id in serving.items()
    }
