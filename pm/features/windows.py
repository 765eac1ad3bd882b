"""From dailies and failures to `FEATURE_VECTOR`: one row a vehicle and as-of.

What belongs here: the order of the work. Each as-of is computed from rows known by then (`pm.asof`)
and from whole days before it, so arrivals after it change nothing; as-ofs are taken in spans, so
memory is bounded by one span and spans may run anywhere in any order.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from itertools import chain
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pm.asof import known, require_instant
from pm.errors import ConfigError
from pm.features.cells import Days, cell_versions
from pm.features.coverage import Coverage, presence
from pm.features.definition import (
    BEFORE_D,
    CODE_KINDS,
    EVENT_KINDS,
    HISTORY_KINDS,
    KINDS,
    METER_KINDS,
    SIGNAL_KINDS,
    Feature,
    FeatureSet,
    Recipe,
)
from pm.features.events import KNOWN_EVENT, event_features
from pm.features.faults import CodeDays, code_features, silent_is_zero
from pm.features.grid import SpanGrid, span_days
from pm.features.history import history_features
from pm.features.meters import meter_features
from pm.features.peers import against_others, peer_groups
from pm.features.quantities import Quantity
from pm.features.statistics import WindowStatistics
from pm.features.vectors import Batch, as_vectors
from pm.policy import Policy
from pm.tables import DAILY_FAULT, DAILY_SIGNAL, FAILURE, FEATURE_VECTOR, VEHICLE

Numbers = npt.NDArray[np.float64]

_SPAN_D: Final = 28
_D_PER_A: Final = 365.25


@dataclass(frozen=True)
class Sources:
    """What vectors are made from; at least the `lookback_d` days of the set before each as-of."""

    vehicles: pl.DataFrame
    """`VEHICLE`. A vehicle has a row from max(in_service_at, known_at) until left_at, with nulls and no
    data_until where it has no data."""
    daily_signals: pl.DataFrame
    """`DAILY_SIGNAL` of all vehicles that may be peers; older days change nothing."""
    daily_faults: pl.DataFrame
    failures: pl.DataFrame
    """`FAILURE`, all versions."""
    events: pl.DataFrame = field(default_factory=KNOWN_EVENT.empty)
    """`KNOWN_EVENT` of the set's `event_lookback_d` days."""
    readings: pl.DataFrame = field(default_factory=DAILY_SIGNAL.empty)
    """`DAILY_SIGNAL` of the days after repairs, of the counters whose gain since a repair is asked for."""
    presence: pl.DataFrame | None = None
    """When there was data of any signal, where `daily_signals` holds some signals only; None: as it says."""

    def checked(self) -> "Sources":
        """The same, each frame with its table's columns.

        Raises:
            DataError: a frame does not fit its table.
        """
        return Sources(
            VEHICLE.check(self.vehicles).sort("vehicle_id"),
            DAILY_SIGNAL.check(self.daily_signals, unique=False),
            DAILY_FAULT.check(self.daily_faults, unique=False),
            FAILURE.check(self.failures, unique=False),
            KNOWN_EVENT.check(self.events, unique=False),
            DAILY_SIGNAL.check(self.readings, unique=False),
            self.presence,
        )


def build_vectors(
    feature_set: FeatureSet,
    as_ofs: Sequence[datetime],
    *,
    vehicles: pl.DataFrame,
    daily_signals: pl.DataFrame,
    daily_faults: pl.DataFrame,
    failures: pl.DataFrame,
    policy: Policy,
    events: pl.DataFrame | None = None,
    readings: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """`FEATURE_VECTOR`: one row a vehicle in the fleet at each as-of, by as-of, then vehicle.

    Args:
        feature_set: which features, in which order.
        as_ofs: UTC instants; the last full day is the UTC day before each.
        vehicles, daily_signals, daily_faults, failures, events, readings: as in `Sources`.
        policy: kept in the signature so that a set may depend on it; this one reads nothing more.

    Raises:
        DataError: a frame does not fit its table, or an as-of carries no UTC.
        ConfigError: the set holds a feature that is not computed here.
    """
    del policy
    sources = Sources(
        vehicles, daily_signals, daily_faults, failures,
        KNOWN_EVENT.empty() if events is None else events, DAILY_SIGNAL.empty() if readings is None else readings,
    )  # fmt: skip
    made = [as_vectors(feature_set.feature_set_id, batch) for batch in build_batches(feature_set, as_ofs, sources)]
    return FEATURE_VECTOR.check(pl.concat([FEATURE_VECTOR.empty(), *made]))


def build_batches(
    feature_set: FeatureSet, as_ofs: Sequence[datetime], sources: Sources, *, wanted: Sequence[Feature] | None = None
) -> Iterator[Batch]:
    """The values at each as-of at which there is a fleet, ascending: of the whole set, or of some of its features.

    A feature's values are the same bits whatever else is wanted. Raises as `build_vectors`.
    """
    plan = _plan(feature_set, feature_set.features if wanted is None else wanted)
    checked = sources.checked()
    for span in _spans(sorted({require_instant(as_of, "as_of") for as_of in as_ofs})):
        yield from _span_batches(plan, span, checked)


@dataclass(frozen=True)
class _Span:
    grid: SpanGrid
    presence: pl.DataFrame
    faults: pl.DataFrame
    readings: pl.DataFrame
    sources: Sources


@dataclass(frozen=True)
class _Plan:
    feature_set: FeatureSet
    features: Sequence[Feature]
    quantities: tuple[Quantity, ...]
    positions: Mapping[str, int]

    @property
    def lookback_d(self) -> int:
        return self.feature_set.lookback_d

    @cached_property
    def by_kind(self) -> Mapping[str, tuple[Recipe, ...]]:
        """The different recipes of each kind, in the order of the features."""
        found: dict[str, dict[Recipe, None]] = {}
        for feature in self.features:
            found.setdefault(feature.recipe.kind, {})[feature.recipe] = None
        return {kind: tuple(recipes) for kind, recipes in found.items()}

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(self.by_kind)

    def recipes(self, *kinds: str) -> tuple[Recipe, ...]:
        """The different recipes of these kinds."""
        return tuple(chain.from_iterable(self.by_kind.get(kind, ()) for kind in sorted(kinds)))

    def places(self, recipe: Recipe) -> list[int]:
        """Positions of the quantities that a recipe speaks of."""
        return [self.positions[name] for name in recipe.of.split("-")]


def _plan(feature_set: FeatureSet, features: Sequence[Feature]) -> _Plan:
    for feature in features:
        _check(feature_set, feature)
    names = dict.fromkeys(
        name
        for feature in features
        if feature.recipe.kind in SIGNAL_KINDS
        for name in feature_set.quantities_of(feature.recipe)
    )
    by_name = feature_set.quantity_by_name
    positions = {name: i for i, name in enumerate(names)}
    return _Plan(feature_set, features, tuple(by_name[name] for name in names), positions)


def _check(feature_set: FeatureSet, feature: Feature) -> None:
    recipe = feature.recipe
    if recipe.kind not in KINDS:
        raise ConfigError(f"feature {feature.name}: expected a recipe of {sorted(KINDS)}, but got {recipe.kind!r}")
    if recipe.kind in CODE_KINDS and recipe.days > BEFORE_D:
        raise ConfigError(f"feature {feature.name}: expected at most {BEFORE_D} days, but got {recipe.days}")
    unknown = [name for name in feature_set.quantities_of(recipe) if name not in feature_set.quantity_by_name]
    if unknown:
        raise ConfigError(f"feature {feature.name}: expected known quantities, but got {unknown}")
    known_components = sorted(feature_set.component_by_name)
    if recipe.kind in HISTORY_KINDS:
        return
    others = [name for name in feature_set.components_of(recipe) if name not in known_components]
    if others:
        raise ConfigError(f"feature {feature.name}: expected one of {known_components}, but got {others[0]!r}")


def _spans(ordered: Sequence[datetime]) -> Iterator[list[datetime]]:
    """Consecutive as-ofs, at most 28 days from the first to the last of a span."""
    span: list[datetime] = []
    for as_of in ordered:
        if span and as_of - span[0] >= timedelta(days=_SPAN_D):
            yield span
            span = []
        span.append(as_of)
    if span:
        yield span


def _span_batches(plan: _Plan, span: Sequence[datetime], sources: Sources) -> Iterator[Batch]:
    first = span[0].date() - timedelta(days=plan.lookback_d)
    in_span = pl.col("day").is_between(first, span[-1].date(), closed="left")
    signals = known(sources.daily_signals, span[-1]).filter(in_span)
    if not plan.recipes("quantile"):  # sketches are most of the bytes, and only quantiles are read from them
        signals = signals.with_columns(sketch=pl.lit(None, dtype=pl.Binary))
    heard = presence(signals) if sources.presence is None else known(sources.presence, span[-1]).filter(in_span)
    faults = known(sources.daily_faults, span[-1]).filter(in_span)
    first_day, n_days = span_days(span[0], span[-1], plan.lookback_d)
    grid = SpanGrid(
        cell_versions(signals, plan.quantities, plan.feature_set.ranges_by_quantity),
        vehicle_ids=sources.vehicles["vehicle_id"].to_list(),
        n_quantities=len(plan.quantities), first_day=first_day, n_days=n_days, kinds=plan.kinds,
    )  # fmt: skip
    ready = _Span(grid, heard, faults, _readings(plan, sources), sources)
    for as_of in span:
        fleet = _fleet(sources.vehicles, as_of)
        if fleet.height:
            yield _batch(plan, as_of, fleet, ready)


def _readings(plan: _Plan, sources: Sources) -> pl.DataFrame:
    """Every row that a gain since a repair may be read from, once."""
    recipes = plan.recipes(*METER_KINDS)
    counters = {name for recipe in recipes for name in plan.feature_set.quantities_of(recipe)}
    wanted = [source for name in sorted(counters) for source in plan.feature_set.quantity_by_name[name].sources]
    if not wanted:
        return DAILY_SIGNAL.empty()
    both = pl.concat([sources.daily_signals, sources.readings])
    mine = both.filter(pl.concat_str("message", "signal", separator=".").is_in(wanted))
    return mine.unique(DAILY_SIGNAL.key)


def _fleet(vehicles: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """The vehicles in the fleet at `as_of`, as known then."""
    return known(vehicles, as_of).filter(
        pl.col("in_service_at").is_null() | (pl.col("in_service_at") <= as_of),
        pl.col("left_at").is_null() | (pl.col("left_at") > as_of),
    )


def _batch(plan: _Plan, as_of: datetime, fleet: pl.DataFrame, span: _Span) -> Batch:
    vehicle_ids = fleet["vehicle_id"].to_list()
    coverage = Coverage(span.presence, as_of, vehicle_ids=vehicle_ids, lookback_d=plan.lookback_d)
    components = plan.feature_set.component_by_name
    failures = span.sources.failures
    computed = {
        Recipe("age"): _age_a(fleet, as_of),
        **{recipe: _is_model(fleet, recipe.of) for recipe in plan.recipes("is_model")},
        **_from_dailies(plan, as_of, fleet, span, coverage),
        **{recipe: coverage.n_days_with_data(recipe.days) for recipe in plan.recipes("days_with_data")},
        **event_features(
            span.sources.events, as_of, plan.recipes(*EVENT_KINDS), vehicle_ids=vehicle_ids, components=components
        ),
        **history_features(failures, as_of, plan.recipes(*HISTORY_KINDS), vehicle_ids=vehicle_ids),
        **meter_features(
            span.readings, failures, as_of, plan.recipes(*METER_KINDS), vehicle_ids=vehicle_ids,
            quantities=plan.feature_set.quantity_by_name,
        ),
    }  # fmt: skip
    matrix = np.empty((fleet.height, len(plan.features)), dtype="<f4")
    for position, feature in enumerate(plan.features):
        matrix[:, position] = computed[feature.recipe]
    return Batch(as_of, fleet["vehicle_id"], coverage.data_until, matrix)


def _is_model(fleet: pl.DataFrame, name: str) -> Numbers:
    """1 or 0 [vehicle]; NaN where the model is not known."""
    return (fleet["model"] == name).cast(pl.Float64).to_numpy()


def _age_a(fleet: pl.DataFrame, as_of: datetime) -> Numbers:
    now_a = as_of.year + (as_of.timetuple().tm_yday - 1) / _D_PER_A
    return (now_a - fleet["model_year"].cast(pl.Float64)).to_numpy()


def _from_dailies(
    plan: _Plan, as_of: datetime, fleet: pl.DataFrame, span: _Span, coverage: Coverage
) -> Mapping[Recipe, Numbers]:
    vehicle_ids = fleet["vehicle_id"].to_list()
    groups = peer_groups(fleet)
    days = span.grid.at(as_of, vehicle_ids=vehicle_ids, lookback_d=plan.lookback_d)
    statistics = WindowStatistics(days, groups[1])
    values = _signal_values(plan, statistics, groups)
    coded, with_lamp = plan.recipes(*CODE_KINDS), plan.recipes("red_above")
    if not coded and not with_lamp:
        return values
    code_days = CodeDays(span.faults, as_of, vehicle_ids)
    n_days = coverage.n_days_with_data
    of_codes = code_features(code_days, coded, components=plan.feature_set.component_by_name, n_days_with_data=n_days)
    red = code_days.red
    lamps = {}
    for recipe in with_lamp:
        place = plan.positions[recipe.of]
        counts = _red_above(red, days, statistics.mean(place, BEFORE_D), recipe, place)
        lamps[recipe] = silent_is_zero(counts, n_days(recipe.days))
    return {**values, **of_codes, **lamps}


def _signal_values(plan: _Plan, statistics: WindowStatistics, groups: tuple[npt.NDArray[np.int64], ...]) -> Mapping[
    Recipe, Numbers
]:  # fmt: skip
    compute: dict[str, Callable[..., Numbers]] = {
        "mean": statistics.mean, "std": statistics.std, "min": statistics.minimum, "max": statistics.maximum,
        "slope": statistics.slope, "change": statistics.change, "gain": statistics.gain, "latest": statistics.latest,
        "excess": statistics.excess,
    }  # fmt: skip
    values = {
        recipe: way(*plan.places(recipe), recipe.days) for kind, way in compute.items() for recipe in plan.recipes(kind)
    }
    close, wide = groups
    for recipe in plan.recipes("peers"):
        own = statistics.mean(plan.positions[recipe.of], recipe.days)
        values[recipe] = against_others(own, (close, wide))
    for recipe in plan.recipes("quantile"):
        values[recipe] = statistics.quantile(plan.positions[recipe.of], recipe.days, recipe.at)
    for recipe in plan.recipes("share"):
        values[recipe] = statistics.share_in_range(plan.positions[recipe.of], int(recipe.at), recipe.days)
    for recipe in plan.recipes("transitions"):
        values[recipe] = statistics.transitions(plan.positions[recipe.of], recipe.days)
    for recipe in plan.recipes("starts"):
        values[recipe] = statistics.starts(plan.positions[recipe.of], recipe.days)
    return values


def _red_above(red: npt.NDArray[np.bool_], days: Days, usual: Numbers, recipe: Recipe, quantity: int) -> Numbers:
    """Days [vehicle] with the red lamp on and a daily mean above the usual one; NaN where no lamp was ever on."""
    high = (days.n[: recipe.days, :, quantity] > 0) & (days.mean[: recipe.days, :, quantity] > usual)
    return np.where(red.any(axis=0), (red[: recipe.days] & high).sum(axis=0), np.nan)
