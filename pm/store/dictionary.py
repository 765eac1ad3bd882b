"""The dictionary of decoded signals: what each is, where it stands, and how much of it was seen.

What belongs here: reading `readable.signal`, whole or searched. Rows come to it from
`pm.store.telemetry_tables` (what the DBC says) and `pm.store.log_signals` (what files hold).
"""

from typing import Final

import polars as pl
import psycopg

from pm.schema import UTC_INSTANT, Column, Table
from pm.store import frames
from pm.store.queries import named, run
from pm.tables import SIGNAL

_GROUP: Final = "dictionary"
_I64, _F64, _TEXT = pl.Int64(), pl.Float64(), pl.String()

DICTIONARY: Final = Table(
    "dictionary",
    "One row a message and signal: its declaration, its places, and what was seen of it.",
    SIGNAL.key,
    (
        *SIGNAL.columns,
        Column("readable_view", _TEXT, "view in schema readable; null for a VIN", nullable=True),
        Column("readable_column", _TEXT, "column in that view", nullable=True),
        Column("first_seen_at", UTC_INSTANT, "time of the first value; null: never seen", nullable=True),
        Column("last_seen_at", UTC_INSTANT, "time of the last value; null: never seen", nullable=True),
        Column("n_files", _I64, "files that hold its message; null: never seen", nullable=True),
        Column("n_rows", _I64, "rows of its message in those files, also those that overlap", nullable=True),
        Column("n_values", _I64, "values among them that are not null", nullable=True),
        Column("null_share", _F64, "share of those rows without a value, 0 to 1; null: never seen", nullable=True),
    ),
)
"""SIGNAL with what the store knows beyond the DBC; the columns of `readable.signal`."""


def fetch_dictionary(
    conn: psycopg.Connection, *, text: str = "", message: str | None = None, limit: int | None = None
) -> pl.DataFrame:
    """Signals that match: DICTIONARY, by message and signal, at most `limit`.

    Args:
        text: words that must all stand, in any letter case, somewhere in the message, signal, table
            or readable name, unit or description, or be "PGN" or "SPN" with its number. Empty: every signal.
        message: only this message, by its name in the DBC in any letter case.

    Raises:
        StoreError: the database could not do it, or has no views yet (`pm.store.views`).
    """
    params = _params(text, message) | {"limit": limit}
    return DICTIONARY.check(frames.select(conn, named(_GROUP, "matching"), params, DICTIONARY))


def count_dictionary(conn: psycopg.Connection, *, text: str = "", message: str | None = None) -> int:
    """How many rows `fetch_dictionary` has without its limit."""
    row = run(conn, _GROUP, "count_matching", **_params(text, message)).fetchone()
    return 0 if row is None else int(row[0])


def _params(text: str, message: str | None) -> dict[str, object]:
    # PostgreSQL's text has no NUL: such a word is in no row either.
    return {"words": text.lower().replace("\0", "\N{REPLACEMENT CHARACTER}").split(), "message": message}
