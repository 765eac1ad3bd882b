"""Units that are mistaken for one another.

What belongs here: for each unit of a DBC, what comes in its place, as `sent = scale * true + offset`.
Factors are exact by definition where there is one (inch, pound, US gallon, mile: NIST Special
Publication 811, appendix B). What is not listed is not recognised, and not invented.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Conversion:
    """What is sent in place of what is declared: `sent = scale * true + offset`."""

    words: str
    """For instance `degrees Fahrenheit in place of degrees Celsius`."""
    scale: float
    offset: float = 0.0


_MILE_KM: Final = 1.609344
_PSI_KPA: Final = 6.894757293168361
_GALLON_L: Final = 3.785411784
_POUND_KG: Final = 0.45359237
_FOOT_POUND_NM: Final = 1.3558179483314004
_RPM_RAD_S: Final = 9.549296585513721

CONVERSIONS: Final[dict[str, tuple[Conversion, ...]]] = {
    "degC": (
        Conversion("degrees Fahrenheit in place of degrees Celsius", 1.8, 32.0),
        Conversion("kelvin in place of degrees Celsius", 1.0, 273.15),
    ),
    "kPa": (
        Conversion("psi in place of kPa", 1 / _PSI_KPA),
        Conversion("bar in place of kPa", 0.01),
        Conversion("hPa (mbar) in place of kPa", 10.0),
        Conversion("MPa in place of kPa", 1e-3),
    ),
    "MPa": (
        Conversion("psi in place of MPa", 1e3 / _PSI_KPA),
        Conversion("bar in place of MPa", 10.0),
        Conversion("kPa in place of MPa", 1e3),
    ),
    "km": (
        Conversion("miles in place of kilometres", 1 / _MILE_KM),
        Conversion("metres in place of kilometres", 1e3),
    ),
    "km/h": (
        Conversion("miles an hour in place of km/h", 1 / _MILE_KM),
        Conversion("m/s in place of km/h", 1 / 3.6),
    ),
    "V": (
        Conversion("volts of a 12 V system in place of a 24 V system", 0.5),
        Conversion("volts of a 24 V system in place of a 12 V system", 2.0),
        Conversion("millivolts in place of volts", 1e3),
    ),
    "A": (Conversion("milliamperes in place of amperes", 1e3),),
    "h": (Conversion("minutes in place of hours", 60.0), Conversion("seconds in place of hours", 3600.0)),
    "l": (Conversion("US gallons in place of litres", 1 / _GALLON_L),),
    "l/h": (Conversion("US gallons an hour in place of l/h", 1 / _GALLON_L),),
    "km/l": (Conversion("miles a US gallon in place of km/l", _GALLON_L / _MILE_KM),),
    "kg": (Conversion("pounds in place of kilograms", 1 / _POUND_KG),),
    "kg/h": (Conversion("pounds an hour in place of kg/h", 1 / _POUND_KG),),
    "Nm": (Conversion("pound-feet in place of Nm", 1 / _FOOT_POUND_NM),),
    "rpm": (Conversion("rad/s in place of rpm", 1 / _RPM_RAD_S), Conversion("1/s in place of rpm", 1 / 60)),
    "%": (Conversion("shares from 0 to 1 in place of percent", 0.01),),
}
"""By the unit as the shipped DBC files spell it."""

_SPELLINGS: Final = {
    "°C": "degC", "C": "degC", "deg C": "degC", "L": "l", "L/h": "l/h", "km/L": "km/l", "kph": "km/h", "kmh": "km/h",
    "hr": "h", "hours": "h", "r/min": "rpm", "1/min": "rpm", "N m": "Nm", "percent": "%",
}  # fmt: skip


def conversions_of(unit: str) -> tuple[Conversion, ...]:
    """What may be sent in place of `unit`; nothing for a unit that is not known here."""
    return CONVERSIONS.get(_SPELLINGS.get(unit, unit), ())
