"""Alerts as served: the replay of a whole backtest against the rule that scoring applies to one batch."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from pm.backtest.run import SCORE_SCHEMA
from pm.backtest.served import allowed, serve_alerts
from pm.policy import Alerts
from pm.scoring.alerts import choose_alerts, episodes_allowed

START = datetime(2026, 3, 1, tzinfo=UTC)


def scores(seed: int, n_vehicles: int = 30, n_days: int = 25, kinds: tuple[str, ...] = ("gbm",)) -> pl.DataFrame:
    """Scores of two components that wander from day to day, some rows missing, in no order."""
    rng = np.random.default_rng(seed)
    rows = []
    for kind in kinds:
        for component, threshold in (("brakes_air", 0.7), ("cooling", 0.6)):
            level = rng.uniform(0, 1, n_vehicles)
            for day in range(n_days):
                level = np.clip(level + rng.normal(0, 0.15, n_vehicles), 0, 1).round(2)
                for vehicle in range(n_vehicles):
                    if rng.random() < 0.9:
                        at = START + timedelta(days=day)
                        rows.append((1, component, vehicle + 1, at, kind, level[vehicle], threshold + 0.1 * (day > 12)))
    frame = pl.DataFrame(rows, schema=["fold", "component", "vehicle_id", "as_of", "kind", "p_failure", "threshold"],
                         orient="row")  # fmt: skip
    typed = frame.cast({name: SCORE_SCHEMA[name] for name in frame.columns})
    return typed.sample(fraction=1.0, shuffle=True, seed=seed)


def batch_by_batch(given: pl.DataFrame, alerts: Alerts) -> pl.DataFrame:
    """What `pm.scoring` would have chosen, one batch after the other."""
    earlier = pl.DataFrame(schema={"vehicle_id": pl.Int32, "component": pl.String, "as_of": SCORE_SCHEMA["as_of"],
                                   "alert": pl.Boolean})  # fmt: skip
    made = []
    for (as_of,), batch in given.sort("as_of").group_by("as_of", maintain_order=True):
        ranked = batch.sort("p_failure", "vehicle_id", "component", descending=[True, False, False])
        ranked = ranked.with_row_index("position", offset=1).with_columns(threshold=pl.col("threshold").min())
        chosen = choose_alerts(ranked, earlier, as_of=as_of, alerts=alerts, n_vehicles=batch["vehicle_id"].n_unique())
        made.append(ranked.with_columns(chosen))
        earlier = pl.concat([earlier, made[-1].select(earlier.columns)])
    return pl.concat(made)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("budget", [0.0, 3.0, 20.0, 1000.0])
def test_the_replay_is_what_scoring_would_have_served(seed: int, budget: float) -> None:
    alerts, given = Alerts(budget_per_100_vehicles_week=budget), scores(seed)
    key = ["as_of", "vehicle_id", "component"]
    served, expected = serve_alerts(given, alerts), batch_by_batch(given, alerts)
    assert (
        served.sort(key)
        .select(*key, "alert", "threshold")
        .equals(expected.sort(key).select(*key, "alert", "threshold"))
    )
    assert served["alert"].any() == (budget > 0)


def test_rows_keep_their_order_and_kinds_do_not_share_a_budget() -> None:
    alerts = Alerts(budget_per_100_vehicles_week=10.0)
    both = scores(1, kinds=("gbm", "fault_count"))
    served = serve_alerts(both, alerts)
    assert served.drop("alert", "threshold").equals(both.drop("threshold"))
    for kind in ("gbm", "fault_count"):
        mine = pl.col("kind") == kind
        assert served.filter(mine).equals(serve_alerts(both.filter(mine), alerts))


@pytest.mark.parametrize(("budget", "n_vehicles"), [(0.0, 50), (1.0, 20), (10.0, 55), (33.3, 100)])
def test_the_weekly_budget_is_that_of_scoring(budget: float, n_vehicles: int) -> None:
    alerts = Alerts(budget_per_100_vehicles_week=budget)
    assert allowed(alerts, n_vehicles) == episodes_allowed(alerts, n_vehicles)
