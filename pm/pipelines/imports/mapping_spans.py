"""Spans of time as a mapping writes them: `30h`, `1d 6h`, `-5min`.

What belongs here: reading them. Adding one to instants is `pm.pipelines.imports.mapping_times`.
"""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pm.errors import ConfigError

_UNITS: Final = {"h": 3600.0, "min": 60.0, "s": 1.0, "ms": 1e-3}
_WHOLE: Final = re.compile(r"(-?)\s*((?:\d+(?:\.\d+)?\s*(?:d|h|min|ms|s)\s*)+)")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(d|h|min|ms|s)")
_LONGEST_D: Final = 36_600


@dataclass(frozen=True)
class Span:
    """Days of the calendar, then elapsed time.

    They differ where a clock changes: a day later is the same hour of the next day, 24 hours later is not.
    """

    days: int = 0
    elapsed: timedelta = timedelta(0)

    @property
    def is_negative(self) -> bool:
        return self.days < 0 or self.elapsed < timedelta(0)


NO_SPAN: Final = Span()


def read_span(text: str) -> Span:
    """`1d 6h` and the like; a minus in front is for the whole.

    Raises:
        ConfigError: the text is no such span.
    """
    whole = _WHOLE.fullmatch(text.strip())
    parts = _PART.findall(whole[2]) if whole else []
    days = sum(float(number) for number, unit in parts if unit == "d")
    if not parts or days != int(days) or days > _LONGEST_D:
        raise ConfigError(f'expected a span of time such as "30h", "1d 6h" or "-5min", but got {text!r}')
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts if unit != "d")
    if seconds > _LONGEST_D * 86_400:
        raise ConfigError(f"expected a span of at most {_LONGEST_D} days, but got {text!r}")
    sign = -1 if whole is not None and whole[1] else 1
    return Span(sign * int(days), sign * timedelta(seconds=seconds))
