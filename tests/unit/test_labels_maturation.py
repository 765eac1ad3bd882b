"""The reporting lag, where the truth is known, and which labels may be trained on."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from pm.labels.maturation import MINIMUM_FAILURES, estimate_lag_d, lag_distribution, matured, matured_at
from pm.policy import Labels, Policy
from pm.tables import FAILURE, LABEL

NOW = datetime(2025, 6, 1, tzinfo=UTC)
A = datetime(2025, 3, 1, tzinfo=UTC)
POLICY = Policy()


def failures_of(failed_d_ago, lags_d, **given):
    """One failure a pair; days ago and lag in days."""
    return FAILURE.frame([
        {
            "source_system": "s", "work_order_id": str(i), "line_no": 1, "vehicle_id": 1, "component": "cooling",
            "kind": "failure", "failed_at": NOW - timedelta(days=float(ago)), "rule": "r",
            "known_at": NOW - timedelta(days=float(ago)) + timedelta(days=float(lag)), **given,
        }
        for i, (ago, lag) in enumerate(zip(failed_d_ago, lags_d, strict=True))
    ])  # fmt: skip


def test_without_truncation_it_is_the_plain_distribution():
    values, share = lag_distribution(np.array([3.0, 1.0, 2.0, 2.0]), np.full(4, 100.0))
    assert values.tolist() == [1.0, 2.0, 3.0]
    assert share == pytest.approx([0.25, 0.75, 1.0])


def test_truncated_distribution_by_hand():
    # (lag, window) at risk at 10: (1, 20) and (10, 30), one of them has lag 10: share up to 4 is 1 - 1/2.
    # At risk at 4: (1, 20) and (4, 5), one of them has lag 4: share up to 1 is half of that.
    values, share = lag_distribution(np.array([1.0, 1.0, 4.0, 10.0]), np.array([2.0, 20.0, 5.0, 30.0]))
    assert values.tolist() == [1.0, 4.0, 10.0]
    assert share == pytest.approx([0.25, 0.5, 1.0])


def simulated(seed, n=4000, history_d=60.0, mean_lag_d=15.0):
    generator = np.random.default_rng(seed)
    ago, lag = generator.uniform(0, history_d, n), generator.exponential(mean_lag_d, n)
    seen = lag <= ago
    return ago[seen], lag[seen]


def test_corrected_quantile_is_right_where_the_plain_one_is_too_small():
    truth_d = -15.0 * np.log(1 - 0.95)  # 44.9
    policy = Policy(labels=Labels(maximum_lag_d=300.0))
    found, plain = [], []
    for seed in range(10):
        ago, lag = simulated(seed)
        found.append(estimate_lag_d(failures_of(ago[:600], lag[:600]), NOW, policy).lag_d)
        plain.append(np.quantile(lag, 0.95))
    assert np.mean(plain) < truth_d - 8
    # Lags beyond the 60 d of history leave no trace: what can be seen is the quantile given lag <= 60 d.
    seen_share = 1 - np.exp(-60.0 / 15.0)
    conditional_d = -15.0 * np.log(1 - 0.95 * seen_share)
    assert np.mean(found) == pytest.approx(conditional_d, abs=2.5)


def test_whole_distribution_is_unbiased():
    grid = np.array([5.0, 10.0, 20.0, 30.0])
    shares = []
    for seed in range(20):
        ago, lag = simulated(seed)
        values, share = lag_distribution(lag, ago)
        shares.append(share[np.searchsorted(values, grid, side="right") - 1])
    truth = (1 - np.exp(-grid / 15.0)) / (1 - np.exp(-60.0 / 15.0))
    assert np.mean(shares, axis=0) == pytest.approx(truth, abs=0.02)


def test_policy_overrides():
    policy = Policy(labels=Labels(lag_d=21.0))
    assert estimate_lag_d(FAILURE.empty(), NOW, policy).lag_d == 21.0
    assert estimate_lag_d(FAILURE.empty(), NOW, policy).source == "policy"


def test_too_few_failures_give_the_maximum_and_say_why():
    few = failures_of(np.full(MINIMUM_FAILURES - 1, 90.0), np.full(MINIMUM_FAILURES - 1, 2.0))
    estimate = estimate_lag_d(few, NOW, POLICY)
    assert (estimate.lag_d, estimate.source, estimate.n_failures) == (45.0, "maximum", MINIMUM_FAILURES - 1)
    assert "expected 20 known failures, but got 19" in estimate.reason


def test_estimate_is_never_above_the_maximum():
    slow = failures_of(np.full(30, 200.0), np.full(30, 100.0))
    estimate = estimate_lag_d(slow, NOW, POLICY)
    assert (estimate.lag_d, estimate.source) == (45.0, "estimate")
    assert "100.0 d" in estimate.reason


def test_only_what_was_known_counts():
    known = failures_of(np.full(25, 90.0), np.full(25, 2.0))
    assert estimate_lag_d(known, NOW, POLICY).lag_d == pytest.approx(2.0)
    later = failures_of(np.full(25, 30.0), np.full(25, 31.0), source_system="other")
    assert estimate_lag_d(pl.concat([known, later]), NOW, POLICY).lag_d == pytest.approx(2.0)
    assert estimate_lag_d(known, NOW - timedelta(days=89), POLICY).source == "maximum"


def test_lag_runs_to_the_first_version_that_said_failure_and_other_kinds_do_not_count():
    first = failures_of(np.full(25, 90.0), np.full(25, 2.0))
    revised = failures_of(np.full(25, 90.0), np.full(25, 40.0))
    assert estimate_lag_d(pl.concat([first, revised]), NOW, POLICY).lag_d == pytest.approx(2.0)
    miscoded = first.with_columns(kind=pl.lit("other"))
    assert estimate_lag_d(pl.concat([miscoded, revised]), NOW, POLICY).lag_d == pytest.approx(40.0)
    withdrawn = revised.with_columns(kind=pl.lit("withdrawn"))
    assert estimate_lag_d(pl.concat([first, withdrawn]), NOW, POLICY).n_failures == 0


def label(state, known_d, as_of_d=0, **given):
    row = {
        "vehicle_id": 1, "component": "cooling", "as_of": A + timedelta(days=as_of_d), "horizon_d": 14,
        "known_at": A + timedelta(days=known_d), "state": state,
        "failed_at": A + timedelta(days=as_of_d + 1) if state == "positive" else None,
    }  # fmt: skip
    return {**row, **given}


def trained_on(*rows, cutoff_d, lag_d=10.0):
    frame = matured(LABEL.frame(list(rows)), A + timedelta(days=cutoff_d), lag_d, POLICY)
    return frame.select("as_of", "state").rows()


def test_early_positive_waits_as_long_as_the_negatives():
    positive = label("positive", 3)
    assert trained_on(positive, cutoff_d=23.9) == []
    assert trained_on(positive, cutoff_d=24) == [(A, "positive")]


def test_negative_matures_with_horizon_and_lag():
    assert trained_on(label("negative", 24), cutoff_d=23.9) == []
    assert trained_on(label("negative", 24), cutoff_d=24) == [(A, "negative")]


def test_late_positive_is_usable_from_when_it_was_known():
    late = label("positive", 60)
    assert trained_on(late, cutoff_d=59) == []
    assert trained_on(late, cutoff_d=60) == [(A, "positive")]
    assert trained_on(label("negative", 24), late, cutoff_d=59) == [(A, "negative")]
    assert trained_on(label("negative", 24), late, cutoff_d=60) == [(A, "positive")]


def test_pending_censored_and_other_horizons_are_never_trained_on():
    rows = (label("pending", 0), label("censored", 0, as_of_d=1), label("negative", 24, as_of_d=2, horizon_d=7))
    assert trained_on(*rows, cutoff_d=300) == []


def test_matured_at_is_the_later_of_the_ripe_instant_and_being_known():
    rows = LABEL.frame([label("positive", 3), label("positive", 60, as_of_d=1)])
    assert matured_at(rows, 10.0)["matured_at"].to_list() == [A + timedelta(days=24), A + timedelta(days=60)]
