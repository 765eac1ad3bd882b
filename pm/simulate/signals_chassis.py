"""Signals of the chassis: speed, outside air, electrics, compressed air, odometers.

What belongs here: values at given moments, from the drive and from the symptoms of the charging and
the air system. When they are sent is `pm.simulate.signals`.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pm.simulate.moments import Floats, Moments, Truck

SECOND_ODOMETER_KM: Final = 0.17
"""Relative difference of the engine's odometer from the body's, as in trucks whose engine was changed."""


def speed(truck: Truck, at: Moments) -> dict[str, Floats]:
    speed = truck.drive.speed_kmh[at.point]
    moving = speed > 0.5
    cruising = moving & (speed > 70.0)
    return {
        "WheelBasedVehicleSpeed": np.where(moving, np.maximum(speed + truck.noise(at, 0.3), 0.0), 0.0),
        "ParkingBrakeSwitch": np.where(moving, 0.0, 1.0 * (truck.rng.random(len(speed)) < 0.5)),
        "CruiseCtrlActive": 1.0 * (cruising & (truck.rng.random(len(speed)) < 0.7)),
        "BrakeSwitch": 1.0 * (truck.rng.random(len(speed)) < 0.08 * truck.drive.braking[at.point]),
        "ClutchSwitch": np.zeros(len(speed)),
    }


def outside(truck: Truck, at: Moments) -> dict[str, Floats]:
    outside = truck.drive.outside_c[at.point]
    return {
        "AmbientAirTemp": outside + truck.noise(at, 0.4),
        "BarometricPressure": 99.0 + truck.noise(at, 0.6),
        "CabInteriorTemp": 21.0 + 0.1 * (outside - 15.0) + truck.noise(at, 0.8),
        "EngIntakeAirTemp": outside + 5.0 + truck.noise(at, 0.8),
    }


def electric(truck: Truck, at: Moments) -> dict[str, Floats]:
    alternator, battery = truck.symptom("alternator", at), truck.symptom("battery", at)
    consumers = truck.drive.electric_load[at.point]
    # Regulators charge colder batteries with more: about -10 mV/degC on a 24 V system.
    set_point_v = truck.vehicle.model.charging_v + truck.vehicle.charging_v
    regulated = set_point_v - 0.010 * (truck.drive.outside_c[at.point] - 20.0)
    charging = regulated - alternator * (0.25 + 1.5 * consumers) - 0.18 * battery
    charging = charging + truck.noise(at, 0.05 + 0.40 * alternator)
    recharge_a = (14.0 + 16.0 * battery) * np.exp(-at.after_s / 900.0) + 7.0 * battery
    return {
        "ChargingSystemPotential": charging,
        "BatteryPotential_PowerInput1": charging - 0.12 + truck.noise(at, 0.04),
        "KeyswitchBatteryPotential": charging - 0.30 + truck.noise(at, 0.05),
        "AlternatorCurrent": 14.0 + 62.0 * consumers + recharge_a + 9.0 * alternator + truck.noise(at, 4.0),
        "NetBatteryCurrent": recharge_a - 10.0 * alternator * consumers + truck.noise(at, 2.0),
    }


def electric_start(truck: Truck, at: Moments) -> dict[str, Floats]:
    alternator, battery = truck.symptom("alternator", at), truck.symptom("battery", at)
    outside = truck.drive.outside_c[at.point]
    running = electric(truck, at)
    resting_v = 25.3 - 0.7 * battery - 0.5 * alternator + truck.noise(at, 0.12)
    cold = 0.05 * np.maximum(15.0 - outside, 0.0)
    dip_v = 20.9 - cold - 3.2 * battery - 1.0 * alternator + truck.noise(at, 0.35) + 0.5 * (at.after_s > 2.0)
    before, cranking = at.after_s < 1.0, (at.after_s >= 1.0) & (at.after_s < 3.0)
    volts = np.where(before, resting_v, np.where(cranking, dip_v, running["ChargingSystemPotential"] - 0.3))
    stands = at.after_s < 3.0
    return {
        "ChargingSystemPotential": volts,
        "BatteryPotential_PowerInput1": volts - 0.05,
        "KeyswitchBatteryPotential": volts - 0.25,
        "AlternatorCurrent": np.where(stands, 0.0, running["AlternatorCurrent"]),
        "NetBatteryCurrent": np.where(cranking, -125.0, np.where(before, -8.0, running["NetBatteryCurrent"])),
    }


def air(truck: Truck, at: Moments) -> dict[str, Floats]:
    compressor, dryer = truck.symptom("compressor", at), truck.symptom("dryer", at)
    cut_out = truck.vehicle.model.cut_out_kpa - 38.0 * compressor - 75.0 * dryer
    braked = 0.5 + 0.5 * truck.drive.braking[at.point]
    pumping_share = truck.vehicle.duty.air_use * braked / truck.vehicle.pump_up + 0.32 * compressor + 0.22 * dryer
    pumps = truck.rng.random(len(at.session)) < np.clip(pumping_share, 0.0, 0.95)
    # Between cut-in and cut-out the pressure is anywhere.
    pressure = cut_out - (130.0 + 40.0 * compressor) * truck.rng.random(len(at.session))
    return _circuits(truck, at, pressure, pumps)


def air_start(truck: Truck, at: Moments) -> dict[str, Floats]:
    compressor, dryer = truck.symptom("compressor", at), truck.symptom("dryer", at)
    cut_out = truck.vehicle.model.cut_out_kpa - 38.0 * compressor - 75.0 * dryer
    leak_h = 40.0 / (1.0 + 1.8 * dryer)
    remaining = cut_out * np.exp(-np.minimum(truck.drive.gap_h[at.session], 62.0) / leak_h)
    rate = truck.vehicle.model.pump_up_kpa_s * truck.vehicle.pump_up * (1.0 - 0.42 * np.minimum(compressor, 1.6))
    pressure = np.minimum(remaining + rate * np.maximum(at.after_s - 4.0, 0.0), cut_out)
    return _circuits(truck, at, pressure, pressure < cut_out)


def _circuits(truck: Truck, at: Moments, supply_kpa: Floats, pumps: NDArray[np.bool_]) -> dict[str, Floats]:
    supply = np.maximum(supply_kpa + truck.noise(at, 6.0), 0.0)
    protected = np.maximum(np.minimum(supply - 12.0, 850.0), 0.0)
    lost = 42.0 * truck.symptom("dryer", at) * truck.rng.random(len(supply))
    return {
        "PneumaticSupplyPressure": supply,
        "ParkingTrailerAirPressure": np.maximum(protected - 25.0 + truck.noise(at, 6.0), 0.0),
        "ServiceBrakeCircuit1AirPressure": np.maximum(protected + truck.noise(at, 5.0), 0.0),
        "ServiceBrakeCircuit2AirPressure": np.maximum(protected - lost + truck.noise(at, 5.0), 0.0),
        "AuxEquipmentSupplyPressure": np.maximum(protected - 10.0 + truck.noise(at, 5.0), 0.0),
        "AirCompressorStatus": 1.0 * pumps,
    }


def _odometer_km(truck: Truck, at: Moments) -> Floats:
    return np.asarray(truck.drive.odometer_km[at.point])


def body_odometer(truck: Truck, at: Moments) -> dict[str, Floats]:
    odometer = _odometer_km(truck, at)
    return {"HighResTotalVehicleDistance": odometer, "HighResTripDistance": odometer % 1000.0}


def engine_odometer(truck: Truck, at: Moments) -> dict[str, Floats]:
    return {"HighResTotalVehicleDistance": _odometer_km(truck, at) - SECOND_ODOMETER_KM * truck.vehicle.odometer_km}


def coarse_odometer(truck: Truck, at: Moments) -> dict[str, Floats]:
    return {"TotalVehicleDistance": _odometer_km(truck, at)}
