"""What the API and its pages ask: filtered, limited and counted in the database.

What belongs here: reads over stored predictions and what stands beside them. Nothing is written.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl
import psycopg

from pm.schema import UTC_INSTANT
from pm.store import frames
from pm.store.predictions import SERVED_ROLES
from pm.store.queries import named, run
from pm.tables import PREDICTION, VEHICLE, WORK_ORDER

_GROUP: Final = "serving"
_ROLES: Final = list(SERVED_ROLES)
ALERT_SCHEMA: Final = pl.Schema(
    {"vehicle_id": pl.Int32(), "component": pl.String(), "as_of": UTC_INSTANT, "alert": pl.Boolean()}
)


@dataclass(frozen=True)
class BatchState:
    """Counts of vehicles in one batch, and the components scored in it."""

    n_vehicles: int
    n_alerted: int
    n_without_score: int
    n_stale: int
    components: tuple[str, ...]


def fetch_matching(
    conn: psycopg.Connection,
    as_of: datetime,
    *,
    component: str | None = None,
    vehicle_id: int | None = None,
    alert: bool | None = None,
    limit: int | None = None,
) -> pl.DataFrame:
    """Answering predictions of one batch that match: PREDICTION, by position, rows without one last."""
    params = {"as_of": as_of, "component": component, "vehicle_id": vehicle_id, "alert": alert, "limit": limit}
    return frames.select(conn, named(_GROUP, "matching"), {**params, "roles": _ROLES}, PREDICTION)


def count_matching(
    conn: psycopg.Connection,
    as_of: datetime,
    *,
    component: str | None = None,
    vehicle_id: int | None = None,
    alert: bool | None = None,
) -> int:
    """How many rows `fetch_matching` has without its limit."""
    params = {"as_of": as_of, "component": component, "vehicle_id": vehicle_id, "alert": alert, "roles": _ROLES}
    row = run(conn, _GROUP, "count_matching", **params).fetchone()
    return 0 if row is None else int(row[0])


def fetch_one_a_vehicle(
    conn: psycopg.Connection, as_of: datetime, *, component: str | None = None, limit: int | None = None
) -> pl.DataFrame:
    """Each vehicle's likeliest failure in one batch: PREDICTION, by position, rows without one last."""
    params = {"as_of": as_of, "component": component, "limit": limit, "roles": _ROLES}
    return frames.select(conn, named(_GROUP, "one_a_vehicle"), params, PREDICTION)


def batch_state(conn: psycopg.Connection, as_of: datetime) -> BatchState:
    """Counts of the batch; all 0 where there is none."""
    row = run(conn, _GROUP, "batch_state", as_of=as_of, roles=_ROLES).fetchone()
    if row is None:
        return BatchState(0, 0, 0, 0, ())
    n_vehicles, n_alerted, n_without_score, n_stale, components = row
    return BatchState(n_vehicles, n_alerted, n_without_score, n_stale, tuple(components or ()))


def fetch_alert_history(conn: psycopg.Connection, since: datetime, until: datetime) -> pl.DataFrame:
    """Alerts with since < as_of <= until, oldest first: ALERT_SCHEMA.

    Each batch also has one row of vehicle 0 without alert, so that a batch without alerts shows.
    """
    found = run(conn, _GROUP, "alert_history", since=since, until=until, roles=_ROLES).fetchall()
    return pl.DataFrame(found, schema=ALERT_SCHEMA, orient="row")


def fetch_vehicle(conn: psycopg.Connection, vehicle_id: int) -> pl.DataFrame:
    """The vehicle: VEHICLE, one row or none."""
    return frames.select(conn, named(_GROUP, "vehicle"), {"vehicle_id": vehicle_id}, VEHICLE)


def vehicle_refs(conn: psycopg.Connection, vehicle_ids: list[int]) -> dict[int, str]:
    """Unit numbers of these vehicles."""
    found = run(conn, _GROUP, "refs", vehicle_ids=vehicle_ids).fetchall()
    return {int(row[0]): str(row[1]) for row in found}


def fetch_work_orders_of(conn: psycopg.Connection, vehicle_id: int, *, limit: int) -> pl.DataFrame:
    """Versions of the vehicle's work order lines, newest order first: WORK_ORDER, at most `limit`."""
    params = {"vehicle_id": vehicle_id, "limit": limit}
    return frames.select(conn, named(_GROUP, "work_orders_of"), params, WORK_ORDER)
