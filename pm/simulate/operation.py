"""When a truck drives, and in what weather.

What belongs here: the calendar of driving sessions (engine on to engine off) and the daily mean
temperature. What happens inside a session is `pm.simulate.drive`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pm.simulate.changes import warming_c
from pm.simulate.fleet import DAY_S, Duty, FleetConfig, Vehicle, shared_stream

REGION_OFFSETS_C = (-2.5, 0.0, 3.0)
_COLDEST_DAY_OF_YEAR = 20


@dataclass(frozen=True)
class Sessions:
    """Engine-on periods in time order, one entry each; seconds count from the fleet's start."""

    day: NDArray[np.int64]
    start_s: NDArray[np.float64]
    duration_s: NDArray[np.float64]

    @property
    def end_s(self) -> NDArray[np.float64]:
        return self.start_s + self.duration_s

    def select(self, keep: NDArray[np.bool_]) -> "Sessions":
        return Sessions(self.day[keep], self.start_s[keep], self.duration_s[keep])

    def cut(self, day: int, at_s: float) -> "Sessions":
        """The same sessions with nothing on `day` from `at_s` on (the truck stopped there)."""
        ends = np.where(self.day == day, np.minimum(self.end_s, at_s), self.end_s)
        return Sessions(self.day, self.start_s, ends - self.start_s).select(ends - self.start_s > 30.0)


def daily_mean_c(config: FleetConfig) -> NDArray[np.float64]:
    """Daily mean temperature in degC, shape (regions, days): a cosine year (mean 10.5, amplitude 9.5,
    as in Central European lowlands) with weather that lasts some days (AR(1), phi 0.8), and what a warm summer adds.
    """
    rng = shared_stream(config)
    shocks = rng.normal(0, 1.9, (len(REGION_OFFSETS_C), config.n_days))
    weather = np.zeros_like(shocks)
    for day in range(config.n_days):
        weather[:, day] = shocks[:, day] + (0.8 * weather[:, day - 1] if day else 0.0)
    day_of_year = config.start.timetuple().tm_yday + np.arange(config.n_days)
    season = 10.5 - 9.5 * np.cos(2 * np.pi * (day_of_year - _COLDEST_DAY_OF_YEAR) / 365.25)
    return np.asarray(season[None, :] + np.array(REGION_OFFSETS_C)[:, None] + weather + warming_c(config)[None, :])


def plan_sessions(config: FleetConfig, vehicle: Vehicle, rng: np.random.Generator) -> Sessions:
    """Every session the truck would drive if nothing broke."""
    duty = vehicle.duty
    weekday = (config.start.weekday() + np.arange(config.n_days)) % 7
    shares = np.array([duty.weekday_shares[0]] * 5 + list(duty.weekday_shares[1:]))[weekday]
    drives = rng.random(config.n_days) < shares
    parts = [_plan_day(day, duty, rng) for day in range(config.n_days)]
    kept = [parts[day] for day in range(vehicle.joined_day, vehicle.left_day) if drives[day]]
    if not kept:
        none = np.zeros(0)
        return Sessions(np.zeros(0, np.int64), none, none)
    days = np.concatenate([np.full(len(starts), day) for day, starts, _ in kept])
    return Sessions(days, np.concatenate([p[1] for p in kept]), np.concatenate([p[2] for p in kept]))


def _plan_day(day: int, duty: Duty, rng: np.random.Generator) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
    n_sessions = 1 + int(rng.poisson(duty.n_sessions - 1))
    drive_s = 3600 * float(np.clip(rng.normal(duty.drive_h, 1.1), 2.0, 11.0))
    shares = rng.dirichlet(np.full(n_sessions, 6.0))
    durations: NDArray[np.float64] = np.maximum(drive_s * shares, 420.0)
    gaps = 60 * np.clip(rng.lognormal(np.log(duty.gap_min), 0.6, n_sessions), 6.0, 150.0)
    first = 3600 * float(np.clip(rng.normal(duty.first_start_h, 0.6), 3.0, 9.0))
    starts: NDArray[np.float64] = first + np.concatenate([[0.0], np.cumsum(durations + gaps)[:-1]])
    # Whole milliseconds; what would run past 23:50 is left out, so a session never crosses midnight.
    fits = starts + durations < DAY_S - 600
    return day, np.round(day * DAY_S + starts[fits], 3), np.round(durations[fits], 3)
