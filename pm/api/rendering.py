"""Jinja2 with the few filters the pages use.

What belongs here: how a value is written for a person. Everything is escaped; an undefined name
is an error, not an empty cell.
"""

import hashlib
import re
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

STATIC: Final = Path(__file__).parent / "static"

_WORD_END: Final = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[_.])")

STATUS_WORDS: Final = {
    "ok": "OK",
    "insufficient_data": "Too little data",
    "stale": "Old data",
    "fallback": "Simple rule",
}
ROLE_WORDS: Final = {
    "champion": "Trained model",
    "canary": "Model on trial",
    "shadow": "Shadow model",
    "fallback": "Simple rule",
}


def percent(probability: float | None) -> str:
    """`31 %`, `4.2 %` below ten, `under 0.1 %`; a dash where there is none."""
    if probability is None:
        return "–"
    if probability < 0.001:
        return "under 0.1 %"
    points = 100 * probability
    return f"{points:.0f} %" if points >= 10 else f"{points:.1f} %"


def share(part: float | None) -> str:
    """As `percent`, and `0 %` and `100 %` only where nothing and everything is meant; a dash where there is none."""
    if part == 0:
        return "0 %"
    return "over 99.9 %" if part is not None and 0.9995 <= part < 1 else percent(part)


def whole(number: int | None) -> str:
    """`12,345`; a dash where there is none."""
    return "–" if number is None else f"{number:,}"


def breakable(name: str) -> Markup:
    """A name with a place to break a line after each of its words: `Eng<wbr>Coolant<wbr>Temp`; escaped."""
    return Markup("<wbr>").join(_WORD_END.split(name))


def day(instant: datetime | None) -> str:
    """`3 Feb 2026`, or `never`."""
    return "never" if instant is None else f"{instant.day} {instant:%b %Y}"


def minute(instant: datetime | None) -> str:
    """`3 Feb 2026, 07:45 UTC`, or `never`."""
    return "never" if instant is None else f"{day(instant)}, {instant:%H:%M} UTC"


def figure(value: float | None) -> str:
    """Three significant digits, whole from 100 on; a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


@cache
def asset_version(name: str) -> str:
    """First eight hex digits of the file's sha256: its address changes when it does."""
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:8]


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("pm.api"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters |= {"percent": percent, "day": day, "minute": minute, "figure": figure}
    made.filters |= {"share": share, "whole": whole, "breakable": breakable}
    made.globals |= {"asset_version": asset_version, "status_words": STATUS_WORDS, "role_words": ROLE_WORDS}
    return made


def render(template: str, **values: Any) -> str:
    """The page `template` filled with `values`."""
    return _environment().get_template(template).render(**values)
