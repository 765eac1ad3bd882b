"""The named, versioned, hashed list of features: the data dictionary of the models.

What belongs here: what each feature is called, means, is measured in and made from. How a recipe
is computed is `pm.features.windows` and its neighbours.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain
from typing import Final

from pm.errors import ConfigError
from pm.features.quantities import BY_NAME, COMPONENT_SPNS, COMPONENT_WORDS
from pm.policy import Policy

BEFORE_D: Final = 28
"""Days of a truck's own past that its last days are compared with."""
RECENT_D: Final = 3
"""Last days that are compared with the truck's own past."""


@dataclass(frozen=True)
class Recipe:
    """How a feature is computed: which statistic, of which quantity or component, over which days."""

    kind: str = "given"
    """The statistic; "given": not computed by `build_vectors` but handed over by somebody else."""
    of: str = ""
    days: int = 0


@dataclass(frozen=True)
class Feature:
    """One feature, in words a fleet manager understands."""

    name: str
    unit: str
    meaning: str
    sources: tuple[str, ...]
    """`message.signal` or the name of a table."""
    recipe: Recipe = Recipe()


@dataclass(frozen=True)
class FeatureSet:
    """Features in the order of `FEATURE_VECTOR.features`; two sets with one id are the same list."""

    name: str
    version: int
    features: tuple[Feature, ...]

    def __post_init__(self) -> None:
        names = self.names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"feature set {self.name}: expected unique feature names, but got {twice} twice")

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    @cached_property
    def definition_json(self) -> str:
        """Canonical JSON: the features in order, with everything that decides their values."""
        return json.dumps([asdict(feature) for feature in self.features], sort_keys=True, separators=(",", ":"))

    @cached_property
    def feature_set_id(self) -> str:
        """Name, version and the first 8 hex digits of the definition's sha256."""
        return f"{self.name}-{self.version}-{hashlib.sha256(self.definition_json.encode()).hexdigest()[:8]}"

    def position(self, name: str) -> int:
        """Position of a feature in the vector.

        Raises:
            ConfigError: the set has no such feature.
        """
        if name not in self.names:
            raise ConfigError(f"feature set {self.feature_set_id}: expected one of its features, but got {name!r}")
        return self.names.index(name)

    @cached_property
    def lookback_d(self) -> int:
        """Days of dailies before an as-of that its vectors are made from; older ones change nothing."""
        return max((_lookback_d(feature.recipe) for feature in self.features), default=0)


def default_feature_set(policy: Policy) -> FeatureSet:
    """Set "truck", version 1: signals, use, trouble codes, repairs and coverage, for the shipped components."""
    groups = (_signal_features(policy.features.windows_d), _use_features(), _code_features(), _history_features())
    return FeatureSet("truck", 1, tuple(chain.from_iterable(groups)))


_TELLING: Final = {
    "coolant_c": ("mean", "max"), "coolant_level_pct": ("mean", "min"), "coolant_kpa": ("mean", "max"),
    "supply_air_kpa": ("mean", "min"), "brake_1_kpa": ("min",), "brake_2_kpa": ("min",),
    "compressor_share": ("mean",), "charging_v": ("mean", "min"), "battery_v": ("mean", "min"),
    "battery_a": ("mean",), "alternator_a": ("mean",),
}  # fmt: skip
"""The statistics that wear shows in, for the quantities close to a component."""
_UNSTEADY: Final = ("coolant_c", "supply_air_kpa", "charging_v", "battery_v", "battery_a")
"""Quantities whose spread tells: hunting temperature, pumping pressure, voltage ripple."""
_SURROUNDINGS: Final = (
    "oil_c",
    "oil_kpa",
    "engine_rpm",
    "speed_kmh",
    "load_pct",
    "boost_kpa",
    "exhaust_c",
    "ambient_c",
)
_STATISTIC_WORDS: Final = {"mean": "mean", "min": "lowest", "max": "highest", "std": "spread (standard deviation) of"}
_WEEK_D: Final = 7
_FORTNIGHT_D: Final = 14


def _signal_features(windows_d: tuple[int, ...]) -> Iterator[Feature]:
    short, middle, long = _spread(windows_d)
    for name, statistics in _TELLING.items():
        for days in dict.fromkeys((short, middle, long)):
            yield _window(statistics[0], name, days)
        for statistic in statistics[1:]:
            yield _window(statistic, name, middle)
        yield _trend(name, _FORTNIGHT_D)
        yield _change(name)
        yield _against_peers(name, _WEEK_D)
    for name in _UNSTEADY:
        yield _window("std", name, middle)
    for name in ("coolant_c", "battery_v"):
        yield _trend(name, BEFORE_D)
    for name in _SURROUNDINGS:
        yield _window("mean", name, middle)
    yield _change("oil_kpa")
    yield _excess("coolant_c", "ambient_c", middle)


def _spread(windows_d: tuple[int, ...]) -> tuple[int, int, int]:
    """Shortest, middle and longest of the policy's windows."""
    if not windows_d:
        raise ConfigError("policy [features] windows_d: expected at least one window, but got none")
    ordered = sorted(windows_d)
    return ordered[0], ordered[len(ordered) // 2], ordered[-1]


def _last(days: int) -> str:
    return "over the last day" if days == 1 else f"over the last {days} days"


def _window(statistic: str, name: str, days: int) -> Feature:
    of = BY_NAME[name]
    meaning = f"{_STATISTIC_WORDS[statistic]} {of.meaning} {_last(days)}"
    return Feature(f"{name}_{statistic}_{days}d", of.unit, meaning, of.sources, Recipe(statistic, name, days))


def _trend(name: str, days: int) -> Feature:
    of = BY_NAME[name]
    meaning = f"change a day of the {of.meaning} {_last(days)} (slope of the daily means)"
    return Feature(f"{name}_slope_{days}d", f"{of.unit}/d", meaning, of.sources, Recipe("slope", name, days))


def _change(name: str) -> Feature:
    of = BY_NAME[name]
    meaning = f"mean {of.meaning} of the last {RECENT_D} days minus that of this truck's {BEFORE_D} days before"
    return Feature(f"{name}_change_{RECENT_D}d", of.unit, meaning, of.sources, Recipe("change", name, RECENT_D))


def _against_peers(name: str, days: int) -> Feature:
    of = BY_NAME[name]
    meaning = f"mean {of.meaning} {_last(days)} minus the median of trucks of the same model"
    sources = (*of.sources, "vehicle")
    return Feature(f"{name}_peers_{days}d", of.unit, meaning, sources, Recipe("peers", name, days))


def _excess(name: str, over: str, days: int) -> Feature:
    of, reference = BY_NAME[name], BY_NAME[over]
    meaning = f"mean {of.meaning} minus mean {reference.meaning} {_last(days)}"
    sources = of.sources + reference.sources
    return Feature(f"{name}_above_{over}_{days}d", of.unit, meaning, sources, Recipe("excess", f"{name}-{over}", days))


def _use_features() -> Iterator[Feature]:
    for name, counter in (("distance_km", "odometer_km"), ("running_h", "engine_h")):
        of = BY_NAME[counter]
        words = "distance driven" if name == "distance_km" else "hours the engine ran"
        for days in (_WEEK_D, BEFORE_D):
            yield Feature(
                f"{name}_{days}d", of.unit, f"{words} {_last(days)}", of.sources, Recipe("gain", counter, days)
            )
        yield Feature(counter, of.unit, f"latest {of.meaning}", of.sources, Recipe("latest", counter, BEFORE_D))
    for days in (_WEEK_D, _FORTNIGHT_D):
        words = f"days with data {_last(days)}"
        yield Feature(f"n_days_with_data_{days}d", "d", words, ("daily_signal",), Recipe("days_with_data", "", days))
    yield Feature("age_a", "a", "age of the truck by its model year", ("vehicle",), Recipe("age"))


def _code_features() -> Iterator[Feature]:
    source = ("daily_fault",)
    per_component = "trouble codes about {}, each counted once a day, {}"
    for component in COMPONENT_SPNS:
        words = per_component.format(COMPONENT_WORDS[component], "{}")
        for days in (RECENT_D, _FORTNIGHT_D):
            meaning = words.format(_last(days))
            yield Feature(f"n_dtc_{component}_{days}d", "1", meaning, source, Recipe("codes", component, days))
        meaning = f"days with a trouble code about {COMPONENT_WORDS[component]} {_last(BEFORE_D)}"
        yield Feature(
            f"n_dtc_days_{component}_{BEFORE_D}d", "d", meaning, source, Recipe("code_days", component, BEFORE_D)
        )
    plain = (
        ("n_dtc_14d", "1", "trouble codes, each counted once a day, over the last 14 days", "codes", _FORTNIGHT_D),
        ("n_dtc_days_7d", "d", "days with a trouble code over the last 7 days", "code_days", _WEEK_D),
        ("n_dtc_days_28d", "d", "days with a trouble code over the last 28 days", "code_days", BEFORE_D),
        ("n_dtc_different_28d", "1", "different trouble codes over the last 28 days", "different_codes", BEFORE_D),
        ("n_dtc_new_7d", "1", "trouble codes of the last 7 days not seen in the 21 before", "new_codes", _WEEK_D),
        ("dtc_first_seen_d", "d", "days since the newest trouble code of the last 28 days was first seen",
         "newest_code", BEFORE_D),
        ("n_red_lamp_days_14d", "d", "days with the red stop lamp on over the last 14 days", "red_days", _FORTNIGHT_D),
        ("n_amber_lamp_days_14d", "d", "days with the amber warning lamp on over the last 14 days", "amber_days",
         _FORTNIGHT_D),
    )  # fmt: skip
    for name, unit, meaning, kind, days in plain:
        yield Feature(name, unit, meaning, source, Recipe(kind, "", days))


def _history_features() -> Iterator[Feature]:
    source = ("failure",)
    for component, words in COMPONENT_WORDS.items():
        yield Feature(
            f"days_since_repair_{component}", "d", f"days since {words} was last repaired or renewed (at most 365)",
            source, Recipe("days_since_repair", component),
        )  # fmt: skip
        yield Feature(
            f"n_failures_{component}", "1", f"known failures of {words} before", source, Recipe("failures", component)
        )
        yield Feature(
            f"n_no_trouble_found_{component}_90d", "1", f"visits for {words} where no trouble was found, over the "
            "last 90 days", source, Recipe("no_trouble_found", component, 90),
        )  # fmt: skip
    yield Feature(
        "n_failures_365d", "1", "known failures of any component over the last 365 days", source,
        Recipe("failures", "", 365),
    )  # fmt: skip


_NOT_FROM_DAILIES: Final = frozenset(("given", "age", "days_since_repair", "failures", "no_trouble_found"))


def _lookback_d(recipe: Recipe) -> int:
    if recipe.kind in _NOT_FROM_DAILIES:
        return 0
    if recipe.kind == "change":
        return recipe.days + BEFORE_D
    return max(recipe.days, BEFORE_D) if recipe.kind == "new_codes" else recipe.days
