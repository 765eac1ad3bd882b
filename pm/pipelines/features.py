"""Daily aggregates -> feature vectors at the given as-ofs; what another set has already is taken, not computed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final

import numpy as np
import polars as pl

from pm.asof import known, midnight
from pm.errors import StoreError
from pm.features.definition import METER_KINDS, SIGNAL_KINDS, Feature, FeatureSet
from pm.features.digests import RowDigests, SourceDigests, of_rows
from pm.features.meters import AFTER_D
from pm.features.vectors import Batch, as_vectors, matrix_of, put_together
from pm.features.windows import Sources, build_batches
from pm.pipelines.assumptions import require_fleet_unblocked
from pm.pipelines.feature_sets import set_in_use
from pm.policy import Policy
from pm.progress import Track, silent
from pm.store import dailies, events, feature_sets, feature_vectors, vehicles, work_orders
from pm.store.connection import Connection, transaction
from pm.tables import DAILY_SIGNAL, FEATURE_BATCH, FEATURE_VECTOR

BLOCK_AS_OFS: Final = 14
"""As-ofs whose sources are in memory at once."""
EVENT_HORIZON_D: Final = 365
"""Events further back are no part of any feature (`pm.features.featurefile.LONGEST_WINDOW_D`)."""


@dataclass(frozen=True)
class FeaturesReport:
    """Which set made how many vectors, and how much of them was there already."""

    feature_set_id: str
    n_features: int
    n_as_ofs: int
    n_vectors: int
    n_without_data: int
    n_computed: int
    """Feature columns computed, summed over the as-ofs."""
    n_taken: int
    """Feature columns taken from stored vectors that have the same definition and the same inputs."""


def build_features(
    conn: Connection,
    as_ofs: Sequence[datetime],
    policy: Policy,
    *,
    configured: FeatureSet | None = None,
    feature_set: FeatureSet | None = None,
    again: bool = False,
    track: Track = silent,
) -> FeaturesReport:
    """Make and store the vectors of every vehicle at each as-of, from rows known by then.

    Args:
        configured: the set where none was chosen; None: the shipped truck set.
        feature_set: this set, whatever is in use.
        again: compute every feature, also those that stored vectors have.

    Raises:
        DataError: the check of the daily aggregates blocked the whole fleet at one of the as-ofs.
    """
    require_fleet_unblocked(conn, as_ofs)
    in_use = set_in_use(conn, policy, configured) if feature_set is None else feature_set
    feature_vectors.put_feature_set(conn, in_use)
    ordered = sorted(set(as_ofs))
    blocks = [tuple(ordered[at : at + BLOCK_AS_OFS]) for at in range(0, len(ordered), BLOCK_AS_OFS)]
    n_vectors = n_without_data = n_computed = n_taken = 0
    for block in track(blocks, "features", len(blocks)):
        batches, vectors = _block(conn, in_use, block, again=again)
        with transaction(conn):
            feature_vectors.put_vectors(conn, vectors)
            feature_sets.put_batches(conn, batches)
        n_vectors += vectors.height
        n_without_data += vectors["data_until"].null_count()
        n_computed += int(batches["n_computed"].sum())
        n_taken += int(batches["n_taken"].sum())
    n_features = len(in_use.names)
    return FeaturesReport(
        in_use.feature_set_id, n_features, len(ordered), n_vectors, n_without_data, n_computed, n_taken
    )


@dataclass(frozen=True)
class _Donor:
    """A set with stored vectors, where its features stand, and these vectors at some as-ofs."""

    feature_set_id: str
    n_features: int
    places: Mapping[str, int]
    """By definition."""
    rows: Mapping[datetime, pl.DataFrame]
    has_readings: frozenset[datetime]
    """As-ofs whose readings after repairs are the same too."""

    def has(self, feature: Feature, definition: str, as_of: datetime) -> bool:
        is_current = feature.recipe.kind not in METER_KINDS or as_of in self.has_readings
        return as_of in self.rows and definition in self.places and is_current


_Places = dict[int, tuple[_Donor, int]]
"""Of features that stored vectors have: {place in the set: (set that has it, its place there)}."""


def _block(
    conn: Connection, feature_set: FeatureSet, as_ofs: Sequence[datetime], *, again: bool
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """FEATURE_BATCH and FEATURE_VECTOR of one block of as-ofs."""
    readings = _readings(conn, feature_set, as_ofs[-1])
    digests = _digests(conn, feature_set, as_ofs, readings)
    donors = [] if again else _donors(conn, feature_set, as_ofs, digests)
    taken = {as_of: _taken(feature_set, donors, as_of) for as_of in as_ofs}
    batches, vectors = [], [FEATURE_VECTOR.empty()]
    for places, group in groupby(as_ofs, key=lambda as_of: frozenset(taken[as_of])):
        wanted = [feature for place, feature in enumerate(feature_set.features) if place not in places]
        span = list(group)
        made = (
            build_batches(feature_set, span, _sources(conn, feature_set, wanted, span, readings), wanted=wanted)
            if wanted or not places
            else _from_donors(span, taken)
        )
        for batch in made:
            whole = _complete(batch, taken[batch.as_of], len(feature_set.names))
            vectors.append(as_vectors(feature_set.feature_set_id, whole))
            batches.append({
                "feature_set_id": feature_set.feature_set_id, "as_of": batch.as_of,
                "lookback_d": feature_set.lookback_d, "n_vectors": batch.vehicle_ids.len(),
                "n_computed": len(wanted), "n_taken": len(places),
                "sources_digest": digests[batch.as_of].sources, "readings_digest": digests[batch.as_of].readings,
            })  # fmt: skip
    return FEATURE_BATCH.frame(batches), FEATURE_VECTOR.check(pl.concat(vectors))


def _donors(
    conn: Connection, feature_set: FeatureSet, as_ofs: Sequence[datetime], digests: Mapping[datetime, SourceDigests]
) -> list[_Donor]:
    """Sets whose stored vectors were made from the inputs as they are now, the set itself first."""
    current = [
        row
        for row in feature_sets.fetch_batches(conn, as_ofs).iter_rows(named=True)
        if row["lookback_d"] == feature_set.lookback_d and row["sources_digest"] == digests[row["as_of"]].sources
    ]
    ids = sorted({row["feature_set_id"] for row in current}, key=lambda one: (one != feature_set.feature_set_id, one))
    return [
        _donor(conn, one, {row["as_of"]: row for row in current if row["feature_set_id"] == one}, digests)
        for one in ids
    ]


def _donor(
    conn: Connection,
    feature_set_id: str,
    batches: Mapping[datetime, Mapping[str, Any]],
    digests: Mapping[datetime, SourceDigests],
) -> _Donor:
    stored = feature_vectors.fetch_vectors(conn, feature_set_id, since=min(batches), until=max(batches))
    by_as_of = {key[0]: rows for key, rows in stored.partition_by("as_of", as_dict=True).items()}
    there = {
        as_of: by_as_of[as_of]
        for as_of, batch in batches.items()
        if as_of in by_as_of and by_as_of[as_of].height == batch["n_vectors"]
    }
    definitions = feature_sets.fetch_definitions(conn, feature_set_id)
    same = {
        as_of
        for as_of, batch in batches.items()
        if batch["readings_digest"] is not None and batch["readings_digest"] == digests[as_of].readings
    }
    places = {definition: place for place, definition in enumerate(definitions)}
    return _Donor(feature_set_id, len(definitions), places, there, frozenset(same))


def _taken(feature_set: FeatureSet, donors: Sequence[_Donor], as_of: datetime) -> _Places:
    """Where each feature that stored vectors have at this as-of is taken from."""
    found: _Places = {}
    for place, (feature, definition) in enumerate(zip(feature_set.features, feature_set.definitions, strict=True)):
        donor = next((one for one in donors if one.has(feature, definition, as_of)), None)
        if donor is not None:
            found[place] = (donor, donor.places[definition])
    return found


def _from_donors(as_ofs: Sequence[datetime], taken: Mapping[datetime, _Places]) -> Iterator[Batch]:
    """The fleet at each as-of as stored vectors have it, without a column: everything is taken."""
    for as_of in as_ofs:
        donor, _ = next(iter(taken[as_of].values()))
        rows = donor.rows[as_of]
        yield Batch(as_of, rows["vehicle_id"], rows["data_until"], np.empty((rows.height, 0), dtype="<f4"))


def _complete(batch: Batch, taken: _Places, n_features: int) -> Batch:
    """`batch`, which has the columns that were not taken, with those that were."""
    if not taken:
        return batch
    own = [place for place in range(n_features) if place not in taken]
    parts = [({place: at for at, place in enumerate(own)}, batch.values)]
    for donor in {one.feature_set_id: one for one, _ in taken.values()}.values():
        rows = donor.rows[batch.as_of]
        if rows["vehicle_id"].to_list() != batch.vehicle_ids.to_list():
            raise StoreError(
                f"vectors of {donor.feature_set_id} at {batch.as_of.isoformat()}: expected those of "
                f"{batch.vehicle_ids.len()} vehicles, but got {rows.height}: run `pm features build --again`"
            )
        places = {place: there for place, (one, there) in taken.items() if one is donor}
        parts.append((places, matrix_of(rows, donor.n_features)))
    return Batch(batch.as_of, batch.vehicle_ids, batch.data_until, put_together(n_features, parts))


def _sources(
    conn: Connection,
    feature_set: FeatureSet,
    wanted: Sequence[Feature],
    as_ofs: Sequence[datetime],
    readings: pl.DataFrame | None,
) -> Sources:
    """What the wanted features are made from; of the signals, those that they speak of."""
    end, last = as_ofs[-1].date(), as_ofs[-1]
    start = as_ofs[0].date() - timedelta(days=feature_set.lookback_d)
    names = _signal_names(feature_set, wanted, SIGNAL_KINDS | METER_KINDS)
    first_event = midnight(as_ofs[0].date() - timedelta(days=feature_set.event_lookback_d))
    return Sources(
        vehicles.fetch_vehicles(conn),
        feature_sets.fetch_signals(
            conn, names, start=start, end=end, known_by=last,
            sketches=any(feature.recipe.kind == "quantile" for feature in wanted),
        ),
        dailies.fetch_daily_faults(conn, start=start, end=end, known_by=last),
        known(work_orders.fetch_failures(conn), last),
        events.fetch_events(conn, start=first_event, end=last + timedelta(microseconds=1), known_by=last),
        DAILY_SIGNAL.empty() if readings is None else readings,
        feature_sets.fetch_presence(conn, start=start, end=end, known_by=last),
    )  # fmt: skip


def _signal_names(feature_set: FeatureSet, features: Sequence[Feature], kinds: frozenset[str]) -> list[str]:
    by_name = feature_set.quantity_by_name
    quantities = {n for f in features if f.recipe.kind in kinds for n in feature_set.quantities_of(f.recipe)}
    return sorted({source for name in quantities if name in by_name for source in by_name[name].sources})


def _readings(conn: Connection, feature_set: FeatureSet, last: datetime) -> pl.DataFrame | None:
    """What counters said after repairs, known by `last`; None where no feature asks."""
    names = _signal_names(feature_set, feature_set.features, METER_KINDS)
    return feature_sets.fetch_readings(conn, names, after_d=AFTER_D, known_by=last) if names else None


def _digests(
    conn: Connection, feature_set: FeatureSet, as_ofs: Sequence[datetime], readings: pl.DataFrame | None
) -> dict[datetime, SourceDigests]:
    """Of everything that may be read for each as-of, whatever features are wanted."""
    lookback, horizon = timedelta(days=feature_set.lookback_d), timedelta(days=EVENT_HORIZON_D)
    start, end = as_ofs[0].date() - lookback, as_ofs[-1].date()
    rows = RowDigests(
        feature_sets.fetch_digests(conn, "daily", start=start, end=end),
        feature_sets.fetch_digests(
            conn, "event", start=midnight(as_ofs[0].date() - horizon), end=midnight(end + timedelta(days=1))
        ),
        feature_sets.fetch_digests(conn, "fixed"),
        None if readings is None else of_rows(readings),
    )
    return {
        as_of: rows.at(as_of, first_day=as_of.date() - lookback, first_event_day=as_of.date() - horizon)
        for as_of in as_ofs
    }
