"""Measures over generated rows: against scikit-learn, and what must hold whatever the scores."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from pm.backtest.metrics import Judged, average_precision, calibration_error, roc_auc, top_share
from pm.models.threshold import alert_threshold, episode_starts

ROW = st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 3))
ROWS = st.lists(ROW, min_size=2, max_size=40)


def columns(rows: list[tuple[bool, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    outcome, score, weight = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    return outcome, score / 6, weight[None, :]


@given(ROWS)
def test_ranking_measures_equal_scikit_learn_or_are_undefined(rows: list[tuple[bool, int, int]]) -> None:
    outcome, p, weights = columns(rows)
    precision, auc = average_precision(outcome, p, weights)[0], roc_auc(outcome, p, weights)[0]
    n_positive, n_negative = (weights[0] * outcome).sum(), (weights[0] * (1 - outcome)).sum()
    assert np.isnan(precision) == (n_positive == 0)
    assert np.isnan(auc) == (n_positive == 0 or n_negative == 0)
    if n_positive and n_negative:
        assert np.isclose(precision, average_precision_score(outcome, p, sample_weight=weights[0]))
        assert np.isclose(auc, roc_auc_score(outcome, p, sample_weight=weights[0]))


@given(ROWS)
def test_a_row_drawn_twice_counts_as_two_rows(rows: list[tuple[bool, int, int]]) -> None:
    outcome, p, weights = columns(rows)
    times = weights[0].astype(int)
    if times.sum():
        long_outcome, long_p = np.repeat(outcome, times), np.repeat(p, times)
        ones = np.ones((1, long_p.size))
        assert np.allclose(
            average_precision(outcome, p, weights), average_precision(long_outcome, long_p, ones), equal_nan=True
        )


@given(ROWS)
def test_calibration_error_is_a_share(rows: list[tuple[bool, int, int]]) -> None:
    outcome, p, weights = columns(rows)
    apart = Judged(np.arange(p.size), np.zeros(p.size, dtype=int), outcome.astype(bool), weights)
    error = calibration_error(apart, p)[0]
    assert np.isnan(error) if not weights.sum() else 0 <= error <= 1


@given(ROWS, st.integers(1, 6))
def test_the_top_holds_k_rows_of_each_day(rows: list[tuple[bool, int, int]], k: int) -> None:
    _outcome, p, weights = columns(rows)
    day = weights[0].astype(int)
    share = top_share(day, p, k)
    for one in np.unique(day):
        assert np.isclose(share[day == one].sum(), min(k, (day == one).sum()))


@given(st.lists(st.integers(0, 5), min_size=28, max_size=28), st.floats(5.0, 200.0))
def test_no_threshold_from_the_chosen_one_up_breaks_the_budget(levels: list[int], budget: float) -> None:
    vehicle, day = np.repeat(np.arange(4), 7), np.tile(np.arange(7), 4)
    p = np.array(levels) / 5
    chosen = alert_threshold(p, vehicle, day, budget=budget, step_d=1)
    allowed = max(1.0, np.floor(budget * 4 / 100))
    for threshold in [*np.unique(p[p >= chosen]), chosen]:
        assert episode_starts(vehicle, day, p >= threshold, 1).sum() <= allowed
