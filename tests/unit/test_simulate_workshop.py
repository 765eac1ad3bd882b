"""Work orders: what they say about the truth, and when."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pm.labels.failures import classify, load_rules
from pm.settings import read_settings
from pm.simulate.changes import Change
from pm.simulate.components import COMPONENTS
from pm.simulate.fleet import DAY_S, FleetConfig, make_vehicle, streams
from pm.simulate.operation import daily_mean_c, plan_sessions
from pm.simulate.run import simulate
from pm.simulate.wear import live
from pm.simulate.wording import (
    FAILURE_TEXTS,
    NO_TROUBLE_TEXTS,
    OTHER_TEXTS,
    PLANNED_TEXTS,
    SERVICE_TEXTS,
    UNINFORMATIVE_TEXTS,
)
from pm.simulate.workshop import MISCODED, WORST_LAG_D, Meters, OrderLine, write_orders
from pm.tables import WORK_ORDER

PROJECT = Path(__file__).parents[2]
COMPONENT_OF = {mode.name: component.name for component in COMPONENTS for mode in component.modes}
CONFIG = FleetConfig(n_vehicles=10, n_days=120, seed=4, formats=("candump",))


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("workshop") / "fleet"
    simulate(CONFIG, folder, dbc=read_settings({}).dbc_files)
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
    false = failures.join(truth, on=key, how="anti")
    elsewhere = pl.read_parquet(out / "truth" / "miscoded.parquet").filter(miscoded="other_component")
    assert false.join(elsewhere, on=["work_order_id", "line_no"], how="anti").is_empty()
    assert said.height - false.height >= 0.8 * truth.height


def test_miscoded_orders_are_in_the_truth_and_only_they_say_something_else(out) -> None:
    rules = load_rules(PROJECT / "config" / "failure_rules.toml")
    found = classify(work_orders(out), rules).sort("known_at")
    final = found.unique(["work_order_id", "line_no"], keep="last", maintain_order=True)
    said = final.filter(pl.col("kind") != "withdrawn").select("work_order_id", "line_no", "component", "kind")
    miscoded = pl.read_parquet(out / "truth" / "miscoded.parquet")
    assert miscoded.select("work_order_id", "line_no").is_unique().all()
    assert (miscoded["true_component"] != miscoded["said_component"].fill_null("other")).all()
    both = miscoded.join(said, on=["work_order_id", "line_no"], how="inner")
    assert both.height > 0
    assert (both["component"] == both["said_component"].fill_null("other")).all()


def lines_of(config: FleetConfig, indexes: range) -> list[OrderLine]:
    """Every line of a fleet's workshops, straight from the lives of its trucks."""
    temperature_c = daily_mean_c(config)
    lines = []
    for index in indexes:
        rng = streams(config, index)
        vehicle = make_vehicle(config, index, rng["identity"])
        sessions = plan_sessions(config, vehicle, rng["operation"])
        life = live(config, vehicle, sessions, temperature_c[vehicle.region], rng["wear"])
        no_meters = Meters(np.zeros(0), np.zeros(0), np.zeros(0))
        lines += write_orders(config, vehicle, life, no_meters, rng["workshop"])
    return lines


def test_the_share_of_miscoded_orders_is_as_declared() -> None:
    lines = [line for line in lines_of(FleetConfig(n_vehicles=150), range(150)) if line.component is not None]
    assert len(lines) > 900
    for kind, share in MISCODED.items():
        observed = sum(line.miscoded == kind for line in lines) / len(lines)
        # Four standard errors of the share.
        assert observed == pytest.approx(share, abs=4 * np.sqrt(share / len(lines)))
    for line in lines:
        assert (line.said_component == line.component) is (line.miscoded is None)


def test_a_silent_workshop_says_nothing_from_its_day_on_and_changes_nothing_before() -> None:
    plain = FleetConfig(n_vehicles=30)
    silent = replace(plain, changes=(Change("silent_workshop", 90),))
    before, after = lines_of(plain, range(30)), lines_of(silent, range(30))
    assert len(before) == len(after)
    late = 0
    for usual, quiet in zip(before, after, strict=True):
        if quiet.component is None or quiet.opened_s < 90 * DAY_S:
            assert usual == quiet
        else:
            late += 1
            assert (quiet.description in UNINFORMATIVE_TEXTS, quiet.miscoded, quiet.said_component) == (
                True, "silent", None,
            )  # fmt: skip
            assert replace(quiet, description="", miscoded=None, said_component=None) == replace(
                usual, description="", miscoded=None, said_component=None
            )
    assert late > 50


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
