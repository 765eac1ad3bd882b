"""Model inputs: `pm.feature_set`, `pm.feature_vector`.

What belongs here: writing sets and vectors, reading them by set and as-of. How a vector is made is
`pm.features.windows`.
"""

from datetime import datetime

import polars as pl
import psycopg

from pm.errors import DataError
from pm.features.featureset import FeatureSet
from pm.store import frames
from pm.store.queries import run
from pm.tables import FEATURE_SET, FEATURE_VECTOR


def put_feature_set(conn: psycopg.Connection, feature_set: FeatureSet) -> None:
    """Write a feature set; the same again changes nothing, as its id holds the hash of its content."""
    row: dict[str, object] = {
        "feature_set_id": feature_set.feature_set_id,
        "name": feature_set.name,
        "version": feature_set.version,
        "definition_json": feature_set.definition_json,
    }
    frames.insert(conn, FEATURE_SET, FEATURE_SET.frame([row]), on_conflict="ignore")


def fetch_feature_set(conn: psycopg.Connection, feature_set_id: str) -> pl.DataFrame:
    """The set: FEATURE_SET, one row.

    Raises:
        DataError: there is no such set.
    """
    found = frames.fetch(conn, FEATURE_SET, "by_id", feature_set_id=feature_set_id)
    if found.height == 0:
        raise DataError(f"feature set {feature_set_id}: expected a stored set, but got none of that id")
    return found


def put_vectors(conn: psycopg.Connection, vectors: pl.DataFrame) -> int:
    """Write vectors (FEATURE_VECTOR) over those of the same set, vehicle and as-of; returns rows written.

    Raises:
        DataError: the frame does not fit the declaration, or names an unknown set or vehicle.
    """
    return frames.insert(conn, FEATURE_VECTOR, vectors, on_conflict="replace")


def fetch_vectors(
    conn: psycopg.Connection,
    feature_set_id: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    vehicle_id: int | None = None,
) -> pl.DataFrame:
    """Vectors of one set with since <= as_of <= until: FEATURE_VECTOR, by as_of and vehicle."""
    params = {"feature_set_id": feature_set_id, "since": since, "until": until, "vehicle_id": vehicle_id}
    return frames.fetch(conn, FEATURE_VECTOR, "span", **params)


def fetch_as_ofs(
    conn: psycopg.Connection, feature_set_id: str | None = None, *, until: datetime | None = None
) -> list[datetime]:
    """The as-ofs that have vectors, of one set or any, ascending, none after `until`."""
    rows = run(conn, "feature_vector", "as_ofs", feature_set_id=feature_set_id, until=until).fetchall()
    return [row[0] for row in rows]


def newest_as_of(conn: psycopg.Connection, feature_set_id: str | None = None) -> datetime:
    """The last of `fetch_as_ofs`.

    Raises:
        DataError: there are no vectors.
    """
    found = fetch_as_ofs(conn, feature_set_id)
    if not found:
        raise DataError("feature vectors: expected at least one as-of, but got none: build features first")
    return found[-1]
