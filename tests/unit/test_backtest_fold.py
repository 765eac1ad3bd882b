"""One fold and what is asked of it: baselines, splits, keeping, and inputs that cannot be measured."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from backtest_fleet import DAY, KNOWN_UNTIL, N_VEHICLES, NAMES, POLICY, RULE_KINDS, START, toy_inputs

from pm.backtest.fold_run import SPLIT_GROUPS, last_before, training_rows
from pm.backtest.folds import plan_folds, vehicle_split
from pm.backtest.keeping import code_version, fold_bytes, fold_keys, read_fold
from pm.backtest.report import render_report
from pm.backtest.run import BacktestResult, FoldResult, FoldTask, run_backtest, run_fold
from pm.backtest.vectors import frame_hash, make_vectors, prefix_hashes
from pm.errors import ConfigError, DataError, ModelError
from pm.models.train import fit_bundle
from pm.policy import Backtest, load_policy

GBM = ("gbm", "base_rate", "last_score")


def task(number: int = 2, *, kinds: tuple[str, ...] = RULE_KINDS, **change: Any) -> FoldTask:
    inputs = toy_inputs() | change
    as_ofs = inputs["vectors"]["as_of"].unique().to_list()
    return FoldTask(plan_folds(as_ofs, inputs["policy"])[number - 1], kinds=kinds, **inputs)


@cache
def boosted() -> FoldResult:
    return run_fold(task(kinds=GBM))


def test_the_last_score_is_the_models_at_the_last_as_of_before_the_cutoff() -> None:
    given, result = task(kinds=GBM), boosted()
    cutoff = given.fold.cutoff
    inputs = toy_inputs()
    (rows,) = [rows for name, rows in training_rows(given) if name == "cooling"]
    assert rows.day.max() <= (cutoff - POLICY.backtest.embargo_d * DAY - START).days + (START.timestamp() // 86400)
    before = inputs["vectors"].filter(pl.col("as_of") == cutoff - DAY).sort("vehicle_id")
    scores = result.scores.filter(pl.col("component") == "cooling")
    carried = scores.filter(pl.col("kind") == "last_score")
    assert carried.group_by("vehicle_id").agg(pl.col("p_failure").n_unique())["p_failure"].unique().to_list() == [1]
    from pm.models.train import fit_rows

    bundle = fit_rows("gbm", "cooling", rows, given.feature_set, POLICY, cutoff, POLICY.backtest.seed, n_components=2)
    expected = bundle.predict(make_vectors(before, len(NAMES)).matrix)
    said = dict(carried.select("vehicle_id", "p_failure").unique().iter_rows())
    assert {vehicle: pytest.approx(expected[vehicle - 1]) for vehicle in said} == said
    assert len(set(said.values())) > 3


def test_a_vehicle_without_a_last_score_gets_the_base_rate() -> None:
    inputs = toy_inputs()
    cutoff = task().fold.cutoff
    gone = (pl.col("vehicle_id") == 4) & (pl.col("as_of") < cutoff) & (pl.col("as_of") >= cutoff - 14 * DAY)
    result = run_fold(task(kinds=GBM, vectors=inputs["vectors"].filter(~gone)))
    (one,) = [one for one in result.record.trained if (one.component, one.kind) == ("cooling", "last_score")]
    mine = result.scores.filter(pl.col("kind") == "last_score", pl.col("vehicle_id") == 4)
    assert mine["p_failure"].unique().to_list() == [one.n_positives / one.n_rows]


def test_last_vectors_are_from_before_the_cutoff() -> None:
    vectors = make_vectors(toy_inputs()["vectors"], len(NAMES))
    found = last_before(vectors, START + 50 * DAY, START + 40 * DAY)
    assert found["as_of"].unique().to_list() == [START + 49 * DAY]
    assert last_before(vectors, START, START - DAY).is_empty()


def test_rows_from_the_matrix_are_those_that_fit_bundle_joins() -> None:
    given = task(kinds=("fault_count",))
    from pm.backtest.folds import training_labels

    inputs = toy_inputs()
    labels, _ = training_labels(
        given.fold, vehicles=inputs["vehicles"], failures=inputs["failures"], components=given.components,
        observed_until=KNOWN_UNTIL, policy=POLICY,
    )  # fmt: skip
    bundle = fit_bundle(
        "fault_count", "cooling", inputs["vectors"].filter(pl.col("as_of").is_in(given.fold.train_as_ofs)), labels,
        given.feature_set, POLICY, given.fold.cutoff, POLICY.backtest.seed, n_components=2,
    )  # fmt: skip
    (one,) = [one for one in run_fold(given).record.trained if one.component == "cooling"]
    assert one.model_id == bundle.model_id


def test_with_a_split_no_vehicle_is_tested_by_a_model_that_saw_it() -> None:
    policy = replace(POLICY, backtest=replace(POLICY.backtest, split_by_vehicle=True))
    inputs = toy_inputs()
    group = vehicle_split(inputs["vehicles"], SPLIT_GROUPS, policy.backtest.seed)
    assert sorted(group) == list(range(1, N_VEHICLES + 1))
    split = run_fold(task(kinds=("days_since_repair", "base_rate"), policy=policy))
    whole = run_fold(task(kinds=("days_since_repair", "base_rate")))
    key = ["component", "kind", "vehicle_id", "as_of"]
    assert split.scores.select(key).equals(whole.scores.select(key))
    # the base rate that a vehicle gets is that of the other groups' rows
    (rows,) = [rows for name, rows in training_rows(task(policy=policy)) if name == "cooling"]
    cooling = split.scores.filter(pl.col("component") == "cooling", pl.col("kind") == "base_rate")
    for vehicle, p in cooling.select("vehicle_id", "p_failure").unique().iter_rows():
        others = np.array([group[int(one)] != group[vehicle] for one in rows.vehicle])
        assert p == pytest.approx((rows.positive[others].sum() + 0.5) / (others.sum() + 1))
    spoiled = inputs["failures"].filter(pl.col("vehicle_id") != 5)
    without = run_fold(task(kinds=("base_rate",), policy=policy, failures=spoiled))
    mine = pl.col("vehicle_id").is_in([v for v in group if group[v] == group[5]]) & (pl.col("kind") == "base_rate")
    mine &= pl.col("component") == "cooling"
    assert cooling.filter(mine)["p_failure"].unique().equals(without.scores.filter(mine)["p_failure"].unique())


def test_a_split_needs_every_group_to_be_trained() -> None:
    policy = replace(POLICY, backtest=replace(POLICY.backtest, split_by_vehicle=True))
    only = toy_inputs()["failures"].filter(pl.col("vehicle_id") == 5)
    result = run_fold(task(kinds=("fault_count",), policy=policy, failures=only))
    (one,) = [one for one in result.record.trained if one.component == "cooling"]
    assert one.model_id is None
    assert "both classes" in str(one.reason)


def test_a_fold_as_bytes_and_back() -> None:
    result = boosted()
    content = fold_bytes(result)
    back = read_fold(content)
    assert back.record == result.record
    assert back.scores.equals(result.scores)
    assert back.labels.equals(result.labels)
    assert back.judged_lag_d == result.judged_lag_d
    assert fold_bytes(back) == content
    for damaged in (b"", content[:-9], b"PAR1" + content[4:40]):
        with pytest.raises(DataError, match="expected a stored fold"):
            read_fold(damaged)


@pytest.mark.parametrize(
    "change",
    [
        {"policy": replace(POLICY, backtest=replace(POLICY.backtest, seed=6))},
        {"components": ("cooling",)},
        {"kinds": ("base_rate",)},
        {"known_until": KNOWN_UNTIL - DAY},
        {"observed_until": KNOWN_UNTIL - DAY},
        {"failures": toy_inputs()["failures"].head(20)},
        {"vehicles": toy_inputs()["vehicles"].with_columns(model=pl.lit("other"))},
    ],
    ids=["seed", "components", "kinds", "known_until", "observed_until", "failures", "vehicles"],
)
def test_anything_that_a_fold_depends_on_changes_its_key(change: dict[str, Any]) -> None:
    one = task()
    assert fold_keys([one], ["v"]) == fold_keys([task()], ["v"])
    assert fold_keys([one], ["v"]) != fold_keys([replace(one, **change)], ["v"])
    assert fold_keys([one], ["v"]) != fold_keys([one], ["w"])
    assert fold_keys([one, task(3)], ["v", "v"])[0] == fold_keys([one], ["v"])[0]
    assert len(code_version()) == 16


def test_a_prefix_hash_is_of_what_a_fold_may_read() -> None:
    frame = toy_inputs()["vectors"]
    ends = [START + 30 * DAY, START + 60 * DAY]
    vectors = make_vectors(frame, len(NAMES))
    early, late = prefix_hashes(vectors, ends)
    assert early == prefix_hashes(vectors, ends[:1])[0] != late
    later = frame.with_columns(
        features=pl.when(pl.col("as_of") > ends[0]).then(pl.col("features").list.reverse()).otherwise("features")
    )
    changed = prefix_hashes(make_vectors(later, len(NAMES)), ends)
    assert (changed[0] == early, changed[1] == late) == (True, False)


def test_a_frame_hash_tells_values_nulls_words_and_order_apart() -> None:
    base = pl.DataFrame({"a": [1, None, 3], "s": ["x", "yz", None]}, schema={"a": pl.Int64, "s": pl.String})
    others = [
        base.with_columns(pl.col("a").fill_null(0)), base.reverse(), base.rename({"a": "b"}), base.head(2),
        base.with_columns(s=pl.Series(["xy", "z", None])), base.with_columns(pl.col("s").fill_null("")),
    ]  # fmt: skip
    hashes = {frame_hash(one) for one in (base, *others)}
    assert len(hashes) == 1 + len(others)
    assert frame_hash(base) == frame_hash(pl.concat([base.head(1), base.tail(2)]))


def test_vectors_in_files_give_the_same_and_folds_get_no_copy(tmp_path: Path) -> None:
    kinds = RULE_KINDS
    with ThreadPoolExecutor(2) as executor:
        mapped = run_backtest(**toy_inputs(), kinds=kinds, executor=executor, folder=tmp_path)
    assert mapped.measures_json == run_backtest(**toy_inputs(), kinds=kinds).measures_json
    assert {path.name for path in tmp_path.iterdir()} == {"matrix.npy", "vehicle_id.npy", "as_of.npy"}


def rules_only(**change: Any) -> BacktestResult:
    return run_backtest(**({"kinds": RULE_KINDS} | toy_inputs() | change))


def test_a_keeper_gets_each_fold_once_and_is_asked_first() -> None:
    class Keeper:
        def __init__(self) -> None:
            self.kept: dict[str, FoldResult] = {}

        def find(self, key: str) -> FoldResult | None:
            return self.kept.get(key)

        def keep(self, key: str, result: FoldResult) -> None:
            assert key not in self.kept
            self.kept[key] = result

    keeper = Keeper()
    first = rules_only(keeper=keeper)
    assert len(keeper.kept) == len(first.folds) == 5
    seen: list[int] = []

    def track(items: Any, _: str, total: int) -> Any:
        seen.append(total)
        yield from items

    again = rules_only(keeper=keeper, track=track)
    assert seen == [0]
    assert again.measures_json == first.measures_json


# what cannot be measured


def test_without_embargo_nothing_runs() -> None:
    policy = replace(POLICY, backtest=replace(POLICY.backtest, embargo_d=0))
    with pytest.raises(ConfigError, match="embargo_d: expected at least the horizon of 14 d, but got 0"):
        rules_only(policy=policy)


@pytest.mark.parametrize(
    ("line", "said"),
    [("embargo_d = 13", "embargo_d"), ("first_cutoff_after_d = 0", "first_cutoff"), ("step_d = 0", "step_d")],
)
def test_a_policy_that_leaves_no_embargo_is_refused(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(f"[backtest]\n{line}\n")
    with pytest.raises(ConfigError, match=said):
        load_policy(path)


def test_no_matured_label_yet_is_an_error_that_says_so() -> None:
    early = START + 80 * DAY
    with pytest.raises(DataError, match=r"expected test rows whose labels have matured by .*pending"):
        rules_only(known_until=early, observed_until=early)


def test_cutoffs_outside_the_data_are_refused() -> None:
    policy = replace(POLICY, backtest=Backtest(first_cutoff_after_d=500))
    with pytest.raises(DataError, match="expected as-ofs over more than 500 days before the first cutoff"):
        rules_only(policy=policy)
    empty = toy_inputs()["vectors"].clear()
    with pytest.raises(DataError, match="but got none"):
        rules_only(vectors=empty)


def test_vectors_of_another_set_are_refused() -> None:
    other = toy_inputs()["vectors"].with_columns(feature_set_id=pl.lit("other"))
    with pytest.raises(ModelError, match="expected feature set toy"):
        rules_only(vectors=other)


def test_too_few_positives_is_a_null_with_its_reason() -> None:
    few = toy_inputs()["failures"].head(1)
    made = run_backtest(**(toy_inputs() | {"failures": few}), kinds=("gbm", "base_rate", "last_score"))
    section = made.measures["components"]["cooling"]
    assert section["kinds"]["gbm"]["figures"] == section["kinds"]["last_score"]["figures"] == {}
    reason = section["kinds"]["gbm"]["reason"]
    assert "expected" in reason
    assert "trained in 0 of 5 folds" in reason
    assert section["comparison"]["verdict"] is None


def test_where_no_kind_was_trained_everything_is_null_with_its_reason() -> None:
    made = run_backtest(**(toy_inputs() | {"failures": toy_inputs()["failures"].head(1)}), kinds=("gbm",))
    assert made.measures["pooled"]["rows"]["n_rows"] == 0
    assert made.scores.is_empty()
    assert made.measures["first_line"].startswith("Nothing could be measured: no score for any component")
    page = render_report(made, title="x")
    assert "not measured" in page


def test_one_class_only_is_a_null_with_its_reason() -> None:
    healthy = rules_only(failures=toy_inputs()["failures"].clear())
    figures = healthy.measures["components"]["cooling"]["kinds"]["base_rate"]["figures"]
    assert figures["pr_auc"]["value"] is None
    assert figures["pr_auc"]["reason"].startswith("one class only: 0 positive of")
    assert figures["saving"]["reason"] == "no failure in the matured test rows"
    assert healthy.measures["first_line"].startswith("Nothing could be measured")


def test_every_figure_has_a_value_or_a_reason() -> None:
    made = rules_only()

    def figures(node: Any) -> Any:
        if isinstance(node, dict):
            if {"value", "low", "high", "reason"} <= node.keys():
                yield node
            else:
                for child in node.values():
                    yield from figures(child)
        elif isinstance(node, list):
            for child in node:
                yield from figures(child)

    found = list(figures(made.measures))
    assert len(found) > 100
    assert all(one["value"] is not None or one["reason"] for one in found)
    assert all(one["value"] is None or np.isfinite(one["value"]) for one in found)


def test_truck_models_are_measured_apart_and_add_up() -> None:
    pooled = rules_only().measures["pooled"]
    assert set(pooled["models"]) == {"M0", "M1"}
    assert sum(one["rows"]["n_rows"] for one in pooled["models"].values()) == pooled["rows"]["n_rows"]


def test_intervals_are_chosen_on_what_was_known_before_the_cutoff() -> None:
    given = task()
    late = toy_inputs()["failures"].with_columns(
        work_order_id="late-" + pl.col("work_order_id"), known_at=pl.lit(given.fold.cutoff + timedelta(seconds=1)),
        failed_at=pl.col("failed_at") - 5 * DAY,
    ).cast(dict(toy_inputs()["failures"].schema))  # fmt: skip
    leaky = run_fold(task(failures=pl.concat([toy_inputs()["failures"], late])))
    assert leaky.record.intervals_d == run_fold(given).record.intervals_d
