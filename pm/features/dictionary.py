"""The dictionary of features: what each is, and how its stored values lie.

What belongs here: a set's declarations put beside figures of its vectors. Which vectors, is `pm.pipelines`; how a
page shows it, `pm.api`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pm.features.definition import Feature, FeatureSet
from pm.features.vectors import matrix_of

Values = npt.NDArray[np.float32]

N_BINS: Final = 12
_LEVELS: Final = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class Source:
    """A signal that a feature is made from, or a table (message is then empty)."""

    message: str
    signal: str
    spn: int | None
    """Suspect parameter number; None: it has none, or the signal was never decoded here."""


@dataclass(frozen=True)
class Distribution:
    """Values that are not null."""

    minimum: float
    p05: float
    median: float
    p95: float
    maximum: float
    edges: tuple[float, ...]
    """Edges of the bins, one more than counts."""
    counts: tuple[int, ...]


@dataclass(frozen=True)
class FeatureFacts:
    """One feature as the dictionary has it."""

    name: str
    unit: str
    meaning: str
    kind: str
    over_d: int
    """Days it looks back over; 0: all, or none."""
    definition: str
    sources: tuple[Source, ...]
    null_share: float | None
    """Of the vectors looked at; None: there are none."""
    distribution: Distribution | None
    """None: no value."""


@dataclass(frozen=True)
class FeatureDictionary:
    """A set's features with figures over some stored vectors."""

    feature_set_id: str
    name: str
    version: int
    first_as_of: datetime | None
    last_as_of: datetime | None
    n_vectors: int
    features: tuple[FeatureFacts, ...]

    def find(self, name: str) -> FeatureFacts | None:
        """The feature of this name, if the set has it."""
        return next((feature for feature in self.features if feature.name == name), None)


def describe(feature_set: FeatureSet, vectors: pl.DataFrame, spns: Mapping[str, int | None]) -> FeatureDictionary:
    """The dictionary of a set over `vectors` (`FEATURE_VECTOR` of it); `spns` by `message.signal`."""
    values = matrix_of(vectors, len(feature_set.names))
    facts = tuple(
        _facts(feature, feature_set.definitions[place], values[:, place], spns)
        for place, feature in enumerate(feature_set.features)
    )
    as_ofs = vectors["as_of"].unique().sort().to_list()
    first, last = (as_ofs[0], as_ofs[-1]) if as_ofs else (None, None)
    return FeatureDictionary(
        feature_set.feature_set_id, feature_set.name, feature_set.version, first, last, vectors.height, facts
    )


def _facts(feature: Feature, definition: str, values: Values, spns: Mapping[str, int | None]) -> FeatureFacts:
    there = values[np.isfinite(values)].astype(np.float64)
    null_share = 1.0 - there.size / values.size if values.size else None
    return FeatureFacts(
        feature.name, feature.unit, feature.meaning, feature.recipe.kind, feature.recipe.days, definition,
        tuple(_source(source, spns) for source in feature.sources), null_share,
        _distribution(there) if there.size else None,
    )  # fmt: skip


def _source(source: str, spns: Mapping[str, int | None]) -> Source:
    message, dot, signal = source.partition(".")
    return Source(message, signal, spns.get(source)) if dot else Source("", source, None)


def _distribution(values: npt.NDArray[np.float64]) -> Distribution:
    low, middle, high = (float(level) for level in np.quantile(values, _LEVELS))
    n_bins = min(N_BINS, np.unique(values).size)
    counts, edges = np.histogram(values, bins=n_bins)
    return Distribution(
        float(values.min()), low, middle, high, float(values.max()),
        tuple(float(edge) for edge in edges), tuple(int(count) for count in counts),
    )  # fmt: skip
