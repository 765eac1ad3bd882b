"""Row measures against scikit-learn and by hand, their intervals, and the comparison with a rule."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from pm.backtest.compare import best_rule, compare
from pm.backtest.figures import Figure, figure, vehicle_weights
from pm.backtest.metrics import (
    Judged,
    average_precision,
    brier,
    calibration_error,
    pr_curve,
    reliability,
    roc_auc,
    row_figures,
    top_share,
)


def drawn(n: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcome, rounded scores (so that many tie) and weights of 5 resamples."""
    rng = np.random.default_rng(seed)
    p = rng.beta(1, 6, n).round(2)
    return (rng.random(n) < p).astype(float), p, rng.integers(0, 4, (5, n)).astype(float)


def judged(positive: np.ndarray, vehicle: np.ndarray, samples: int = 200) -> Judged:
    return Judged(
        vehicle, np.arange(positive.size) // 20, positive.astype(bool), vehicle_weights(vehicle.max() + 1, samples, 1)
    )


def test_measures_equal_scikit_learn_for_every_weight() -> None:
    outcome, p, weights = drawn()
    for row, ours in enumerate(average_precision(outcome, p, weights)):
        assert ours == pytest.approx(average_precision_score(outcome, p, sample_weight=weights[row]), abs=1e-12)
    for row, ours in enumerate(roc_auc(outcome, p, weights)):
        assert ours == pytest.approx(roc_auc_score(outcome, p, sample_weight=weights[row]), abs=1e-12)
    apart = Judged(np.arange(p.size), np.zeros(p.size, dtype=int), outcome.astype(bool), weights)
    for row, ours in enumerate(brier(apart, p)):
        assert ours == pytest.approx(brier_score_loss(outcome, p, sample_weight=weights[row]), abs=1e-12)


def test_calibration_error_by_hand() -> None:
    p = np.repeat([0.1, 0.5], [10, 10])
    outcome = np.concatenate([np.ones(2), np.zeros(8), np.ones(5), np.zeros(5)])
    # bin of 0.1: 0.2 observed, gap 0.1; bin of 0.5: no gap
    apart = Judged(np.arange(20), np.zeros(20, dtype=int), outcome.astype(bool), np.ones((1, 20)))
    assert calibration_error(apart, p)[0] == pytest.approx(0.05)


def test_weights_are_whole_vehicles_and_repeat_with_the_seed() -> None:
    weights = vehicle_weights(7, 50, 3)
    assert weights.shape == (51, 7)
    assert (weights[0] == 1).all()
    assert (weights.sum(axis=1) == 7).all()
    assert np.array_equal(weights, vehicle_weights(7, 50, 3))
    assert not np.array_equal(weights, vehicle_weights(7, 50, 4))


def test_ties_share_the_last_places_of_the_top() -> None:
    day = np.array([0, 0, 0, 0, 1, 1])
    p = np.array([0.9, 0.5, 0.5, 0.1, 0.3, 0.2])
    assert top_share(day, p, 2).tolist() == [1.0, 0.5, 0.5, 0.0, 1.0, 1.0]


def test_top_precision_and_lift_by_hand() -> None:
    positive = np.zeros(40, dtype=bool)
    positive[[0, 1, 20, 30]] = True
    p = np.tile(np.linspace(0.9, 0.1, 20), 2)
    rows = judged(positive, np.tile(np.arange(20), 2))
    figures = row_figures(rows, p, np.full(40, 0.1))
    assert figures["precision_top5"].value == pytest.approx(3 / 10)
    assert figures["lift_top5"].value == pytest.approx(3 / 10 / (4 / 40))
    assert figures["base_rate"].value == pytest.approx(0.1)
    assert (figures["pr_auc"].n_rows, figures["pr_auc"].n_positives) == (40, 4)


def test_brier_skill_is_against_the_base_rate_kind() -> None:
    outcome, p, _ = drawn()
    rows = judged(outcome, np.arange(600) % 30)
    reference = np.full(600, 0.14)
    skill = row_figures(rows, p, reference)["brier_skill"].value
    assert skill == pytest.approx(1 - brier_score_loss(outcome, p) / brier_score_loss(outcome, reference))
    assert row_figures(rows, reference, reference)["brier_skill"].value == 0.0
    without = row_figures(rows, p, None)["brier_skill"]
    assert without.value is None
    assert "base rate" in str(without.reason)


@pytest.mark.parametrize("positive", [np.zeros(40), np.ones(40)])
def test_one_class_gives_null_with_the_reason(positive: np.ndarray) -> None:
    rows = judged(positive, np.arange(40) % 8)
    auc = row_figures(rows, np.linspace(0, 1, 40), None)["roc_auc"]
    assert auc.value is None
    assert auc.reason == f"one class only: {int(positive.sum())} positive of 40 rows"


def test_no_row_gives_null_for_everything() -> None:
    rows = Judged(np.zeros(0, dtype=int), np.zeros(0, dtype=int), np.zeros(0, dtype=bool), np.ones((3, 1)))
    figures = row_figures(rows, np.zeros(0), np.zeros(0))
    assert {figure.reason for figure in figures.values()} == {"no matured test row"}
    assert {figure.value for figure in figures.values()} == {None}


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    held = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        rate = rng.beta(2, 8, 40)  # vehicles differ: rows of one are alike
        vehicle = np.repeat(np.arange(40), 15)
        outcome = rng.random(600) < rate[vehicle]
        made = row_figures(judged(outcome, vehicle), np.full(600, 0.2), None)["base_rate"]
        assert made.low is not None
        assert made.high is not None
        held += made.low <= 0.2 <= made.high
    assert 50 <= held <= 60


def test_few_vehicles_have_no_interval() -> None:
    made = figure(np.full(11, 0.4), n_rows=9, n_positives=3, n_vehicles=4, undefined="")
    assert made == Figure(0.4, None, None, 9, 3, "no interval: it rests on 4 vehicles, 5 needed")
    holes = figure(np.array([0.4, np.nan, np.nan, 0.3]), n_rows=9, n_positives=3, n_vehicles=9, undefined="")
    assert holes.low is None
    assert "2 of 3 resamples" in str(holes.reason)


def test_curves() -> None:
    positive, p = np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.1])
    assert pr_curve(positive, p) == [[0.5, 1.0], [1.0, pytest.approx(2 / 3)]]
    assert pr_curve(np.zeros(4, dtype=bool), p) == []
    outcome, many, _ = drawn()
    bins = reliability(outcome.astype(bool), many)
    assert sum(one["n_rows"] for one in bins) == 600
    assert [one["p_mean"] for one in bins] == sorted(one["p_mean"] for one in bins)


def scored(quality: float) -> tuple[Judged, dict[str, np.ndarray]]:
    rng = np.random.default_rng(4)
    vehicle = np.repeat(np.arange(60), 20)
    positive = rng.random(1200) < 0.1
    scores = {
        "gbm": quality * positive + rng.normal(size=1200),
        "base_rate": np.full(1200, 0.1),
        "fault_count": positive + rng.normal(size=1200),
    }
    return judged(positive, vehicle), scores


@pytest.mark.parametrize(("quality", "verdict"), [(3.0, "better"), (0.0, "worse"), (1.0, "comparable")])
def test_verdict_follows_the_paired_interval(quality: float, verdict: str) -> None:
    rows, scores = scored(quality)
    pr_auc = {kind: row_figures(rows, p, None)["pr_auc"] for kind, p in scores.items()}
    rule = best_rule(pr_auc)
    assert rule == "fault_count"
    made = compare(rows, "gbm", rule, scores)
    assert made.verdict == verdict
    assert made.difference.value == pytest.approx(pr_auc["gbm"].value - pr_auc["fault_count"].value)


def test_a_rule_is_comparable_with_itself() -> None:
    rows, scores = scored(1.0)
    made = compare(rows, "fault_count", "fault_count", scores)
    assert (made.difference.value, made.difference.low, made.difference.high) == (0.0, 0.0, 0.0)
    assert made.verdict == "comparable"


def test_no_score_no_verdict() -> None:
    rows, scores = scored(1.0)
    assert compare(rows, "panel", "fault_count", scores).verdict is None
    missing = compare(rows, "gbm", None, scores)
    assert missing.verdict is None
    assert missing.difference.reason == "no score of every simple rule on these rows"
    assert best_rule({"fault_count": Figure(None, reason="x")}) is None
