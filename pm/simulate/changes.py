"""Changes of the fleet at a date, to see whether drift is noticed: what they are and what they do.

What belongs here: declaring, reading and checking a change, and the pure questions that the physics
asks ("is the workshop silent on this day?"). Nothing here draws a random number: what happens to the
trucks before the change's day is what happens to them without it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from pm.errors import ConfigError

if TYPE_CHECKING:
    from pm.simulate.fleet import FleetConfig

KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "firmware_rescale": ("model", "signal", "scale", "offset"),
    "new_model": ("trucks",),
    "warm_summer": ("celsius",),
    "silent_workshop": (),
}
"""What a kind of change may be told beside its day."""
FIRST_NEWCOMER: Final = 100_000
"""Index of the first truck of the new model."""
_FORM: Final = "KIND@DAY[:key=value,...]"


@dataclass(frozen=True)
class Change:
    """Something that is different from day `day` of the fleet on (0 = its first day).

    Raises:
        ConfigError: an unknown kind, or a number that cannot be.
    """

    kind: str
    """`firmware_rescale`: one signal of one truck model is sent with another scale and offset.
    `new_model`: trucks of a model with other levels join. `warm_summer`: every day is warmer.
    `silent_workshop`: work orders no longer say what failed."""
    day: int
    model: str = "Meridian 360"
    """Trucks of this model get the firmware."""
    signal: str = "EngCoolantTemp"
    scale: float = 1.8
    """What is sent is `scale * value + offset`; as shipped, degrees Fahrenheit in place of Celsius."""
    offset: float = 32.0
    trucks: int = 12
    """How many trucks of the new model join within two weeks."""
    celsius: float = 4.0
    """How much warmer the daily mean becomes, in kelvin."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"change: expected a kind of {', '.join(KINDS)}, but got {self.kind!r}")
        for name, low, high in (
            ("day", 0, 3_660),
            ("scale", -1000, 1000),
            ("offset", -1e6, 1e6),
            ("trucks", 1, 1_000),
            ("celsius", -20, 20),
        ):
            value = getattr(self, name)
            # Written so that NaN, which is in no range, is refused as well.
            if not low <= value <= high:
                raise ConfigError(f"change {self.kind}: expected {name} from {low} to {high}, but got {value}")


def parse_change(text: str, start: date) -> Change:
    """The change that `KIND@DAY[:key=value,...]` names; DAY is a number or a date (YYYY-MM-DD).

    Args:
        start: the fleet's first day, from which days are counted.

    Raises:
        ConfigError: the text has another form, or names a key that this kind does not have.
    """
    found = re.fullmatch(r"(\w+)@(\d{1,4}|\d{4}-\d{2}-\d{2})(?::(.+))?", text)
    if found is None:
        raise ConfigError(f"change: expected {_FORM}, but got {text!r}")
    kind, day, rest = found.groups()
    if kind not in KINDS:
        raise ConfigError(f"change: expected a kind of {', '.join(KINDS)}, but got {kind!r}")
    return replace(Change(kind, _day(day, start, text)), **_options(kind, rest or ""))


def _day(text: str, start: date, whole: str) -> int:
    if text.isdigit():
        return int(text)
    try:
        return (date.fromisoformat(text) - start).days
    except ValueError:
        raise ConfigError(f"change: expected a date as YYYY-MM-DD, but got {whole!r}") from None


def _options(kind: str, text: str) -> dict[str, Any]:
    types = {each.name: each.type for each in fields(Change)}
    found: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals or key not in KINDS[kind]:
            allowed = ", ".join(KINDS[kind]) or "no key"
            raise ConfigError(f"change {kind}: expected {allowed} as key=value, but got {part!r}")
        try:
            found[key] = int(value) if types[key] is int else float(value) if types[key] is float else value
        except ValueError:
            raise ConfigError(f"change {kind}: expected a number for {key}, but got {value!r}") from None
    return found


def as_text(change: Change) -> str:
    """The change as `parse_change` reads it, with every key of its kind."""
    keys = ",".join(f"{key}={getattr(change, key)}" for key in KINDS[change.kind])
    return f"{change.kind}@{change.day}" + (f":{keys}" if keys else "")


def of_kind(config: "FleetConfig", kind: str) -> tuple[Change, ...]:
    """The configured changes of one kind, earliest first."""
    return tuple(sorted((each for each in config.changes if each.kind == kind), key=lambda each: each.day))


def is_coding_silent(config: "FleetConfig", day: int) -> bool:
    """Whether the workshop on `day` writes orders that do not say what failed (no code, no telling word)."""
    return any(day >= change.day for change in of_kind(config, "silent_workshop"))


def warming_c(config: "FleetConfig") -> NDArray[np.float64]:
    """What to add to each day's mean temperature, degC, shape (days,)."""
    days = np.arange(config.n_days)
    added = np.zeros(config.n_days)
    for change in of_kind(config, "warm_summer"):
        added += np.where(days >= change.day, change.celsius, 0.0)
    return added


def newcomers(config: "FleetConfig") -> tuple[tuple[int, int], ...]:
    """(index, day) of each truck of the new model: when the first of its batch may join.

    Their indexes lie above those of any fleet, so that they are the same trucks in a fleet of any size.
    """
    days = [change.day for change in of_kind(config, "new_model") for _ in range(change.trucks)]
    return tuple((FIRST_NEWCOMER + number, day) for number, day in enumerate(days))


def rescaled(config: "FleetConfig", model: str, signal: str, day: NDArray[np.int64],
             values: NDArray[np.float64]) -> NDArray[np.float64]:  # fmt: skip
    """Physical values as the controllers of `model` send them; NaN and infinity (no value, error) stay.

    Args:
        day: the fleet's day of each value.
        values: of `signal`.
    """
    for change in of_kind(config, "firmware_rescale"):
        if (change.model, change.signal) == (model, signal):
            values = np.where(day >= change.day, change.scale * values + change.offset, values)
    return values
