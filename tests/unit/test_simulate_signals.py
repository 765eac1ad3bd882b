"""Symptoms and sensor faults as they show in the signals."""

from dataclasses import replace

import numpy as np
import pytest

from pm.simulate.codes import draw_episodes
from pm.simulate.components import COMPONENTS
from pm.simulate.drive import drive
from pm.simulate.drivers import AtWheel, Style, at_wheel
from pm.simulate.fleet import FleetConfig, make_vehicle, streams
from pm.simulate.operation import daily_mean_c, plan_sessions
from pm.simulate.sensor_faults import SensorFault, apply_sensor_faults
from pm.simulate.signals import Samples, Truck, sample

CONFIG = FleetConfig(n_vehicles=1, n_days=28)
NONE = {mode.name: np.zeros(CONFIG.n_days) for component in COMPONENTS for mode in component.modes}


def samples(drivers: AtWheel | None = None, **symptoms: float) -> list[Samples]:
    """Four weeks of one truck with constant symptoms; the same random numbers every time."""
    rng = streams(CONFIG, 3)
    vehicle = make_vehicle(CONFIG, 3, rng["identity"])
    temperature_c = daily_mean_c(CONFIG)[vehicle.region]
    sessions = plan_sessions(CONFIG, vehicle, rng["operation"])
    shown = {**NONE, **{mode: np.full(CONFIG.n_days, level) for mode, level in symptoms.items()}}
    driven = drive(vehicle, sessions, temperature_c, shown, rng["signals"], drivers=drivers)
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
        ("filter", "AT1IMG", "Aft1DPFDifferentialPressure", False, 1),
        ("filter", "DPFC1", "Aft1DPFActiveRegenStatus", False, 1),
        ("filter", "AT1S1", "Aft1DPFTimeSinceLastActiveRegen", False, -1),
        ("scr", "AT1OG1", "Aftertreatment1OutletNOx", False, 1),
        ("scr", "A1SCRDSI1", "Aft1DEFActualDosingQuantity", False, -1),
        ("vanes", "IC1", "EngIntakeManifold1Pressure", False, -1),
        ("vanes", "IC1", "EngExhaustTemp", False, 1),
        ("vanes", "EEC6", "EngVarGeomTurboActuator1", False, 1),
        ("rotor", "IC1", "EngIntakeManifold1Pressure", False, -1),
        ("rotor", "IC1", "EngExhaustTemp", False, 1),
        ("rotor", "TC", "EngTurbo1Speed", False, -1),
        ("rotor", "EGF1", "EngInletAirMassFlowRate", False, -1),
        ("rail", "EFL_P2", "EngInjMeteringRail1Pressure", False, -1),
        ("rail", "EFL_P2", "EngInjMeteringRail1Pressure", True, -1),
        ("injector", "LFE1", "EngFuelRate", False, 1),
        ("injector", "IC1", "EngExhaustTemp", False, 1),
        ("injector", "DPFC1", "Aft1DPFActiveRegenStatus", False, 1),
    ],
)
def test_wear_moves_the_signals_a_mechanic_would_look_at(well, mode, message, name, start_up, sign) -> None:
    half, full = samples(**{mode: 0.5}), samples(**{mode: 1.0})
    means = [np.nanmean(signal(made, message, name, start_up=start_up)) for made in (well, half, full)]
    # Each against the healthy truck: a level that is topped up more often need not be lower on average.
    assert ((np.array(means[1:]) - means[0]) * sign > 0).all()


def test_every_mode_is_seen_in_some_signal() -> None:
    marks = test_wear_moves_the_signals_a_mechanic_would_look_at.pytestmark
    assert {case[0] for case in marks[0].args[1]} == set(NONE)


def test_what_is_asked_of_the_rail_does_not_wear(well) -> None:
    worn = samples(rail=1.0)
    wanted = [signal(made, "EEC9", "EngCommandedFuelRailPressure") for made in (well, worn)]
    assert (wanted[0] == wanted[1]).all()


def test_an_uneven_cylinder_is_felt_at_idle(well) -> None:
    def idle_spread(made):
        rpm = signal(made, "EEC1", "EngSpeed")
        return np.abs(rpm[rpm < 700] - 600).mean()

    assert idle_spread(samples(injector=1.0)) > 2 * idle_spread(well)


def test_stuck_vanes_scatter_the_boost(well) -> None:
    def scatter(made):
        boost, load = (
            signal(made, "IC1", "EngIntakeManifold1Pressure"),
            signal(made, "EEC2", "EngPercentLoadAtCurrentSpeed"),
        )
        n = min(len(boost), len(load))
        at_load = (load[:n] > 40) & (load[:n] < 60)
        return boost[:n][at_load].std()

    assert scatter(samples(vanes=1.0)) > scatter(samples(rotor=1.0)) + 1


def test_the_catalyst_works_when_hot_and_its_sensors_when_dry(well) -> None:
    inlet, outlet = (next(each for each in well if each.message == name) for name in ("AT1IG1", "AT1OG1"))
    into, out = inlet.values["Aftertreatment1IntakeNOx"], outlet.values["Aftertreatment1OutletNOx"]
    assert np.isnan(into).any()
    assert 300 < np.nanmedian(into) < 900
    gas = next(each for each in well if each.message == "AT1OG2")
    outside = np.arange(len(out))
    near = np.abs(gas.time_s[None, :] - outlet.time_s[:, None]).argmin(axis=1)
    is_beside = (np.abs(gas.time_s[near] - outlet.time_s) < 60) & np.isfinite(out) & (outside < len(into))
    hot = gas.values["Aft1DPFOutletTemp"][near]
    passed = out / into[: len(out)]
    assert np.median(passed[is_beside & (hot > 245)]) < 0.10
    assert np.median(passed[is_beside & (hot < 200)]) > 0.3


def test_regeneration_empties_the_filter_and_heats_the_exhaust(well) -> None:
    control, outlet = (next(each for each in well if each.message == name) for name in ("DPFC1", "AT1OG2"))
    burning = control.values["Aft1DPFActiveRegenStatus"] == 1
    assert 0.005 < burning.mean() < 0.10
    near = np.abs(outlet.time_s[:, None] - control.time_s[burning][None, :]).min(axis=1) < 60
    hot = outlet.values["Aft1DPFOutletTemp"]
    assert hot[near].mean() > hot[~near].mean() + 100


def test_a_weak_alternator_ripples(well) -> None:
    assert (
        signal(samples(alternator=1.0), "VEP1", "ChargingSystemPotential").std()
        > 2 * signal(well, "VEP1", "ChargingSystemPotential").std()
    )


def test_a_cold_start_is_colder_than_the_engine_runs(well) -> None:
    et1 = next(each for each in well if each.message == "ET1")
    first_of_day = et1.values["EngCoolantTemp"][:1]
    assert first_of_day < 45


def test_a_driver_is_seen_in_speed_braking_and_load_and_not_in_the_weather(well) -> None:
    hard = samples(at_wheel([Style(1.0, 1.5, 1.5, 0.0)] * CONFIG.n_days))
    for message, name, sign in (("CCVS1", "BrakeSwitch", 1), ("EEC1", "ActualEngPercentTorque", 1)):
        assert sign * (signal(hard, message, name).mean() - signal(well, message, name).mean()) > 0
    assert (signal(hard, "AMB", "BarometricPressure") == signal(well, "AMB", "BarometricPressure")).all()


def test_a_driver_who_idles_stands_more(well) -> None:
    idler = samples(at_wheel([Style(idling=2.0)] * CONFIG.n_days))
    assert (signal(idler, "EEC1", "EngSpeed") < 700).mean() > 1.3 * (signal(well, "EEC1", "EngSpeed") < 700).mean()


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


def test_a_stuck_sensor_says_one_value_on_both_schedules_of_its_message(well) -> None:
    fault = SensorFault("VEP1", "ChargingSystemPotential", "stuck", 7, 14, 1.2, None)
    spoilt = [each for each in apply_sensor_faults(well, [fault], np.random.default_rng(1)) if each.message == "VEP1"]
    said = [each.values[fault.signal][fault.covers(each.time_s)] for each in spoilt]
    assert [len(values) > 0 for values in said] == [True, True]
    assert len(set(np.concatenate(said).tolist())) == 1


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
