"""A feature set and its latest stored vectors -> the dictionary of features."""

from typing import Final

from pm.features.dictionary import FeatureDictionary, describe
from pm.features.featureset import FeatureSet
from pm.store import dictionary, feature_vectors
from pm.store.connection import Connection
from pm.tables import FEATURE_VECTOR

LATEST_AS_OFS: Final = 14
"""Over so many of the latest as-ofs shares of null and distributions are taken."""


def describe_features(conn: Connection, feature_set: FeatureSet) -> FeatureDictionary:
    """What each feature is, and how its values lie over the latest as-ofs that are stored of the set."""
    as_ofs = feature_vectors.fetch_as_ofs(conn, feature_set.feature_set_id)[-LATEST_AS_OFS:]
    vectors = FEATURE_VECTOR.empty()
    if as_ofs:
        vectors = feature_vectors.fetch_vectors(
            conn, feature_set.feature_set_id, since=as_ofs[0], until=as_ofs[-1]
        )  # fmt: skip
    signals = dictionary.fetch_dictionary(conn)
    spns = {f"{message}.{signal}": spn for message, signal, spn in signals.select("message", "signal", "spn").rows()}
    return describe(feature_set, vectors, spns)
