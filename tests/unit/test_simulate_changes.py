"""Changes at a date: read, checked, and seen in what is written."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pm.canbus.dbc import load_dbc
from pm.canbus.decode import LogDecoder
from pm.canbus.logfile import open_log
from pm.errors import ConfigError
from pm.settings import read_settings
from pm.simulate import FleetConfig, simulate
from pm.simulate.changes import Change, as_text, is_coding_silent, newcomers, parse_change, rescaled, warming_c
from pm.simulate.fleet import MODELS, NEW_MODEL, make_vehicle, streams
from pm.simulate.operation import daily_mean_c

START = date(2026, 1, 5)
DBC = read_settings({}).dbc_files
SMALL = FleetConfig(n_vehicles=3, n_days=12, seed=11)


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("silent_workshop@30", Change("silent_workshop", 30)),
        ("silent_workshop@2026-02-04", Change("silent_workshop", 30)),
        ("warm_summer@0:celsius=2.5", Change("warm_summer", 0, celsius=2.5)),
        ("new_model@7:trucks=3", Change("new_model", 7, trucks=3)),
        (
            "firmware_rescale@9:model=Vesper 260,signal=EngOilTemp1,scale=1,offset=-5",
            Change("firmware_rescale", 9, "Vesper 260", "EngOilTemp1", 1.0, -5.0),
        ),
    ],
)
def test_a_change_is_read_and_said_the_same_way(text, change) -> None:
    assert parse_change(text, START) == change
    assert parse_change(as_text(change), START) == change


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("silent_workshop", r"expected KIND@DAY\[:key=value,...\]"),
        ("earthquake@3", "expected a kind of firmware_rescale"),
        ("silent_workshop@3:celsius=2", "expected no key as key=value, but got 'celsius=2'"),
        ("warm_summer@3:celsius=hot", "expected a number for celsius, but got 'hot'"),
        ("warm_summer@3:celsius=nan", "expected celsius from -20 to 20, but got nan"),
        ("warm_summer@3:celsius", "expected celsius as key=value"),
        ("new_model@3:trucks=0", "expected trucks from 1 to 1000, but got 0"),
        ("new_model@3:trucks=1.5", "expected a number for trucks, but got '1.5'"),
        ("warm_summer@2026-02-31", "expected a date as YYYY-MM-DD"),
        ("warm_summer@2025-12-31", "expected day from 0 to 3660, but got -5"),
    ],
)
def test_a_change_that_cannot_be_is_one_clear_error(text, said) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_change(text, START)


def test_a_fleet_refuses_a_change_it_cannot_have(tmp_path) -> None:
    with pytest.raises(ConfigError, match="expected a day below 12, but got 12"):
        replace(SMALL, changes=(Change("warm_summer", 12),))
    with pytest.raises(ConfigError, match="expected a model of Borealis 480"):
        replace(SMALL, changes=(Change("firmware_rescale", 3, model="Vesper"),))
    nonsense = replace(SMALL, changes=(Change("firmware_rescale", 3, signal="Nonsense"),))
    with pytest.raises(ConfigError, match="expected a signal that is sent"):
        simulate(nonsense, tmp_path / "fleet", dbc=DBC)


def test_the_workshop_is_silent_from_its_day_on() -> None:
    config = replace(SMALL, changes=(Change("silent_workshop", 5),))
    assert [is_coding_silent(config, day) for day in (4, 5, 11)] == [False, True, True]
    assert not is_coding_silent(SMALL, 11)


def test_warm_summers_add_up_and_leave_the_days_before_alone() -> None:
    config = replace(SMALL, changes=(Change("warm_summer", 4), Change("warm_summer", 8, celsius=1.5)))
    assert warming_c(config).tolist() == [0.0] * 4 + [4.0] * 4 + [5.5] * 4
    np.testing.assert_allclose(daily_mean_c(config) - daily_mean_c(SMALL), np.tile(warming_c(config), (3, 1)))


def test_only_the_signal_of_the_model_is_rescaled_and_no_value_stays_none() -> None:
    config = replace(SMALL, changes=(Change("firmware_rescale", 2, "Vesper 260"),))
    day, values = np.array([1, 2, 2, 3]), np.array([90.0, 90.0, np.nan, np.inf])
    sent = rescaled(config, "Vesper 260", "EngCoolantTemp", day, values)
    np.testing.assert_array_equal(sent, [90.0, 194.0, np.nan, np.inf])
    for model, name in (("Borealis 480", "EngCoolantTemp"), ("Vesper 260", "EngOilTemp1")):
        assert rescaled(config, model, name, day, values) is values


def test_newcomers_are_of_the_new_model_join_within_two_weeks_and_do_not_depend_on_the_fleet() -> None:
    config = FleetConfig(n_vehicles=3, n_days=60, changes=(Change("new_model", 30, trucks=20),))
    trucks = [make_vehicle(config, index, streams(config, index)["identity"]) for index, _ in newcomers(config)]
    assert {truck.model for truck in trucks} == {NEW_MODEL}
    assert all(30 <= truck.joined_day < 44 and not truck.leaves for truck in trucks)
    assert len({truck.joined_day for truck in trucks}) > 5
    larger = replace(config, n_vehicles=500)
    assert (
        make_vehicle(larger, newcomers(larger)[3][0], streams(larger, newcomers(larger)[3][0])["identity"]) == trucks[3]
    )


def test_the_new_model_lies_outside_the_others_in_every_level() -> None:
    for name in ("coolant_c", "charging_v", "cut_out_kpa", "pump_up_kpa_s", "litres_100km"):
        levels = [getattr(model, name) for model in MODELS]
        assert not min(levels) <= getattr(NEW_MODEL, name) <= max(levels), name


def coolant_c(folder: Path, vehicle_ref: str) -> pl.DataFrame:
    """(time, coolant temperature) as the product decodes the truck's logs, each instant once."""
    decoder = LogDecoder(load_dbc(DBC))
    parts = [
        batch.signals["ET1"].select("time", "EngCoolantTemp")
        for path in sorted((folder / "logs" / vehicle_ref).iterdir())
        for batch in decoder.batches(open_log(path))
        if "ET1" in batch.signals
    ]
    return pl.concat(parts).unique().sort("time")


def test_in_the_logs_a_change_begins_on_its_day_and_the_truth_says_so(tmp_path) -> None:
    simulate(SMALL, tmp_path / "plain", dbc=DBC)
    models = dict(pl.read_csv(tmp_path / "plain" / "vehicles.csv").select("vehicle_ref", "model").iter_rows())
    changes = (Change("new_model", 5, trucks=2), Change("firmware_rescale", 6, models["T-001"]))
    report = simulate(replace(SMALL, changes=changes), tmp_path / "changed", dbc=DBC)
    assert report.n_vehicles == 5
    both = coolant_c(tmp_path / "plain", "T-001").join(
        coolant_c(tmp_path / "changed", "T-001"), on="time", suffix="_sent"
    )
    day = pl.lit(date(2026, 1, 11))
    before, after = (
        both.filter(when).drop_nulls() for when in (pl.col("time").dt.date() < day, pl.col("time").dt.date() >= day)
    )
    assert before.height > 50
    assert after.height > 50
    assert before["EngCoolantTemp"].equals(before["EngCoolantTemp_sent"])
    np.testing.assert_allclose(after["EngCoolantTemp_sent"], 1.8 * after["EngCoolantTemp"] + 32.0, atol=1.5)
    others = [ref for ref, model in models.items() if model != models["T-001"]]
    for ref in others:
        assert coolant_c(tmp_path / "plain", ref).equals(coolant_c(tmp_path / "changed", ref))
    truth = pl.read_parquet(tmp_path / "changed" / "truth" / "changes.parquet")
    assert truth.rows() == [
        ("new_model", date(2026, 1, 10), "new_model@5:trucks=2"),
        ("firmware_rescale", date(2026, 1, 11), as_text(changes[1])),
    ]
    assert (tmp_path / "plain" / "truth" / "failures.parquet").read_bytes()
