"""The truth: hazards, failures and the days on which a truck cannot be driven."""

from datetime import date

import numpy as np
import pytest

from pm.errors import ConfigError
from pm.simulate.components import COMPONENTS
from pm.simulate.fleet import DAY_S, FleetConfig, Vehicle, make_vehicle, streams
from pm.simulate.operation import daily_mean_c, plan_sessions
from pm.simulate.wear import HORIZON_D, Life, live

CONFIG = FleetConfig(n_vehicles=160, n_days=150)


def lives() -> list[tuple[Vehicle, Life]]:
    temperature_c = daily_mean_c(CONFIG)
    made = []
    for index in range(CONFIG.n_vehicles):
        rng = streams(CONFIG, index)
        vehicle = make_vehicle(CONFIG, index, rng["identity"])
        sessions = plan_sessions(CONFIG, vehicle, rng["operation"])
        made.append((vehicle, live(CONFIG, vehicle, sessions, temperature_c[vehicle.region], rng["wear"])))
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
