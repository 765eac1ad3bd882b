"""Signals behind the engine: particulate filter, SCR catalyst, NOx sensors, reagent.

What belongs here: values at given moments, from the drive, the soot and the symptoms of the
aftertreatment. Soot itself is `pm.simulate.soot`.
"""

import numpy as np

from pm.simulate.moments import Floats, Moments, Truck
from pm.simulate.signals_engine import boost_kpa
from pm.simulate.soot import THRESHOLD_PCT

DEW_POINT_S = 480.0
"""NOx sensors are switched on when the exhaust is dry, some minutes after the start."""


def _outlet_c(truck: Truck, at: Moments) -> Floats:
    """Gas temperature behind the filter: the brick takes minutes to follow, a regeneration burns at 580."""
    warm = 1.0 - np.exp(-at.after_s / 500.0)
    driven = 150.0 + 270.0 * truck.drive.thermal_load[at.point] * truck.levels.exhaust
    driven = np.where(truck.soot.is_active[at.point], 580.0, driven)
    outside = truck.drive.outside_c[at.point]
    return np.asarray(outside + (driven - outside) * warm)


def _is_scr_hot(truck: Truck, at: Moments) -> Floats:
    """Share of its work that the catalyst's temperature allows: none below 170 degC, all above 240."""
    return np.asarray(np.clip((_outlet_c(truck, at) - 170.0) / 70.0, 0.0, 1.0))


def filter_intake(truck: Truck, at: Moments) -> dict[str, Floats]:
    hot = _outlet_c(truck, at)
    engine_out = np.where(truck.soot.is_active[at.point], 340.0, hot + 25.0 * truck.drive.load[at.point])
    return {
        "Aft1ExhaustTemp1": engine_out + truck.noise(at, 6.0),
        "Aft1DPFIntakeTemp": hot + 12.0 + truck.noise(at, 6.0),
    }


def filter_outlet(truck: Truck, at: Moments) -> dict[str, Floats]:
    hot = _outlet_c(truck, at)
    return {
        "Aft1ExhaustTemp3": hot - 18.0 + truck.noise(at, 5.0),
        "Aft1DPFOutletTemp": hot + truck.noise(at, 5.0),
    }


def filter_pressure(truck: Truck, at: Moments) -> dict[str, Floats]:
    """Laminar through the walls (soot), turbulent through channels that ash has narrowed."""
    flow = truck.drive.engine_rpm[at.point] / 1200.0 * (1.0 + boost_kpa(truck, at) / 100.0) / 2.0
    loaded = 1.4 + 1.9 * truck.soot.load_pct[at.point] / 100.0
    narrowed = 1.1 + 2.6 * truck.symptom("filter", at)
    drop = truck.levels.back_pressure * (loaded * flow + narrowed * flow**2)
    return {"Aft1DPFDifferentialPressure": np.maximum(drop + truck.noise(at, 0.25), 0.0)}


def filter_service(truck: Truck, at: Moments) -> dict[str, Floats]:
    load = truck.soot.load_pct[at.point]
    return {
        # The controller estimates soot from pressure and time; it is never exact.
        "Aft1DPFSootLoadPercent": np.clip(load + truck.noise(at, 4.0), 0.0, 250.0),
        "Aft1DPFTimeSinceLastActiveRegen": truck.soot.since_s[at.point],
        "Aft1DPFSootLoadRegenThreshold": np.full(len(load), THRESHOLD_PCT),
    }


def filter_control(truck: Truck, at: Moments) -> dict[str, Floats]:
    burns = 1.0 * truck.soot.is_active[at.point]
    hot = _outlet_c(truck, at)
    return {
        "Aft1DPFActiveRegenStatus": burns,
        "Aft1DPFPassiveRegenStatus": 1.0 * ((hot > 320.0) & (burns == 0.0)),
        "DPFLampCommand": 1.0 * (truck.soot.load_pct[at.point] > 97.0),
    }


def nox_in(truck: Truck, at: Moments) -> dict[str, Floats]:
    ppm = (230.0 + 640.0 * truck.drive.load[at.point]) * truck.levels.nox
    ppm = ppm * (1.0 - 0.05 * truck.symptom("injector", at)) + truck.noise(at, 35.0)
    return {"Aftertreatment1IntakeNOx": np.where(at.after_s < DEW_POINT_S, np.nan, np.maximum(ppm, 0.0))}


def nox_out(truck: Truck, at: Moments) -> dict[str, Floats]:
    ppm = (230.0 + 640.0 * truck.drive.load[at.point]) * truck.levels.nox
    worn = np.minimum(0.115 * truck.symptom("scr", at), 0.6)
    passed = ppm * (1.0 - 0.955 * _is_scr_hot(truck, at) * (1.0 - worn)) + truck.noise(at, 9.0)
    return {"Aftertreatment1OutletNOx": np.where(at.after_s < DEW_POINT_S, np.nan, np.maximum(passed, 0.0))}


def dosing(truck: Truck, at: Moments) -> dict[str, Floats]:
    """Reagent at about a twentieth of the fuel; deposits in the doser hold some of it back."""
    scr, load = truck.symptom("scr", at), truck.drive.load[at.point]
    fuel_l_h = 2.0 + 0.55 * truck.vehicle.model.litres_100km * load * (0.5 + truck.drive.speed_kmh[at.point] / 80.0)
    dosed = 840.0 * 0.052 * fuel_l_h * truck.levels.nox * _is_scr_hot(truck, at) * (1.0 - 0.13 * scr)
    return {
        "Aft1DEFActualDosingQuantity": np.maximum(dosed * (1.0 + truck.noise(at, 0.04)), 0.0),
        "Aft1DEFDoserAbsPressure": np.maximum(900.0 + 26.0 * scr + truck.noise(at, 14.0 + 22.0 * scr), 0.0),
    }


def reagent_tank(truck: Truck, at: Moments) -> dict[str, Floats]:
    used_l = truck.drive.odometer_km[at.point] * truck.vehicle.model.litres_100km / 100.0 * 0.05
    return {
        # Filled up at the depot when a fifth is left of 60 l.
        "Aft1DEFTankVolume1": 98.0 - 78.0 * (used_l % 47.0) / 47.0 + truck.noise(at, 1.0),
        "Aft1DEFTankTemp1": truck.drive.outside_c[at.point] + 6.0 + truck.noise(at, 1.0),
    }
