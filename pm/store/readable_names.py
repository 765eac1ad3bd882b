"""Names for people: from a DBC's signal name and unit to a column name in snake case that ends in its unit.

What belongs here: pure text. Which views have these columns is `pm.store.views`.

`EngCoolantTemp` [degC] is `eng_coolant_temp_c`, `WheelBasedVehicleSpeed` [km/h] is
`wheel_based_vehicle_speed_km_h`. A name that ends in its unit already is left so. The same signals in
the same order always get the same names.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable
from typing import Final

NAME_BYTES: Final = 63
"""PostgreSQL cuts longer names."""

_LONGEST_UNIT: Final = 16
"""A longer text in a DBC's unit field is an explanation ("0 = off, 1 = on"), not a unit."""
_NO_UNIT: Final = frozenset({"", "1", "none", "n_a", "na", "unit", "units", "unitless", "bit", "bits", "enum", "raw"})
_PHRASES: Final = {"1/min": "rpm", "min-1": "rpm", "min^-1": "rpm", "r/min": "rpm", "rev/min": "rpm"}
_SIGNS: Final = {
    "°": "deg",
    "%": " percent ",
    "²": "2",
    "³": "3",
    "Ω": "ohm",
    "µ": "u",
    "μ": "u",
    "·": "",
    "*": "",
    "^": "",
}
_WORDS: Final = {
    "degc": "c", "celsius": "c", "degf": "f", "fahrenheit": "f", "kelvin": "k",
    "pct": "percent", "prcnt": "percent",
    "volt": "v", "volts": "v", "amp": "a", "amps": "a", "ampere": "a", "amperes": "a", "watt": "w", "watts": "w",
    "kph": "km_h", "kmh": "km_h", "kmph": "km_h", "mph": "mi_h",
    "second": "s", "seconds": "s", "sec": "s", "secs": "s", "minute": "min", "minutes": "min", "mins": "min",
    "hour": "h", "hours": "h", "hr": "h", "hrs": "h", "day": "d", "days": "d",
    "gram": "g", "grams": "g", "meter": "m", "meters": "m", "metre": "m", "metres": "m",
    "liter": "l", "liters": "l", "litre": "l", "litres": "l",
    "degree": "deg", "degrees": "deg", "radian": "rad", "radians": "rad",
}  # fmt: skip
_OTHER: Final = re.compile(r"[^a-z0-9]+")
_BOUNDARY: Final = re.compile(
    r"(?<=[a-z])(?=[A-Z])|(?<=[0-9])(?=[A-Z][a-z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[a-z][0-9])(?=[A-Z]{2})"
)


def unit_suffix(unit: str) -> str:
    """The unit as the end of a name: `c`, `percent`, `rpm`, `km_h`, `kpa`, `l_h`; empty where there is none."""
    text = unit.strip()
    text = _PHRASES.get(text.lower(), text)
    if len(text) > _LONGEST_UNIT:
        return ""
    for sign, word in _SIGNS.items():
        text = text.replace(sign, word)
    text = re.sub(r"\bdeg\s+([CF])\b", r"deg\1", text)
    plain = _squeezed(text.lower())
    return "" if plain in _NO_UNIT else _normal(plain)


def snake_case(name: str) -> str:
    """A DBC's name in lower case with `_` between its words; accents are taken off, other signs become `_`."""
    plain = "".join(sign for sign in unicodedata.normalize("NFKD", name) if not unicodedata.combining(sign))
    return _squeezed(_BOUNDARY.sub("_", plain.replace("NOx", "Nox")).lower())


def readable_name(signal: str, unit: str) -> str:
    """The column name of one signal, at most 63 bytes, before anything else has taken it."""
    stem, suffix = snake_case(signal) or "signal", unit_suffix(unit)
    if f"_{_normal(stem)}".endswith(f"_{suffix}"):
        suffix = ""
    return _joined(stem if not stem[0].isdigit() else f"_{stem}", suffix)


def readable_names(signals: Iterable[tuple[str, str]], taken: Collection[str] = ()) -> tuple[str, ...]:
    """Column names of (signal, unit), in order; one that is taken already gets _2, _3, ... before its unit."""
    used, names = set(taken), list[str]()
    for signal, unit in signals:
        name = readable_name(signal, unit)
        if name in used:
            name = _numbered(name, unit_suffix(unit), used)
        used.add(name)
        names.append(name)
    return tuple(names)


def _numbered(name: str, suffix: str, used: Collection[str]) -> str:
    stem = name.removesuffix(f"_{suffix}") if suffix else name
    end = suffix if stem != name else ""
    number = 2
    while (candidate := _joined(stem, f"{number}_{end}".rstrip("_"))) in used:
        number += 1
    return candidate


def _joined(stem: str, end: str) -> str:
    if not end:
        return stem[:NAME_BYTES]
    return f"{stem[: NAME_BYTES - len(end) - 1].rstrip('_')}_{end}"


def _normal(words: str) -> str:
    return "_".join(_WORDS.get(word, word) for word in words.split("_"))


def _squeezed(text: str) -> str:
    return _OTHER.sub("_", text).strip("_")
