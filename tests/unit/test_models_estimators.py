"""The estimators alone: booster, forest and rules, asked and stored."""

import json
import re
from typing import Any

import numpy as np
import pytest
from sktime.classification.interval_based import TimeSeriesForestClassifier

from pm.errors import ModelError
from pm.models.baselines import RuleModel, fit_rule, read_rule
from pm.models.gbm import fit_gbm, read_gbm
from pm.models.panel import N_TREES, fit_panel, panel, read_panel
from pm.models.start import Start, fit_start, read_start

NAMES = (*tuple(f"s{index}_mean_{days}d" for index in range(4) for days in (1, 7, 28)), "age_a")


def drawn(n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    features = rng.normal(size=(n, len(NAMES))).astype(np.float32)
    positive = features[:, 0] - features[:, 2] + rng.normal(size=n) > 2
    features[rng.random(features.shape) < 0.1] = np.nan
    return features, positive


def test_gbm_learns_and_repeats_to_the_byte() -> None:
    features, positive = drawn()
    one, two = fit_gbm(features, positive, 7), fit_gbm(features, positive, 7)
    assert one.text == two.text
    assert fit_gbm(features, positive, 8).text != one.text
    scores = one.raw(features)
    assert scores[positive].mean() > scores[~positive].mean() + 0.5


def test_gbm_contributions_add_up_to_the_score() -> None:
    features, positive = drawn()
    model = fit_gbm(features, positive, 7)
    rest = model.raw(features) - model.contributions(features).sum(axis=1)
    assert np.ptp(rest) < 1e-6
    assert model.contributions(features[:0]).shape == (0, len(NAMES))


def test_gbm_round_trip() -> None:
    features, positive = drawn()
    model = fit_gbm(features, positive, 7)
    read = read_gbm(json.loads(json.dumps(model.as_document())), len(NAMES))
    assert np.array_equal(read.raw(features), model.raw(features))


def counted(n: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Failures follow a count in column 1 and a level in column 3; column 0 is noise."""
    rng = np.random.default_rng(8)
    features = rng.normal(size=(n, 5)).astype(np.float32)
    features[:, 1] = rng.poisson(1.0, n)
    positive = features[:, 1] + 2 * features[:, 3] + rng.normal(size=n) > 4
    return features, positive


def started(features: np.ndarray, positive: np.ndarray) -> Start:
    return fit_start(RuleModel(1), features, positive, prior=float(positive.mean()), rows_per_failure=1.0)


def test_a_start_is_the_rule_in_log_odds() -> None:
    features, positive = counted()
    start = started(features, positive)
    assert start.slope > 0
    assert (1 / (1 + np.exp(-start.raw(features)))).mean() == pytest.approx(positive.mean(), abs=0.02)
    assert start.contributions(features)[:, [0, 2, 3, 4]].any() == np.False_
    assert np.ptp(start.raw(features) - start.contributions(features).sum(axis=1)) < 1e-9
    assert read_start(json.loads(json.dumps(start.as_document())), 5) == start


def test_a_booster_adds_to_its_start_and_sees_its_columns_only() -> None:
    features, positive = counted()
    start = started(features, positive)
    model = fit_gbm(features, positive, 7, columns=(0, 3), start=start)
    trees = model.raw(features) - start.raw(features)
    assert np.corrcoef(trees, features[:, 3])[0, 1] > 0.5
    parts = model.contributions(features)
    assert np.ptp(model.raw(features) - parts.sum(axis=1)) < 1e-6
    assert np.allclose(parts[:, 1], start.contributions(features)[:, 1])
    assert not parts[:, [2, 4]].any()
    other = features.copy()
    other[:, [2, 4]] = 9.0
    assert np.array_equal(model.raw(other), model.raw(features))
    assert np.array_equal(fit_gbm(other, positive, 7, columns=(0, 3), start=start).raw(features), model.raw(features))
    read = read_gbm(json.loads(json.dumps(model.as_document())), 5)
    assert np.array_equal(read.raw(features), model.raw(features))
    assert np.array_equal(read.contributions(features), parts)


@pytest.mark.parametrize("columns", [[], [3, 0], [0, 0], [0, 5], [0, -1], [0, True], "03", [0]])
def test_columns_that_cannot_be_are_refused(columns: object) -> None:
    features, positive = counted()
    document = fit_gbm(features, positive, 7, columns=(0, 3)).as_document()
    with pytest.raises(ModelError, match="gbm: expected"):
        read_gbm({**document, "columns": columns}, 5)


@pytest.mark.parametrize(
    "change",
    [{"rule": None}, {"rule": {"column": 9, "fill": 0}}, {"slope": -1.0}, {"slope": None}, {"intercept": "x"},
     {"intercept": float("inf")}],
)  # fmt: skip
def test_a_start_that_cannot_be_is_refused(change: dict[str, object]) -> None:
    features, positive = counted()
    document = fit_gbm(features, positive, 7, start=started(features, positive)).as_document()
    with pytest.raises(ModelError, match="expected"):
        read_gbm({**document, "start": document["start"] | change}, 5)
    with pytest.raises(ModelError, match="rule to start from"):
        read_gbm({**document, "start": 5}, 5)


def resized(text: str) -> str:
    """The text with tree sizes that add up again, so that the check of the trees themselves is reached."""
    body, end, rest = text.partition("end of trees")
    head, *trees = re.split(r"(?=^Tree=\d+$)", body, flags=re.MULTILINE)
    sizes = " ".join(str(len(tree.encode())) for tree in trees)
    return re.sub(r"tree_sizes=.*", f"tree_sizes={sizes}", head) + "".join(trees) + end + rest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("split_feature=", "split_feature=99 "),
        ("max_feature_idx=12", "max_feature_idx=3"),
        ("num_class=1", "num_class=4"),
        ("num_cat=0", "num_cat=1"),
        ("left_child=", "left_child=0 "),
        ("end of trees", "end of tree"),
        ("Tree=1\n", "Tree=2\n"),
        ("leaf_value=", "leaf_value=nan "),
        ("decision_type=", "decision_type=1 "),
        ("num_leaves=", "leaves="),
    ],
)
def test_a_changed_gbm_text_is_refused_before_lightgbm_sees_it(old: str, new: str) -> None:
    features, positive = drawn()
    text = fit_gbm(features, positive, 7).text
    assert old in text
    with pytest.raises(ModelError, match="gbm: expected"):
        read_gbm({"text": resized(text.replace(old, new, 1))}, len(NAMES))
    assert resized(text) == text
    with pytest.raises(ModelError, match="tree sizes that do not add up"):
        read_gbm({"text": text.replace("leaf_value=", "leaf_value= ", 1)}, len(NAMES))


@pytest.mark.parametrize("text", ["", "tree\n", None, 5])
def test_no_gbm_text_is_refused(text: object) -> None:
    with pytest.raises(ModelError, match="gbm: expected"):
        read_gbm({"text": text}, len(NAMES))


def test_the_stored_forest_votes_as_sktime_does() -> None:
    features, positive = drawn()
    model = fit_panel(NAMES, features, positive, 7)
    read = read_panel(json.loads(json.dumps(model.as_document())), len(NAMES))
    series = panel(model.variables, features)
    length = series.shape[1] // len(model.variables)
    theirs = TimeSeriesForestClassifier(
        min_interval=2, n_estimators=N_TREES, inner_series_length=length, random_state=7
    ).fit(series[:, np.newaxis, :], positive.astype(np.int64))
    expected = theirs.predict_proba(series[:, np.newaxis, :])[:, 1]
    assert np.allclose(read.p_forest(features), expected, atol=1e-12)
    assert "s0_mean" in {variable.stem for variable in model.variables}


def test_panel_series_run_from_the_longest_window_and_fill_gaps() -> None:
    features = np.array([[3.0, 2.0, 1.0], [np.nan, 2.0, np.nan], [np.nan, np.nan, np.nan]], dtype=np.float32)
    train = np.vstack([features[:1]] * 10 + [features[:1] + 1] * 10)
    names = ("x_mean_1d", "x_mean_7d", "x_mean_28d")
    model = fit_panel(names, train, np.arange(20) >= 10, 1)
    assert panel(model.variables, features).tolist() == [
        [1.0, 2.0, 3.0, 3.0, 3.0],
        [2.0, 2.0, 2.0, 2.0, 2.0],
        [3.5, 3.5, 3.5, 3.5, 3.5],
    ]


def test_panel_needs_windows() -> None:
    with pytest.raises(ModelError, match="windows"):
        fit_panel(("a", "b_7d"), np.zeros((20, 2), dtype=np.float32), np.arange(20) > 10, 1)


def test_panel_contributions_stand_at_the_shortest_window() -> None:
    features, positive = drawn()
    model = fit_panel(NAMES, features, positive, 7)
    used = model.contributions(features).any(axis=0)
    assert used[0]
    assert not used[[1, 2, 12]].any()


def spoiled(document: dict[str, Any], how: str) -> dict[str, Any]:
    tree, variable = document["trees"][0], document["variables"][0]
    changes = {
        "circle": lambda: tree["left"].__setitem__(0, 0),
        "beyond": lambda: tree["right"].__setitem__(0, 10**6),
        "feature": lambda: tree["feature"].__setitem__(0, 999),
        "column": lambda: variable["columns"].__setitem__(0, 99),
        "interval": lambda: tree["intervals"].__setitem__(0, [0, 10**6]),
        "p": lambda: tree["p_positive"].__setitem__(0, 2.0),
        "length": tree["threshold"].pop,
        "no trees": document["trees"].clear,
        "no field": lambda: tree.pop("left"),
    }
    changes[how]()
    return document


@pytest.mark.parametrize(
    "how", ["circle", "beyond", "feature", "column", "interval", "p", "length", "no trees", "no field"]
)
def test_a_spoiled_forest_is_refused(how: str) -> None:
    features, positive = drawn(120)
    document = fit_panel(NAMES, features, positive, 7).as_document()
    with pytest.raises(ModelError, match="panel: expected"):
        read_panel(spoiled(json.loads(json.dumps(document)), how), len(NAMES))


def test_rules_find_their_feature_by_name_and_rise_with_it() -> None:
    names = ("x", "n_dtc_days_28d", "n_dtc_cooling_14d", "days_since_repair_cooling")
    features = np.array([[0, 9, 1, 5], [0, 9, 4, np.nan], [0, 9, np.nan, 50]], dtype=np.float32)
    count = fit_rule("fault_count", "cooling", names, features)
    assert count.column == 2
    assert np.argsort(count.raw(features)).tolist() == [2, 0, 1]
    assert fit_rule("fault_count", "brakes_air", names, features).column == 1
    since = fit_rule("days_since_repair", "cooling", names, features).raw(features)
    assert since[1] == since[2] > since[0]
    assert fit_rule("base_rate", "cooling", names, features).raw(features).tolist() == [0, 0, 0]


def test_a_rule_without_its_feature_says_so() -> None:
    with pytest.raises(ModelError, match="days_since_repair_cooling"):
        fit_rule("days_since_repair", "cooling", ("x",), np.zeros((1, 1), dtype=np.float32))


@pytest.mark.parametrize(
    "document", [{}, {"column": 5, "fill": 0}, {"column": "x", "fill": 0}, {"column": 0, "fill": None}]
)
def test_a_rule_document_that_cannot_hold_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="rule: expected"):
        read_rule(document, 2)
    assert read_rule(RuleModel(1, 3.0, 0.5).as_document(), 2) == RuleModel(1, 3.0, 0.5)


def test_no_trouble_code_is_a_reason_for_a_low_score() -> None:
    features = np.array([[0.0], [0.0], [3.0]], dtype=np.float32)
    parts = fit_rule("fault_count", "cooling", ["n_dtc_cooling_14d"], features).contributions(features)
    assert parts[0, 0] < 0 < parts[2, 0]
    assert parts[:, 0].sum() == pytest.approx(0.0)
