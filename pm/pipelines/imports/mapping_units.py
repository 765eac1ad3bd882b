"""Units of imported columns, and how one becomes another.

What belongs here: the units that a mapping may name. Exact factors are by definition (inch, pound, US gallon:
NIST Special Publication 811, appendix B); a unit that is not here can still be used where nothing is converted.
"""

from dataclasses import dataclass
from typing import Final

from pm.errors import ConfigError


@dataclass(frozen=True)
class Scale:
    """A number in one unit as a number in another: `factor` times it, plus `offset`."""

    factor: float = 1.0
    offset: float = 0.0


SAME: Final = Scale()

# Quantity -> unit -> (factor, offset) to the quantity's first unit.
_QUANTITIES: Final[dict[str, dict[str, tuple[float, float]]]] = {
    "temperature": {"degC": (1, 0), "K": (1, -273.15), "degF": (5 / 9, -160 / 9)},
    "pressure": {
        "kPa": (1, 0), "Pa": (1e-3, 0), "hPa": (0.1, 0), "MPa": (1e3, 0), "bar": (100, 0), "mbar": (0.1, 0),
        "psi": (6.894757293168361, 0), "inHg": (3.386389, 0),
    },
    "length": {
        "km": (1, 0), "m": (1e-3, 0), "cm": (1e-5, 0), "mm": (1e-6, 0), "mi": (1.609344, 0), "ft": (3.048e-4, 0),
        "hm": (0.1, 0),
    },
    "speed": {"km/h": (1, 0), "m/s": (3.6, 0), "mph": (1.609344, 0), "kn": (1.852, 0)},
    "volume": {"l": (1, 0), "ml": (1e-3, 0), "m3": (1e3, 0), "gal": (3.785411784, 0), "gal_imp": (4.54609, 0)},
    "volume rate": {"l/h": (1, 0), "ml/h": (1e-3, 0), "ml/s": (3.6, 0), "gal/h": (3.785411784, 0)},
    "fuel economy": {"km/l": (1, 0), "mpg": (1.609344 / 3.785411784, 0)},
    "mass": {"kg": (1, 0), "g": (1e-3, 0), "t": (1e3, 0), "lb": (0.45359237, 0)},
    "mass rate": {"kg/h": (1, 0), "g/s": (3.6, 0), "lb/h": (0.45359237, 0)},
    "duration": {"s": (1, 0), "ms": (1e-3, 0), "min": (60, 0), "h": (3600, 0), "d": (86_400, 0)},
    "share": {"%": (1, 0), "ratio": (100, 0), "ppm": (1e-4, 0)},
    "voltage": {"V": (1, 0), "mV": (1e-3, 0)},
    "current": {"A": (1, 0), "mA": (1e-3, 0)},
    "rotation": {"rpm": (1, 0), "rad/s": (9.549296585513721, 0), "Hz": (60, 0)},
    "angle": {"rad": (1, 0), "deg": (0.017453292519943295, 0)},
    "torque": {"Nm": (1, 0), "lbf.ft": (1.3558179483314004, 0)},
    "power": {"kW": (1, 0), "W": (1e-3, 0), "hp": (0.745699871582270, 0), "PS": (0.73549875, 0)},
    "energy": {"kWh": (1, 0), "Wh": (1e-3, 0), "MJ": (1 / 3.6, 0)},
    "acceleration": {"m/s2": (1, 0), "g0": (9.80665, 0)},
}  # fmt: skip

_SPELLINGS: Final = {
    "°C": "degC", "C": "degC", "deg C": "degC", "°F": "degF", "F": "degF", "deg F": "degF", "L": "l", "litre": "l",
    "liter": "l", "mL": "ml", "L/h": "l/h", "gph": "gal/h", "km/L": "km/l", "kmh": "km/h", "kph": "km/h",
    "miles": "mi", "mile": "mi", "lbs": "lb", "sec": "s", "hours": "h", "hr": "h", "r/min": "rpm", "1/min": "rpm",
    "m³": "m3", "m/s²": "m/s2", "°": "deg", "percent": "%", "N m": "Nm", "ft": "ft", "day": "d",
}  # fmt: skip

_SCALES: Final = {
    unit: (quantity, factor, offset)
    for quantity, units in _QUANTITIES.items()
    for unit, (factor, offset) in units.items()
}
UNITS: Final = tuple(sorted(_SCALES))
"""Units that can be converted."""


def conversion(given: str, wanted: str) -> Scale:
    """How numbers in `given` become numbers in `wanted`; one unit needs none, known here or not.

    Raises:
        ConfigError: one of the two is not known, or they are of different quantities.
    """
    if given == wanted or plain_unit(given) == plain_unit(wanted):
        return SAME
    for unit in (given, wanted):
        if plain_unit(unit) not in _SCALES:
            raise ConfigError(f"expected a unit that becomes {wanted!r}, one of {list(UNITS)}, but got {given!r}")
    quantity, factor, offset = _SCALES[plain_unit(given)]
    wanted_quantity, wanted_factor, wanted_offset = _SCALES[plain_unit(wanted)]
    if quantity != wanted_quantity:
        raise ConfigError(f"expected a unit of {wanted_quantity} for {wanted!r}, but got {given!r}, of {quantity}")
    return Scale(factor / wanted_factor, (offset - wanted_offset) / wanted_factor)


def plain_unit(unit: str) -> str:
    """The unit's one spelling here: °C and C are degC."""
    return _SPELLINGS.get(unit.strip(), unit.strip())
