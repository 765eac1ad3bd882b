"""Label states: `pm.label`, a history that only grows.

What belongs here: appending states and reading them as known at an instant. How a state is decided
is `pm.labels`.
"""

from datetime import datetime

import polars as pl
import psycopg

from pm.asof import require_instant
from pm.store import frames
from pm.tables import LABEL


def append_labels(conn: psycopg.Connection, labels: pl.DataFrame) -> int:
    """Append states (LABEL); returns rows written. A state of the same label and instant is written over.

    Written over, not refused: the same step run twice, also after a crash, gives the same table.

    Raises:
        DataError: the frame does not fit the declaration, or names an unknown vehicle.
    """
    return frames.insert(conn, LABEL, labels, on_conflict="replace")


def fetch_labels(
    conn: psycopg.Connection, *, known_by: datetime, component: str | None = None, horizon_d: int | None = None
) -> pl.DataFrame:
    """For each label its newest state known by `known_by`: LABEL, by component, as_of and vehicle.

    Raises:
        DataError: `known_by` is not UTC.
    """
    instant = require_instant(known_by, "known_by")
    return frames.fetch(conn, LABEL, "latest", known_by=instant, component=component, horizon_d=horizon_d)


def fetch_history(conn: psycopg.Connection, *, component: str | None = None) -> pl.DataFrame:
    """Every state ever written: LABEL, by key."""
    return frames.fetch(conn, LABEL, "history", component=component)
