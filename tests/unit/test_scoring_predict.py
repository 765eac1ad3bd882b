"""Scores of one batch: status, role, rank, reasons, and what happens when a model fails."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from pm.errors import DataError, LeakageError, ModelError
from pm.features.featureset import Feature, FeatureSet
from pm.models.bundle import Bundle
from pm.models.train import fit_bundle
from pm.policy import Policy
from pm.scoring.predict import score
from pm.tables import FEATURE_VECTOR, LABEL, PREDICTION, VEHICLE

AS_OF = datetime(2026, 3, 2, tzinfo=UTC)
SCORED_AT = datetime(2026, 3, 2, 1, tzinfo=UTC)
FEATURES = FeatureSet(
    "test",
    1,
    (
        Feature("coolant_c_max_3d", "degC", "coolant temperature, 3-day maximum", ()),
        Feature("n_days_with_data_14d", "d", "days with data over the last 14 days", ()),
    ),
)


@dataclass(frozen=True)
class Scorer:
    """Probability = coolant / 200, or what `says` says."""

    model_id: str = "model"
    kind: str = "gbm"
    feature_set_id: str = FEATURES.feature_set_id
    feature_names: tuple[str, ...] = FEATURES.names
    horizon_d: int = 14
    threshold: float | None = 0.5
    feature_low: tuple[float | None, ...] = (84.0, 10.0)
    feature_high: tuple[float | None, ...] = (101.0, None)
    says: list[float] | None = None
    seen: list[int] = field(default_factory=list)

    def predict(self, features: np.ndarray) -> np.ndarray:
        self.seen.append(len(features))
        return np.array(self.says) if self.says is not None else features[:, 0].astype(np.float64) / 200

    def contributions(self, features: np.ndarray) -> np.ndarray:
        return np.column_stack([features[:, 0] / 100, np.full(len(features), -0.1)]).astype(np.float64)


class Broken(Scorer):
    def predict(self, features: np.ndarray) -> np.ndarray:
        raise ValueError(f"a tree fell over {features.shape}")


def vectors(*rows: tuple[float | None, float | None, int | None], as_of: datetime = AS_OF) -> pl.DataFrame:
    """One row a vehicle 1, 2, …: coolant, days with data, age of the data in days."""
    return FEATURE_VECTOR.frame(
        [
            {
                "feature_set_id": FEATURES.feature_set_id,
                "vehicle_id": at,
                "as_of": as_of,
                "data_until": None if age_d is None else as_of - timedelta(days=age_d),
                "features": [coolant, days],
                "inputs_hash": f"hash-{at}",
            }
            for at, (coolant, days, age_d) in enumerate(rows, start=1)
        ]
    )


def scored(given: pl.DataFrame, *, models: dict[str, Scorer] | None = None, **kwargs: object) -> pl.DataFrame:
    arguments = {
        "feature_set": FEATURES,
        "policy": Policy(),
        "fallbacks": {"cooling": Scorer("rule", says=None)},
        "roles": {},
        "scored_at": SCORED_AT,
    }
    return score({"cooling": Scorer()} if models is None else models, given, **(arguments | kwargs))


def test_the_likeliest_failure_stands_first() -> None:
    found = scored(vectors((80.0, 14.0, 0), (120.0, 14.0, 0), (100.0, 14.0, 0)))
    assert PREDICTION.check(found).select("vehicle_id", "position", "p_failure").rows() == [
        (2, 1, 0.6),
        (3, 2, 0.5),
        (1, 3, 0.4),
    ]
    assert found["status"].to_list() == ["ok"] * 3
    assert found["role"].to_list() == ["champion"] * 3
    assert found["inputs_hash"].to_list() == ["hash-2", "hash-3", "hash-1"]
    assert found["scored_at"].unique().to_list() == [SCORED_AT]


def test_the_rank_is_over_all_components_and_ties_are_settled_by_vehicle_then_component() -> None:
    models = {"cooling": Scorer("a"), "brakes_air": Scorer("b")}
    found = scored(vectors((100.0, 14.0, 0), (100.0, 14.0, 0)), models=models, fallbacks={})
    assert found.select("vehicle_id", "component", "position").rows() == [
        (1, "brakes_air", 1),
        (1, "cooling", 2),
        (2, "brakes_air", 3),
        (2, "cooling", 4),
    ]


@pytest.mark.parametrize(("days", "age_d"), [(2.0, 0), (None, 0), (0.0, None), (14.0, None)])
def test_too_little_data_gives_no_score_no_alert_no_place_and_a_reason(days: float | None, age_d: int | None) -> None:
    model = Scorer()
    found = scored(vectors((150.0, days, age_d)), models={"cooling": model})
    row = found.row(0, named=True)
    assert (row["status"], row["p_failure"], row["position"], row["alert"]) == ("insufficient_data", None, None, False)
    (reason,) = json.loads(row["reasons_json"])
    assert reason["sentence"].endswith("a score needs at least 3")
    assert model.seen == []


def test_rows_without_enough_data_never_reach_the_model() -> None:
    model = Scorer()
    found = scored(vectors((150.0, 1.0, 0), (90.0, 14.0, 0)), models={"cooling": model})
    assert model.seen == [1]
    assert found.select("vehicle_id", "status").rows() == [(2, "ok"), (1, "insufficient_data")]


@pytest.mark.parametrize(("age_d", "status"), [(7, "ok"), (8, "stale")])
def test_old_data_is_marked_and_still_scored(age_d: int, status: str) -> None:
    row = scored(vectors((120.0, 5.0, age_d))).row(0, named=True)
    assert (row["status"], row["p_failure"], row["position"]) == (status, 0.6, 1)


def test_without_a_serving_model_the_rule_answers_and_says_so() -> None:
    row = scored(vectors((120.0, 14.0, 0)), models={}).row(0, named=True)
    assert (row["model_id"], row["role"], row["status"], row["p_failure"]) == ("rule", "fallback", "fallback", 0.6)


@pytest.mark.parametrize(
    "model",
    [
        Broken("bad"),
        Scorer("bad", says=[float("nan")]),
        Scorer("bad", says=[1.5]),
        Scorer("bad", says=[0.2, 0.3]),
        Scorer("bad", feature_names=("no_such_feature",)),
        Scorer("bad", feature_set_id="older-1"),
    ],
    ids=["raises", "nan", "above one", "wrong count", "unknown feature", "another feature set"],
)
def test_a_model_that_fails_is_replaced_by_the_rule(model: Scorer) -> None:
    row = scored(vectors((120.0, 14.0, 0)), models={"cooling": model}).row(0, named=True)
    assert (row["model_id"], row["role"], row["status"], row["p_failure"]) == ("rule", "fallback", "fallback", 0.6)


def test_a_model_that_fails_without_a_rule_is_an_error_that_names_both() -> None:
    with pytest.raises(ModelError, match="cooling: model bad failed and no rule stands in: a tree fell over"):
        scored(vectors((120.0, 14.0, 0)), models={"cooling": Broken("bad")}, fallbacks={})


def test_a_rule_that_serves_answers_as_fallback() -> None:
    row = scored(vectors((120.0, 14.0, 0)), models={"cooling": Scorer("r", kind="base_rate")}).row(0, named=True)
    assert (row["model_id"], row["role"], row["status"]) == ("r", "fallback", "fallback")


def test_a_role_given_is_the_role_stored() -> None:
    assert scored(vectors((120.0, 14.0, 0)), roles={"cooling": "canary"})["role"].to_list() == ["canary"]


def test_a_model_may_use_only_some_features_of_the_set() -> None:
    @dataclass(frozen=True)
    class Narrow(Scorer):
        def contributions(self, features: np.ndarray) -> np.ndarray:
            return features.astype(np.float64)

    model = Narrow("narrow", feature_names=("coolant_c_max_3d",), feature_low=(84.0,), feature_high=(101.0,))
    row = scored(vectors((109.0, 14.0, 0)), models={"cooling": model}).row(0, named=True)
    (reason,) = json.loads(row["reasons_json"])
    assert row["model_id"] == "narrow"
    assert reason["sentence"] == "Coolant temperature, 3-day maximum: 109 degC, usually 84 to 101"


def test_reasons_of_a_missing_value_are_null() -> None:
    row = scored(vectors((None, 14.0, 0)), models={"cooling": Scorer(says=[0.3])}).row(0, named=True)
    assert [reason["value"] for reason in json.loads(row["reasons_json"])] == [14.0]


def test_alerts_keep_the_threshold_and_the_budget() -> None:
    found = scored(vectors((120.0, 14.0, 0), (110.0, 14.0, 0), (90.0, 14.0, 0)))
    assert found["alert"].to_list() == [True, False, False]


@pytest.mark.parametrize("threshold", [None, 1.5])
def test_a_component_without_reachable_threshold_never_alerts(threshold: float | None) -> None:
    found = scored(vectors((180.0, 14.0, 0)), models={"cooling": Scorer(threshold=threshold)})
    assert found["alert"].to_list() == [False]
    assert found["threshold"].to_list() == [threshold]


def test_vehicles_that_left_the_fleet_are_not_scored() -> None:
    vehicles = VEHICLE.frame(
        [
            {"vehicle_id": 1, "fleet": "f", "vehicle_ref": "A", "left_at": AS_OF, "known_at": AS_OF},
            {
                "vehicle_id": 2,
                "fleet": "f",
                "vehicle_ref": "B",
                "left_at": AS_OF + timedelta(days=1),
                "known_at": AS_OF,
            },
            {"vehicle_id": 3, "fleet": "f", "vehicle_ref": "C", "known_at": AS_OF},
        ]
    )
    found = scored(vectors((90.0, 14.0, 0), (80.0, 14.0, 0), (70.0, 14.0, 0)), vehicles=vehicles)
    assert found["vehicle_id"].to_list() == [2, 3]


def test_no_vectors_or_no_models_give_no_rows() -> None:
    assert scored(FEATURE_VECTOR.empty()).is_empty()
    assert scored(vectors((90.0, 14.0, 0)), models={}, fallbacks={}).is_empty()


def test_vectors_of_two_instants_are_refused() -> None:
    both = pl.concat([vectors((90.0, 14.0, 0)), vectors((90.0, 14.0, 0), as_of=AS_OF + timedelta(days=1))])
    with pytest.raises(DataError, match="one as-of, but got 2"):
        scored(both)


def test_vectors_of_another_feature_set_are_refused() -> None:
    with pytest.raises(DataError, match="expected feature set test-1"):
        scored(vectors((90.0, 14.0, 0)).with_columns(feature_set_id=pl.lit("other-1")))


def test_data_newer_than_the_decision_is_leakage() -> None:
    with pytest.raises(LeakageError, match="vehicle 1"):
        scored(vectors((90.0, 14.0, -1)))


def test_a_vector_of_the_wrong_length_is_refused() -> None:
    short = vectors((90.0, 14.0, 0)).with_columns(features=pl.lit([1.0], dtype=pl.List(pl.Float32)))
    with pytest.raises(DataError, match="vehicle 1: expected 2 features, but got 1"):
        scored(short)


def test_a_bundle_as_it_is_trained_and_stored_can_be_asked() -> None:
    """A real booster bundle, through its bytes, and the rule beside it."""
    days = [AS_OF - timedelta(days=at) for at in range(90, 20, -1)]
    history = pl.concat(
        [vectors(*((70.0 + v + d % 7, 14.0, 0) for v in range(12)), as_of=at) for d, at in enumerate(days)]
    )
    labels = history.select(
        "vehicle_id",
        pl.lit("cooling").alias("component"),
        "as_of",
        pl.lit(14, dtype=pl.Int16).alias("horizon_d"),
        pl.lit(AS_OF, dtype=LABEL.schema["known_at"]).alias("known_at"),
        pl.when(pl.col("features").list.first() > 82)
        .then(pl.lit("positive"))
        .otherwise(pl.lit("negative"))
        .alias("state"),
        pl.when(pl.col("features").list.first() > 82).then(pl.col("as_of") + timedelta(days=5)).alias("failed_at"),
    )
    gbm, rule = (
        Bundle.from_bytes(fit_bundle(kind, "cooling", history, labels, FEATURES, Policy(), AS_OF, 7).to_bytes())
        for kind in ("gbm", "base_rate")
    )
    given = vectors((70.0, 14.0, 0), (88.0, 14.0, 0), (75.0, 1.0, 0))
    served = scored(given, models={"cooling": gbm}, fallbacks={"cooling": rule})
    assert served["vehicle_id"].to_list() == [2, 1, 3]
    assert served["status"].to_list() == ["ok", "ok", "insufficient_data"]
    assert served["model_id"].unique().to_list() == [gbm.model_id]
    top = json.loads(served["reasons_json"][0])[0]
    assert top["sentence"].startswith("Coolant temperature, 3-day maximum: 88 degC, usually 7")
    stand_in = scored(given, models={}, fallbacks={"cooling": rule})
    assert stand_in["status"].to_list() == ["fallback", "fallback", "insufficient_data"]
    assert stand_in["p_failure"].n_unique() == 2
    assert json.loads(stand_in["reasons_json"][0]) == []


def test_the_same_batch_gives_the_same_rows_in_any_order() -> None:
    given = vectors((90.0, 14.0, 0), (120.0, 14.0, 0), (None, 1.0, None))
    assert scored(given.reverse()).equals(scored(given))


def test_of_two_trucks_the_likelier_one_is_never_passed_over() -> None:
    models = {"cooling": Scorer("model-cooling", threshold=0.3), "brakes_air": Scorer("model-brakes", threshold=0.9)}
    found = scored(vectors((100.0, 14.0, 0), (120.0, 14.0, 0)), models=models).sort("position")
    assert found["threshold"].unique().to_list() == [0.3]
    assert found["alert"].to_list() == sorted(found["alert"].to_list(), reverse=True)
    assert found["alert"][0]
