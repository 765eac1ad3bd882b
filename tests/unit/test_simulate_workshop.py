"""Work orders: what they say about the truth, and when."""

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from pm.labels.failures import classify, load_rules
from pm.simulate.fleet import FleetConfig
from pm.simulate.run import simulate
from pm.simulate.wording import FAILURE_TEXTS, NO_TROUBLE_TEXTS, OTHER_TEXTS, PLANNED_TEXTS, SERVICE_TEXTS
from pm.simulate.workshop import WORST_LAG_D
from pm.tables import WORK_ORDER

PROJECT = Path(__file__).parents[2]
COMPONENT_OF = {
    "leak": "cooling", "flow": "cooling", "compressor": "brakes_air", "dryer": "brakes_air",
    "alternator": "charging_starting", "battery": "charging_starting",
}  # fmt: skip


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("workshop") / "fleet"
    simulate(FleetConfig(n_vehicles=10, n_days=120, seed=4), folder, dbc=[PROJECT / "dbc" / "j1939_open_subset.dbc"])
    return folder


def work_orders(out: Path) -> pl.DataFrame:
    raw = pl.read_csv(out / "work_orders.csv", infer_schema=False)
    instants = [name for name in raw.columns if name.endswith("_at")]
    made = raw.with_columns(
        pl.col(instants).str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC"),
        pl.col("planned", "roadside", "withdrawn").replace_strict(
            {"true": True, "false": False}, return_dtype=pl.Boolean
        ),
        vehicle_id=pl.col("vehicle_ref").str.slice(2).cast(pl.Int32),
        known_at=pl.col("recorded_at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC"),
    )
    return made.cast({"line_no": pl.Int32, "odometer_km": pl.Float64, "engine_h": pl.Float64})


def test_every_column_is_there_and_versions_are_unique(out) -> None:
    orders = WORK_ORDER.check(work_orders(out))
    assert orders.height > 40
    assert orders["odometer_km"].min() > 0


def test_nothing_is_known_before_the_work_is_done_or_on_a_weekend(out) -> None:
    orders = work_orders(out)
    assert (orders["recorded_at"] > orders["completed_at"]).all()
    assert (orders["completed_at"] > orders["opened_at"]).all()
    assert (orders["recorded_at"].dt.weekday() <= 5).all()
    first = orders.sort("recorded_at").unique(["work_order_id", "line_no"], keep="first")
    assert (first["recorded_at"] - first["completed_at"]).max() <= timedelta(days=WORST_LAG_D)
    assert orders.height > first.height, "expected some orders in more than one version"


def test_the_shipped_rules_find_most_failures_and_no_false_one(out) -> None:
    rules = load_rules(PROJECT / "config" / "failure_rules.toml")
    found = classify(work_orders(out), rules).sort("known_at")
    final = found.unique(["work_order_id", "line_no"], keep="last", maintain_order=True)
    failures = final.filter(pl.col("kind") == "failure", pl.col("component") != "other")
    said = failures.select("vehicle_id", "component", "failed_at")
    truth = pl.read_parquet(out / "truth" / "failures.parquet").with_columns(
        vehicle_id=pl.col("vehicle_ref").str.slice(2).cast(pl.Int32)
    )
    key = ["vehicle_id", "component", "failed_at"]
    assert said.join(truth, on=key, how="anti").is_empty()
    assert said.height >= 0.8 * truth.height


def test_the_shipped_rules_read_the_workshops_words() -> None:
    rules = load_rules(PROJECT / "config" / "failure_rules.toml")
    cases = [(text, False, COMPONENT_OF[mode], "failure") for mode, texts in FAILURE_TEXTS.items() for text in texts]
    cases += [(text, True, name, "planned") for name, texts in PLANNED_TEXTS.items() for text in texts]
    cases += [(text, False, name, "no_trouble_found") for name, texts in NO_TROUBLE_TEXTS.items() for text in texts]
    cases += [(text, True, "other", "other") for text in SERVICE_TEXTS]
    cases += [(text, False, "other", "failure") for text in OTHER_TEXTS]
    row = dict.fromkeys(WORK_ORDER.column_names)
    instant = {"opened_at": FleetConfig().start_at, "known_at": FleetConfig().start_at}
    orders = WORK_ORDER.frame(
        [
            {**row, **instant, "source_system": "s", "work_order_id": str(number), "line_no": 1, "vehicle_id": 1,
             "description": text, "planned": planned, "withdrawn": False}
            for number, (text, planned, _, _) in enumerate(cases)
        ]
    )  # fmt: skip
    found = classify(orders, rules).sort(pl.col("work_order_id").cast(pl.Int32))
    got = list(zip(found["component"], found["kind"], strict=True))
    wrong = [(text, want, have) for (text, _, *want), have in zip(cases, got, strict=True) if tuple(want) != have]
    assert wrong == []
