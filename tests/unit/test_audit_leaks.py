"""Planted leaks are caught and named, and an honest fleet is left alone."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache

import polars as pl
import pytest
from audit_fleet import (
    COMPONENT,
    DAY,
    END,
    POLICY,
    Fleet,
    audit_fleet,
    feature_set,
    make_fleet,
    positive_days,
    vectors_of,
    with_feature,
)

from pm.backtest.audit_result import AuditResult, Check
from pm.errors import DataError
from pm.features.featureset import FeatureSet
from pm.policy import Gates

SMALL = replace(POLICY, audit=replace(POLICY.audit, shuffles=1, older_d=(1, 7, 28), newer_d=(7,)))
"""Fewer runs than the product's, so that the tests take seconds."""


@cache
def fleet() -> Fleet:
    return make_fleet(1)


@cache
def honest_vectors() -> pl.DataFrame:
    return vectors_of(fleet())


@cache
def clean() -> AuditResult:
    return audit_fleet(fleet(), honest_vectors(), feature_set(), policy=SMALL)


def check(result: AuditResult, name: str) -> Check:
    return next(one for one in result.checks if one.name == name)


def test_a_clean_fleet_passes_every_check() -> None:
    assert {one.name: one.status for one in clean().checks if one.status != "pass"} == {}
    assert clean().status == clean().status_of(COMPONENT) == "pass"
    assert clean().verdicts == ("No leak was found.",)


@pytest.mark.parametrize("seed", [2, 3])
def test_other_clean_fleets_pass_too(seed: int) -> None:
    other = make_fleet(seed)
    found = audit_fleet(other, vectors_of(other), feature_set(), policy=SMALL, seed=seed)
    assert [one.sentence for one in found.checks if one.status != "pass"] == []


def test_a_feature_of_repair_orders_known_later_is_named_by_making_it_again_and_by_its_result() -> None:
    vectors = vectors_of(fleet(), leak="repair_orders")
    result = audit_fleet(fleet(), vectors, feature_set("n_repairs_28d"), leak="repair_orders", policy=SMALL)
    assert result.status == "fail"
    arrivals, honest = check(result, "arrivals"), check(result, "honest")
    assert (arrivals.status, arrivals.features) == ("fail", ("n_repairs_28d",))
    assert "became known only after the as-of" in arrivals.sentence
    assert (honest.status, honest.features) == ("fail", ("n_repairs_28d",))
    assert "too good" in honest.sentence
    without = audit_fleet(fleet(), vectors, feature_set("n_repairs_28d"), rebuilds=False, policy=SMALL)
    assert check(without, "arrivals").status == "not_possible"
    assert check(without, "honest").features == ("n_repairs_28d",)


@pytest.mark.parametrize("stamped_early", [False, True])
def test_a_day_joined_on_its_start_is_caught_also_where_it_is_stamped_as_known(stamped_early: bool) -> None:
    daily = fleet().daily
    if stamped_early:
        daily = daily.with_columns(known_at=pl.col("known_at") - DAY)
    early = replace(fleet(), daily=daily)
    vectors = vectors_of(early, leak="same_day")
    result = audit_fleet(early, vectors, feature_set(), leak="same_day", policy=SMALL)
    found = check(result, "arrivals")
    assert found.status == "fail"
    assert {"heat_1d", "n_codes_14d"} <= set(found.features)
    assert "days_since_repair_cooling" not in found.features
    assert "before it is over" in found.sentence


def test_a_target_encoded_vehicle_is_caught_without_making_anything_again() -> None:
    vectors = with_feature(honest_vectors(), "vehicle_code", positive_days(fleet()))
    result = audit_fleet(fleet(), vectors, feature_set("vehicle_code"), rebuilds=False, policy=SMALL)
    found = check(result, "identity")
    assert (result.status, found.status, found.features) == ("fail", "fail", ("vehicle_code",))
    assert "encoded by its outcome" in found.sentence


def test_a_constant_that_only_names_the_vehicle_is_no_alarm() -> None:
    names = {vehicle: float(vehicle * 7919 % 1009) for vehicle in fleet().vehicles["vehicle_id"]}
    vectors = with_feature(honest_vectors(), "number", names)
    result = audit_fleet(fleet(), vectors, feature_set("number"), rebuilds=False, policy=SMALL)
    found = check(result, "identity")
    assert found.status == "pass"
    assert found.details["constant"]["number"]["distinct"] == 1.0


def test_failures_stamped_before_their_work_order_are_caught() -> None:
    early = replace(fleet(), failures=fleet().failures.with_columns(known_at=pl.col("failed_at")))
    result = audit_fleet(early, honest_vectors(), feature_set(), rebuilds=False, policy=SMALL)
    found = check(result, "label_clock")
    assert (result.status, found.status) == ("fail", "fail")
    n_happened = fleet().failures.filter(pl.col("failed_at") <= END).height
    assert f"{n_happened} failures known before their work order was" in found.sentence


def test_a_result_that_hangs_on_the_last_day_is_sudden() -> None:
    """Noise, and one feature that sees the breakdown of the day that begins at the as-of, given without its source."""
    many = make_fleet(1, n_vehicles=80)
    failed = many.failures.select("vehicle_id", as_of=pl.col("failed_at").dt.truncate("1d"), seen=pl.lit(1.0)).unique()
    vectors = vectors_of(many).join(failed, on=["vehicle_id", "as_of"], how="left", maintain_order="left")
    features = FeatureSet("toy", 1, feature_set("glimpse").features[-3:])
    values = pl.concat_list(pl.col("features").list.gather([8, 9]), pl.col("seen").fill_null(0.0).cast(pl.Float32))
    vectors = vectors.with_columns(features=values, feature_set_id=pl.lit(features.feature_set_id)).drop("seen")
    every_day = replace(SMALL, backtest=replace(SMALL.backtest, as_of_step_d=1))
    result = audit_fleet(many, vectors, features, rebuilds=False, policy=every_day)
    found = check(result, "time_shift")
    assert found.status == "fail"
    assert "a sudden loss; the last day before the as-of carries it" in found.sentence


def test_the_random_split_is_measured_beside_the_honest_one() -> None:
    found = check(clean(), "random_split")
    assert found.figures["random"].value > found.figures["honest"].value > found.figures["base_rate"].value  # type: ignore[operator]
    assert found.details["near_share"] > 0.95
    assert found.details["honest_near_share"] == 0.0


def test_older_features_lose_smoothly() -> None:
    figures = check(clean(), "time_shift").figures
    by_age = [figures[name].value for name in ("+0d", "-1d", "-7d")]
    assert by_age == sorted(by_age, reverse=True)  # type: ignore[type-var]


def test_the_same_inputs_give_the_same_audit_whoever_runs_it() -> None:
    with ThreadPoolExecutor(2) as executor:
        again = audit_fleet(fleet(), honest_vectors().reverse(), feature_set(), policy=SMALL, executor=executor)
    assert again.as_document() == clean().as_document()
    assert json.loads(json.dumps(clean().as_document(), allow_nan=False))["audit_id"] == clean().audit_id


def test_a_quick_audit_makes_every_check_on_one_cutoff() -> None:
    quick = audit_fleet(fleet(), honest_vectors(), feature_set(), policy=SMALL, quick=True)
    assert [one.name for one in quick.checks] == [one.name for one in clean().checks]
    assert (len(quick.cutoffs), len(clean().cutoffs)) == (1, 2)
    assert quick.policy_id == SMALL.policy_id


def test_too_few_failures_are_said_and_not_judged() -> None:
    strict = replace(SMALL, gates=Gates(minimum_positives=100_000))
    result = audit_fleet(fleet(), honest_vectors(), feature_set(), policy=strict)
    assert result.status_of(COMPONENT) == "not_possible"
    own = [one for one in result.checks if one.component == COMPONENT]
    assert [one.name for one in own] == ["honest"]
    assert "cannot be audited: cutoff" in own[0].sentence


def test_a_component_without_failures_is_not_possible_beside_one_that_is() -> None:
    result = audit_fleet(fleet(), honest_vectors(), feature_set(), policy=SMALL, components=(COMPONENT, "turbo"))
    assert (result.status_of(COMPONENT), result.status_of("turbo")) == ("pass", "not_possible")
    assert result.status == "pass"
    assert any("Turbo cannot be audited" in sentence for sentence in result.verdicts)


def test_no_component_is_refused() -> None:
    with pytest.raises(DataError, match="at least one component"):
        audit_fleet(fleet(), honest_vectors(), feature_set(), components=())
