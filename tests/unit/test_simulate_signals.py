"""Symptoms and sensor faults as they show in the signals."""

from dataclasses import replace

import numpy as np
import pytest

from pm.simulate.codes import draw_episodes
from pm.simulate.components import COMPONENTS
from pm.simulate.drive import drive
from pm.simulate.fleet import FleetConfig, make_vehicle, streams
from pm.simulate.operation import daily_mean_c, plan_sessions
from pm.simulate.sensor_faults import SensorFault, apply_sensor_faults
from pm.simulate.signals import Samples, Truck, sample

CONFIG = FleetConfig(n_vehicles=1, n_days=28)
NONE = {mode.name: np.zeros(CONFIG.n_days) for component in COMPONENTS for mode in component.modes}


def samples(**symptoms: float) -> list[Samples]:
    """Four weeks of one truck with constant symptoms; the same random numbers every time."""
    rng = streams(CONFIG, 3)
    vehicle = make_vehicle(CONFIG, 3, rng["identity"])
    temperature_c = daily_mean_c(CONFIG)[vehicle.region]
    sessions = plan_sessions(CONFIG, vehicle, rng["operation"])
    shown = {**NONE, **{mode: np.full(CONFIG.n_days, level) for mode, level in symptoms.items()}}
    driven = drive(vehicle, sessions, temperature_c, shown, rng["signals"])
    return sample(Truck(vehicle, sessions, driven, shown, rng["signals"]))


def signal(made: list[Samples], message: str, name: str, *, start_up: bool = False) -> np.ndarray:
    found = [each for each in made if each.message == message and name in each.values]
    return found[-1 if start_up else 0].values[name]


@pytest.fixture(scope="module")
def well() -> list[Samples]:
    return samples()


def test_a_healthy_truck_is_plausible(well) -> None:
    coolant = signal(well, "ET1", "EngCoolantTemp")
    assert 80 < np.median(coolant) < 95
    assert np.quantile(coolant, 0.99) < 100
    assert 27.5 < np.median(signal(well, "VEP1", "ChargingSystemPotential")) < 28.8
    assert 700 < np.median(signal(well, "AIR1", "PneumaticSupplyPressure")) < 950
    assert np.nanmedian(signal(well, "EFL_P1", "EngCoolantLevel")) > 80
    odometer = signal(well, "VDHR", "HighResTotalVehicleDistance")
    assert (np.diff(odometer) >= 0).all()
    assert odometer[-1] > odometer[0] + 1000


@pytest.mark.parametrize(
    ("mode", "message", "name", "start_up", "sign"),
    [
        ("flow", "ET1", "EngCoolantTemp", False, 1),
        ("leak", "EFL_P1", "EngCoolantPressure", False, -1),
        ("leak", "EFL_P1", "EngCoolantLevel", False, -1),
        ("compressor", "AIR1", "AirCompressorStatus", False, 1),
        ("compressor", "AIR1", "PneumaticSupplyPressure", True, -1),
        ("dryer", "AIR1", "PneumaticSupplyPressure", False, -1),
        ("dryer", "AIR1", "ServiceBrakeCircuit2AirPressure", False, -1),
        ("alternator", "VEP1", "ChargingSystemPotential", False, -1),
        ("alternator", "VEP1", "AlternatorCurrent", False, 1),
        ("battery", "EEC1", "EngSpeed", True, -1),
        ("battery", "VEP1", "ChargingSystemPotential", True, -1),
    ],
)
def test_wear_moves_the_signals_a_mechanic_would_look_at(well, mode, message, name, start_up, sign) -> None:
    half, full = samples(**{mode: 0.5}), samples(**{mode: 1.0})
    means = [np.nanmean(signal(made, message, name, start_up=start_up)) for made in (well, half, full)]
    # Each against the healthy truck: a level that is topped up more often need not be lower on average.
    assert ((np.array(means[1:]) - means[0]) * sign > 0).all()


def test_a_weak_alternator_ripples(well) -> None:
    assert (
        signal(samples(alternator=1.0), "VEP1", "ChargingSystemPotential").std()
        > 2 * signal(well, "VEP1", "ChargingSystemPotential").std()
    )


def test_a_cold_start_is_colder_than_the_engine_runs(well) -> None:
    et1 = next(each for each in well if each.message == "ET1")
    first_of_day = et1.values["EngCoolantTemp"][:1]
    assert first_of_day < 45


@pytest.mark.parametrize("kind", ["stuck", "erratic", "error", "not_available"])
def test_a_sensor_fault_spoils_its_signal_and_its_days_only(well, kind) -> None:
    fault = SensorFault("ET1", "EngCoolantTemp", kind, 7, 14, 9.0, None)
    rng = np.random.default_rng(1)
    spoilt = apply_sensor_faults(well, [fault], rng)
    before, after = (next(each for each in made if each.message == "ET1") for made in (well, spoilt))
    inside = fault.covers(before.time_s)
    values = after.values["EngCoolantTemp"]
    assert (values[~inside] == before.values["EngCoolantTemp"][~inside]).all()
    bad = values[inside]
    shows = {
        "stuck": lambda: len(set(bad.tolist())) == 1,
        "erratic": lambda: bad.std() > 3,
        "error": lambda: np.isposinf(bad).all(),
        "not_available": lambda: np.isnan(bad).all(),
    }
    assert len(bad) > 50
    assert shows[kind]()
    assert (after.values["EngOilTemp1"] == before.values["EngOilTemp1"]).all()


def test_codes_come_with_symptoms_and_grow_severe() -> None:
    config = replace(CONFIG, n_days=120)
    rng = streams(config, 0)
    vehicle = make_vehicle(config, 0, rng["identity"])
    sessions = plan_sessions(config, vehicle, rng["operation"])
    quiet = {name: np.zeros(120) for name in NONE}
    worn = {**quiet, "flow": np.linspace(0.0, 1.6, 120)}

    def coolant_codes(symptoms):
        episodes = draw_episodes(config, sessions, symptoms, [], np.random.default_rng(5))
        return [episode for episode in episodes if episode.code.spn == 110]

    episodes = coolant_codes(worn)
    assert len(episodes) > len(coolant_codes(quiet)) + 15
    assert [episode.occurrence_count for episode in episodes if episode.code.fmi == 16] == list(
        range(1, 1 + sum(episode.code.fmi == 16 for episode in episodes))
    )
    first = {fmi: min(e.from_s for e in episodes if e.code.fmi == fmi) for fmi in (15, 16, 0)}
    assert first[15] < first[16] < first[0]
