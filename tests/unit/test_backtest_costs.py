"""Fixed intervals and the cost curve on cases counted by hand, and against each other."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from pm.backtest.cost_curve import cost_curve
from pm.backtest.episodes import alert_figures
from pm.backtest.figures import vehicle_weights
from pm.backtest.intervals import best_interval_d, failure_ages, interval_cost, interval_counts, with_ages
from pm.backtest.run import SCORE_SCHEMA
from pm.policy import Costs, Policy
from pm.tables import FAILURE, VEHICLE

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
COSTS = Costs(missed_breakdown=1000.0, needless_visit=100.0, planned_repair=300.0)
POLICY = replace(Policy(), costs=COSTS)


def wearing_out(life_d: int, n_vehicles: int = 20, n_days: int = 400) -> pl.DataFrame:
    """Rows of parts that all fail at the same age and are then renewed; the horizon is 14 days."""
    rows = []
    for vehicle in range(1, n_vehicles + 1):
        for day in range(n_days):
            age = (day + 7 * vehicle) % life_d
            ahead = life_d - age
            failed = START + (day + ahead) * DAY if ahead <= 14 else None
            rows.append({"vehicle_id": vehicle, "component": "cooling", "as_of": START + day * DAY, "age_d": float(age),
                         "failed_at": failed})  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={"vehicle_id": pl.Int32, "failed_at": SCORE_SCHEMA["failed_at"]})


def test_parts_that_wear_out_are_replaced_just_before() -> None:
    assert best_interval_d(wearing_out(60), step_d=1, costs=COSTS) == 56


def test_where_a_planned_repair_costs_as_much_nothing_is_replaced() -> None:
    dear = replace(COSTS, planned_repair=1000.0)
    assert best_interval_d(wearing_out(60), step_d=1, costs=dear) is None


def test_no_failure_no_interval() -> None:
    healthy = wearing_out(60).with_columns(failed_at=pl.lit(None, SCORE_SCHEMA["failed_at"]))
    assert best_interval_d(healthy, step_d=1, costs=COSTS) is None


def test_ages_run_from_the_last_renewal_known() -> None:
    born = {"fleet": "f", "known_at": START - 90 * DAY}
    vehicles = VEHICLE.frame([
        {"vehicle_id": 1, "vehicle_ref": "A", "in_service_at": START - 50 * DAY, **born},
        {"vehicle_id": 2, "vehicle_ref": "B", **born},
    ])  # fmt: skip
    renewals = [("failure", 5, 6), ("no_trouble_found", 8, 9), ("planned", 20, 22)]
    failures = FAILURE.frame([
        {"source_system": "s", "work_order_id": kind, "line_no": 1, "known_at": START + back * DAY, "vehicle_id": 1,
         "component": "cooling", "kind": kind, "failed_at": START + at * DAY, "restored_at": START + back * DAY,
         "rule": "r"} for kind, at, back in renewals
    ])  # fmt: skip
    rows = pl.DataFrame(
        [{"vehicle_id": v, "component": c, "as_of": START + d * DAY}
         for v, c, d in
         [(1, "cooling", 30), (1, "cooling", 0), (1, "cooling", 12), (1, "turbo", 12), (2, "cooling", 3)]],
        schema={"vehicle_id": pl.Int32, "component": pl.String, "as_of": SCORE_SCHEMA["as_of"]},
    )  # fmt: skip
    made = with_ages(rows, vehicles, failures)
    assert made.select(rows.columns).equals(rows)
    assert made["age_d"].to_list() == [8.0, 50.0, 6.0, 62.0, None]


def test_the_cost_of_fixed_intervals_by_hand() -> None:
    # 10 judged days a vehicle under an interval of 20 days; vehicle 1's part is 15 days old at first, 2's is 40
    rows = [
        {"vehicle_id": v, "component": "cooling", "as_of": START + d * DAY, "age_d": age + d, "interval_d": 20.0,
         "failed_at": START + 9.5 * DAY if v == 1 and d < 3 else None}
        for v, age in ((1, 15.0), (2, 40.0)) for d in range(10)
    ]  # fmt: skip
    judged = pl.DataFrame(rows, schema_overrides={"failed_at": SCORE_SCHEMA["failed_at"]})
    counts = interval_counts(judged, np.array([1, 2]), 1)
    assert {name: values.round(9).tolist() for name, values in counts.items()} == {
        "fixed_days": [10.0, 10.0], "young_days": [5.0, 0.0], "young_failures": [0.0, 0.0],
        "replacements": [0.5, 0.5], "free_failures": [0.0, 0.0],
    }  # fmt: skip
    assert failure_ages(judged)["age_d"].to_list() == [24.5]  # older than the interval: it would not have come
    sums = {name: np.array([values.sum()]) for name, values in counts.items()}
    assert interval_cost(sums, COSTS) == pytest.approx([300.0])
    sums["young_failures"] = np.array([1.0])  # one in 5 young days, over 20 days
    assert interval_cost(sums, COSTS) == pytest.approx([4 * 1000 + 300])
    sums["young_days"] = np.array([0.0])
    assert np.isnan(interval_cost(sums, COSTS)).all()


def scored(p: np.ndarray, fails: dict[int, float], n_days: int) -> pl.DataFrame:
    """Rows of vehicles 1, 2, ... with probabilities `p` (vehicle, day); as_of before the failure only."""
    rows = []
    for vehicle in range(1, p.shape[0] + 1):
        failed = fails.get(vehicle)
        for day in range(n_days if failed is None else int(np.ceil(failed))):
            positive = failed is not None and failed - day <= 14
            rows.append({
                "fold": 1, "component": "cooling", "vehicle_id": vehicle, "as_of": START + day * DAY, "kind": "gbm",
                "p_failure": float(p[vehicle - 1, day]), "threshold": 0.5, "alert": bool(p[vehicle - 1, day] >= 0.5),
                "state": "positive" if positive else "negative", "judged": True,
                "failed_at": START + failed * DAY if positive and failed is not None else None,
            })  # fmt: skip
    return pl.DataFrame(rows, schema=SCORE_SCHEMA)


@pytest.mark.parametrize("seed", range(5))
def test_each_point_of_the_cost_curve_is_what_the_figures_say_at_its_threshold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = scored(rng.random((8, 40)).round(2), {1: 12.5, 3: 30.25, 6: 2.5}, 40)
    ids, weights = np.arange(1, 9), vehicle_weights(8, 0, 1)
    points = cost_curve(rows, step_d=1, policy=POLICY)
    assert points[0]["threshold"] is None
    assert points[0]["alert_rate"] == 0
    for point in points:
        cut = np.inf if point["threshold"] is None else point["threshold"]
        at = rows.with_columns(alert=pl.col("p_failure") >= cut)
        figures, _ = alert_figures(at, ids, weights, step_d=1, policy=POLICY)
        assert point["cost"] == pytest.approx(figures["cost"].value)
        assert point["alert_rate"] == pytest.approx(figures["alert_rate"].value)
        assert point["precision"] == pytest.approx(figures["alert_precision"].value)


def test_without_a_judged_row_there_is_no_curve() -> None:
    rows = scored(np.ones((2, 5)), {}, 5).with_columns(judged=pl.lit(value=False))
    assert cost_curve(rows, step_d=1, policy=POLICY) == []


def test_savings_against_both_ways_of_doing_without() -> None:
    rows = scored(np.zeros((4, 30)), {1: 20.0, 2: 25.0}, 30).with_columns(
        age_d=pl.lit(5.0), interval_d=pl.lit(None, pl.Float64)
    )
    figures, _ = alert_figures(rows, np.arange(1, 5), vehicle_weights(4, 0, 1), step_d=1, policy=POLICY)
    # no alert at all: as dear as running to failure, and where no interval was set, as dear as that
    assert figures["saving"].value == 0.0
    assert figures["saving_fixed"].value == 0.0
    assert figures["alert_recall"].value == 0.0
    none_young = rows.with_columns(age_d=pl.lit(50.0), interval_d=pl.lit(20.0))
    undefined, _ = alert_figures(none_young, np.arange(1, 5), vehicle_weights(4, 0, 1), step_d=1, policy=POLICY)
    assert undefined["saving_fixed"].value is None
    assert "younger than its interval" in str(undefined["saving_fixed"].reason)
