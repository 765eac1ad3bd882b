"""What a quantity can be on a truck, and which quantities only count up.

What belongs here: ranges narrower than a DBC's, which is what the bits can hold: 250 kPa steps of a
byte say nothing of a brake. They are wide: outside is a sensor or a unit, never a worn part.
"""

from collections.abc import Sequence
from typing import Final

from pm.features.quantities import Quantity

RANGES: Final = {
    "coolant_c": (-50.0, 150.0),
    "coolant_level_pct": (0.0, 100.0),
    "coolant_kpa": (0.0, 400.0),
    "oil_c": (-50.0, 200.0),
    "oil_kpa": (0.0, 1_000.0),
    "supply_air_kpa": (0.0, 1_600.0),
    "brake_1_kpa": (0.0, 1_600.0),
    "brake_2_kpa": (0.0, 1_600.0),
    "charging_v": (0.0, 36.0),
    "battery_v": (0.0, 36.0),
    "battery_a": (-1_500.0, 1_500.0),
    "alternator_a": (-10.0, 500.0),
    "engine_rpm": (0.0, 3_500.0),
    "speed_kmh": (0.0, 160.0),
    "load_pct": (0.0, 125.0),
    "boost_kpa": (0.0, 600.0),
    "exhaust_c": (-50.0, 1_000.0),
    "ambient_c": (-60.0, 70.0),
    "odometer_km": (0.0, 5_000_000.0),
    "engine_h": (0.0, 150_000.0),
}
"""Physical limits of heavy trucks by quantity; a charging system of 24 V is regulated below 30 V."""
ODOMETER: Final = "odometer_km"
ENGINE_HOURS: Final = "engine_h"
SPEED: Final = "speed_kmh"
_H_PER_H: Final = 1.05
"""An hour meter may round up, never run faster than the clock by more than this."""


def range_by_signal(quantities: Sequence[Quantity]) -> dict[tuple[str, str], tuple[float, float]]:
    """The narrower range of each (message, signal) that is a source of a quantity with one."""
    return {
        _names(source): RANGES[quantity.name]
        for quantity in quantities
        for source in quantity.sources
        if quantity.name in RANGES
    }


def counters(quantities: Sequence[Quantity], counter_kmh: float) -> dict[tuple[str, str], float]:
    """The (message, signal) of every counter, with the most that it can gain an hour, in its unit."""
    fastest = {ODOMETER: counter_kmh, ENGINE_HOURS: _H_PER_H}
    return {
        _names(source): fastest[quantity.name]
        for quantity in quantities
        for source in quantity.sources
        if quantity.name in fastest
    }


def sources_of(quantities: Sequence[Quantity], *names: str) -> list[tuple[str, str]]:
    """The (message, signal) of the quantities with these names, of all of them where none is named."""
    chosen = [quantity for quantity in quantities if not names or quantity.name in names]
    return [_names(source) for quantity in chosen for source in quantity.sources]


def _names(source: str) -> tuple[str, str]:
    message, signal = source.split(".", 1)
    return message, signal
