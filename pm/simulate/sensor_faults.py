"""Sensors that fail while the part they watch is well.

What belongs here: periods in which a signal is stuck, erratic, in error or not available. They are
what a model must not take for a failing component.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from pm.simulate.components import BRAKES, ENGINE, EXHAUST, Code
from pm.simulate.fleet import DAY_S, FleetConfig
from pm.simulate.signals import Samples

Kind = Literal["stuck", "erratic", "error", "not_available"]
KINDS: Final[tuple[Kind, ...]] = ("stuck", "erratic", "error", "not_available")
_FMI: Final[dict[Kind, int | None]] = {"stuck": None, "erratic": 2, "error": 3, "not_available": 9}
_SENSORS: Final = (
    ("ET1", "EngCoolantTemp", ENGINE, 110, 9.0),
    ("EFL_P1", "EngCoolantLevel", ENGINE, 111, 20.0),
    ("EFL_P1", "EngCoolantPressure", ENGINE, 109, 30.0),
    ("AIR1", "PneumaticSupplyPressure", BRAKES, 46, 120.0),
    ("AIR1", "ServiceBrakeCircuit2AirPressure", BRAKES, 1088, 100.0),
    ("VEP1", "ChargingSystemPotential", ENGINE, 167, 1.2),
    ("AMB", "AmbientAirTemp", ENGINE, 171, 12.0),
    ("IC1", "EngIntakeManifold1Pressure", ENGINE, 102, 40.0),
    ("IC1", "EngExhaustTemp", ENGINE, 173, 60.0),
    ("TC", "EngTurbo1Speed", ENGINE, 103, 9000.0),
    ("EFL_P2", "EngInjMeteringRail1Pressure", ENGINE, 157, 15.0),
    ("AT1IMG", "Aft1DPFDifferentialPressure", EXHAUST, 3251, 4.0),
    ("AT1OG2", "Aft1DPFOutletTemp", EXHAUST, 3246, 60.0),
    ("AT1OG1", "Aftertreatment1OutletNOx", EXHAUST, 3226, 120.0),
    ("A1SCRDSI1", "Aft1DEFActualDosingQuantity", EXHAUST, 4331, 300.0),
)
"""Message, signal, controller that notices, SPN, spread of an erratic sensor."""
_RATE_A_DAY: Final = 0.0052


@dataclass(frozen=True)
class SensorFault:
    """One sensor's bad time, in days from the fleet's start (`until_day` not included)."""

    message: str
    signal: str
    kind: Kind
    from_day: int
    until_day: int
    spread: float
    code: Code | None
    """The code its controller sets, if it notices."""

    def covers(self, time_s: np.ndarray) -> np.ndarray:
        return (time_s >= self.from_day * DAY_S) & (time_s < self.until_day * DAY_S)


def draw_sensor_faults(config: FleetConfig, rng: np.random.Generator) -> list[SensorFault]:
    """Sensor faults of one truck: about one a truck in half a year, for 4 to 35 days."""
    faults = []
    for day in np.flatnonzero(rng.random(config.n_days) < _RATE_A_DAY):
        message, signal, source, spn, spread = _SENSORS[int(rng.integers(len(_SENSORS)))]
        kind = KINDS[int(rng.choice(len(KINDS), p=(0.3, 0.35, 0.2, 0.15)))]
        fmi, noticed = _FMI[kind], rng.random() < 0.7
        code = Code(source, spn, fmi) if fmi is not None and noticed else None
        until = min(int(day + rng.integers(4, 36)), config.n_days)
        faults.append(SensorFault(message, signal, kind, int(day), until, spread, code))
    return faults


def apply_sensor_faults(samples: list[Samples], faults: list[SensorFault], rng: np.random.Generator) -> list[Samples]:
    """The same samples with the faulty sensors' values in place of the true ones.

    A message can be sent on two schedules (regular and while starting); a stuck sensor is stuck at one value in both.
    """
    stuck_at = [_first_value(samples, fault) for fault in faults]
    return [_apply(each, faults, stuck_at, rng) for each in samples]


def _first_value(samples: list[Samples], fault: SensorFault) -> float:
    """What the sensor says first in its bad time, on the first schedule that has it; NaN: it says nothing.

    The regular schedule comes first: a fault begins at midnight, and not every sensor sticks while the engine cranks.
    """
    for each in samples:
        if each.message == fault.message and fault.signal in each.values:
            bad = np.flatnonzero(fault.covers(each.time_s))
            if len(bad):
                return float(each.values[fault.signal][bad[0]])
    return np.nan


def _apply(samples: Samples, faults: list[SensorFault], stuck_at: list[float], rng: np.random.Generator) -> Samples:
    values = dict(samples.values)
    for fault, stuck in zip(faults, stuck_at, strict=True):
        if fault.message == samples.message and fault.signal in values:
            values[fault.signal] = _spoil(values[fault.signal], fault, stuck, samples.time_s, rng)
    return replace(samples, values=values)


def _spoil(
    value: np.ndarray, fault: SensorFault, stuck: float, time_s: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    bad = np.flatnonzero(fault.covers(time_s))
    spoilt = value.copy()
    if len(bad) == 0:
        return spoilt
    if fault.kind == "stuck":
        spoilt[bad] = stuck
    elif fault.kind == "erratic":
        spoilt[bad] += fault.spread * rng.standard_normal(len(bad)) * (rng.random(len(bad)) < 0.5)
    else:
        spoilt[bad] = np.inf if fault.kind == "error" else np.nan
    return spoilt
