"""Remote sources: how far each has been read (`pm.poll`), and what its records are matched with.

What belongs here: the poll cursor, vehicles by their VIN, and which records are stored already. Reading a
remote source is `pm.pipelines.rfms.poll`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl
import psycopg

from pm.asof import require_instant
from pm.store.queries import run


def next_start(conn: psycopg.Connection, source: str) -> datetime | None:
    """Where the next poll of this source begins, by the source's clock; None: it was never read to its end."""
    row = run(conn, "poll", "next_start", source=source).fetchone()
    return None if row is None else row[0].astimezone(UTC)


def move(conn: psycopg.Connection, source: str, *, next_start: datetime, polled_at: datetime) -> None:
    """Note that the source was read to its end. `source` holds no secrets.

    Raises:
        DataError: an instant is not UTC.
    """
    require_instant(next_start, "next_start")
    require_instant(polled_at, "polled_at")
    run(conn, "poll", "move", source=source, next_start=next_start, polled_at=polled_at)


def vehicles_of_vins(conn: psycopg.Connection, vins: Sequence[str]) -> list[tuple[str, int, str]]:
    """(VIN, vehicle_id, fleet) of the vehicles with these VINs, by VIN and vehicle_id."""
    rows = run(conn, "poll", "vehicles_of_vins", vins=sorted(set(vins))).fetchall()
    return [(str(vin), int(vehicle_id), str(fleet)) for vin, vehicle_id, fleet in rows]


def stored_events(conn: psycopg.Connection, keys: pl.DataFrame, *, kind: str) -> pl.DataFrame:
    """Those of `keys` (vehicle_id Int32, time, code String) that `pm.event` has with this kind."""
    rows = run(
        conn,
        "poll",
        "stored_events",
        kind=kind,
        vehicle_ids=keys["vehicle_id"].to_list(),
        times=keys["time"].to_list(),
        codes=keys["code"].to_list(),
    ).fetchall()
    schema = {name: keys.schema[name] for name in ("vehicle_id", "time", "code")}
    return pl.DataFrame([(row[0], row[1].astimezone(UTC), row[2]) for row in rows], schema=schema, orient="row")
