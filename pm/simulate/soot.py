"""How the particulate filter fills with soot and burns free again.

What belongs here: soot load and active regenerations on the drive's grid. Soot comes faster at low
load and in the cold, and far faster when the filter is full of ash, when an injector runs rich or
when the turbocharger gives too little air; so the distance between regenerations is what a
mechanic looks at first.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pm.simulate.drive import Drive
from pm.simulate.fleet import Vehicle

Floats = NDArray[np.float64]

INTERVAL_H: Final = {"long_haul": 24.0, "regional": 17.0, "urban": 10.0}
"""Engine hours from one active regeneration to the next when all is well, by duty (an assumption)."""
THRESHOLD_PCT: Final = 100.0
_RESIDUAL_PCT: Final = 12.0
_SHORTEST_MIN: Final = 22


@dataclass(frozen=True)
class Soot:
    """One entry a point of the drive's grid."""

    load_pct: Floats
    """100 = a regeneration is due."""
    is_active: NDArray[np.bool_]
    """An active regeneration is under way."""
    since_s: Floats
    """Seconds of engine time since the last active regeneration ended."""


def burn_soot(vehicle: Vehicle, drive: Drive, symptoms: dict[str, Floats], rng: np.random.Generator) -> Soot:
    """Load the filter and regenerate it over all points of `drive`.

    A regeneration starts when the load reaches the threshold and lasts 22 to 35 minutes of engine time; a
    stop interrupts it, and the next session goes on. A filter full of ash keeps more of its load.
    """
    n = len(drive.time_s)
    pace = float(np.exp(0.18 * rng.standard_normal()))
    draws = rng.random((2, n // _SHORTEST_MIN + 2))
    gain = _gain_pct(vehicle, drive, symptoms) * pace
    total = np.concatenate([[0.0], np.cumsum(gain)])
    kept = _RESIDUAL_PCT + 22.0 * symptoms["filter"][drive.day]
    load, is_active, since = np.empty(n), np.zeros(n, np.bool_), np.empty(n)
    point, level, ran_min = 0, 100.0 * float(draws[0, -1]), 600.0 * float(draws[1, -1])
    for number in range(draws.shape[1]):
        begins = min(int(np.searchsorted(total, total[point] + THRESHOLD_PCT - level)), n)
        load[point:begins] = level + total[point:begins] - total[point]
        since[point:begins] = 60.0 * (ran_min + np.arange(begins - point))
        ran_min += begins - point
        ends = min(begins + _SHORTEST_MIN + int(13 * draws[0, number]), n)
        if begins >= n:
            break
        left = min(float(kept[ends - 1]) + 8.0 * float(draws[1, number]), 60.0)
        load[begins:ends] = np.linspace(THRESHOLD_PCT, left, ends - begins)
        is_active[begins:ends] = True
        since[begins:ends] = 60.0 * (ran_min + np.arange(ends - begins))
        point, level, ran_min = ends, left, 0.0
    return Soot(load, is_active, since)


def _gain_pct(vehicle: Vehicle, drive: Drive, symptoms: dict[str, Floats]) -> Floats:
    """Percent of the threshold that each minute adds."""
    usual = (THRESHOLD_PCT - _RESIDUAL_PCT) / (60.0 * INTERVAL_H[vehicle.duty.name])
    day = drive.day
    # Hot exhaust burns some soot all the time (passive regeneration); cold engines make more of it.
    use = 1.30 - 0.75 * drive.thermal_load + 0.012 * np.maximum(5.0 - drive.outside_c, 0.0)
    wear = 1.0 + 1.5 * symptoms["filter"] + 0.45 * symptoms["injector"] + 0.30 * symptoms["vanes"]
    return np.asarray(usual * use * wear[day])
