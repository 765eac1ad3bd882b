"""From dailies and failures to `FEATURE_VECTOR`: one row a vehicle and as-of.

What belongs here: the order of the work. Each as-of is computed from rows known by then (`pm.asof`)
and from whole days before it, so arrivals after it change nothing; as-ofs are taken in spans, so
memory is bounded by one span and spans may run anywhere in any order.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pm.asof import known, require_instant
from pm.errors import ConfigError
from pm.features.cells import cell_versions, select_days
from pm.features.coverage import Coverage, presence
from pm.features.faults import CODE_KINDS, code_features
from pm.features.featureset import BEFORE_D, Feature, FeatureSet, Recipe
from pm.features.history import HISTORY_KINDS, history_features
from pm.features.quantities import BY_NAME, COMPONENT_SPNS, Quantity
from pm.features.statistics import WindowStatistics
from pm.policy import Policy
from pm.schema import UTC_INSTANT
from pm.tables import DAILY_FAULT, DAILY_SIGNAL, FAILURE, FEATURE_VECTOR, VEHICLE

Numbers = npt.NDArray[np.float64]

_SPAN_D: Final = 28
_SIGNAL_KINDS: Final = frozenset(("mean", "min", "max", "std", "slope", "change", "peers", "excess", "gain", "latest"))
_OWN_KINDS: Final = frozenset(("days_with_data", "age"))
_D_PER_A: Final = 365.25


def build_vectors(
    feature_set: FeatureSet,
    as_ofs: Sequence[datetime],
    *,
    vehicles: pl.DataFrame,
    daily_signals: pl.DataFrame,
    daily_faults: pl.DataFrame,
    failures: pl.DataFrame,
    policy: Policy,
) -> pl.DataFrame:
    """`FEATURE_VECTOR`: one row a vehicle in the fleet at each as-of, by as-of, then vehicle.

    Args:
        feature_set: which features, in which order.
        as_ofs: UTC instants; the last full day is the UTC day before each.
        vehicles: `VEHICLE`. A vehicle has a row from max(in_service_at, known_at) until left_at,
            with nulls and no data_until where it has no data.
        daily_signals, daily_faults: at least the `feature_set.lookback_d` days before each as-of, of
            all vehicles that may be peers; older days change nothing.
        failures: `FAILURE`, all versions.
        policy: kept in the signature so that a set may depend on it; this one reads nothing more.

    Raises:
        DataError: a frame does not fit its table, or an as-of carries no UTC.
        ConfigError: the set holds a feature that is not computed here.
    """
    del policy
    plan = _plan(feature_set)
    sources = _Sources(
        VEHICLE.check(vehicles).sort("vehicle_id"),
        DAILY_SIGNAL.check(daily_signals, unique=False),
        DAILY_FAULT.check(daily_faults, unique=False),
        FAILURE.check(failures, unique=False),
    )
    ordered = sorted({require_instant(as_of, "as_of") for as_of in as_ofs})
    made = [rows for span in _spans(ordered) for rows in _span_vectors(plan, span, sources)]
    return FEATURE_VECTOR.check(pl.concat([FEATURE_VECTOR.empty(), *made]))


@dataclass(frozen=True)
class _Sources:
    vehicles: pl.DataFrame
    daily_signals: pl.DataFrame
    daily_faults: pl.DataFrame
    failures: pl.DataFrame


@dataclass(frozen=True)
class _Span:
    versions: pl.DataFrame
    presence: pl.DataFrame
    faults: pl.DataFrame
    failures: pl.DataFrame


@dataclass(frozen=True)
class _Plan:
    feature_set: FeatureSet
    lookback_d: int
    quantities: tuple[Quantity, ...]
    positions: Mapping[str, int]

    def recipes(self, *kinds: str) -> tuple[Recipe, ...]:
        """The set's different recipes of these kinds, in the set's order."""
        return tuple(dict.fromkeys(f.recipe for f in self.feature_set.features if f.recipe.kind in kinds))


def _plan(feature_set: FeatureSet) -> _Plan:
    for feature in feature_set.features:
        _check(feature)
    names = dict.fromkeys(name for feature in feature_set.features for name in _quantities_of(feature))
    return _Plan(
        feature_set,
        feature_set.lookback_d,
        tuple(BY_NAME[name] for name in names),
        {name: i for i, name in enumerate(names)},
    )


def _check(feature: Feature) -> None:
    recipe = feature.recipe
    kinds = _SIGNAL_KINDS | _OWN_KINDS | CODE_KINDS | HISTORY_KINDS
    if recipe.kind not in kinds:
        raise ConfigError(f"feature {feature.name}: expected a recipe of {sorted(kinds)}, but got {recipe.kind!r}")
    if recipe.kind in CODE_KINDS and recipe.days > BEFORE_D:
        raise ConfigError(f"feature {feature.name}: expected at most {BEFORE_D} days, but got {recipe.days}")
    if recipe.kind in CODE_KINDS and recipe.of not in ("", *COMPONENT_SPNS):
        raise ConfigError(f"feature {feature.name}: expected one of {sorted(COMPONENT_SPNS)}, but got {recipe.of!r}")


def _quantities_of(feature: Feature) -> Iterable[str]:
    if feature.recipe.kind not in _SIGNAL_KINDS:
        return ()
    names = feature.recipe.of.split("-")
    unknown = [name for name in names if name not in BY_NAME]
    if unknown:
        raise ConfigError(f"feature {feature.name}: expected known quantities, but got {unknown}")
    return names


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


def _span_vectors(plan: _Plan, span: Sequence[datetime], sources: _Sources) -> Iterator[pl.DataFrame]:
    first = span[0].date() - timedelta(days=plan.lookback_d)
    in_span = pl.col("day").is_between(first, span[-1].date(), closed="left")
    signals = known(sources.daily_signals, span[-1]).filter(in_span)
    ready = _Span(
        cell_versions(signals, plan.quantities),
        presence(signals),
        known(sources.daily_faults, span[-1]).filter(in_span),
        sources.failures,
    )
    for as_of in span:
        fleet = _fleet(sources.vehicles, as_of)
        if fleet.height:
            yield _vectors(plan, as_of, fleet, ready)


def _fleet(vehicles: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """The vehicles in the fleet at `as_of`, as known then."""
    return known(vehicles, as_of).filter(
        pl.col("in_service_at").is_null() | (pl.col("in_service_at") <= as_of),
        pl.col("left_at").is_null() | (pl.col("left_at") > as_of),
    )


def _vectors(plan: _Plan, as_of: datetime, fleet: pl.DataFrame, span: _Span) -> pl.DataFrame:
    vehicle_ids = fleet["vehicle_id"].to_list()
    days = select_days(
        span.versions, as_of, vehicle_ids=vehicle_ids, n_quantities=len(plan.quantities), lookback_d=plan.lookback_d
    )
    models = fleet["model"].fill_null("").rank("dense").cast(pl.Int64).to_numpy()
    coverage = Coverage(span.presence, as_of, vehicle_ids=vehicle_ids, lookback_d=plan.lookback_d)
    computed = {
        Recipe("age"): _age_a(fleet, as_of),
        **_signal_values(plan, WindowStatistics(days, models)),
        **{recipe: coverage.n_days_with_data(recipe.days) for recipe in plan.recipes("days_with_data")},
        **code_features(
            span.faults,
            as_of,
            plan.recipes(*CODE_KINDS),
            vehicle_ids=vehicle_ids,
            n_days_with_data=coverage.n_days_with_data,
        ),
        **history_features(span.failures, as_of, plan.recipes(*HISTORY_KINDS), vehicle_ids=vehicle_ids),
    }
    matrix = np.empty((fleet.height, len(plan.feature_set.features)))
    for position, feature in enumerate(plan.feature_set.features):
        matrix[:, position] = computed[feature.recipe]
    return _as_frame(plan.feature_set.feature_set_id, as_of, vehicle_ids, coverage.data_until, matrix)


def _age_a(fleet: pl.DataFrame, as_of: datetime) -> Numbers:
    now_a = as_of.year + (as_of.timetuple().tm_yday - 1) / _D_PER_A
    return (now_a - fleet["model_year"].cast(pl.Float64)).to_numpy()


def _signal_values(plan: _Plan, statistics: WindowStatistics) -> Mapping[Recipe, Numbers]:
    compute: dict[str, Callable[..., Numbers]] = {
        "mean": statistics.mean, "std": statistics.std, "min": statistics.minimum, "max": statistics.maximum,
        "slope": statistics.slope, "change": statistics.change, "peers": statistics.against_peers,
        "gain": statistics.gain, "latest": statistics.latest, "excess": statistics.excess,
    }  # fmt: skip
    return {
        recipe: compute[recipe.kind](*(plan.positions[name] for name in recipe.of.split("-")), recipe.days)
        for recipe in plan.recipes(*_SIGNAL_KINDS)
    }


def _as_frame(
    feature_set_id: str, as_of: datetime, vehicle_ids: Sequence[int], data_until: pl.Series, matrix: Numbers
) -> pl.DataFrame:
    values = np.ascontiguousarray(matrix, dtype="<f4")
    values[np.isnan(values)] = np.nan  # one bit pattern for null, whatever made it
    hashes = [
        _inputs_hash(feature_set_id, vehicle_id, as_of, row)
        for vehicle_id, row in zip(vehicle_ids, values, strict=True)
    ]
    lists = pl.Series(values.ravel(), dtype=pl.Float32).fill_nan(None).reshape(values.shape).arr.to_list()
    return pl.DataFrame(
        {
            "feature_set_id": pl.repeat(feature_set_id, len(vehicle_ids), eager=True),
            "vehicle_id": pl.Series(vehicle_ids, dtype=pl.Int32),
            "as_of": pl.repeat(as_of, len(vehicle_ids), dtype=UTC_INSTANT, eager=True),
            "data_until": data_until,
            "features": lists,
            "inputs_hash": hashes,
        }
    )


def _inputs_hash(feature_set_id: str, vehicle_id: int, as_of: datetime, values: npt.NDArray[np.float32]) -> str:
    head = f"{feature_set_id}|{vehicle_id}|{as_of.isoformat()}|".encode()
    return hashlib.sha256(head + values.tobytes()).hexdigest()[:16]
