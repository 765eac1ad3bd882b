"""Who is at the wheel, and how that changes driving and wear.

What belongs here: driving styles, and which of them is at a truck's wheel on which day. Who a driver
is stands nowhere: no log and no table names one. What a style does to speed and load is
`pm.simulate.drive`, what it does to parts `pm.simulate.wear`.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pm.simulate.fleet import FleetConfig

Floats = NDArray[np.float64]

N_RELIEF: Final = 12
"""Relief drivers of the fleet; they stand in on any truck, so their styles are seen on many."""
_RELIEF_STREAM: Final = 2**31 + 1
_OWN_STREAM: Final = 1_000
_STAND_IN_A_DAY: Final = 0.018
_NEW_DRIVER_A_DAY: Final = 0.0015
_TYPICAL_IDLING: Final = 0.05
_WEAR_BY_STYLE: Final[dict[str, tuple[str, float]]] = {
    "cooling": ("throttle", 0.06),
    "brakes_air": ("braking", 0.12),
    "charging_starting": ("idling", 0.05),
    "aftertreatment": ("idling", 0.12),
    "turbo": ("throttle", 0.12),
    "fuel_injection": ("throttle", 0.07),
}
"""The habit that wears a component, and the logarithm of wear for one standard deviation of it."""


@dataclass(frozen=True)
class Style:
    """Habits in standard deviations of the fleet's drivers: 0 is the typical one."""

    speed: float = 0.0
    braking: float = 0.0
    throttle: float = 0.0
    idling: float = 0.0


@dataclass(frozen=True)
class AtWheel:
    """The styles of a truck's drivers, one entry a day."""

    speed: Floats
    """Factor on the speed of free driving."""
    braking: Floats
    """Factor on how much is braked."""
    throttle: Floats
    """Added to the engine's load, a share of its torque."""
    idling: Floats
    """Share of the minutes in which the truck stands with its engine on, beside those of traffic."""
    wear: dict[str, Floats]
    """By component: factor on its wear."""
    is_stand_in: NDArray[np.bool_]


def assign_drivers(config: FleetConfig, index: int) -> AtWheel:
    """Who drives truck `index` when: its own driver, for days to weeks one of the relief drivers, and now
    and then a new own driver. Truck and day decide it, whatever other trucks exist.
    """
    rng = np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(index, _OWN_STREAM)))
    relief = [_relief_style(config, number) for number in range(N_RELIEF)]
    changes, who = rng.random((2, config.n_days)), rng.integers(0, N_RELIEF, config.n_days)
    stays_d = rng.integers(3, 19, config.n_days)
    own = [_draw_style(rng) for _ in range(config.n_days // 30 + 2)]
    n_own = np.minimum(np.cumsum(changes[0] < _NEW_DRIVER_A_DAY), len(own) - 1)
    styles = [own[number] for number in n_own]
    is_stand_in = np.zeros(config.n_days, np.bool_)
    for day in np.flatnonzero(changes[1] < _STAND_IN_A_DAY).tolist():
        until = min(day + int(stays_d[day]), config.n_days)
        styles[day:until] = [relief[who[day]]] * (until - day)
        is_stand_in[day:until] = True
    return at_wheel(styles, is_stand_in)


def at_wheel(styles: list[Style], is_stand_in: NDArray[np.bool_] | None = None) -> AtWheel:
    """What `styles`, one a day, do to driving and wear."""
    z = {
        name: np.array([getattr(style, name) for style in styles])
        for name in ("speed", "braking", "throttle", "idling")
    }
    return AtWheel(
        speed=1.0 + 0.02 * z["speed"],
        braking=np.exp(0.30 * z["braking"]),
        throttle=0.025 * z["throttle"],
        idling=np.clip(_TYPICAL_IDLING * np.exp(0.6 * z["idling"]), 0.005, 0.30),
        wear={name: np.exp(slope * z[habit] - slope**2 / 2) for name, (habit, slope) in _WEAR_BY_STYLE.items()},
        is_stand_in=np.zeros(len(styles), np.bool_) if is_stand_in is None else is_stand_in,
    )


def _relief_style(config: FleetConfig, number: int) -> Style:
    seed = np.random.SeedSequence(config.seed, spawn_key=(_RELIEF_STREAM, number))
    return _draw_style(np.random.default_rng(seed))


def _draw_style(rng: np.random.Generator) -> Style:
    """Who steps hard on one pedal does so on the other: their habits correlate by .5."""
    speed, braking, throttle, idling = np.clip(rng.standard_normal(4), -2.5, 2.5)
    return Style(float(speed), float(0.5 * throttle + np.sqrt(0.75) * braking), float(throttle), float(idling))
