"""Alert episodes, lead times, failures and money on cases counted by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from pm.backtest.episodes import alert_episodes, alert_figures, failures_seen
from pm.backtest.figures import vehicle_weights
from pm.backtest.run import SCORE_SCHEMA
from pm.policy import Costs, Policy

START = datetime(2026, 3, 1, tzinfo=UTC)
POLICY = replace(Policy(), costs=Costs(missed_breakdown=1000.0, needless_visit=100.0, planned_repair=300.0))


def scores(
    days: int, alerts: dict[int, list[int]], fails: dict[int, float], *, unjudged_from: int = 10**6
) -> pl.DataFrame:
    """Rows of vehicles 1 to 3 over `days`, with alert days and the day each fails (horizon 14)."""
    rows = []
    for vehicle in (1, 2, 3):
        for day in range(days):
            failed = fails.get(vehicle)
            if failed is not None and day >= failed:
                continue  # in the workshop, and then left out of this little case
            positive = failed is not None and day < failed <= day + 14
            rows.append(
                {
                    "fold": 1,
                    "component": "cooling",
                    "vehicle_id": vehicle,
                    "as_of": START + timedelta(days=day),
                    "kind": "gbm",
                    "p_failure": 0.5,
                    "threshold": 0.5,
                    "alert": day in alerts.get(vehicle, []),
                    "state": "positive" if positive else "negative",
                    "failed_at": START + timedelta(days=failed) if positive and failed is not None else None,
                    "judged": day < unjudged_from,
                }
            )
    return pl.DataFrame(rows, schema=SCORE_SCHEMA)


def test_episodes_hits_and_leads() -> None:
    made = alert_episodes(scores(30, {1: [2, 3, 4, 12, 13], 2: [5]}, {1: 20.5}), 1)
    assert made.select("vehicle_id", "n_alerts", "hit").rows() == [(1, 3, False), (1, 2, True), (2, 1, False)]
    assert made["lead_d"].to_list() == [None, 8.5, None]
    assert made["started_at"].to_list()[1] == START + timedelta(days=12)


def test_an_episode_that_starts_too_early_is_no_hit_even_if_it_lasts() -> None:
    made = alert_episodes(scores(30, {1: list(range(2, 20))}, {1: 20.0}), 1)
    assert made["hit"].to_list() == [False]  # it began 18 days before
    failures = failures_seen(scores(30, {}, {1: 20.0}), made)
    assert failures["lead_d"].to_list() == [None]


def test_an_unmatured_start_is_not_judged() -> None:
    made = alert_episodes(scores(30, {2: [3], 3: [25]}, {}, unjudged_from=20), 1)
    assert made["hit"].to_list() == [False, None]


def test_failures_count_only_leads_that_were_possible() -> None:
    rows = scores(30, {1: [0], 3: [12]}, {1: 5.25, 2: 20.0, 3: 20.0})
    failures = failures_seen(rows, alert_episodes(rows, 1))
    assert failures.select("vehicle_id", "first_lead_d", "lead_d").rows() == [
        (1, 5.25, 5.25),
        (2, 14.0, None),
        (3, 14.0, 8.0),
    ]


def test_figures_by_hand() -> None:
    rows = scores(28, {1: [3], 2: [8, 9], 3: [1]}, {1: 5.0, 2: 20.0})
    weights = vehicle_weights(3, 50, 1)
    figures, details = alert_figures(rows, np.array([1, 2, 3]), weights, step_d=1, policy=POLICY)
    # vehicle 1: hit with a lead of 2 days, too late to plan; vehicle 2: hit with 12; vehicle 3: needless
    assert figures["alert_precision"].value == pytest.approx(2 / 3)
    assert figures["alert_recall_3d"].value == pytest.approx(1 / 2)
    assert figures["alert_recall_7d"].value == pytest.approx(1 / 1)  # vehicle 1 could not be seen 7 days ahead
    truck_weeks = (5 + 20 + 28) / 7
    cost = 1000 + 300 + 100
    assert figures["cost"].value == pytest.approx(100 * cost / truck_weeks)
    assert figures["cost_to_failure"].value == pytest.approx(100 * 2000 / truck_weeks)
    assert figures["saving"].value == pytest.approx(1 - cost / 2000)
    assert figures["alert_rate"].value == pytest.approx(100 * 3 / truck_weeks)
    assert (details["n_episodes"], details["n_hits"], details["n_failures"], details["n_failures_caught"]) == (
        3,
        2,
        2,
        2,
    )
    assert details["lead_d"] == [2.0, 12.0]


def test_no_alert_and_no_failure_are_null_with_reasons() -> None:
    weights = vehicle_weights(3, 50, 1)
    figures, _ = alert_figures(scores(28, {}, {}), np.array([1, 2, 3]), weights, step_d=1, policy=POLICY)
    assert (figures["alert_precision"].value, figures["alert_precision"].reason) == (None, "no alert")
    assert figures["saving"].value is None
    assert "no failure" in str(figures["saving"].reason)
    assert "3 days ahead" in str(figures["alert_recall_3d"].reason)
    assert figures["alert_rate"].value == 0.0
