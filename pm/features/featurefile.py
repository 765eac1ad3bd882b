"""A feature file: the quantities, components and features of units that the shipped truck set does not know.

What belongs here: TOML into a `FeatureSet`, strictly. The format is in docs/features.md; what a feature is called
and means is `pm.features.declare`.
"""

import math
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pm.errors import ConfigError
from pm.features import declare
from pm.features.definition import BEFORE_D, CODE_KINDS, Component, Feature, FeatureSet
from pm.features.featureset import default_feature_set
from pm.features.quantities import Quantity
from pm.features.ranges import BY_QUANTITY, Ranges, ranges_of_edges
from pm.policy import Policy
from pm.settings import Settings

MAXIMUM_BYTES: Final = 1_000_000
MAXIMUM_FEATURES: Final = 5_000
MAXIMUM_RANGES: Final = 64
LONGEST_WINDOW_D: Final = 365
SHORTEST_SLOPE_D: Final = 4
"""Days below which no slope is computed (`pm.features.statistics.MINIMUM_SLOPE_DAYS`)."""
COVERAGE_D: Final = 14
"""Every set says on how many of the last 14 days there was data: a score needs it (`pm.scoring.batch`)."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_SOURCE: Final = re.compile(r"[^.\s]+\.[^.\s]+")
_TOP: Final = {"name": str, "version": int, "quantities": dict, "components": dict, "features": list}
_QUANTITY: Final = {"unit": str, "meaning": str, "sources": list, "ranges": list, "start": list}
_COMPONENT: Final = {"words": str, "spns": list, "events": list, "quantities": list}
_FEATURES: Final = {
    "of": (str, list), "component": (str, list), "event": (str, list), "event_kind": (str, list),
    "model": (str, list),
    "statistics": list, "windows_d": list, "quantiles": list, "ranges": list, "above": str, "counter": str,
}  # fmt: skip
_SUBJECTS: Final = ("of", "component", "event", "event_kind", "model")
_WINDOWED: Final = ("mean", "min", "max", "std", "transitions")


def load_feature_set(path: Path, policy: Policy) -> FeatureSet:
    """The set that the file declares; windows that an entry does not name are the policy's.

    Raises:
        ConfigError: the file cannot be read, or a key of it says what cannot be; the message names file and key.
    """
    content = _read(path)
    reader = _Reader(f"feature file {path}", policy)
    return reader.feature_set(content)


def feature_set_of(settings: Settings, policy: Policy) -> FeatureSet:
    """The configured set: that of `settings.feature_file`, else the shipped truck set.

    Raises:
        ConfigError: as `load_feature_set`.
    """
    if settings.feature_file is None:
        return default_feature_set(policy)
    return load_feature_set(settings.feature_file, policy)


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            given = file.read(MAXIMUM_BYTES + 1)
        if len(given) > MAXIMUM_BYTES:
            raise ConfigError(f"feature file {path}: expected at most {MAXIMUM_BYTES} bytes, but got more")
        return tomllib.loads(given.decode("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as reason:
        raise ConfigError(f"feature file {path}: expected readable TOML, but got: {reason}") from None


@dataclass(frozen=True)
class _Entry:
    """One [[features]] table, checked."""

    where: str
    statistics: Sequence[str]
    windows_d: Sequence[int]
    own_windows_d: Sequence[int]
    """The windows that the entry itself names; none where it leaves them to the policy."""
    quantiles: Sequence[float]
    ranges: Sequence[int]
    above: Quantity | None
    counter: Quantity | None
    declared: Mapping[str, Ranges]
    """Ranges of each quantity of the file."""


class _Reader:
    """One file being read: knows where it is, for messages."""

    def __init__(self, where: str, policy: Policy) -> None:
        self._where = where
        self._policy = policy
        self._quantities: dict[str, Quantity] = {}
        self._components: dict[str, Component] = {}
        self._ranges: dict[str, Ranges] = {}

    def feature_set(self, content: Mapping[str, Any]) -> FeatureSet:
        self._keys(self._where, content, _TOP, required=("name", "version", "features"))
        name, version = self._name(self._where, "name", content["name"]), content["version"]
        if version < 1:
            raise ConfigError(f"{self._where}: version: expected at least 1, but got {version}")
        self._quantities = {key: self._quantity(key, value) for key, value in content.get("quantities", {}).items()}
        self._ranges = {key: found for key, value in content.get("quantities", {}).items()
                        if (found := self._ranges_of(key, value)) is not None}  # fmt: skip
        self._components = {key: self._component(key, value) for key, value in content.get("components", {}).items()}
        made = [f for number, entry in enumerate(content["features"], 1) for f in self._features(number, entry)]
        coverage = declare.days_with_data(COVERAGE_D)
        if coverage.name not in {feature.name for feature in made}:
            made.append(coverage)
        if len(made) > MAXIMUM_FEATURES:
            raise ConfigError(f"{self._where}: expected at most {MAXIMUM_FEATURES} features, but got {len(made)}")
        return self._set(name, version, made)

    def _set(self, name: str, version: int, made: Sequence[Feature]) -> FeatureSet:
        try:
            found = FeatureSet(
                name, version, tuple(made), tuple(self._quantities.values()), tuple(self._components.values()),
                tuple(self._ranges.values()),
            )  # fmt: skip
            found.ranges_by_source  # noqa: B018 - two quantities may want other ranges of one signal
        except ConfigError as reason:
            raise ConfigError(f"{self._where}: {reason}") from None
        return found

    def _quantity(self, name: str, given: Any) -> Quantity:
        where = f"{self._where}: [quantities.{name}]"
        self._keys(where, given, _QUANTITY, required=("unit", "meaning", "sources"))
        sources = self._texts(where, "sources", given["sources"])
        for source in sources:
            if not _SOURCE.fullmatch(source):
                raise ConfigError(f'{where} sources: expected "message.signal", but got {source!r}')
        self._some(where, "sources", sources)
        return Quantity(self._name(where, "name", name), given["unit"], given["meaning"], sources)

    def _ranges_of(self, name: str, given: Mapping[str, Any]) -> Ranges | None:
        """What the quantity declares; else those of the truck's quantity of this name and unit."""
        where = f"{self._where}: [quantities.{name}]"
        if "start" in given and "ranges" not in given:
            raise ConfigError(f"{where} start: expected ranges beside it, but got none")
        if "ranges" not in given:
            shipped = BY_QUANTITY.get(name)
            return shipped if shipped is not None and shipped.unit == given["unit"] else None
        start = self._numbers(where, "start", given.get("start", []))
        if len(start) not in (0, 2):
            raise ConfigError(f"{where} start: expected two numbers, stands below and runs from, but got {list(start)}")
        limits = (start[0], start[1]) if start else None
        edges = self._numbers(where, "ranges", given["ranges"])
        if len(edges) >= MAXIMUM_RANGES:
            raise ConfigError(f"{where} ranges: expected fewer than {MAXIMUM_RANGES} edges, but got {len(edges)}")
        try:
            return ranges_of_edges(name, given["unit"], edges, limits)
        except ConfigError as reason:
            raise ConfigError(f"{where} {reason}") from None

    def _component(self, name: str, given: Any) -> Component:
        where = f"{self._where}: [components.{name}]"
        self._keys(where, given, _COMPONENT, required=("words",))
        spns = self._whole(where, "spns", given.get("spns", []), 0, 2**19 - 1)
        events = self._texts(where, "events", given.get("events", []))
        quantities = self._texts(where, "quantities", given.get("quantities", []))
        for quantity in quantities:
            self._known(where, "quantities", quantity, self._quantities)
        return Component(self._name(where, "name", name), given["words"], tuple(sorted(set(spns))), events, quantities)

    def _features(self, number: int, given: Any) -> Iterator[Feature]:
        where = f"{self._where}: [[features]] number {number}"
        self._keys(where, given, _FEATURES, required=("statistics",))
        subjects = [key for key in _SUBJECTS if key in given]
        if len(subjects) > 1:
            raise ConfigError(f"{where}: expected at most one of {list(_SUBJECTS)}, but got {subjects}")
        entry = self._entry(where, given)
        if not subjects:
            return self._each(entry, _fleet_statistics(), None)
        names = [given[subjects[0]]] if isinstance(given[subjects[0]], str) else given[subjects[0]]
        names = self._some(where, subjects[0], self._texts(where, subjects[0], names))
        if subjects[0] == "of":
            found = [self._known(where, "of", name, self._quantities) for name in names]
            return (f for quantity in found for f in self._each(entry, _signal_statistics(), quantity))
        if subjects[0] == "component":
            wanted = list(self._components) if names == ("all",) else names
            parts = [self._known(where, "component", name, self._components) for name in wanted]
            return (f for part in parts for f in self._each(entry, _component_statistics(), part))
        if subjects[0] == "model":
            return (f for name in names for f in self._each(entry, _model_statistics(), name))
        prefix = "code" if subjects[0] == "event" else "kind"
        return (f for name in names for f in self._each(entry, _event_statistics(), (prefix, name)))

    def _entry(self, where: str, given: Mapping[str, Any]) -> _Entry:
        windows_d = self._whole(where, "windows_d", given.get("windows_d", []), 1, LONGEST_WINDOW_D)
        statistics = self._some(where, "statistics", self._texts(where, "statistics", given["statistics"]))
        above, counter = (
            self._known(where, key, given[key], self._quantities) if key in given else None
            for key in ("above", "counter")
        )
        levels = self._numbers(where, "quantiles", given.get("quantiles", []), 0, 1)
        self._needs(where, "quantile", "quantiles", statistics, given)
        self._needs(where, "share", "ranges", statistics, given)
        self._needs(where, "excess", "above", statistics, given)
        self._needs(where, "gain_since_repair", "counter", statistics, given)
        ranges = self._whole(where, "ranges", given.get("ranges", []), 0, MAXIMUM_RANGES - 1)
        usual = windows_d or self._policy.features.windows_d
        return _Entry(where, statistics, usual, windows_d, levels, ranges, above, counter, self._ranges)

    def _needs(self, where: str, statistic: str, key: str, statistics: Sequence[str], given: Mapping[str, Any]) -> None:
        if (statistic in statistics) != bool(given.get(key)):
            raise ConfigError(f'{where}: expected "{statistic}" in statistics and {key} together, but got one of them')

    def _each(self, entry: _Entry, ways: Mapping[str, Callable[..., Iterable[Feature]]], of: Any) -> Iterator[Feature]:
        for statistic in entry.statistics:
            if statistic not in ways:
                raise ConfigError(f"{entry.where} statistics: expected some of {sorted(ways)}, but got {statistic!r}")
            if statistic in CODE_KINDS and max(entry.windows_d) > BEFORE_D:
                raise ConfigError(
                    f"{entry.where} windows_d: expected at most {BEFORE_D} for {statistic}, but got {entry.windows_d}"
                )
            if statistic == "slope" and entry.own_windows_d and min(entry.windows_d) < SHORTEST_SLOPE_D:
                least = f"{entry.where} windows_d: expected at least {SHORTEST_SLOPE_D} for slope"
                raise ConfigError(f"{least}, but got {entry.windows_d}")
            try:
                yield from ways[statistic](entry, of)
            except ConfigError as reason:
                raise ConfigError(f"{entry.where} {statistic}: {reason}") from None

    def _known(self, where: str, key: str, name: str, there: Mapping[str, Any]) -> Any:
        if name not in there:
            raise ConfigError(f"{where} {key}: expected one of {sorted(there)}, but got {name!r}")
        return there[name]

    def _keys(self, where: str, given: Any, allowed: Mapping[str, Any], *, required: Sequence[str]) -> None:
        if not isinstance(given, dict):
            raise ConfigError(f"{where}: expected a table, but got {given!r}")
        for key, value in given.items():
            if key not in allowed:
                raise ConfigError(f"{where}: expected keys {sorted(allowed)}, but got {key}")
            kinds = allowed[key] if isinstance(allowed[key], tuple) else (allowed[key],)
            if type(value) not in kinds:
                words = " or ".join(kind.__name__ for kind in kinds)
                raise ConfigError(f"{where} {key}: expected {words}, but got {value!r}")
        absent = [key for key in required if key not in given]
        if absent:
            raise ConfigError(f"{where}: expected keys {absent}, but got {sorted(given)}")

    def _name(self, where: str, key: str, text: str) -> str:
        if not _NAME.fullmatch(text):
            raise ConfigError(f"{where} {key}: expected lower case letters, digits and underscores, but got {text!r}")
        return text

    def _texts(self, where: str, key: str, given: Sequence[Any]) -> tuple[str, ...]:
        for value in given:
            if type(value) is not str or not value:
                raise ConfigError(f"{where} {key}: expected texts, but got {value!r}")
        return tuple(given)

    def _some(self, where: str, key: str, given: tuple[str, ...]) -> tuple[str, ...]:
        if not given:
            raise ConfigError(f"{where} {key}: expected at least one, but got none")
        return given

    def _numbers(
        self, where: str, key: str, given: Sequence[Any], low: float = -math.inf, high: float = math.inf
    ) -> tuple[float, ...]:
        for value in given:
            if type(value) not in (int, float) or not math.isfinite(value) or not low <= value <= high:
                limits = f" from {low} to {high}" if math.isfinite(low) else ""
                raise ConfigError(f"{where} {key}: expected numbers{limits}, but got {value!r}")
        return tuple(float(value) for value in given)

    def _whole(self, where: str, key: str, given: Sequence[Any], low: int, high: int) -> tuple[int, ...]:
        for value in given:
            if type(value) is not int or not low <= value <= high:
                raise ConfigError(f"{where} {key}: expected whole numbers from {low} to {high}, but got {value!r}")
        return tuple(dict.fromkeys(given))


_Ways = Mapping[str, Callable[[_Entry, Any], Iterable[Feature]]]


def _signal_statistics() -> _Ways:
    def windowed(statistic: str) -> Callable[[_Entry, Quantity], Iterable[Feature]]:
        return lambda entry, of: [declare.window(statistic, of, days) for days in entry.windows_d]

    def by_window(make: Callable[[Quantity, int], Feature]) -> Callable[[_Entry, Quantity], Iterable[Feature]]:
        return lambda entry, of: [make(of, days) for days in entry.windows_d]

    return {
        **{statistic: windowed(statistic) for statistic in _WINDOWED},
        "slope": lambda e, of: [declare.trend(of, days) for days in e.windows_d if days >= SHORTEST_SLOPE_D],
        "change": by_window(declare.change),
        "peers": by_window(declare.against_peers),
        "latest": by_window(declare.latest),
        "starts": lambda e, of: [declare.starts(of, days, e.declared) for days in e.windows_d],
        "gain": by_window(declare.gain),
        "red_above": by_window(declare.red_above),
        "quantile": lambda e, of: [declare.quantile(of, at, days) for at in e.quantiles for days in e.windows_d],
        "share": lambda e, of: [
            declare.share(of, number, days, e.declared) for number in e.ranges for days in e.windows_d
        ],
        "excess": lambda e, of: [declare.excess(of, e.above, days) for days in e.windows_d if e.above is not None],
    }


def _component_statistics() -> _Ways:
    def coded(kind: str) -> Callable[[_Entry, Component], Iterable[Feature]]:
        return lambda entry, part: [declare.codes(kind, part, days) for days in entry.windows_d]

    def evented(kind: str) -> Callable[[_Entry, Component], Iterable[Feature]]:
        return lambda entry, part: [
            declare.events(kind, f"component:{part.name}", f"about {part.words}", days) for days in entry.windows_d
        ]

    return {
        **{kind: coded(kind) for kind in sorted(CODE_KINDS - {"component_days"})},
        **{kind: evented(kind) for kind in ("events", "event_days", "days_since_event")},
        "days_since_repair": lambda _, part: [declare.days_since_repair(part)],
        "gain_since_repair": lambda e, part: [declare.gain_since_repair(e.counter, part)] if e.counter else [],
        "failures": lambda e, part: [declare.failures(part, days) for days in e.own_windows_d or (0,)],
        "no_trouble_found": lambda e, part: [declare.no_trouble_found(part, days) for days in e.windows_d],
    }


def _event_statistics() -> _Ways:
    def evented(kind: str) -> Callable[[_Entry, tuple[str, str]], Iterable[Feature]]:
        return lambda entry, of: [
            declare.events(kind, f"{of[0]}:{of[1]}", f"of {of[0]} {of[1]}", days) for days in entry.windows_d
        ]

    return {kind: evented(kind) for kind in ("events", "event_days", "days_since_event")}


def _model_statistics() -> _Ways:
    return {"is_model": lambda _, name: [declare.is_model(name)]}


def _fleet_statistics() -> _Ways:
    def coded(kind: str) -> Callable[[_Entry, None], Iterable[Feature]]:
        return lambda entry, _: [declare.codes(kind, None, days) for days in entry.windows_d]

    def evented(kind: str) -> Callable[[_Entry, None], Iterable[Feature]]:
        return lambda entry, _: [declare.events(kind, "", "", days) for days in entry.windows_d]

    return {
        **{kind: coded(kind) for kind in sorted(CODE_KINDS - {"component_days"})},
        **{kind: evented(kind) for kind in ("events", "event_days", "days_since_event")},
        "component_days": lambda e, _: [declare.component_days(days) for days in e.windows_d],
        "days_with_data": lambda e, _: [declare.days_with_data(days) for days in e.windows_d],
        "age": lambda _, __: [declare.age()],
        "failures": lambda e, _: [declare.failures(None, days) for days in e.own_windows_d or (0,)],
    }
