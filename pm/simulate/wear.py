"""How parts wear, fail and are replaced: the truth.

What belongs here: the daily step of wear and hazard, failures, planned replacements, workshop days,
and the true probability of failing soon. Nothing here knows of signals or work orders; they are made
from this truth and never the other way round.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pm.simulate.components import COMPONENTS, Component
from pm.simulate.fleet import DAY_S, FleetConfig, Vehicle
from pm.simulate.operation import Sessions

HORIZON_D = 14
_PLANNED_A_DAY = 0.0004
_PLANNED_WHEN_WORN = 0.004


@dataclass(frozen=True)
class Failure:
    """A component that stopped the truck. Seconds count from the fleet's start."""

    component: str
    mode: str
    failed_s: float
    returned_s: float
    is_shock: bool
    wear: float


@dataclass(frozen=True)
class Replacement:
    """A component replaced before it failed, on a day in the workshop."""

    component: str
    day: int
    wear: float


@dataclass
class Part:
    """One built-in part: its own life, its way to fail, how early and how clearly it shows."""

    mode: str
    wear: float
    rate: float
    onset: float
    gain: float

    def symptom(self) -> float:
        """0 = none, 1 = as strong as a typical part's when it fails, at most 1.6."""
        ramp = min(max((self.wear - self.onset) / (0.97 - self.onset), 0.0), 1.25)
        return min(self.gain * math.pow(ramp, 1.4), 1.6)


@dataclass
class Life:
    """What happened to one truck. The arrays have one entry a day, NaN where the truck was not to be
    driven at that midnight: broken, in the workshop, or not in the fleet.
    """

    sessions: Sessions
    failures: list[Failure] = field(default_factory=list)
    replacements: list[Replacement] = field(default_factory=list)
    wear: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    p_day: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """Probability of failing on that day, given wear and what is driven."""
    p_horizon: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """Probability of failing within the next 14 days, given wear and usual driving, were nothing else to
    stop the truck; so it lies a little above what is observed (about a tenth)."""
    symptoms: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """By failure mode; 0 where there is none."""


def live(config: FleetConfig, vehicle: Vehicle, planned: Sessions, temperature_c: NDArray[np.float64],
         rng: np.random.Generator) -> Life:  # fmt: skip
    """Run a truck through all days.

    Args:
        planned: the sessions it drives when nothing breaks.
        temperature_c: its region's daily mean, shape (days,).
    """
    return _Run(config, vehicle, planned, temperature_c, rng).run()


class _Run:
    def __init__(self, config: FleetConfig, vehicle: Vehicle, planned: Sessions, temperature_c: NDArray[np.float64],
                 rng: np.random.Generator) -> None:  # fmt: skip
        self.n_days, self.vehicle, self.rng = config.n_days, vehicle, rng
        self.temperature_c = temperature_c
        self.first_weekday = config.start.weekday()
        self.hours = np.bincount(planned.day, planned.duration_s, config.n_days) / 3600.0
        self.starts = np.bincount(planned.day, minlength=config.n_days)
        self.life = Life(planned)
        self.parts = {c.name: self._new_part(c, float(rng.uniform(0.0, 0.95))) for c in COMPONENTS}
        self.rates = {c.name: np.full(config.n_days, np.nan) for c in COMPONENTS}
        for component in COMPONENTS:
            self.life.wear[component.name] = np.full(config.n_days, np.nan)
            self.life.p_day[component.name] = np.full(config.n_days, np.nan)
            for mode in component.modes:
                self.life.symptoms[mode.name] = np.zeros(config.n_days)
        self.back_day = vehicle.joined_day

    def run(self) -> Life:
        for day in range(self.n_days):
            draws = self.rng.random((len(COMPONENTS), 4))
            if not self.back_day <= day < self.vehicle.left_day:
                self._park(day)
                continue
            self._record(day)
            if not self._replaced(day, draws) and self.hours[day] > 0:
                self._drive(day, draws)
        for component in COMPONENTS:
            self.life.p_horizon[component.name] = self._p_horizon(component)
        return self.life

    def _new_part(self, component: Component, wear: float = 0.0) -> Part:
        rng = self.rng
        mode = component.modes[int(rng.choice(len(component.modes), p=[mode.share for mode in component.modes]))]
        life_days = component.life_days * float(rng.lognormal(0, component.life_spread))
        lead = float(np.clip(rng.lognormal(np.log(0.19), 0.35), 0.06, 0.36))
        rate = self.vehicle.exertion / life_days
        # A slow part shows as many days ahead as a fast one: the lead is in days, so it scales with the rate.
        lead *= float(np.clip(rate * component.life_days, 0.5, 1.6))
        return Part(mode.name, wear, rate, 0.97 - lead, float(np.clip(rng.lognormal(-0.03, 0.32), 0.3, 1.6)))

    def _park(self, day: int) -> None:
        kept = self.life.sessions
        self.life.sessions = kept.select(kept.day != day)

    def _record(self, day: int) -> None:
        for component in COMPONENTS:
            part = self.parts[component.name]
            self.life.wear[component.name][day] = part.wear
            self.life.symptoms[part.mode][day] = part.symptom()
            self.life.p_day[component.name][day] = 0.0
            self.rates[component.name][day] = part.rate

    def _replaced(self, day: int, draws: NDArray[np.float64]) -> bool:
        if (self.first_weekday + day) % 7 >= 5:
            return False
        for row, component in enumerate(COMPONENTS):
            part = self.parts[component.name]
            if draws[row, 0] < _PLANNED_A_DAY + _PLANNED_WHEN_WORN * (part.symptom() > 0.5):
                self.life.replacements.append(Replacement(component.name, day, part.wear))
                self.parts[component.name] = self._new_part(component)
                self._park(day)
                return True
        return False

    def _drive(self, day: int, draws: NDArray[np.float64]) -> None:
        failed: list[tuple[float, Component, bool]] = []
        for row, component in enumerate(COMPONENTS):
            part = self.parts[component.name]
            share = self.hours[day] / self.vehicle.duty.drive_h
            p_day = -np.expm1(-share * float(component.hazard(part.wear)))
            self.life.p_day[component.name][day] = p_day
            if draws[row, 1] < p_day:
                is_shock = bool(draws[row, 2] < component.shock / float(component.hazard(part.wear)))
                failed.append((float(draws[row, 3]), component, is_shock))
            part.wear += part.rate * self._exposure(component, day, share) * float(self.rng.lognormal(-0.03, 0.25))
        if failed:
            self._fail(day, *min(failed, key=lambda each: each[0]))

    def _exposure(self, component: Component, day: int, share: float) -> float:
        mean_c = self.temperature_c[day]
        heat = component.heat_wear * max(mean_c - 20.0, 0.0) + component.cold_wear * max(5.0 - mean_c, 0.0)
        starts = component.start_wear * (self.starts[day] - self.vehicle.duty.n_sessions)
        return float(share * (1.0 + heat) * max(1.0 + starts, 0.4))

    def _fail(self, day: int, at: float, component: Component, is_shock: bool) -> None:
        """Stop the truck `at` (0 to 1) of the day's driving; it is back after some days in the workshop."""
        part = self.parts[component.name]
        failed_s = self._driven_until(day, at)
        workshop_d = float(np.clip(self.rng.lognormal(np.log(1.8), 0.55), 0.7, 9.0))
        # Handed back in working hours, 13:00 to 17:00.
        returned_day = int((failed_s + workshop_d * DAY_S) // DAY_S)
        returned_s = returned_day * DAY_S + 3600 * float(self.rng.uniform(13, 17))
        returned_s = max(returned_s, failed_s + 4 * 3600)
        self.life.failures.append(Failure(component.name, part.mode, failed_s, returned_s, is_shock, part.wear))
        self.life.sessions = self.life.sessions.cut(day, failed_s)
        self.back_day = int(returned_s // DAY_S) + 1
        self.parts[component.name] = self._new_part(component)

    def _driven_until(self, day: int, at: float) -> float:
        sessions = self.life.sessions.select(self.life.sessions.day == day)
        driven = np.concatenate([[0.0], np.cumsum(sessions.duration_s)])
        target = 60.0 + at * (driven[-1] - 60.0)
        which = min(int(np.searchsorted(driven, target, side="left")) - 1, len(sessions.day) - 1)
        return float(np.round(sessions.start_s[which] + target - driven[which]))

    def _p_horizon(self, component: Component) -> NDArray[np.float64]:
        """Integrate the hazard along the expected wear of the next days, with the duty's share of driving."""
        share = self.vehicle.duty.driving_share
        ahead = (np.arange(HORIZON_D) + 0.5) * share
        wear = self.life.wear[component.name][:, None] + self.rates[component.name][:, None] * ahead[None, :]
        return np.asarray(-np.expm1(-share * component.hazard(wear).sum(axis=1)))
