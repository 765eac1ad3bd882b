"""A vehicle whose data must not be trusted gets no score, and says why."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

from pm.features.featureset import Feature, FeatureSet
from pm.policy import Policy
from pm.scoring.predict import score
from pm.tables import FEATURE_VECTOR

AS_OF = datetime(2026, 3, 2, tzinfo=UTC)
FEATURES = FeatureSet("test", 1, (Feature("n_days_with_data_14d", "d", "days with data over the last 14 days", ()),))


@dataclass(frozen=True)
class Scorer:
    """Every vehicle that it is asked about fails with .6."""

    model_id: str = "model"
    kind: str = "gbm"
    feature_set_id: str = FEATURES.feature_set_id
    feature_names: tuple[str, ...] = FEATURES.names
    horizon_d: int = 14
    threshold: float | None = 0.5
    feature_low: tuple[float | None, ...] = (0.0,)
    feature_high: tuple[float | None, ...] = (14.0,)

    def predict(self, features: np.ndarray) -> np.ndarray:
        return np.full(len(features), 0.6)

    def contributions(self, features: np.ndarray) -> np.ndarray:
        return np.ones(features.shape)


def rows(withheld: dict[int, str]) -> list[dict[str, object]]:
    vectors = FEATURE_VECTOR.frame(
        [
            {"feature_set_id": FEATURES.feature_set_id, "vehicle_id": v, "as_of": AS_OF, "data_until": AS_OF,
             "features": [14.0], "inputs_hash": f"hash-{v}"}
            for v in (1, 2, 3)
        ]
    )  # fmt: skip
    found = score(
        {"cooling": Scorer()}, vectors, feature_set=FEATURES, policy=Policy(), fallbacks={}, scored_at=AS_OF,
        withheld=withheld,
    )  # fmt: skip
    return found.sort("vehicle_id").select(pl.exclude("scored_at")).to_dicts()


def test_a_withheld_vehicle_has_no_score_no_place_and_no_alert() -> None:
    first, second, third = rows({2: "units: ET1.EngCoolantTemp: degrees Fahrenheit"})
    assert (second["status"], second["p_failure"], second["position"], second["alert"]) == (
        "insufficient_data", None, None, False,
    )  # fmt: skip
    (reason,) = json.loads(str(second["reasons_json"]))
    said = "The data of this truck cannot be trusted: units: ET1.EngCoolantTemp: degrees Fahrenheit"
    assert reason["sentence"] == said
    assert [(one["status"], one["p_failure"], one["position"]) for one in (first, third)] == [
        ("ok", 0.6, 1), ("ok", 0.6, 2),
    ]  # fmt: skip


def test_others_are_what_they_are_without_it() -> None:
    everybody = rows({})
    assert [one["status"] for one in everybody] == ["ok"] * 3
    assert rows({9: "not of this fleet"}) == everybody
