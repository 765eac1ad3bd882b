"""The whole backtest on a toy fleet whose heat rises before most failures, and its report."""

import json
import re
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from multiprocessing import get_context
from typing import Any
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from pm.backtest.report import render_report
from pm.backtest.report_words import first_line
from pm.backtest.run import MEASURED_KINDS, BacktestResult, run_backtest
from pm.errors import DataError
from pm.features.featureset import Feature, FeatureSet
from pm.policy import Backtest, Gates, Labels, Policy
from pm.tables import FAILURE, FEATURE_VECTOR, VEHICLE

START = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)
N_VEHICLES, N_DAYS = 30, 130
COMPONENTS = ("cooling", "brakes_air")
NAMES = tuple(f"{kind}_{days}d" for kind in ("heat_mean", "noise_mean") for days in (1, 7, 28))
NAMES = (*NAMES, "n_dtc_days_28d", "days_since_repair_cooling")
SET = FeatureSet("toy", 1, tuple(Feature(name, "", "", ()) for name in NAMES))
POLICY = replace(
    Policy(),
    labels=Labels(lag_d=8.0),
    backtest=Backtest(first_cutoff_after_d=80, step_d=14, bootstrap_samples=50, seed=5),
)
END = START + N_DAYS * DAY
Inputs = dict[str, Any]


@cache
def fleet() -> Inputs:
    """Vectors, vehicles and failures; brakes_air never fails, so nothing can be trained for it."""
    rng = np.random.default_rng(2)
    fails = {vehicle: rng.uniform(5, N_DAYS, rng.integers(1, 3)) for vehicle in range(1, N_VEHICLES + 1)}
    vectors = []
    for vehicle, at in fails.items():
        for day in range(N_DAYS):
            near = float(((at > day) & (at < day + 12)).any())
            heat = 2.5 * near + rng.normal(size=3) * [1.0, 0.5, 0.3]
            values = [*heat, *rng.normal(size=3), float(near and rng.random() < 0.4), None]
            as_of = START + day * DAY
            vectors.append([SET.feature_set_id, vehicle, as_of, as_of, values, "x"])
    failures = [
        {
            "source_system": "shop",
            "work_order_id": f"{vehicle}-{number}",
            "line_no": 1,
            "known_at": START + float(day + rng.uniform(0, 6)) * DAY,
            "vehicle_id": vehicle,
            "component": "cooling",
            "kind": "failure",
            "failed_at": START + float(day) * DAY,
            "restored_at": START + float(day + 1) * DAY,
            "rule": "r",
        }
        for vehicle, at in fails.items()
        for number, day in enumerate(at)
    ]
    born = {"fleet": "f", "in_service_at": START - 50 * DAY, "known_at": START - 50 * DAY}
    return {
        "vectors": pl.DataFrame(vectors, schema=FEATURE_VECTOR.schema, orient="row"),
        "feature_set": SET,
        "vehicles": VEHICLE.frame([{"vehicle_id": v, "vehicle_ref": f"T{v}", **born} for v in fails]),
        "failures": FAILURE.frame(failures),
        "components": COMPONENTS,
        "policy": POLICY,
        "known_until": END,
        "observed_until": END,
    }


@cache
def result() -> BacktestResult:
    return run_backtest(**fleet())


def test_every_kind_is_measured_on_the_same_rows() -> None:
    section = result().measures["components"]["cooling"]
    counts = {
        (figures["pr_auc"]["n_rows"], figures["pr_auc"]["n_positives"])
        for kind in MEASURED_KINDS
        if (figures := section["kinds"][kind]["figures"])
    }
    assert counts == {(section["rows"]["n_rows"], section["rows"]["n_positives"])}
    assert set(section["kinds"]) == set(MEASURED_KINDS)


def test_the_model_finds_what_was_planted() -> None:
    section = result().measures["components"]["cooling"]
    figures = section["kinds"]["gbm"]["figures"]
    assert figures["pr_auc"]["value"] > 2 * figures["base_rate"]["value"]
    assert figures["pr_auc"]["low"] < figures["pr_auc"]["value"] < figures["pr_auc"]["high"]
    assert figures["lift_top5"]["value"] > 1.5
    assert figures["brier_skill"]["value"] > 0
    assert section["comparison"]["verdict"] == "better"
    assert result().measures["pooled"]["components_used"] == ["cooling"]


def test_only_matured_rows_are_judged() -> None:
    judged = result().scores.filter("judged")
    ripe = END - timedelta(days=POLICY.horizon.days + 8)
    assert judged["as_of"].max() == ripe
    assert set(judged["state"].unique()) <= {"positive", "negative"}
    labels = result().measures["components"]["cooling"]["labels"]
    assert labels["pending"] > 0
    assert labels["early"] > 0


def test_what_cannot_be_trained_is_null_with_its_reason() -> None:
    section = result().measures["components"]["brakes_air"]
    assert section["kinds"]["gbm"]["figures"] == {}
    assert "expected matured rows of both classes, but got 0 positive" in section["kinds"]["gbm"]["reason"]
    assert section["comparison"]["verdict"] is None
    base_rate = section["kinds"]["base_rate"]["figures"]
    assert base_rate["pr_auc"]["value"] is None
    assert "one class only" in base_rate["pr_auc"]["reason"]
    rule = result().measures["components"]["cooling"]["folds"][0]["kinds"]["days_since_repair"]
    assert rule["reason"] is None  # all null: every truck counts as never repaired


def test_the_measures_are_json_and_name_their_inputs() -> None:
    measures = json.loads(result().measures_json)
    assert measures == result().measures
    assert measures["backtest_id"] == result().backtest_id
    assert len({fold["inputs_hash"] for fold in measures["folds_run"]}) == len(result().folds) == 4


def test_a_model_is_compared_on_the_folds_it_was_trained_in() -> None:
    n_positives = [
        next(one.n_positives for one in fold.trained if (one.component, one.kind) == ("cooling", "gbm"))
        for fold in result().folds
    ]
    assert n_positives == sorted(n_positives)
    policy = replace(POLICY, gates=Gates(minimum_positives=n_positives[1] + 1))
    section = run_backtest(**(fleet() | {"policy": policy})).measures["components"]["cooling"]
    assert section["folds_used"] == [3, 4]
    assert section["folds"][0]["kinds"]["gbm"]["figures"] == {}
    assert "expected at least" in section["folds"][0]["kinds"]["gbm"]["reason"]
    assert section["folds"][0]["kinds"]["base_rate"]["figures"]["brier"]["value"] > 0


def test_same_inputs_in_any_order_same_result() -> None:
    inputs = fleet() | {name: fleet()[name].reverse() for name in ("vectors", "vehicles", "failures")}
    again = run_backtest(**inputs)
    assert again.measures_json == result().measures_json
    assert again.scores.equals(result().scores)


def test_an_executor_changes_nothing() -> None:
    with ThreadPoolExecutor(2) as executor:
        again = run_backtest(**fleet(), executor=executor)
    assert again.measures_json == result().measures_json


def test_another_process_changes_nothing() -> None:
    kinds = ("fault_count", "base_rate")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        apart = run_backtest(**fleet(), kinds=kinds, executor=executor)
    assert apart.measures_json == run_backtest(**fleet(), kinds=kinds).measures_json


def test_the_track_counts_folds() -> None:
    seen: list[tuple[str, int]] = []

    def track(items: Any, description: str, total: int) -> Any:
        seen.append((description, total))
        yield from items

    run_backtest(**fleet(), kinds=("base_rate",), track=track)
    assert seen == [("backtest folds", 4)]


def test_planted_leak_rows_known_later_change_no_earlier_model() -> None:
    cutoff = result().folds[1].cutoff
    inputs = fleet()
    planted = inputs["failures"].with_columns(
        work_order_id="late-" + pl.col("work_order_id"),
        failed_at=pl.col("failed_at") - 3 * DAY,
        known_at=pl.lit(cutoff + timedelta(seconds=1)).dt.cast_time_unit("us"),
    )
    leaky = run_backtest(
        **(inputs | {"failures": pl.concat([inputs["failures"], planted])}), kinds=("gbm", "base_rate")
    )

    def models(made: BacktestResult, number: int) -> list[str | None]:
        return [one.model_id for one in made.folds[number].trained if one.kind in {"gbm", "base_rate"}]

    for number in (0, 1):
        assert models(leaky, number) == models(result(), number)
    assert models(leaky, 2) != models(result(), 2)
    assert leaky.backtest_id != result().backtest_id


def test_vectors_of_later_as_ofs_change_no_earlier_fold() -> None:
    cutoff = result().folds[1].cutoff
    inputs = fleet()
    spoiled = inputs["vectors"].with_columns(
        features=pl.when(pl.col("as_of") >= cutoff)
        .then(pl.concat_list(*[pl.lit(9.0, pl.Float32)] * len(NAMES)))
        .otherwise(pl.col("features"))
    )
    made = run_backtest(**(inputs | {"vectors": spoiled}), kinds=("gbm",))
    before = result().scores.filter(pl.col("kind") == "gbm", pl.col("fold") == 1)
    assert made.scores.filter(pl.col("fold") == 1).equals(before)


def test_rows_known_after_known_until_are_not_seen() -> None:
    early = fleet() | {"known_until": END - 20 * DAY, "kinds": ("base_rate",)}
    cut = early | {"failures": early["failures"].filter(pl.col("known_at") <= END - 20 * DAY)}
    assert run_backtest(**early).measures_json == run_backtest(**cut).measures_json


@pytest.mark.parametrize("change", [{"kinds": ("oracle",)}, {"kinds": ()}, {"components": ()}])
def test_nothing_or_nonsense_asked_is_refused(change: Inputs) -> None:
    with pytest.raises(DataError, match="expected components and kinds"):
        run_backtest(**(fleet() | change))


def test_too_short_a_history_is_refused() -> None:
    short = fleet()["vectors"].filter(pl.col("as_of") < START + 50 * DAY)
    with pytest.raises(DataError, match="before the first cutoff"):
        run_backtest(**(fleet() | {"vectors": short}))


# the report


@cache
def page() -> str:
    return render_report(result(), title="A <b>small</b> fleet & its trucks")


def test_the_report_is_one_well_formed_file_that_needs_nothing_else() -> None:
    root = ElementTree.fromstring(page().removeprefix("<!DOCTYPE html>\n"))  # noqa: S314 - our own text
    assert root.tag == "html"
    assert not re.findall(r"<(script|link|img|iframe)\b|url\(|@import|src=", page())
    assert set(re.findall(r"https?://[^\"<\s]+", page())) == {"http://www.w3.org/2000/svg"}


def test_the_report_begins_with_a_verdict_a_component() -> None:
    body = page().partition("<body>")[2]
    first, second = body.split("\n")[1:3]
    assert first.startswith('<p class="first">Best over cooling: gradient boosting (LightGBM) with PR-AUC 0.')
    assert second.startswith('<ul class="verdicts"><li>Cooling: the model beats the best simple rule')
    assert "<li>Brakes air: no verdict, because" in body


def test_the_report_escapes_and_is_accessible() -> None:
    assert "<h1>A &lt;b&gt;small&lt;/b&gt; fleet &amp; its trucks</h1>" in page()
    n_charts = page().count("<svg")
    assert n_charts >= 5
    assert len(re.findall(r"<svg[^>]*role=\"img\"[^>]*><title>[^<]+</title><desc>[^<]+</desc>", page())) == n_charts
    assert "prefers-color-scheme:dark" in page()
    assert not re.findall(r"<th(?![^>]*scope=)[\s>]", page())


def test_the_report_shows_measures_baselines_labels_and_identity() -> None:
    figures = result().measures["components"]["cooling"]["kinds"]["gbm"]["figures"]
    assert f"{figures['pr_auc']['value']:.3f}<small>{figures['pr_auc']['low']:.3f} to" in page()
    for text in (
        "rule: base rate", "rule: fault count", "time series forest (sktime)", "PR-AUC at each cutoff", "Pending",
        "early", "judged rows", result().backtest_id, result().policy_id, SET.feature_set_id,
        result().folds[0].inputs_hash,
    ):  # fmt: skip
        assert text in page()


def test_a_rule_that_wins_is_said_first() -> None:
    measures = json.loads(result().measures_json)
    for section in (measures["components"]["cooling"], measures["pooled"]):
        section["comparison"]["verdict"] = "worse"
        section["comparison"]["difference"] |= {"value": -0.2, "low": -0.3, "high": -0.1}
        section["kinds"]["gbm"]["figures"]["pr_auc"]["value"] = 0.01
    measures["first_line"] = first_line(measures, "gbm")
    lines = render_report(replace(result(), measures=measures), title="x").partition("<body>")[2].split("\n")
    assert lines[1].startswith('<p class="first">A simple rule beats the model: ')
    assert "A simple rule has the higher PR-AUC for cooling (" in lines[1]
    assert "<li>Cooling: the simple rule (" in lines[2]
    assert "beats the model" in lines[2]
