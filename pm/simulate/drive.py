"""What a truck does inside its sessions, minute by minute, and how warm it gets.

What belongs here: speed, load, engine speed, temperatures and counters on a grid of one point a
minute; `pm.simulate.signals` reads them at the times a message is sent. Temperatures follow simple
first-order physics: a thermostat, a heat excess that grows with load and outside air, and a
cooling system that carries less heat away as it wears.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from pm.canbus.jit import kernel
from pm.simulate.drivers import AtWheel, Style, at_wheel
from pm.simulate.fleet import DAY_S, Vehicle
from pm.simulate.operation import Sessions

Floats = NDArray[np.float64]
_WARM_UP_S = 540.0
_COOL_DOWN_H = 3.0


@dataclass(frozen=True)
class Drive:
    """The grid: `first[i]` is the first point of session i; other arrays have one entry a point."""

    first: NDArray[np.int64]
    n_points: NDArray[np.int64]
    day: NDArray[np.int64]
    time_s: Floats
    outside_c: Floats
    speed_kmh: Floats
    load: Floats
    """Share of the engine's torque, 0 to 1."""
    engine_rpm: Floats
    thermal_load: Floats
    """Load as the coolant feels it, smoothed over about ten minutes."""
    coolant_c: Floats
    braking: Floats
    """How much this day's driver brakes, 1 = as most do."""
    electric_load: Floats
    """Share of the electrical consumers that are on, 0 to 1."""
    odometer_km: Floats
    engine_h: Floats
    gap_h: Floats
    """Hours the engine stood before each session (one entry a session)."""

    def at(self, session: NDArray[np.int64], after_s: Floats) -> NDArray[np.int64]:
        """Grid points for moments `after_s` seconds into `session`."""
        minute = np.minimum((after_s // 60).astype(np.int64), self.n_points[session] - 1)
        return np.asarray(self.first[session] + minute)


def drive(vehicle: Vehicle, sessions: Sessions, temperature_c: Floats, symptoms: dict[str, Floats],
          rng: np.random.Generator, *, drivers: AtWheel | None = None) -> Drive:  # fmt: skip
    """Drive all sessions.

    Args:
        temperature_c: daily mean, shape (days,).
        symptoms: by failure mode, one entry a day.
        drivers: who is at the wheel; without them, typical ones.
    """
    style = at_wheel([Style()] * len(temperature_c)) if drivers is None else drivers
    n_points = np.ceil(sessions.duration_s / 60.0).astype(np.int64) + 1
    first = np.concatenate([[0], np.cumsum(n_points)[:-1]]).astype(np.int64)
    session = np.repeat(np.arange(len(n_points)), n_points)
    minute = np.arange(len(session)) - first[session]
    time_s = sessions.start_s[session] + 60.0 * minute
    day = sessions.day[session]
    hour = (time_s % DAY_S) / 3600.0
    outside_c = temperature_c[day] + 4.5 * np.sin(2 * np.pi * (hour - 9.0) / 24.0) + _smooth(rng, len(day), 40) * 0.8
    ramp = np.minimum(np.minimum((minute - 4) / 4.0, (n_points[session] - 2 - minute) / 3.0), 1.0)
    speed_kmh = _speed(vehicle, style, day, ramp, rng)
    load = _load(vehicle, style.throttle[day], speed_kmh, rng)
    gap_h = np.diff(sessions.start_s, prepend=0.0) / 3600.0
    gap_h[1:] -= sessions.duration_s[:-1] / 3600.0
    thermal_load = _average(load, 10)
    steady_c = _steady_coolant_c(vehicle, thermal_load, outside_c, symptoms, day)
    left_warm = np.exp(-gap_h / _COOL_DOWN_H)[session]
    start_c = outside_c + (86.0 - outside_c) * left_warm
    coolant_c = steady_c + (start_c - steady_c) * np.exp(-60.0 * minute / _WARM_UP_S)
    is_dark = (hour < 6.5) | (hour > 19.5)
    electric = 0.32 + 0.22 * is_dark + 0.012 * np.maximum(5.0 - outside_c, 0) + 0.008 * np.maximum(outside_c - 22, 0)
    step_h = np.where(minute == 0, 0.0, 1.0 / 60.0)
    return Drive(
        first=first,
        n_points=n_points,
        day=day,
        time_s=time_s,
        outside_c=outside_c,
        speed_kmh=speed_kmh,
        load=load,
        engine_rpm=_engine_rpm(speed_kmh, load),
        thermal_load=thermal_load,
        coolant_c=coolant_c,
        braking=style.braking[day],
        electric_load=np.clip(electric + 0.08 * _smooth(rng, len(day), 15), 0.1, 1.0),
        odometer_km=vehicle.odometer_km + np.cumsum(speed_kmh * step_h),
        engine_h=vehicle.engine_h + np.cumsum(step_h),
        gap_h=gap_h,
    )


def _smooth(rng: np.random.Generator, n: int, minutes: int) -> Floats:
    """Unit-variance noise that lasts about `minutes` points (AR(1), from its steady state on)."""
    noise = rng.standard_normal(n)
    _remember(noise, float(np.exp(-1.0 / minutes)))
    return noise


@kernel
def _remember(noise: Floats, share: float) -> None:
    """Each value keeps `share` of the one before; the variance stays 1."""
    fresh = np.sqrt(1.0 - share * share)
    for at in range(1, len(noise)):
        noise[at] = share * noise[at - 1] + fresh * noise[at]


def _average(values: Floats, minutes: int) -> Floats:
    if len(values) == 0:
        return values
    padded = np.concatenate([np.full(minutes - 1, values[0]), values])
    return np.convolve(padded, np.full(minutes, 1.0 / minutes), mode="valid")


def _speed(vehicle: Vehicle, style: AtWheel, day: NDArray[np.int64], ramp: Floats, rng: np.random.Generator) -> Floats:
    """Speed at every point; `ramp` is the share of it that the session's start and end leave."""
    duty = vehicle.duty
    speed = duty.cruise_kmh * style.speed[day] + duty.speed_spread_kmh * _smooth(rng, len(day), 8)
    # Stops: traffic lights and queues, the more of them the slower the duty.
    stops = _smooth(rng, len(day), 3) > (1.9 if duty.cruise_kmh > 70 else 1.25 if duty.cruise_kmh > 50 else 0.8)
    # Some drivers leave the engine on while they wait, load or rest.
    limit = np.array([NormalDist().inv_cdf(1.0 - share) for share in style.idling.tolist()])
    stops |= _smooth(rng, len(day), 12) > limit[day]
    return np.where(stops | (ramp <= 0), 0.0, np.clip(speed, 4.0, 89.5) * np.maximum(ramp, 0.0))


def _load(vehicle: Vehicle, throttle: Floats, speed_kmh: Floats, rng: np.random.Generator) -> Floats:
    usual = vehicle.duty.load + throttle
    driving = usual + 0.16 * _smooth(rng, len(speed_kmh), 6) + 0.05 * _smooth(rng, len(speed_kmh), 900)
    return np.where(speed_kmh > 1.0, np.clip(driving, 0.04, 1.0), 0.09)


def _engine_rpm(speed_kmh: Floats, load: Floats) -> Floats:
    # A stepped gearbox keeps the engine between about 1,000 and 1,500 rpm whatever the speed.
    in_gear = 1020.0 + 25.0 * (speed_kmh % 17.0) + 130.0 * load
    cruising = 1080.0 + 3.2 * (speed_kmh - 60.0) + 110.0 * load
    return np.where(speed_kmh < 1.0, 600.0, np.where(speed_kmh > 60.0, cruising, in_gear))


def _steady_coolant_c(vehicle: Vehicle, load: Floats, outside_c: Floats, symptoms: dict[str, Floats],
                      day: NDArray[np.int64]) -> Floats:  # fmt: skip
    """Where the coolant would settle: thermostat, load, outside air, and what wear leaves of the cooling."""
    flow, leak = symptoms["flow"][day], symptoms["leak"][day]
    lost = flow + 0.35 * leak
    healthy = vehicle.model.coolant_c + vehicle.coolant_c + 5.0 * load + 0.11 * (outside_c - 12.0)
    excess = lost * (2.0 + 15.0 * load**1.5 + 0.14 * np.maximum(outside_c - 8.0, 0.0))
    return np.asarray(healthy + excess)
