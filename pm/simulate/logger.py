"""The device in a truck that records its CAN buses: what it writes, and when it misses something.

What belongs here: the logger's file format, the buses it listens to, and the hours it misses. When its
files arrive is `pm.simulate.uploads`, what is in them `pm.simulate.logs`.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pm.simulate.components import BODY, BRAKES
from pm.simulate.encode import Frames
from pm.simulate.fleet import DAY_S, FleetConfig, Vehicle

_TWO_BUSES: Final = 0.35
_GAP_EVERY_D: Final = 30.0
_VEHICLE_BUS: Final = np.isin(np.arange(256), (BRAKES, BODY)).astype(np.uint8)
"""By source address: 1 for controllers of the vehicle's bus, 0 for those of the powertrain's."""


@dataclass(frozen=True)
class Logger:
    """A truck's logger. Gap i lasts from `gap_from_s[i]` until `gap_until_s[i]`, seconds from the fleet's start."""

    format: str
    n_buses: int
    """1: everything on one bus; 2: engine and aftertreatment on the first, brakes and cab on the second."""
    gap_from_s: NDArray[np.float64]
    gap_until_s: NDArray[np.float64]

    def records(self, time_s: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether it was recording at each time."""
        # Gaps may overlap: of those that began, the one that lasts longest counts.
        ends = np.concatenate([[-np.inf], np.maximum.accumulate(self.gap_until_s)])
        return np.asarray(time_s >= ends[np.searchsorted(self.gap_from_s, time_s, side="right")])

    def bus(self, frames: Frames) -> NDArray[np.uint8]:
        """Number of the bus on which it heard each frame, 0 the first."""
        if self.n_buses == 1:
            return np.zeros(len(frames), np.uint8)
        return np.asarray(_VEHICLE_BUS[frames.can_id & 0xFF])


def make_logger(config: FleetConfig, vehicle: Vehicle, rng: np.random.Generator) -> Logger:
    """The truck's logger: formats in turn, two buses in a third of the trucks, a gap of hours about once a month."""
    n_buses = 1 + int(rng.random() < _TWO_BUSES)
    n_gaps = int(rng.poisson(config.n_days / _GAP_EVERY_D))
    begins = np.sort(rng.uniform(0, config.n_days * DAY_S, n_gaps))
    lasts = 3600 * np.clip(rng.lognormal(np.log(2.0), 0.8, n_gaps), 0.25, 12.0)
    return Logger(config.formats[vehicle.index % len(config.formats)], n_buses, begins, begins + lasts)
