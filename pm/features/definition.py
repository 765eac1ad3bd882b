"""What a feature is, and a set of them: named, versioned, hashed.

What belongs here: the words that features are declared in, and the hashes of what decides their values. Which
features the shipped sets have is `pm.features.featureset`; how a recipe is computed is `pm.features.windows`
and its neighbours.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from pm.errors import ConfigError
from pm.features.quantities import COMPONENT_QUANTITIES, COMPONENT_SPNS, COMPONENT_WORDS, QUANTITIES, Quantity
from pm.features.ranges import BY_QUANTITY, TRUCK_RANGES, Ranges, ranges_by_source

BEFORE_D: Final = 28
"""Days of a truck's own past that its last days are compared with."""
RECENT_D: Final = 3
"""Last days that are compared with the truck's own past."""

SIGNAL_KINDS: Final = frozenset((
    "mean", "min", "max", "std", "slope", "change", "peers", "excess", "gain", "latest",
    "quantile", "share", "transitions", "starts", "red_above",
))  # fmt: skip
"""Recipes of one quantity, or of two joined by a hyphen (`excess`)."""
RANGED_KINDS: Final = frozenset(("share", "starts"))
"""Recipes that count by the ranges of their quantity."""
OWN_KINDS: Final = frozenset(("days_with_data", "age", "is_model"))
CODE_KINDS: Final = frozenset((
    "codes", "code_days", "different_codes", "new_codes", "newest_code", "red_days", "amber_days",
    "code_streak", "code_day_share", "component_days",
))  # fmt: skip
"""Recipes of trouble codes, of one component or of any."""
HISTORY_KINDS: Final = frozenset(("days_since_repair", "failures", "no_trouble_found"))
METER_KINDS: Final = frozenset(("gain_since_repair",))
"""Recipes of a counter and a component, joined by a hyphen: `odometer_km-cooling`."""
EVENT_KINDS: Final = frozenset(("events", "event_days", "days_since_event"))
"""Recipes of events: `code:…`, `kind:…`, `component:…`, or of any."""
KINDS: Final = SIGNAL_KINDS | OWN_KINDS | CODE_KINDS | HISTORY_KINDS | METER_KINDS | EVENT_KINDS

COMPUTATIONS: Final[Mapping[str, int]] = {"peers": 2}
"""How often the way a kind is computed was changed, from 1: a change makes other features of the same recipe."""


@dataclass(frozen=True)
class Component:
    """What fails together, and what speaks of it."""

    name: str
    words: str
    """As it stands in a sentence, for instance "the cooling system"."""
    spns: tuple[int, ...] = ()
    """J1939 SPNs whose trouble codes point at it, ascending."""
    events: tuple[str, ...] = ()
    """Codes of events that point at it."""
    quantities: tuple[str, ...] = ()
    """Quantities its wear shows in; empty: not known, and any may."""

    @property
    def as_entry(self) -> dict[str, Any]:
        """What a stored set holds of it; without quantities it reads as it did before they could be declared."""
        return {name: value for name, value in vars(self).items() if value or name != "quantities"}


TRUCK_COMPONENTS: Final = tuple(
    Component(name, words, tuple(sorted(COMPONENT_SPNS[name])), quantities=COMPONENT_QUANTITIES[name])
    for name, words in COMPONENT_WORDS.items()
)


@dataclass(frozen=True)
class Recipe:
    """How a feature is computed: which statistic, of which quantity or component, over which days."""

    kind: str = "given"
    """The statistic; "given": not computed by `build_vectors` but handed over by somebody else."""
    of: str = ""
    days: int = 0
    at: float = 0.0
    """Level of a quantile, 0 to 1; number of a range, from 0."""


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
    quantities: tuple[Quantity, ...] = QUANTITIES
    """What the recipes may speak of."""
    components: tuple[Component, ...] = TRUCK_COMPONENTS
    ranges: tuple[Ranges, ...] = TRUCK_RANGES
    """Of quantities, in which the time of each day is counted."""

    def __post_init__(self) -> None:
        self._require_unique("ranges", [ranges.name for ranges in self.ranges])
        self._require_unique("feature names", self.names)
        self._require_unique("quantities", [quantity.name for quantity in self.quantities])
        self._require_unique("components", [component.name for component in self.components])

    def _require_unique(self, what: str, names: Sequence[str]) -> None:
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ConfigError(f"feature set {self.name}: expected unique {what}, but got {twice} twice")

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    @cached_property
    def quantity_by_name(self) -> Mapping[str, Quantity]:
        return {quantity.name: quantity for quantity in self.quantities}

    @cached_property
    def ranges_by_quantity(self) -> Mapping[str, Ranges]:
        return {ranges.name: ranges for ranges in self.ranges}

    @cached_property
    def ranges_by_source(self) -> Mapping[str, Ranges]:
        """Ranges to count time in, by `message.signal`: those of this set, and a truck's for signals it does not name.

        Raises:
            ConfigError: two quantities want other ranges of one signal.
        """
        return {**ranges_by_source(), **ranges_by_source(self.quantities, self.ranges_by_quantity)}

    @cached_property
    def component_by_name(self) -> Mapping[str, Component]:
        return {component.name: component for component in self.components}

    @cached_property
    def definition_json(self) -> str:
        """Canonical JSON: the features in order, with everything that decides their values; `read_set` reads it."""
        pairs = zip(self.features, self.definitions, strict=True)
        entries = [self._entry(feature, definition) for feature, definition in pairs]
        return json.dumps(entries, sort_keys=True, separators=(",", ":"))

    @cached_property
    def feature_set_id(self) -> str:
        """Name, version and the first 8 hex digits of the definition's sha256."""
        return f"{self.name}-{self.version}-{hashlib.sha256(self.definition_json.encode()).hexdigest()[:8]}"

    @cached_property
    def definitions(self) -> tuple[str, ...]:
        """A hash a feature: of what decides its values, not of its words. Equal ones are the same numbers."""
        return tuple(self._definition(feature) for feature in self.features)

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

    @cached_property
    def event_lookback_d(self) -> int:
        """Days of events before an as-of that its vectors are made from."""
        return max((f.recipe.days for f in self.features if f.recipe.kind in EVENT_KINDS), default=0)

    def quantities_of(self, recipe: Recipe) -> tuple[str, ...]:
        """Names of the quantities a recipe speaks of, known here or not."""
        if recipe.kind in SIGNAL_KINDS:
            return tuple(recipe.of.split("-"))
        return (recipe.of.partition("-")[0],) if recipe.kind in METER_KINDS else ()

    def components_of(self, recipe: Recipe) -> tuple[str, ...]:
        """Names of the components a recipe speaks of, known here or not."""
        if recipe.kind == "component_days":
            return tuple(sorted(self.component_by_name))
        if recipe.kind in METER_KINDS:
            return (recipe.of.partition("-")[2],)
        if recipe.kind in EVENT_KINDS:
            kind, _, name = recipe.of.partition(":")
            return (name,) if kind == "component" else ()
        return (recipe.of,) if recipe.kind in CODE_KINDS | HISTORY_KINDS and recipe.of else ()

    def near(self, component: str) -> tuple[int, ...]:
        """Positions, ascending, of the features that do not speak of other components alone.

        A feature speaks of the components in its recipe and of those whose wear its quantities show; one that
        speaks of none (use, surroundings, all trouble codes) is near to each. Every feature is near to a component
        whose quantities are not declared.
        """
        if not getattr(self.component_by_name.get(component), "quantities", ()):
            return tuple(range(len(self.features)))
        spoken = [self._spoken_of(feature.recipe) for feature in self.features]
        return tuple(position for position, names in enumerate(spoken) if not names or component in names)

    def _spoken_of(self, recipe: Recipe) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*self.components_of(recipe), *self._worn(recipe)]))

    def _worn(self, recipe: Recipe) -> tuple[str, ...]:
        """Components whose wear shows in a quantity of the recipe."""
        quantities = set(self.quantities_of(recipe))
        return tuple(one.name for one in self.components if quantities & set(one.quantities))

    def _entry(self, feature: Feature, definition: str) -> dict[str, Any]:
        quantities, components = self.quantities_of(feature.recipe), self._spoken_of(feature.recipe)
        return {
            **vars(feature),
            "recipe": vars(feature.recipe),
            "definition": definition,
            "quantities": [vars(self.quantity_by_name[name]) for name in quantities if name in self.quantity_by_name],
            "components": [self.component_by_name[n].as_entry for n in components if n in self.component_by_name],
            **self._own_ranges(feature.recipe),
        }

    def _own_ranges(self, recipe: Recipe) -> dict[str, Any]:
        """Ranges that the recipe counts by, where no release knows them."""
        ranges = self.ranges_by_quantity.get(recipe.of) if recipe.kind in RANGED_KINDS else None
        return {} if ranges is None or ranges in TRUCK_RANGES else {"ranges": [vars(ranges)]}

    def _definition(self, feature: Feature) -> str:
        recipe = feature.recipe
        content: list[object] = [vars(recipe), COMPUTATIONS.get(recipe.kind, 1)]
        if recipe.kind == "given":
            content.append(feature.name)
        by_name = self.quantity_by_name
        content += [by_name[name].sources if name in by_name else name for name in self.quantities_of(recipe)]
        if recipe.kind in RANGED_KINDS and recipe.of in self.ranges_by_quantity:
            content.append(self.ranges_by_quantity[recipe.of].ranges_id)
        if recipe.kind not in HISTORY_KINDS:
            for name in self.components_of(recipe):
                component = self.component_by_name.get(name, Component(name, name))
                content.append((component.spns, component.events))
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def read_set(feature_set_id: str, name: str, version: int, definition_json: str) -> FeatureSet:
    """A stored set as it was declared.

    Raises:
        ConfigError: it is of another release: what is read has another id, so its values would not be the same.
    """
    entries = json.loads(definition_json)
    quantities = {q["name"]: Quantity(**_tuples(q)) for entry in entries for q in entry.get("quantities", [])}
    components = {c["name"]: Component(**_tuples(c)) for entry in entries for c in entry.get("components", [])}
    own = [Ranges(**_tuples(each)) for entry in entries for each in entry.get("ranges", [])]
    ranges = BY_QUANTITY | {each.name: each for each in own}
    try:
        features = tuple(
            Feature(e["name"], e["unit"], e["meaning"], tuple(e["sources"]), Recipe(**e["recipe"])) for e in entries
        )
    except (KeyError, TypeError):
        features = ()
    found = FeatureSet(
        name, version, features, tuple(quantities.values()), tuple(components.values()), tuple(ranges.values())
    )
    if found.feature_set_id != feature_set_id:
        raise ConfigError(
            f"feature set {feature_set_id}: expected a set that this release computes, but got one of another release"
        )
    return found


def _tuples(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}


_NOT_FROM_DAILIES: Final = HISTORY_KINDS | EVENT_KINDS | {"given", "age", "is_model"}


def _lookback_d(recipe: Recipe) -> int:
    if recipe.kind in _NOT_FROM_DAILIES:
        return 0
    if recipe.kind == "change":
        return recipe.days + BEFORE_D
    if recipe.kind in ("new_codes", "gain_since_repair", "red_above"):
        return max(recipe.days, BEFORE_D)
    return recipe.days
