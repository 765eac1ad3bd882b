"""Feature sets side by side: `pm.feature_set`, `pm.feature_choice`, `pm.feature_batch`.

What belongs here: which sets there are, which one was chosen, and what each batch of vectors was made from. The
vectors themselves are `pm.store.feature_vectors`.
"""

import json
from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

import polars as pl
import psycopg

from pm.errors import DataError, LifecycleError
from pm.features.featureset import FeatureSet, read_set
from pm.schema import UTC_INSTANT
from pm.store import frames
from pm.store.feature_vectors import fetch_feature_set
from pm.store.queries import named, run
from pm.tables import DAILY_SIGNAL, FEATURE_BATCH, FEATURE_CHOICE

DIGESTS: Final = pl.Schema({"day": pl.Date(), "known_at": UTC_INSTANT, "digest": pl.Int64()})
PRESENCE: Final = pl.Schema(
    {"vehicle_id": pl.Int32(), "day": pl.Date(), "known_at": UTC_INSTANT, "last_at": UTC_INSTANT}
)
SUMMARY: Final = pl.Schema({
    "feature_set_id": pl.String(), "name": pl.String(), "version": pl.Int32(), "n_features": pl.Int32(),
    "n_as_ofs": pl.Int64(), "first_as_of": UTC_INSTANT, "last_as_of": UTC_INSTANT, "n_vectors": pl.Int64(),
})  # fmt: skip


def load_feature_set(conn: psycopg.Connection, feature_set_id: str) -> FeatureSet:
    """A stored set as it was declared.

    Raises:
        DataError: there is no such set.
        ConfigError: it is of a release that computed otherwise.
    """
    row = fetch_feature_set(conn, feature_set_id).row(0, named=True)
    return read_set(row["feature_set_id"], row["name"], row["version"], row["definition_json"])


def fetch_definitions(conn: psycopg.Connection, feature_set_id: str) -> list[str]:
    """Each feature's hash of what decides its values, in the set's order; "" in sets stored before there was one.

    Raises:
        DataError: there is no such set.
    """
    stored = json.loads(fetch_feature_set(conn, feature_set_id)["definition_json"][0])
    return [str(entry.get("definition", "")) for entry in stored]


def fetch_summaries(conn: psycopg.Connection) -> pl.DataFrame:
    """Every stored set with what is stored of it: SUMMARY, by name and version."""
    return pl.DataFrame(run(conn, "feature_set", "summaries").fetchall(), schema=SUMMARY, orient="row")


def chosen(conn: psycopg.Connection) -> str | None:
    """Id of the set that was chosen last; None: none was, or the configured one."""
    row = run(conn, "feature_choice", "last").fetchone()
    return None if row is None or row[1] is None else str(row[1])


def fetch_choices(conn: psycopg.Connection) -> pl.DataFrame:
    """Every choice: FEATURE_CHOICE, the oldest first."""
    return frames.fetch(conn, FEATURE_CHOICE, "all")


def choose(conn: psycopg.Connection, feature_set_id: str | None, *, chosen_at: datetime, reason: str) -> int:
    """Record the set in use from now on (None: the configured one); returns the choice's number.

    Raises:
        DataError: there is no such set.
        LifecycleError: somebody else chose at the same moment.
    """
    if feature_set_id is not None:
        fetch_feature_set(conn, feature_set_id)
    last = run(conn, "feature_choice", "last").fetchone()
    number = 1 if last is None else int(last[0]) + 1
    row: dict[str, object] = {"choice_no": number, "feature_set_id": feature_set_id}
    row |= {"chosen_at": chosen_at, "reason": reason}
    try:
        frames.insert(conn, FEATURE_CHOICE, FEATURE_CHOICE.frame([row]))
    except DataError:
        raise LifecycleError(f"feature choice {number}: expected to be the next one, but got another first") from None
    return number


def put_batches(conn: psycopg.Connection, batches: pl.DataFrame) -> int:
    """Write what batches were made from (FEATURE_BATCH) over what stands there; returns rows written."""
    return frames.insert(conn, FEATURE_BATCH, batches, on_conflict="replace")


def fetch_batches(conn: psycopg.Connection, as_ofs: Sequence[datetime]) -> pl.DataFrame:
    """The batches of every set at these as-ofs: FEATURE_BATCH."""
    return frames.fetch(conn, FEATURE_BATCH, "at", as_ofs=list(as_ofs))


def fetch_digests(conn: psycopg.Connection, group: str, **params: object) -> pl.DataFrame:
    """Hashes of stored rows by day and known_at: DIGESTS, without the day for "fixed".

    Args:
        group: "daily", "event" (both with start and end) or "fixed".
    """
    cursor = run(conn, "feature_batch", f"{group}_digests", **params)
    names = [column.name for column in cursor.description or ()]
    schema = {name: DIGESTS[name] for name in names}
    return pl.DataFrame(cursor.fetchall(), schema=schema, orient="row")


def fetch_presence(conn: psycopg.Connection, *, start: date, end: date, known_by: datetime) -> pl.DataFrame:
    """When any signal was heard: PRESENCE, as `pm.features.coverage.presence` makes it."""
    rows = run(conn, "feature_batch", "presence", start=start, end=end, known_by=known_by).fetchall()
    return pl.DataFrame(rows, schema=PRESENCE, orient="row")


def fetch_signals(
    conn: psycopg.Connection, sources: Sequence[str], *, start: date, end: date, known_by: datetime, sketches: bool
) -> pl.DataFrame:
    """Aggregates of some signals (`message.signal`): DAILY_SIGNAL in any order; without `sketches` these are null."""
    params = {"start": start, "end": end, "known_by": known_by, "sketches": sketches, **_names(sources)}
    return DAILY_SIGNAL.check(frames.select(conn, named("feature_batch", "signals"), params, DAILY_SIGNAL))


def fetch_readings(
    conn: psycopg.Connection, sources: Sequence[str], *, after_d: int, known_by: datetime
) -> pl.DataFrame:
    """Aggregates of some signals on the days after each repair: DAILY_SIGNAL in any order."""
    params = {"after_d": after_d, "known_by": known_by, **_names(sources)}
    return DAILY_SIGNAL.check(frames.select(conn, named("feature_batch", "readings"), params, DAILY_SIGNAL))


def _names(sources: Sequence[str]) -> dict[str, list[str]]:
    pairs = [source.split(".", 1) for source in sources]
    return {"messages": [message for message, _ in pairs], "signals": [signal for _, signal in pairs]}
