"""What the controllers send: physical values of every signal at every sending time.

What belongs here: sending times (the logger's configuration: each message every few minutes while
driving, denser in the first minutes) and the signals as functions of the drive and of the symptoms.
NaN means not available, +inf the error indicator; `pm.simulate.encode` makes bytes of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pm.simulate.components import BODY, BRAKES, ENGINE
from pm.simulate.drive import Drive
from pm.simulate.fleet import Vehicle
from pm.simulate.operation import Sessions

Floats = NDArray[np.float64]

SETTLED_S: Final = 260.0
"""Regular sampling starts so long after the engine; before that only the start-up window."""
START_ELECTRIC_S: Final = (0.1, 1.1, 2.1, 3.4, 20.0, 60.0, 120.0)
"""Before cranking, twice while cranking, just running, then settling."""
START_AIR_S: Final = tuple(10.0 + 15.0 * step for step in range(16))
SECOND_ODOMETER_KM: Final = 0.17
"""Relative difference of the engine's odometer from the body's, as in trucks whose engine was changed."""


@dataclass(frozen=True)
class Samples:
    """One message's sending times and values; every array has one entry a frame."""

    message: str
    source_address: int
    time_s: Floats
    values: dict[str, Floats]


@dataclass(frozen=True)
class _Moments:
    """Sending times with where they fall in the drive."""

    session: NDArray[np.int64]
    after_s: Floats
    point: NDArray[np.int64]
    day: NDArray[np.int64]
    time_s: Floats


class Truck:
    """Everything the signal functions read."""

    def __init__(self, vehicle: Vehicle, sessions: Sessions, drive: Drive, symptoms: dict[str, Floats],
                 rng: np.random.Generator) -> None:  # fmt: skip
        self.vehicle, self.sessions, self.drive, self.symptoms, self.rng = vehicle, sessions, drive, symptoms, rng

    def regular(self, period_s: float, offset_s: float = SETTLED_S) -> _Moments:
        """Moments every `period_s` (with a little jitter) from `offset_s` into each session on."""
        n = np.maximum(np.ceil((self.sessions.duration_s - offset_s) / period_s), 0).astype(np.int64)
        session = np.repeat(np.arange(len(n)), n)
        step = np.arange(len(session)) - np.repeat(np.cumsum(n) - n, n)
        return self._moments(session, offset_s + period_s * step + self.rng.uniform(0, 2.0, len(session)))

    def start_up(self, after_s: tuple[float, ...]) -> _Moments:
        """The same moments after every engine start, as far as the session lasts."""
        session = np.repeat(np.arange(len(self.sessions.day)), len(after_s))
        after = np.tile(after_s, len(self.sessions.day)) + self.rng.uniform(0, 0.09, len(session))
        lasts = after < self.sessions.duration_s[session]
        return self._moments(session[lasts], after[lasts])

    def _moments(self, session: NDArray[np.int64], after_s: Floats) -> _Moments:
        time_s = self.sessions.start_s[session] + after_s
        return _Moments(session, after_s, self.drive.at(session, after_s), self.sessions.day[session], time_s)

    def symptom(self, mode: str, at: _Moments) -> Floats:
        return self.symptoms[mode][at.day]

    def noise(self, at: _Moments, spread: float | Floats) -> Floats:
        return np.asarray(spread * self.rng.standard_normal(len(at.session)))


def sample(truck: Truck) -> list[Samples]:
    """All messages of one truck, in a fixed order."""
    made: list[Samples] = []
    for message, source, period_s, offset_s, values in _REGULAR:
        at = truck.regular(period_s, offset_s)
        made.append(Samples(message, source, at.time_s, values(truck, at)))
    for message, source, after_s, values in _START_UP:
        at = truck.start_up(after_s)
        made.append(Samples(message, source, at.time_s, values(truck, at)))
    return made


def _engine(truck: Truck, at: _Moments) -> dict[str, Floats]:
    load = truck.drive.load[at.point]
    return {
        "EngSpeed": truck.drive.engine_rpm[at.point] + truck.noise(at, 9.0),
        "ActualEngPercentTorque": 100.0 * load + truck.noise(at, 1.5),
        "DriversDemandEngPercentTorque": 100.0 * load + truck.noise(at, 3.0),
        "EngStarterMode": np.full(len(load), 3.0),
    }


def _cranking(truck: Truck, at: _Moments) -> dict[str, Floats]:
    weak = truck.symptom("battery", at) + 0.3 * truck.symptom("alternator", at)
    cranks = at.after_s < 3.0
    rpm = np.where(cranks, 190.0 - 38.0 * weak + truck.noise(at, 9.0), 690.0 + truck.noise(at, 12.0))
    return {"EngSpeed": np.maximum(rpm, 60.0), "EngStarterMode": np.where(cranks, 2.0, 3.0)}


def _speed(truck: Truck, at: _Moments) -> dict[str, Floats]:
    speed = truck.drive.speed_kmh[at.point]
    moving = speed > 0.5
    cruising = moving & (speed > 70.0)
    return {
        "WheelBasedVehicleSpeed": np.where(moving, np.maximum(speed + truck.noise(at, 0.3), 0.0), 0.0),
        "ParkingBrakeSwitch": np.where(moving, 0.0, 1.0 * (truck.rng.random(len(speed)) < 0.5)),
        "CruiseCtrlActive": 1.0 * (cruising & (truck.rng.random(len(speed)) < 0.7)),
        "BrakeSwitch": 1.0 * (truck.rng.random(len(speed)) < 0.08),
        "ClutchSwitch": np.zeros(len(speed)),
    }


def _temperatures(truck: Truck, at: _Moments) -> dict[str, Floats]:
    coolant = truck.drive.coolant_c[at.point]
    oil = coolant + (7.0 + 9.0 * truck.drive.thermal_load[at.point]) * (1.0 - np.exp(-at.after_s / 1500.0))
    has_fuel = np.nan if truck.vehicle.model.name.startswith("Vesper") else 1.0
    return {
        "EngCoolantTemp": coolant + truck.noise(at, 0.7),
        "EngOilTemp1": oil + truck.noise(at, 0.5),
        "EngFuelTemp1": has_fuel * (truck.drive.outside_c[at.point] + 18.0 + truck.noise(at, 1.5)),
        "EngIntercoolerTemp": truck.drive.outside_c[at.point] + 16.0 + truck.noise(at, 1.5),
    }


def _fluids(truck: Truck, at: _Moments) -> dict[str, Floats]:
    leak = truck.symptoms["leak"]
    # The driver tops up when the lamp comes on, so the level is a saw-tooth and not a straight fall.
    lost = (np.cumsum(0.18 * leak) % 1.0)[at.day] * np.minimum(1.0, 4.0 * leak[at.day])
    coolant = truck.drive.coolant_c[at.point]
    expanded = np.clip((coolant - 20.0) / 70.0, 0.0, 1.3)
    pressure = 12.0 + 78.0 * expanded - 42.0 * leak[at.day] + 12.0 * truck.symptom("flow", at)
    oil_pressure = 130.0 + 0.22 * truck.drive.engine_rpm[at.point] - 0.6 * (coolant - 85.0)
    level = 88.0 - 38.0 * lost + 4.0 * expanded + truck.noise(at, 3.0)
    # Float sensors swing in curves; the controller sends "not available" until the level has settled.
    level[truck.rng.random(len(level)) < 0.03] = np.nan
    return {
        "EngCoolantLevel": np.clip(level, 0.0, 100.0),
        "EngCoolantPressure": np.maximum(pressure + truck.noise(at, 5.0), 0.0),
        "EngOilPressure": oil_pressure + truck.noise(at, 12.0),
        "EngOilLevel": np.clip(78.0 + truck.noise(at, 6.0), 0.0, 100.0),
        "EngFuelDeliveryPressure": 480.0 + truck.noise(at, 20.0),
        "EngCrankcasePressure": 0.6 + truck.noise(at, 0.3),
    }


def _intake(truck: Truck, at: _Moments) -> dict[str, Floats]:
    load, outside = truck.drive.load[at.point], truck.drive.outside_c[at.point]
    return {
        "EngIntakeManifold1Pressure": np.maximum(12.0 + 210.0 * load + truck.noise(at, 6.0), 0.0),
        "EngIntakeManifold1Temp": outside + 14.0 + 18.0 * load + truck.noise(at, 1.0),
        "EngIntakeAirPressure": 100.0 + truck.noise(at, 1.0),
        "EngAirFilter1DifferentialPressure": np.maximum(1.0 + 2.2 * load + truck.noise(at, 0.1), 0.0),
        "EngExhaustTemp": 160.0 + 290.0 * truck.drive.thermal_load[at.point] + truck.noise(at, 12.0),
    }


def _outside(truck: Truck, at: _Moments) -> dict[str, Floats]:
    outside = truck.drive.outside_c[at.point]
    return {
        "AmbientAirTemp": outside + truck.noise(at, 0.4),
        "BarometricPressure": 99.0 + truck.noise(at, 0.6),
        "CabInteriorTemp": 21.0 + 0.1 * (outside - 15.0) + truck.noise(at, 0.8),
        "EngIntakeAirTemp": outside + 5.0 + truck.noise(at, 0.8),
    }


def _electric(truck: Truck, at: _Moments) -> dict[str, Floats]:
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


def _electric_start(truck: Truck, at: _Moments) -> dict[str, Floats]:
    alternator, battery = truck.symptom("alternator", at), truck.symptom("battery", at)
    outside = truck.drive.outside_c[at.point]
    running = _electric(truck, at)
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


def _air(truck: Truck, at: _Moments) -> dict[str, Floats]:
    compressor, dryer = truck.symptom("compressor", at), truck.symptom("dryer", at)
    cut_out = truck.vehicle.model.cut_out_kpa - 38.0 * compressor - 75.0 * dryer
    pumping_share = truck.vehicle.duty.air_use / truck.vehicle.pump_up + 0.32 * compressor + 0.22 * dryer
    pumps = truck.rng.random(len(at.session)) < np.clip(pumping_share, 0.0, 0.95)
    # Between cut-in and cut-out the pressure is anywhere.
    pressure = cut_out - (130.0 + 40.0 * compressor) * truck.rng.random(len(at.session))
    return _circuits(truck, at, pressure, pumps)


def _air_start(truck: Truck, at: _Moments) -> dict[str, Floats]:
    compressor, dryer = truck.symptom("compressor", at), truck.symptom("dryer", at)
    cut_out = truck.vehicle.model.cut_out_kpa - 38.0 * compressor - 75.0 * dryer
    leak_h = 40.0 / (1.0 + 1.8 * dryer)
    remaining = cut_out * np.exp(-np.minimum(truck.drive.gap_h[at.session], 62.0) / leak_h)
    rate = truck.vehicle.model.pump_up_kpa_s * truck.vehicle.pump_up * (1.0 - 0.42 * np.minimum(compressor, 1.6))
    pressure = np.minimum(remaining + rate * np.maximum(at.after_s - 4.0, 0.0), cut_out)
    return _circuits(truck, at, pressure, pressure < cut_out)


def _circuits(truck: Truck, at: _Moments, supply_kpa: Floats, pumps: NDArray[np.bool_]) -> dict[str, Floats]:
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


def _fuel(truck: Truck, at: _Moments) -> dict[str, Floats]:
    load, speed = truck.drive.load[at.point], truck.drive.speed_kmh[at.point]
    rate = np.maximum(2.0 + 0.55 * truck.vehicle.model.litres_100km * load * (0.5 + speed / 80.0), 0.5)
    return {
        "EngFuelRate": rate + truck.noise(at, 0.2),
        "EngInstantaneousFuelEconomy": speed / rate,
        "EngAverageFuelEconomy": np.full(len(rate), 100.0 / truck.vehicle.model.litres_100km),
        "EngThrottleValve1Pos1": np.clip(100.0 * load, 0.0, 100.0),
    }


def _hours(truck: Truck, at: _Moments) -> dict[str, Floats]:
    hours = truck.drive.engine_h[at.point] + (at.after_s % 60) / 3600.0
    return {"EngTotalHoursOfOperation": hours, "EngTotalRevolutions": hours * 60.0 * 1150.0}


def _odometer_km(truck: Truck, at: _Moments) -> Floats:
    return np.asarray(truck.drive.odometer_km[at.point])


def _body_odometer(truck: Truck, at: _Moments) -> dict[str, Floats]:
    odometer = _odometer_km(truck, at)
    return {"HighResTotalVehicleDistance": odometer, "HighResTripDistance": odometer % 1000.0}


def _engine_odometer(truck: Truck, at: _Moments) -> dict[str, Floats]:
    return {"HighResTotalVehicleDistance": _odometer_km(truck, at) - SECOND_ODOMETER_KM * truck.vehicle.odometer_km}


def _coarse_odometer(truck: Truck, at: _Moments) -> dict[str, Floats]:
    return {"TotalVehicleDistance": _odometer_km(truck, at)}


_Values = Callable[[Truck, _Moments], dict[str, Floats]]
_REGULAR: Final[tuple[tuple[str, int, float, float, _Values], ...]] = (
    ("EEC1", ENGINE, 300.0, SETTLED_S, _engine),
    ("CCVS1", ENGINE, 300.0, SETTLED_S + 3, _speed),
    ("ET1", ENGINE, 240.0, 60.0, _temperatures),
    ("EFL_P1", ENGINE, 300.0, SETTLED_S + 6, _fluids),
    ("IC1", ENGINE, 600.0, SETTLED_S + 9, _intake),
    ("AMB", ENGINE, 600.0, SETTLED_S + 12, _outside),
    ("VEP1", ENGINE, 240.0, SETTLED_S + 15, _electric),
    ("AIR1", BRAKES, 240.0, SETTLED_S + 18, _air),
    ("LFE1", ENGINE, 600.0, SETTLED_S + 21, _fuel),
    ("HOURS", ENGINE, 1200.0, SETTLED_S + 24, _hours),
    ("VDHR", BODY, 1800.0, SETTLED_S + 27, _body_odometer),
    ("VDHR", ENGINE, 3600.0, SETTLED_S + 30, _engine_odometer),
    ("VD", BODY, 3600.0, SETTLED_S + 33, _coarse_odometer),
)
"""Message, source address, period, first sending time in a session, values."""

_START_UP: Final[tuple[tuple[str, int, tuple[float, ...], _Values], ...]] = (
    ("VEP1", ENGINE, START_ELECTRIC_S, _electric_start),
    ("EEC1", ENGINE, (1.3, 2.3, 4.0), _cranking),
    ("AIR1", BRAKES, START_AIR_S, _air_start),
)
