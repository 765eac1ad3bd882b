"""When controllers send, and what a signal function may read.

What belongs here: sending times (the logger's configuration: each message every few minutes while
driving, denser in the first minutes), the samples that come of them, and one truck as the signal
functions see it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pm.simulate.drive import Drive
from pm.simulate.fleet import Vehicle
from pm.simulate.operation import Sessions
from pm.simulate.soot import Soot, burn_soot

Floats = NDArray[np.float64]

SETTLED_S: Final = 260.0
"""Regular sampling starts so long after the engine; before that only the start-up window."""


@dataclass(frozen=True)
class Samples:
    """One message's sending times and values; every array has one entry a frame."""

    message: str
    source_address: int
    time_s: Floats
    values: dict[str, Floats]


@dataclass(frozen=True)
class Moments:
    """Sending times with where they fall in the drive."""

    session: NDArray[np.int64]
    after_s: Floats
    point: NDArray[np.int64]
    day: NDArray[np.int64]
    time_s: Floats


@dataclass(frozen=True)
class Levels:
    """How this truck differs from others of its model: factors about 1, which are not wear."""

    boost: float
    back_pressure: float
    nox: float
    rail: float
    exhaust: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Levels":
        spread = np.array([0.025, 0.10, 0.12, 0.008, 0.02])
        return cls(*(1.0 + spread * np.clip(rng.standard_normal(5), -2.5, 2.5)).tolist())


class Truck:
    """Everything the signal functions read."""

    def __init__(self, vehicle: Vehicle, sessions: Sessions, drive: Drive, symptoms: dict[str, Floats],
                 rng: np.random.Generator) -> None:  # fmt: skip
        self.vehicle, self.sessions, self.drive, self.symptoms, self.rng = vehicle, sessions, drive, symptoms, rng
        self.levels = Levels.draw(rng)
        self.soot: Soot = burn_soot(vehicle, drive, symptoms, rng)

    def regular(self, period_s: float, offset_s: float = SETTLED_S) -> Moments:
        """Moments every `period_s` (with a little jitter) from `offset_s` into each session on."""
        n = np.maximum(np.ceil((self.sessions.duration_s - offset_s) / period_s), 0).astype(np.int64)
        session = np.repeat(np.arange(len(n)), n)
        step = np.arange(len(session)) - np.repeat(np.cumsum(n) - n, n)
        return self._moments(session, offset_s + period_s * step + self.rng.uniform(0, 2.0, len(session)))

    def start_up(self, after_s: tuple[float, ...]) -> Moments:
        """The same moments after every engine start, as far as the session lasts."""
        session = np.repeat(np.arange(len(self.sessions.day)), len(after_s))
        after = np.tile(after_s, len(self.sessions.day)) + self.rng.uniform(0, 0.09, len(session))
        lasts = after < self.sessions.duration_s[session]
        return self._moments(session[lasts], after[lasts])

    def _moments(self, session: NDArray[np.int64], after_s: Floats) -> Moments:
        time_s = self.sessions.start_s[session] + after_s
        return Moments(session, after_s, self.drive.at(session, after_s), self.sessions.day[session], time_s)

    def symptom(self, mode: str, at: Moments) -> Floats:
        return self.symptoms[mode][at.day]

    def noise(self, at: Moments, spread: float | Floats) -> Floats:
        return np.asarray(spread * self.rng.standard_normal(len(at.session)))
