"""Predictions: `pm.prediction`.

What belongs here: writing one as-of's predictions whole, and reading them ranked or by vehicle.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import polars as pl
import psycopg

from pm.asof import require_instant
from pm.errors import DataError
from pm.store import frames
from pm.store.queries import refusals, run
from pm.tables import PREDICTION

SERVED_ROLES: Final = ("champion", "canary", "fallback")
"""Roles whose answers are shown; a shadow's are stored only."""


def replace_predictions(conn: psycopg.Connection, as_of: datetime, predictions: pl.DataFrame) -> int:
    """Write the predictions of one as-of (PREDICTION) in place of those stored of it; returns rows written.

    Raises:
        DataError: the frame does not fit the declaration, has rows of another as-of, or names an
            unknown vehicle.
    """
    require_instant(as_of, "as_of")
    checked = PREDICTION.check(predictions)
    others = checked.filter(pl.col("as_of") != as_of)
    if others.height:
        raise DataError(f"table prediction: expected as_of {as_of.isoformat()}, but got {others['as_of'][0]}")
    with refusals("table pm.prediction"), frames.atomic(conn):
        run(conn, "prediction", "lock")
        run(conn, "prediction", "delete_as_of", as_of=as_of)
        return frames.insert(conn, PREDICTION, checked)


def latest_as_of(conn: psycopg.Connection) -> datetime | None:
    """The newest as-of that has predictions; None where there is none."""
    row = run(conn, "prediction", "latest_as_of").fetchone()
    return row[0] if row is not None and isinstance(row[0], datetime) else None


def fetch_latest(conn: psycopg.Connection, *, roles: Sequence[str] = SERVED_ROLES) -> pl.DataFrame:
    """Predictions of the newest as-of: PREDICTION, by position, rows without one last; empty where there are none."""
    as_of = latest_as_of(conn)
    return PREDICTION.empty() if as_of is None else fetch_predictions(conn, as_of=as_of, roles=roles)


def fetch_predictions(
    conn: psycopg.Connection, *, as_of: datetime, roles: Sequence[str] = SERVED_ROLES
) -> pl.DataFrame:
    """Predictions of one as-of: PREDICTION, by position, rows without one last."""
    return fetch_between(conn, since=as_of, until=as_of, roles=roles)


def fetch_between(
    conn: psycopg.Connection, *, since: datetime, until: datetime, roles: Sequence[str] = SERVED_ROLES
) -> pl.DataFrame:
    """Predictions with since <= as_of <= until: PREDICTION, newest as-of first, then by position."""
    return frames.fetch(conn, PREDICTION, "span", since=since, until=until, roles=list(roles))


def fetch_of_vehicle(conn: psycopg.Connection, vehicle_id: int, *, roles: Sequence[str] = SERVED_ROLES) -> pl.DataFrame:
    """Predictions of one vehicle: PREDICTION, newest as-of first, then by position."""
    return frames.fetch(conn, PREDICTION, "of_vehicle", vehicle_id=vehicle_id, roles=list(roles))
