"""Ranges of a quantity in which the time of each day is counted, and what an engine start is.

What belongs here: the declarations (name, edges, unit, words) and what names them in stored rows. The
counting is `pm.features.daily`. The limits of trucks are those that a workshop asks about: of a 24 V
system, of air brakes with a governor that cuts out at about 850 kPa, of a heavy diesel engine. Units that are no
trucks declare theirs in their feature file (`pm.features.featurefile`).
"""

import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from pm.errors import ConfigError
from pm.features.quantities import QUANTITIES, Quantity

LONGEST_GAP_S: Final = 60.0
"""A value holds until the next one of its series, but no longer: what a truck did in between is not known."""
STARTED: Final = "engine_rpm"
"""The quantity of a truck whose starts are counted."""


@dataclass(frozen=True)
class Ranges:
    """The ranges of one quantity: range i holds the values with edges[i - 1] <= value < edges[i].

    Raises:
        ConfigError: the edges do not rise, or there is not one word a range.
    """

    name: str
    """The quantity's name."""
    unit: str
    edges: tuple[float, ...]
    words: tuple[str, ...]
    """What each range is called, one more than edges."""
    start: tuple[float, float] | None = None
    """It stands below the first number and runs from the second on; a start is the change from one to the other."""
    longest_gap_s: float = LONGEST_GAP_S

    def __post_init__(self) -> None:
        rising = all(low < high for low, high in pairwise(self.edges))
        if not self.edges or not rising or not all(map(math.isfinite, self.edges)):
            raise ConfigError(f"ranges of {self.name}: expected rising edges, but got {self.edges}")
        if len(self.words) != len(self.edges) + 1:
            raise ConfigError(
                f"ranges of {self.name}: expected {len(self.edges) + 1} words for {len(self.edges)} edges, "
                f"but got {len(self.words)}"
            )
        if not 0 < self.longest_gap_s <= 86_400:
            raise ConfigError(f"ranges of {self.name}: expected a gap of up to a day, but got {self.longest_gap_s} s")
        if self.start is not None and not self.start[0] <= self.start[1]:
            raise ConfigError(f"ranges of {self.name}: expected start limits that rise, but got {self.start}")

    @property
    def ranges_id(self) -> int:
        """31 bits that tell rows made with other edges, gap or start limits; never null."""
        return zlib.crc32(repr((self.edges, self.longest_gap_s, self.start)).encode()) & 0x7FFF_FFFF

    @property
    def longest_gap_us(self) -> int:
        return round(self.longest_gap_s * 1_000_000)


TRUCK_RANGES: Final = (
    Ranges("coolant_c", "°C", (70.0, 105.0), ("cold", "warm", "over 105 °C")),
    Ranges("oil_kpa", "kPa", (100.0, 200.0), ("under 100 kPa", "100 to 200 kPa", "200 kPa and more")),
    Ranges("supply_air_kpa", "kPa", (600.0, 900.0), ("under 600 kPa", "600 to 900 kPa", "900 kPa and more")),
    Ranges("brake_1_kpa", "kPa", (550.0,), ("under 550 kPa", "550 kPa and more")),
    Ranges("brake_2_kpa", "kPa", (550.0,), ("under 550 kPa", "550 kPa and more")),
    Ranges("charging_v", "V", (26.5, 29.0), ("under 26.5 V", "26.5 to 29 V", "29 V and more")),
    Ranges("battery_v", "V", (24.0, 26.5), ("under 24 V", "24 to 26.5 V", "26.5 V and more")),
    Ranges("engine_rpm", "rpm", (300.0, 900.0), ("not running", "idle", "over 900 rpm"), start=(300.0, 400.0)),
    Ranges("speed_kmh", "km/h", (1.0, 60.0), ("standing", "under 60 km/h", "60 km/h and more")),
    Ranges("load_pct", "%", (20.0, 80.0), ("under 20 %", "20 to 80 %", "80 % and more")),
    Ranges("exhaust_c", "°C", (250.0, 450.0), ("under 250 °C", "250 to 450 °C", "450 °C and more")),
    Ranges("soot_load_pct", "%", (80.0, 100.0), ("under 80 %", "80 to 100 %", "100 % and more")),
)
BY_QUANTITY: Final = {ranges.name: ranges for ranges in TRUCK_RANGES}


def ranges_of_edges(name: str, unit: str, edges: tuple[float, ...], start: tuple[float, float] | None = None) -> Ranges:
    """Ranges whose words are made from their edges: "under 10 bar", "10 to 20 bar", "20 bar and more".

    Raises:
        ConfigError: as `Ranges`.
    """
    if not edges:
        raise ConfigError(f"ranges of {name}: expected at least one edge, but got none")
    of = "" if unit == "1" else f" {unit}"
    between = (f"{low:g} to {high:g}{of}" for low, high in pairwise(edges))
    words = (f"under {edges[0]:g}{of}", *between, f"{edges[-1]:g}{of} and more")
    return Ranges(name, unit, edges, words, start)


def ranges_by_source(
    quantities: Iterable[Quantity] = QUANTITIES, declared: Mapping[str, Ranges] = BY_QUANTITY
) -> dict[str, Ranges]:
    """The ranges of each `message.signal` that is a source of a quantity with ranges.

    Raises:
        ConfigError: two quantities want other ranges of one signal.
    """
    found: dict[str, Ranges] = {}
    for quantity in quantities:
        ranges = declared.get(quantity.name)
        if ranges is None:
            continue
        for source in quantity.sources:
            if found.setdefault(source, ranges).ranges_id != ranges.ranges_id:
                raise ConfigError(f"signal {source}: expected one set of ranges, but got those of {quantity.name} too")
    return found
