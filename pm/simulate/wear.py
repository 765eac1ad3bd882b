"""How parts wear, fail and are replaced: the truth.

What belongs here: the daily steps of wear and hazard, failures, planned replacements, workshop days,
and the true probability of failing soon. Nothing here knows of signals or work orders; they are made
from this truth and never the other way round.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pm.simulate.components import COMPONENTS, Component
from pm.simulate.drivers import AtWheel
from pm.simulate.fleet import DAY_S, FleetConfig, Vehicle
from pm.simulate.operation import Sessions

Floats = NDArray[np.float64]

HORIZON_D: Final = 14
WORKSHOP_MEDIAN_D: Final = 1.6
_PLANNED_A_DAY: Final = 0.0004
_PLANNED_WHEN_WORN: Final = 0.004
_WEAR_A_YEAR: Final = 0.025
"""Older trucks wear their parts faster, by this share for each year of age."""
_MEAN_AGE_A: Final = 3.8


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


@dataclass(frozen=True)
class Part:
    """One built-in part: its own life, its way to fail, how early and how clearly it shows."""

    mode: str
    wear: float
    """When it was built in, or when last looked at."""
    rate: float
    onset: float
    gain: float


@dataclass
class Life:
    """What happened to one truck. The arrays have one entry a day, NaN where the truck was not to be
    driven at that midnight: broken, in the workshop, or not in the fleet.
    """

    sessions: Sessions
    failures: list[Failure] = field(default_factory=list)
    replacements: list[Replacement] = field(default_factory=list)
    wear: dict[str, Floats] = field(default_factory=dict)
    p_day: dict[str, Floats] = field(default_factory=dict)
    """Probability of failing on that day, given wear and what is driven."""
    p_horizon: dict[str, Floats] = field(default_factory=dict)
    """Probability of failing within the next 14 days, given wear and usual driving by the day's driver,
    were nothing else to stop the truck; so it lies above what is observed."""
    symptoms: dict[str, Floats] = field(default_factory=dict)
    """By failure mode; 0 where there is none."""


def live(config: FleetConfig, vehicle: Vehicle, planned: Sessions, temperature_c: Floats,
         rng: np.random.Generator, *, drivers: AtWheel | None = None) -> Life:  # fmt: skip
    """Run a truck through all days.

    Args:
        planned: the sessions it drives when nothing breaks.
        temperature_c: its region's daily mean, shape (days,).
        drivers: who is at its wheel; without them, typical ones.
    """
    return _Run(config, vehicle, planned, temperature_c, rng, drivers=drivers).run()


def symptom_of(wear: Floats, onset: Floats, gain: Floats) -> Floats:
    """0 = none, 1 = as strong as a typical part's when it fails, at most 1.6; shapes broadcast."""
    ramp = np.clip((wear - onset) / (0.97 - onset), 0.0, 1.25)
    return np.asarray(np.minimum(gain * ramp**1.4, 1.6))


def hazards(wear: Floats) -> Floats:
    """Hazard of a driving day, 1/d; the first axis of `wear` is the components, in their order."""
    shape = (len(COMPONENTS),) + (1,) * (wear.ndim - 1)
    shock, at_1, steepness = (
        np.array([getattr(each, name) for each in COMPONENTS]).reshape(shape)
        for name in ("shock", "hazard_at_1", "steepness")
    )
    return np.asarray(shock + at_1 * np.exp(steepness * (wear - 1.0)))


@dataclass(frozen=True)
class _Span:
    """The days from one event to the next, were nothing to happen; shape (components, days)."""

    wear: Floats
    symptom: Floats
    p_day: Floats


class _Run:
    """Between two events wear runs undisturbed, so all its days are computed at once; the first day on
    which a draw says failure or replacement ends the span. Every draw but those of new parts is made
    beforehand, so what happens later never changes what was drawn before.
    """

    def __init__(self, config: FleetConfig, vehicle: Vehicle, planned: Sessions, temperature_c: Floats,
                 rng: np.random.Generator, *, drivers: AtWheel | None) -> None:  # fmt: skip
        self.n_days, self.vehicle, self.rng, self.planned = config.n_days, vehicle, rng, planned
        n = len(COMPONENTS)
        self.hours = np.bincount(planned.day, planned.duration_s, self.n_days) / 3600.0
        self.share = self.hours / vehicle.duty.drive_h
        self.is_weekday = (config.start.weekday() + np.arange(self.n_days)) % 7 < 5
        age_a = np.clip((config.start - vehicle.in_service_on).days / 365.25, 0.0, 8.0)
        self.ageing = 1.0 + _WEAR_A_YEAR * (age_a - _MEAN_AGE_A)
        self.harshness = np.ones((n, self.n_days))
        if drivers is not None:
            self.harshness = np.stack([drivers.wear[each.name] for each in COMPONENTS])
        self.draws = rng.random((self.n_days, n, 4)).transpose(2, 1, 0)
        noise = np.exp(-0.03 + 0.25 * rng.standard_normal((self.n_days, n)).T)
        self.exposure = noise * self.harshness * self._exposure(planned, temperature_c)
        self.parts = [self._new_part(each, float(rng.uniform(0.0, 0.95))) for each in COMPONENTS]
        self.wear, self.rates, self.p_day = (np.full((n, self.n_days), np.nan) for _ in range(3))
        self.parked = np.zeros(self.n_days, np.bool_)
        self.stopped_s = np.full(self.n_days, np.inf)
        self.life = Life(planned)
        for component in COMPONENTS:
            for mode in component.modes:
                self.life.symptoms[mode.name] = np.zeros(self.n_days)

    def run(self) -> Life:
        day = self.vehicle.joined_day
        self.parked[:day] = self.parked[self.vehicle.left_day :] = True
        while day < self.vehicle.left_day:
            day = self._span(day)
        ends = np.minimum(self.planned.end_s, self.stopped_s[self.planned.day])
        driven = Sessions(self.planned.day, self.planned.start_s, ends - self.planned.start_s)
        stopped = np.isfinite(self.stopped_s[self.planned.day])
        self.life.sessions = driven.select(~self.parked[driven.day] & ~(stopped & (driven.duration_s <= 30.0)))
        p_horizon = self._p_horizon()
        for row, component in enumerate(COMPONENTS):
            self.life.wear[component.name] = self.wear[row]
            self.life.p_day[component.name] = self.p_day[row]
            self.life.p_horizon[component.name] = p_horizon[row]
        return self.life

    def _exposure(self, planned: Sessions, temperature_c: Floats) -> Floats:
        """Days of wear at the part's own rate that each day brings, shape (components, days)."""
        heat, cold, start = (
            np.array([getattr(each, name) for each in COMPONENTS])[:, None]
            for name in ("heat_wear", "cold_wear", "start_wear")
        )
        more_starts = np.bincount(planned.day, minlength=self.n_days) - self.vehicle.duty.n_sessions
        weather = 1.0 + heat * np.maximum(temperature_c - 20.0, 0.0) + cold * np.maximum(5.0 - temperature_c, 0.0)
        return np.asarray(self.share * weather * np.maximum(1.0 + start * more_starts, 0.4))

    def _new_part(self, component: Component, wear: float = 0.0) -> Part:
        rng = self.rng
        mode = component.modes[int(rng.choice(len(component.modes), p=[mode.share for mode in component.modes]))]
        life_days = component.life_days * float(rng.lognormal(0, component.life_spread))
        lead = float(np.clip(rng.lognormal(np.log(0.19), 0.35), 0.06, 0.36))
        rate = self.vehicle.exertion * self.ageing / life_days
        # A slow part shows as many days ahead as a fast one: the lead is in days, so it scales with the rate.
        lead *= float(np.clip(rate * component.life_days, 0.5, 1.6))
        return Part(mode.name, wear, rate, 0.97 - lead, float(np.clip(rng.lognormal(-0.03, 0.32), 0.3, 1.6)))

    def _span(self, first: int) -> int:
        """Live from `first` to the next event or to the end; the next day on which the truck is there."""
        span = self._undisturbed(first)
        planned_draw, failed_draw = self.draws[0, :, first:], self.draws[1, :, first:]
        n = span.wear.shape[1]
        chance = _PLANNED_A_DAY + _PLANNED_WHEN_WORN * (span.symptom > 0.5)
        is_planned = (planned_draw[:, :n] < chance) & self.is_weekday[first : first + n]
        is_failed = failed_draw[:, :n] < span.p_day
        event_days = np.flatnonzero((is_planned | is_failed).any(axis=0))
        at = int(event_days[0]) if len(event_days) else n - 1
        self._record(first, at + 1, span)
        day = first + at
        if len(event_days) == 0:
            return self.vehicle.left_day
        if is_planned[:, at].any():
            self._replace(int(np.argmax(is_planned[:, at])), day, span.wear[:, at])
            return day + 1
        rows = np.flatnonzero(is_failed[:, at])
        return self._fail(day, int(rows[np.argmin(self.draws[3, rows, day])]), span.wear[:, at])

    def _undisturbed(self, first: int) -> _Span:
        days = slice(first, self.vehicle.left_day)
        now, rate, onset, gain = (
            np.array([getattr(part, name) for part in self.parts])[:, None]
            for name in ("wear", "rate", "onset", "gain")
        )
        steps = rate * self.exposure[:, days]
        # Wear at midnight: what the days before have added, in the order they added it.
        wear = np.cumsum(np.concatenate([now, steps[:, :-1]], axis=1), axis=1)
        return _Span(wear, symptom_of(wear, onset, gain), -np.expm1(-self.share[days] * hazards(wear)))

    def _record(self, first: int, n: int, span: _Span) -> None:
        days = slice(first, first + n)
        self.wear[:, days], self.p_day[:, days] = span.wear[:, :n], span.p_day[:, :n]
        for row, part in enumerate(self.parts):
            self.life.symptoms[part.mode][days] = span.symptom[row, :n]
            self.rates[row, days] = part.rate

    def _renew(self, row: int, wear: Floats) -> None:
        """Go on from `wear`, with a new part for component `row`."""
        self.parts = [
            Part(part.mode, float(at), part.rate, part.onset, part.gain)
            for part, at in zip(self.parts, wear, strict=True)
        ]
        self.parts[row] = self._new_part(COMPONENTS[row])

    def _replace(self, row: int, day: int, wear: Floats) -> None:
        self.life.replacements.append(Replacement(COMPONENTS[row].name, day, float(wear[row])))
        self.p_day[:, day] = 0.0
        self.parked[day] = True
        self._renew(row, wear)

    def _fail(self, day: int, row: int, wear: Floats) -> int:
        """Stop the truck on `day`; it is back after some days in the workshop."""
        part, component = self.parts[row], COMPONENTS[row]
        failed_s = self._driven_until(day, float(self.draws[3, row, day]))
        workshop_d = float(np.clip(self.rng.lognormal(np.log(WORKSHOP_MEDIAN_D), 0.55), 0.6, 8.0))
        # Handed back in working hours, 13:00 to 17:00.
        returned_day = int((failed_s + workshop_d * DAY_S) // DAY_S)
        returned_s = returned_day * DAY_S + 3600 * float(self.rng.uniform(13, 17))
        returned_s = max(returned_s, failed_s + 4 * 3600)
        is_shock = bool(self.draws[2, row, day] < component.shock / float(component.hazard(wear[row])))
        self.life.failures.append(Failure(component.name, part.mode, failed_s, returned_s, is_shock, float(wear[row])))
        rates = np.array([each.rate for each in self.parts])
        self._renew(row, wear + rates * self.exposure[:, day])
        back = min(int(returned_s // DAY_S) + 1, self.n_days)
        self.stopped_s[day] = failed_s
        self.parked[day + 1 : back] = True
        return back

    def _driven_until(self, day: int, at: float) -> float:
        """The moment at which share `at` of the day's driving is done; not in a session's first minute."""
        sessions = self.planned.select(self.planned.day == day)
        driven = np.concatenate([[0.0], np.cumsum(sessions.duration_s)])
        target = 60.0 + at * (driven[-1] - 60.0)
        which = min(int(np.searchsorted(driven, target, side="left")) - 1, len(sessions.day) - 1)
        return float(np.round(sessions.start_s[which] + max(target - driven[which], 60.0)))

    def _p_horizon(self) -> Floats:
        """Integrate the hazard along the expected wear of the next days, with the duty's share of driving."""
        share = self.vehicle.duty.driving_share
        ahead = (np.arange(HORIZON_D) + 0.5) * share
        rates = self.rates * self.harshness
        wear = self.wear[:, :, None] + rates[:, :, None] * ahead
        return np.asarray(-np.expm1(-share * hazards(wear).sum(axis=2)))
