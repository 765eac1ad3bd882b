"""What a mechanic would look at, measured on the samples of one simulated truck.

What belongs here: one function an observable, from a truck's samples to times and values; used by
`plot_simulation.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pm.simulate.moments import Samples

Floats = NDArray[np.float64]
Measured = tuple[Floats, Floats]
"""Times in seconds from the fleet's start, and values."""


@dataclass(frozen=True)
class Observable:
    """What a mechanic would look at for one failure mode."""

    mode: str
    name: str
    unit: str
    measure: Callable[["Signals"], Measured]


class Signals:
    """The samples of one truck, by message and signal; NaN and errors left out."""

    def __init__(self, samples: Sequence[Samples]) -> None:
        self.samples = samples

    def of(self, message: str, signal: str, *, at: int = 0) -> Measured:
        """The `at`-th series of a signal: 0 is the regular one, -1 the start-up's where there is one."""
        found = [each for each in self.samples if each.message == message and signal in each.values][at]
        valid = np.isfinite(found.values[signal])
        return found.time_s[valid], found.values[signal][valid]

    def beside(self, measured: Measured, message: str, signal: str) -> Floats:
        """The value of another signal nearest to each time; NaN where there is none within a minute."""
        time_s, values = self.of(message, signal)
        if len(time_s) == 0:
            return np.full(len(measured[0]), np.nan)
        right = np.clip(np.searchsorted(time_s, measured[0]), 1, max(len(time_s) - 1, 1))
        right = np.minimum(right, len(time_s) - 1)
        left = np.maximum(right - 1, 0)
        near = np.where(np.abs(time_s[right] - measured[0]) < np.abs(time_s[left] - measured[0]), right, left)
        return np.where(np.abs(time_s[near] - measured[0]) < 60.0, values[near], np.nan)

    def at_load(self, message: str, signal: str, low: float = 50.0, high: float = 101.0) -> Measured:
        """A signal where the engine's load is in between, percent."""
        measured = self.of(message, signal)
        load = self.beside(measured, "EEC2", "EngPercentLoadAtCurrentSpeed")
        keep = (load >= low) & (load < high)
        return measured[0][keep], measured[1][keep]


def passed_nox(signals: Signals) -> Measured:
    """Share of the NOx that leaves a hot catalyst."""
    out = signals.of("AT1OG1", "Aftertreatment1OutletNOx")
    before = signals.beside(out, "AT1IG1", "Aftertreatment1IntakeNOx")
    hot = signals.beside(out, "AT1OG2", "Aft1DPFOutletTemp") > 245.0
    keep = hot & (before > 100.0)
    return out[0][keep], out[1][keep] / before[keep]


def rail_short(signals: Signals) -> Measured:
    """How far the rail's pressure is below the commanded one at load."""
    actual = signals.at_load("EFL_P2", "EngInjMeteringRail1Pressure")
    wanted = signals.beside(actual, "EEC9", "EngCommandedFuelRailPressure")
    keep = np.isfinite(wanted)
    return actual[0][keep], wanted[keep] - actual[1][keep]


def uneven_idle(signals: Signals) -> Measured:
    """Distance of the idle's speed from 600 rpm."""
    time_s, rpm = signals.of("EEC1", "EngSpeed")
    idle = rpm < 700.0
    return time_s[idle], np.abs(rpm[idle] - 600.0)


def regeneration_interval_h(signals: Signals) -> Measured:
    """Hours of engine time between regenerations: the longest time since the last, before each reset."""
    time_s, since = signals.of("AT1S1", "Aft1DPFTimeSinceLastActiveRegen")
    last = np.flatnonzero(np.diff(since) < 0)
    return time_s[last], since[last] / 3600.0


def pump_up_s(signals: Signals) -> Measured:
    """Seconds from 586 to 690 kPa (85 to 100 psi, FMVSS 121) at starts with tanks below that, idling."""
    time_s, kpa = signals.of("AIR1", "PneumaticSupplyPressure", at=-1)
    starts = np.flatnonzero(np.diff(time_s, prepend=-np.inf) > 60.0)
    found = []
    for first, end in zip(starts, [*starts[1:], len(time_s)], strict=True):
        rising, after = kpa[first:end], time_s[first:end]
        if len(rising) > 3 and rising[0] < 586.0 and rising.max() > 690.0:
            up = int(np.argmax(rising > 690.0)) + 1
            at = np.interp([586.0, 690.0], rising[:up], after[:up])
            found.append((float(after[0]), float(at[1] - at[0])))
    table = np.array(found).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def while_cranking(signals: Signals) -> Measured:
    time_s, volts = signals.of("VEP1", "ChargingSystemPotential", at=-1)
    starts = np.flatnonzero(np.diff(time_s, prepend=-np.inf) > 600.0)
    cranks = np.concatenate([starts + 1, starts + 2])
    cranks = np.sort(cranks[cranks < len(time_s)])
    return time_s[cranks], volts[cranks]


OBSERVABLES: Final = (
    Observable("flow", "coolant temperature, flow", "°C", lambda s: s.of("ET1", "EngCoolantTemp")),
    Observable("leak", "coolant pressure, leak", "kPa", lambda s: s.of("EFL_P1", "EngCoolantPressure")),
    Observable(
        "compressor", "share of samples with the compressor on", "1", lambda s: s.of("AIR1", "AirCompressorStatus")
    ),
    Observable("compressor", "pump-up time from 586 to 690 kPa", "s", pump_up_s),
    Observable(
        "dryer", "supply pressure while driving, dryer", "kPa", lambda s: s.of("AIR1", "PneumaticSupplyPressure")
    ),
    Observable("alternator", "charging voltage, alternator", "V", lambda s: s.of("VEP1", "ChargingSystemPotential")),
    Observable("battery", "voltage while cranking, battery", "V", while_cranking),
    Observable("filter", "engine hours between regenerations, filter", "h", regeneration_interval_h),
    Observable(
        "filter", "pressure drop of the filter at load, filter", "kPa",
        lambda s: s.at_load("AT1IMG", "Aft1DPFDifferentialPressure"),
    ),
    Observable("scr", "share of NOx that passes a hot catalyst, scr", "1", passed_nox),
    Observable(
        "scr", "reagent dosed at load, scr", "g/h", lambda s: s.at_load("A1SCRDSI1", "Aft1DEFActualDosingQuantity")
    ),
    Observable("vanes", "boost at load, vanes", "kPa", lambda s: s.at_load("IC1", "EngIntakeManifold1Pressure")),
    Observable("rotor", "boost at load, rotor", "kPa", lambda s: s.at_load("IC1", "EngIntakeManifold1Pressure")),
    Observable("rotor", "exhaust temperature at load, rotor", "°C", lambda s: s.at_load("IC1", "EngExhaustTemp")),
    Observable("rail", "rail pressure below commanded at load, rail", "MPa", rail_short),
    Observable("injector", "distance of the idle from 600 rpm, injector", "rpm", uneven_idle),
    Observable(
        "injector", "fuel rate at 40 to 60 % load, injector", "l/h",
        lambda s: s.at_load("LFE1", "EngFuelRate", 40.0, 60.0),
    ),
)  # fmt: skip
