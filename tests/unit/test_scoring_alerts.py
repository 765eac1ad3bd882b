"""Alert episodes and the weekly budget."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from pm.policy import Alerts
from pm.scoring.alerts import choose_alerts, episode_starts, episodes_allowed, week_budget
from pm.tables import PREDICTION

DAY_0 = datetime(2026, 3, 2, tzinfo=UTC)


def row(day: int, vehicle_id: int, *, alert: bool, component: str = "cooling") -> dict[str, object]:
    at = DAY_0 + timedelta(days=day)
    return {
        "vehicle_id": vehicle_id, "component": component, "as_of": at, "model_id": "m", "role": "champion",
        "scored_at": at, "horizon_d": 14, "status": "ok", "p_failure": 0.5, "position": 1, "threshold": 0.4,
        "alert": alert, "reasons_json": "[]", "inputs_hash": "h",
    }  # fmt: skip


def history(*alerts: tuple[int, int], days: int = 10) -> pl.DataFrame:
    """A batch every day with a quiet vehicle 99 and the named (day, vehicle) alerts."""
    return PREDICTION.frame(
        [row(day, 99, alert=False) for day in range(days)] + [row(d, v, alert=True) for d, v in alerts]
    )


def scores(*p_failure: float | None) -> pl.DataFrame:
    n = len(p_failure)
    ranked = pl.Series(p_failure, dtype=pl.Float64).rank("ordinal", descending=True).cast(pl.Int32)
    return pl.DataFrame(
        {
            "vehicle_id": pl.Series(range(1, n + 1), dtype=pl.Int32),
            "component": ["cooling"] * n,
            "p_failure": pl.Series(p_failure, dtype=pl.Float64),
            "threshold": [0.4] * n,
            "position": ranked,
        }
    )


def test_an_episode_begins_after_a_batch_without_alert() -> None:
    starts = episode_starts(history((1, 7), (2, 7), (4, 7), (4, 8)))
    assert [(row["vehicle_id"], (row["as_of"] - DAY_0).days) for row in starts.iter_rows(named=True)] == [
        (7, 1),
        (7, 4),
        (8, 4),
    ]


@pytest.mark.parametrize(("n_vehicles", "n_allowed"), [(100, 4), (40, 1), (50, 2), (5, 1), (1000, 40)])
def test_the_budget_is_a_rate_a_hundred_vehicles(n_vehicles: int, n_allowed: int) -> None:
    assert episodes_allowed(Alerts(budget_per_100_vehicles_week=4.0), n_vehicles) == n_allowed


def test_no_budget_means_no_alert() -> None:
    assert episodes_allowed(Alerts(budget_per_100_vehicles_week=0.0), 100) == 0


def test_the_week_is_the_seven_days_that_end_with_the_batch() -> None:
    rows = history((0, 1), (1, 2), (7, 3))
    budget = week_budget(
        rows, DAY_0 + timedelta(days=7), alerts=Alerts(budget_per_100_vehicles_week=4.0), n_vehicles=100
    )
    assert (budget.n_allowed, budget.n_begun, budget.n_left) == (4, 2, 2)


def test_the_best_placed_rows_above_the_threshold_get_the_budget() -> None:
    found = choose_alerts(
        scores(0.5, 0.9, None, 0.39, 0.6),
        PREDICTION.empty(),
        as_of=DAY_0,
        alerts=Alerts(budget_per_100_vehicles_week=4.0),
        n_vehicles=50,
    )
    assert found.to_list() == [False, True, False, False, True]


def test_a_running_episode_costs_nothing_and_ends_below_the_threshold() -> None:
    recent = history((9, 1), (9, 4))
    found = choose_alerts(
        scores(0.5, 0.9, 0.8, 0.1),
        recent,
        as_of=DAY_0 + timedelta(days=10),
        alerts=Alerts(budget_per_100_vehicles_week=4.0),
        n_vehicles=75,
    )
    # Allowed 3 a week, 2 begun on day 9: one is left; vehicle 1 goes on, vehicle 4 fell below.
    assert found.to_list() == [True, True, False, False]


def test_a_score_equal_to_the_threshold_is_an_alert() -> None:
    assert choose_alerts(
        scores(0.4), PREDICTION.empty(), as_of=DAY_0, alerts=Alerts(budget_per_100_vehicles_week=4.0), n_vehicles=1
    ).to_list() == [True]


def test_rows_of_the_batch_itself_do_not_count_as_earlier() -> None:
    recent = history((10, 2), days=11)
    found = choose_alerts(
        scores(0.5),
        recent,
        as_of=DAY_0 + timedelta(days=10),
        alerts=Alerts(budget_per_100_vehicles_week=4.0),
        n_vehicles=10,
    )
    assert found.to_list() == [True]
