"""Results of the checks, `pm.assumption`, and what they compare with, `pm.training_profile`.

What belongs here: writing one as-of's results whole, reading them, and profiles in and out. What is
checked is `pm.features.assumptions`.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

import polars as pl
import psycopg

from pm.asof import require_instant
from pm.errors import DataError
from pm.features.assumptions import CHECKED_DAILY, TrainingProfile, read_profile
from pm.store import frames
from pm.store.queries import named, refusals, run
from pm.tables import ASSUMPTION, SIGNAL, TRAINING_PROFILE

_GROUP: Final = "assumption"
_BESIDE_CONTENT: Final = "checked_at"


def fetch_checked_daily(conn: psycopg.Connection, *, start: date, end: date, known_by: datetime) -> pl.DataFrame:
    """What is checked of the aggregates of the days start <= day < end known by `known_by`.

    Columns of CHECKED_DAILY in any order of rows, and not held against it: that is the first check.
    """
    params = {"start": start, "end": end, "known_by": require_instant(known_by, "known_by")}
    return frames.select(conn, named(_GROUP, "daily"), params, CHECKED_DAILY)


def fetch_declared(conn: psycopg.Connection) -> pl.DataFrame:
    """Every decoded signal as declared: SIGNAL, by message and signal."""
    return frames.fetch(conn, SIGNAL, "all")


def replace_assumptions(conn: psycopg.Connection, as_of: datetime, assumptions: pl.DataFrame) -> int:
    """Write the results of one as-of (ASSUMPTION) in place of those stored of it; returns rows written.

    Results that are stored already, whenever they were computed, are left as they are: 0.

    Raises:
        DataError: the frame does not fit the declaration, or has rows of another as-of.
    """
    require_instant(as_of, "as_of")
    checked = ASSUMPTION.check(assumptions).sort(ASSUMPTION.key)
    others = checked.filter(pl.col("as_of") != as_of)
    if others.height:
        raise DataError(f"table assumption: expected as_of {as_of.isoformat()}, but got {others['as_of'][0]}")
    with refusals("table pm.assumption"), frames.atomic(conn):
        run(conn, _GROUP, "lock")
        stored = fetch_assumptions(conn, as_of).sort(ASSUMPTION.key)
        if stored.drop(_BESIDE_CONTENT).equals(checked.drop(_BESIDE_CONTENT)):
            return 0
        run(conn, _GROUP, "delete_as_of", as_of=as_of)
        return frames.insert(conn, ASSUMPTION, checked)


def fetch_assumptions(conn: psycopg.Connection, as_of: datetime) -> pl.DataFrame:
    """The results of one as-of: ASSUMPTION, by key."""
    return frames.fetch(conn, ASSUMPTION, "of", as_of=as_of)


def fetch_blocking(conn: psycopg.Connection, as_ofs: Sequence[datetime]) -> pl.DataFrame:
    """The results that block at any of these as-ofs: ASSUMPTION, by key."""
    return frames.fetch(conn, ASSUMPTION, "blocked", as_ofs=list(as_ofs))


def latest_checked(conn: psycopg.Connection) -> datetime | None:
    """The newest as-of that was checked; None: none was."""
    row = run(conn, _GROUP, "latest_as_of").fetchone()
    return row[0] if row is not None and isinstance(row[0], datetime) else None


def put_profile(conn: psycopg.Connection, profile: TrainingProfile, *, created_at: datetime) -> int:
    """Store a profile; the same again changes nothing. Returns rows written."""
    row: dict[str, object] = {
        "profile_id": profile.profile_id,
        "feature_set_id": profile.feature_set_id,
        "as_of": profile.as_of,
        "content_json": profile.content_json,
        "created_at": created_at,
    }
    return frames.insert(conn, TRAINING_PROFILE, TRAINING_PROFILE.frame([row]), on_conflict="ignore")


def newest_profile(conn: psycopg.Connection, feature_set_id: str, as_of: datetime) -> TrainingProfile | None:
    """The newest profile of a feature set that a decision at `as_of` may use; None: there is none.

    Raises:
        DataError: what is stored is no profile.
    """
    found = frames.fetch(conn, TRAINING_PROFILE, "newest", feature_set_id=feature_set_id, as_of=as_of)
    return read_profile(found["content_json"][0]) if found.height else None
