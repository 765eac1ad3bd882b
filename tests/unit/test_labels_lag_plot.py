"""The reporting lag as numbers and as a chart."""

from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import numpy as np
import pytest

from pm.labels.booking import Calendar
from pm.labels.lag_plot import describe, describe_days, lag_chart, lag_curve, lag_page
from pm.policy import Labels, Policy
from pm.tables import FAILURE

NOW = datetime(2025, 6, 1, tzinfo=UTC)
POLICY = Policy()


def parse(chart):
    return ElementTree.fromstring(chart)  # noqa: S314 - our own text


def failures(ago_d, lags_d):
    return FAILURE.frame([
        {
            "source_system": "s", "work_order_id": str(i), "line_no": 1, "vehicle_id": 1, "component": "cooling",
            "kind": "failure", "failed_at": NOW - timedelta(days=float(ago)), "rule": "r",
            "known_at": NOW - timedelta(days=float(ago)) + timedelta(days=float(lag)),
        }
        for i, (ago, lag) in enumerate(zip(ago_d, lags_d, strict=True))
    ])  # fmt: skip


@pytest.fixture
def curve():
    generator = np.random.default_rng(5)
    ago, lag = generator.uniform(0, 60, 400), generator.exponential(15, 400)
    return lag_curve(failures(ago[lag <= ago], lag[lag <= ago]), NOW, POLICY)


def test_curve_by_hand():
    found = lag_curve(failures([2.0, 20.0, 5.0, 30.0], [1.0, 1.0, 4.0, 10.0]), NOW, POLICY)
    assert found.values_d == pytest.approx((1.0, 4.0, 10.0))
    assert found.share == pytest.approx((0.25, 0.5, 1.0))
    assert found.plain_share == (0.5, 0.75, 1.0)
    assert found.plain_quantile_d == 10.0
    assert (found.estimate.source, found.estimate.n_failures) == ("maximum", 4)


def test_correction_lies_below_what_was_seen_so_far(curve):
    assert all(share <= plain + 1e-12 for share, plain in zip(curve.share, curve.plain_share, strict=True))
    assert curve.estimate.lag_d > curve.plain_quantile_d


def test_chart_is_one_svg_that_says_n_quantile_and_lag_in_force(curve):
    text = lag_chart(curve)
    assert parse(text).tag.endswith("svg")
    for said in (f"{curve.estimate.n_failures} failures", "95%", f"{curve.estimate.lag_d:.2f} d (estimate)"):
        assert said in text
    assert len(text) < 40_000
    page = lag_page(curve)
    assert page.count("<svg") == 1
    assert "color-scheme:light dark" in page
    assert 'name="viewport"' in page


def test_no_failure_gives_a_chart_and_no_number():
    found = lag_curve(FAILURE.empty(), NOW, Policy(labels=Labels(lag_d=21.0)))
    assert (found.values_d, found.plain_quantile_d, found.estimate.lag_d) == ((), None, 21.0)
    assert parse(lag_chart(found)).tag.endswith("svg")
    assert "set by policy" in describe(found.estimate)


@pytest.mark.parametrize(
    ("calendar", "said"),
    [
        (Calendar(), "on any day"),
        (Calendar(frozenset({5, 6}), source="estimate"), "on any day but Saturday, Sunday (estimate)"),
        (Calendar(month_days=(-1, 0), source="policy"), "once a month, -1 to +0 days from its last day (policy)"),
        (Calendar(closed_days=frozenset({NOW.date()})), "on any day, with 1 days closed by policy"),
    ],
)
def test_calendars_in_words(calendar, said):
    assert describe_days(calendar) == said
