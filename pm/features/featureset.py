"""The shipped feature sets: which features a truck has.

What belongs here: the lists. What a feature is, is `pm.features.definition`; what it is called and means is
`pm.features.declare`; other units bring a feature file (`pm.features.featurefile`).

Set "truck" is kept small on purpose: on a few hundred failures a booster finds chance splits among features that
carry nothing. Set "truck_wide" has every statistic over every window, to be compared with it by a backtest.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Final

from pm.errors import ConfigError
from pm.features import declare
from pm.features.definition import (
    BEFORE_D,
    RECENT_D,
    TRUCK_COMPONENTS,
    Component,
    Feature,
    FeatureSet,
    Recipe,
    read_set,
)
from pm.features.quantities import BY_NAME
from pm.policy import Policy

__all__ = [
    "BEFORE_D",
    "RECENT_D",
    "SHIPPED",
    "Component",
    "Feature",
    "FeatureSet",
    "Recipe",
    "default_feature_set",
    "read_set",
    "wide_feature_set",
]

_WEEK_D: Final = 7
_FORTNIGHT_D: Final = 14
_NTF_D: Final = 90
_YEAR_D: Final = 365

_TELLING: Final = {
    "coolant_c": ("mean", "max"), "coolant_level_pct": ("mean", "min"), "coolant_kpa": ("mean", "max"),
    "supply_air_kpa": ("mean", "min"), "brake_1_kpa": ("min",), "brake_2_kpa": ("min",),
    "compressor_share": ("mean",), "charging_v": ("mean", "min"), "battery_v": ("mean", "min"),
    "battery_a": ("mean",), "alternator_a": ("mean",),
}  # fmt: skip
"""The statistics that wear shows in, for the quantities close to a component."""
_DRIFTING: Final = (
    "soot_load_pct", "regeneration_share", "dpf_kpa", "nox_out_ppm", "boost_kpa", "turbo_rpm", "rail_mpa", "fuel_l_h",
)  # fmt: skip
"""Quantities of aftertreatment, turbo and injection whose mean tells: level, and change against past and peers."""
_SPEAKING: Final = (*_TELLING, *_DRIFTING)
_TELLING_RANGES: Final = {"coolant_c": (0, 2), "supply_air_kpa": (0,), "charging_v": (0, 2), "battery_v": (0,),
                          "oil_kpa": (0,), "exhaust_c": (2,), "soot_load_pct": (1, 2)}  # fmt: skip
"""The ranges in which a truck should not be for long."""
_LEVELS: Final = (0.05, 0.95)
_UNSTEADY: Final = ("coolant_c", "supply_air_kpa", "charging_v", "battery_v", "battery_a", "rail_mpa")
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
_COUNTERS: Final = {
    "odometer_km": ("distance_km", "distance driven"),
    "engine_h": ("running_h", "hours the engine ran"),
}


def default_feature_set(policy: Policy) -> FeatureSet:
    """Set "truck", version 2: signals, use, trouble codes, repairs and coverage, for the shipped components."""
    groups = (_signal_features(policy.features.windows_d), _use_features(), _code_features(), _history_features())
    return FeatureSet("truck", 2, tuple(chain.from_iterable(groups)))


def wide_feature_set(policy: Policy) -> FeatureSet:
    """Set "truck_wide", version 1: that of `default_feature_set`, and every statistic over every window beside it."""
    windows_d = tuple(sorted(policy.features.windows_d))
    groups = (default_feature_set(policy).features, _wide_signals(windows_d), _wide_codes(), _wide_history())
    features = {feature.name: feature for feature in chain.from_iterable(groups)}
    return FeatureSet("truck_wide", 1, tuple(features.values()))


SHIPPED: Final[Mapping[str, Callable[[Policy], FeatureSet]]] = {
    "truck": default_feature_set,
    "truck_wide": wide_feature_set,
}
"""Sets that need no file, by name."""


def _signal_features(windows_d: tuple[int, ...]) -> Iterator[Feature]:
    short, middle, long = _spread(windows_d)
    for name, statistics in _TELLING.items():
        of = BY_NAME[name]
        for days in dict.fromkeys((short, middle, long)):
            yield declare.window(statistics[0], of, days)
        for statistic in statistics[1:]:
            yield declare.window(statistic, of, middle)
        yield declare.trend(of, _FORTNIGHT_D)
        yield declare.change(of, RECENT_D)
        yield declare.against_peers(of, _WEEK_D)
    for name in _DRIFTING:
        of = BY_NAME[name]
        for days in dict.fromkeys((short, middle, long)):
            yield declare.window("mean", of, days)
        yield declare.change(of, RECENT_D)
        yield declare.against_peers(of, _WEEK_D)
    for name in _UNSTEADY:
        yield declare.window("std", BY_NAME[name], middle)
    for name in ("coolant_c", "battery_v"):
        yield declare.trend(BY_NAME[name], BEFORE_D)
    for name in _SURROUNDINGS:
        if name not in _SPEAKING:
            yield declare.window("mean", BY_NAME[name], middle)
    yield declare.change(BY_NAME["oil_kpa"], RECENT_D)
    for name, over in (("coolant_c", "ambient_c"), ("rail_mpa", "rail_wanted_mpa"), ("nox_out_ppm", "nox_in_ppm")):
        yield declare.excess(BY_NAME[name], BY_NAME[over], middle)


def _spread(windows_d: tuple[int, ...]) -> tuple[int, int, int]:
    """Shortest, middle and longest of the policy's windows."""
    if not windows_d:
        raise ConfigError("policy [features] windows_d: expected at least one window, but got none")
    ordered = sorted(windows_d)
    return ordered[0], ordered[len(ordered) // 2], ordered[-1]


def _use_features() -> Iterator[Feature]:
    for counter, (name, words) in _COUNTERS.items():
        of = BY_NAME[counter]
        for days in (_WEEK_D, BEFORE_D):
            yield declare.gain(of, days, name=f"{name}_{days}d", words=words)
        yield declare.latest(of, BEFORE_D, name=counter)
    for days in (_WEEK_D, _FORTNIGHT_D):
        yield declare.days_with_data(days)
    yield declare.age()


def _code_features() -> Iterator[Feature]:
    for component in TRUCK_COMPONENTS:
        for days in (RECENT_D, _FORTNIGHT_D):
            yield declare.codes("codes", component, days)
        yield declare.codes("code_days", component, BEFORE_D)
    yield declare.codes("codes", None, _FORTNIGHT_D)
    for days in (_WEEK_D, BEFORE_D):
        yield declare.codes("code_days", None, days)
    yield declare.codes("different_codes", None, BEFORE_D)
    yield declare.codes("new_codes", None, _WEEK_D)
    yield declare.codes("newest_code", None, BEFORE_D)
    yield declare.codes("red_days", None, _FORTNIGHT_D)
    yield declare.codes("amber_days", None, _FORTNIGHT_D)


def _history_features() -> Iterator[Feature]:
    for component in TRUCK_COMPONENTS:
        yield declare.days_since_repair(component)
        yield declare.failures(component, 0)
        yield declare.no_trouble_found(component, _NTF_D)
    yield declare.failures(None, _YEAR_D)


def _wide_signals(windows_d: tuple[int, ...]) -> Iterator[Feature]:
    for name in _SPEAKING:
        of = BY_NAME[name]
        for days in windows_d:
            yield declare.window("mean", of, days)
        for statistic in ("min", "max", "std"):
            for days in (windows_d[0], windows_d[-1]):
                yield declare.window(statistic, of, days)
        for at in _LEVELS:
            yield declare.quantile(of, at, _WEEK_D)
        for days in (_FORTNIGHT_D, BEFORE_D):
            yield declare.trend(of, days)
        yield declare.change(of, RECENT_D)
        yield declare.against_peers(of, _WEEK_D)
    for name, numbers in _TELLING_RANGES.items():
        for number in numbers:
            yield declare.share(BY_NAME[name], number, _WEEK_D)
    yield declare.window("transitions", BY_NAME["compressor_share"], _WEEK_D)
    yield declare.window("transitions", BY_NAME["regeneration_share"], _WEEK_D)
    for days in (_WEEK_D, BEFORE_D):
        yield declare.starts(BY_NAME["engine_rpm"], days)
    yield declare.red_above(BY_NAME["coolant_c"], _FORTNIGHT_D)


def _wide_codes() -> Iterator[Feature]:
    for component in TRUCK_COMPONENTS:
        yield declare.codes("newest_code", component, BEFORE_D)
        yield declare.codes("code_streak", component, BEFORE_D)
        yield declare.codes("code_day_share", component, _FORTNIGHT_D)
    yield declare.component_days(_FORTNIGHT_D)


def _wide_history() -> Iterator[Feature]:
    for component in TRUCK_COMPONENTS:
        for counter in _COUNTERS:
            yield declare.gain_since_repair(BY_NAME[counter], component)
