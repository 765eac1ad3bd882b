"""The truth: hazards, failures and the days on which a truck cannot be driven."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from pm.errors import ConfigError
from pm.simulate.components import COMPONENTS
from pm.simulate.drivers import Style, assign_drivers, at_wheel
from pm.simulate.fleet import DAY_S, FleetConfig, Vehicle, make_vehicle, streams
from pm.simulate.operation import daily_mean_c, plan_sessions
from pm.simulate.wear import HORIZON_D, Life, hazards, live, symptom_of

CONFIG = FleetConfig(n_vehicles=160, n_days=150)


def lives() -> list[tuple[Vehicle, Life]]:
    temperature_c = daily_mean_c(CONFIG)
    made = []
    for index in range(CONFIG.n_vehicles):
        rng = streams(CONFIG, index)
        vehicle = make_vehicle(CONFIG, index, rng["identity"])
        sessions = plan_sessions(CONFIG, vehicle, rng["operation"])
        outside_c, drivers = temperature_c[vehicle.region], assign_drivers(CONFIG, index)
        made.append((vehicle, live(CONFIG, vehicle, sessions, outside_c, rng["wear"], drivers=drivers)))
    return made


@pytest.fixture(scope="module")
def fleet() -> list[tuple[Vehicle, Life]]:
    return lives()


def test_the_hazard_is_gompertz_in_wear_with_a_constant_part() -> None:
    cooling = COMPONENTS[0]
    assert float(cooling.hazard(1.0)) == pytest.approx(cooling.shock + cooling.hazard_at_1)
    assert float(cooling.hazard(0.0)) == pytest.approx(cooling.shock, rel=1e-3)
    assert float(cooling.hazard(1.0 + np.log(2) / cooling.steepness) - cooling.shock) == pytest.approx(
        2 * cooling.hazard_at_1
    )


def test_hazards_of_all_components_are_those_of_each() -> None:
    wear = np.linspace(0.0, 1.4, 15)
    together = hazards(np.tile(wear, (len(COMPONENTS), 1)))
    for row, component in enumerate(COMPONENTS):
        assert together[row] == pytest.approx(component.hazard(wear))
        assert (np.diff(together[row]) > 0).all()


def test_a_symptom_begins_at_its_onset_and_grows_with_wear() -> None:
    wear = np.linspace(0.0, 1.3, 131)
    shown = symptom_of(wear, np.array(0.8), np.array(1.0))
    assert (shown[wear <= 0.8] == 0).all()
    assert (np.diff(shown) >= 0).all()
    assert shown[97] == pytest.approx(1.0)
    assert symptom_of(wear, np.array(0.8), np.array(1.6)).max() == pytest.approx(1.6)


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda each: each.name)
def test_some_failures_come_without_warning(component) -> None:
    assert 0.10 < component.share_without_warning < 0.25


def test_failures_happen_while_driving_and_stop_the_truck(fleet) -> None:
    n_failures = 0
    for _, life in fleet:
        sessions = life.sessions
        for failure in life.failures:
            n_failures += 1
            assert np.isclose(sessions.end_s, failure.failed_s).any()
            in_workshop = (sessions.start_s >= failure.failed_s) & (sessions.start_s < failure.returned_s)
            assert not in_workshop.any()
    assert n_failures > 200


def test_a_truck_in_the_workshop_has_no_hazard_row(fleet) -> None:
    for _, life in fleet:
        for failure in life.failures:
            first = int(failure.failed_s // DAY_S) + 1
            last = min(int(failure.returned_s // DAY_S), CONFIG.n_days - 1)
            assert np.isnan(life.p_horizon[failure.component][first : last + 1]).all()


def test_trucks_are_seldom_in_the_workshop(fleet) -> None:
    days = [np.isnan(life.wear["cooling"][vehicle.joined_day : vehicle.left_day]) for vehicle, life in fleet]
    assert 0.02 < np.concatenate(days).mean() < 0.10


def test_wear_only_grows_until_the_part_is_renewed(fleet) -> None:
    for _, life in fleet[:40]:
        for component in COMPONENTS:
            wear = life.wear[component.name]
            known = wear[np.isfinite(wear)]
            renewed = sum(each.component == component.name for each in (*life.failures, *life.replacements))
            assert (np.diff(known) < 0).sum() <= renewed


def test_no_truck_drives_before_it_joins(fleet) -> None:
    late = [(vehicle, life) for vehicle, life in fleet if vehicle.joined_day > 0]
    assert late
    for vehicle, life in late:
        assert life.sessions.day.min() >= vehicle.joined_day
        assert np.isnan(life.wear["turbo"][: vehicle.joined_day]).all()


def test_hard_drivers_wear_what_they_use_and_typical_ones_nothing_more() -> None:
    day = np.zeros(1, np.bool_)
    assert all(factor[0] == pytest.approx(1.0, abs=0.01) for factor in at_wheel([Style()], day).wear.values())
    hard = at_wheel([Style(braking=2.0)], day).wear
    assert hard["brakes_air"][0] > 1.2
    assert hard["cooling"][0] == pytest.approx(1.0, abs=0.01)


def test_drivers_change_now_and_then_and_no_other_truck_decides_it() -> None:
    config = FleetConfig()
    few = replace(config, n_vehicles=8)
    shares = []
    for index in range(8):
        mine, same = assign_drivers(config, index), assign_drivers(few, index)
        assert (mine.speed == same.speed).all()
        assert (mine.wear["turbo"] == same.wear["turbo"]).all()
        shares.append(mine.is_stand_in.mean())
    assert 0.05 < np.mean(shares) < 0.40
    relief = {tuple(np.unique(each.speed[each.is_stand_in])) for each in (assign_drivers(config, n) for n in range(8))}
    styles = [set(each) for each in relief]
    assert any(one & other for one in styles for other in styles if one is not other), "a relief driver on two trucks"


def test_nothing_happens_outside_the_fleet(fleet) -> None:
    left = [(vehicle, life) for vehicle, life in fleet if vehicle.leaves]
    assert left
    for vehicle, life in left:
        assert life.sessions.day.max() < vehicle.left_day
        assert np.isnan(life.wear["cooling"][vehicle.left_day :]).all()


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda each: each.name)
def test_the_true_probability_is_calibrated_and_ranks(component, fleet) -> None:
    expected, failed = [], []
    for _, life in fleet:
        days = np.array([f.failed_s for f in life.failures if f.component == component.name]) / DAY_S
        for day in range(CONFIG.n_days - HORIZON_D):
            if np.isfinite(life.p_horizon[component.name][day]):
                expected.append(life.p_horizon[component.name][day])
                failed.append(bool(((days > day) & (days <= day + HORIZON_D)).any()))
    p, y = np.array(expected), np.array(failed)
    assert 0.04 < y.mean() < 0.13
    # It leaves out what else may stop the truck, so it lies a little high: 1.10 over 700 trucks.
    assert 0.9 < p.mean() / y.mean() < 1.3
    top = p > np.quantile(p, 0.95)
    assert 0.8 < p[top].mean() / y[top].mean() < 1.3
    assert y[top].mean() > 5 * y[~top].mean()


def test_a_repair_resets_wear_and_symptoms(fleet) -> None:
    seen = 0
    for _, life in fleet:
        for failure in life.failures:
            back = int(failure.returned_s // DAY_S) + 1
            if back < CONFIG.n_days and np.isfinite(life.wear[failure.component][back]):
                seen += 1
                assert life.wear[failure.component][back] == 0.0
                assert life.symptoms[failure.mode][back] == 0.0
    assert seen > 150


@pytest.mark.parametrize(
    ("wrong", "named"),
    [({"n_vehicles": 0}, "n_vehicles"), ({"n_days": -1}, "n_days"), ({"seed": -1}, "seed"),
     ({"start": date(1990, 1, 1)}, "start"), ({"fleet": "../x"}, "fleet")],
)  # fmt: skip
def test_a_fleet_that_cannot_be_is_refused(wrong, named) -> None:
    with pytest.raises(ConfigError, match=named):
        FleetConfig(**wrong)
