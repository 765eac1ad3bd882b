"""Versions of work orders, and failures."""

from datetime import UTC, datetime, timedelta

import polars as pl
import psycopg
import pytest

from pm.errors import DataError
from pm.store import vehicles, work_orders
from pm.tables import FAILURE, WORK_ORDER

T0 = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def truck(conn: psycopg.Connection) -> int:
    return vehicles.add_vehicle(conn, fleet="north", vehicle_ref="T1", known_at=T0)


def order(truck: int, day: int, description: str, **changed: object) -> pl.DataFrame:
    row: dict[str, object] = {"source_system": "shop", "work_order_id": "W1", "line_no": 1, "vehicle_id": truck}
    row |= {"known_at": T0 + timedelta(days=day), "opened_at": T0, "description": description, "withdrawn": False}
    return WORK_ORDER.frame([dict.fromkeys(WORK_ORDER.column_names) | row | changed])


def stored(conn: psycopg.Connection) -> list[tuple[int, str]]:
    found = work_orders.fetch_work_orders(conn)
    return [((known_at - T0).days, text) for known_at, text in found.select("known_at", "description").iter_rows()]


def test_every_version_is_kept_and_an_import_again_changes_nothing(conn: psycopg.Connection, truck: int) -> None:
    versions = pl.concat([order(truck, 3, "pump"), order(truck, 1, "leak"), order(truck, 2, "leak")])
    assert work_orders.insert_versions(conn, versions) == 2
    assert work_orders.insert_versions(conn, versions) == 0
    assert work_orders.insert_versions(conn, order(truck, 9, "pump")) == 0
    assert stored(conn) == [(1, "leak"), (3, "pump")]


def test_a_version_that_says_something_else_is_new(conn: psycopg.Connection, truck: int) -> None:
    work_orders.insert_versions(conn, order(truck, 1, "pump"))
    assert work_orders.insert_versions(conn, order(truck, 2, "pump", odometer_km=10.5)) == 1
    assert work_orders.insert_versions(conn, order(truck, 3, "pump", odometer_km=10.5, withdrawn=True)) == 1
    assert work_orders.insert_versions(conn, order(truck, 4, "pump", odometer_km=10.5)) == 1
    assert work_orders.insert_versions(conn, order(truck, 4, "pump", line_no=2)) == 1
    assert work_orders.fetch_work_orders(conn, known_by=T0 + timedelta(days=2)).height == 2


def test_an_older_version_that_arrives_later_is_kept(conn: psycopg.Connection, truck: int) -> None:
    work_orders.insert_versions(conn, order(truck, 5, "pump"))
    assert work_orders.insert_versions(conn, order(truck, 2, "pump")) == 1
    assert stored(conn) == [(2, "pump"), (5, "pump")]


def test_two_contents_of_one_instant_are_refused(conn: psycopg.Connection, truck: int) -> None:
    work_orders.insert_versions(conn, order(truck, 1, "pump"))
    with pytest.raises(DataError, match=r"work order \('shop', 'W1', 1\): expected one content known at 2026-03-02"):
        work_orders.insert_versions(conn, pl.concat([order(truck, 1, "belt"), order(truck, 2, "belt")]))
    assert stored(conn) == [(1, "pump")]


def test_an_unknown_vehicle_is_refused_whole(conn: psycopg.Connection, truck: int) -> None:
    both = pl.concat([order(truck, 1, "pump"), order(truck ^ 1, 1, "pump", line_no=2)])
    with pytest.raises(DataError, match=r"table pm\.work_order"):
        work_orders.insert_versions(conn, both)
    assert stored(conn) == []
    assert work_orders.insert_versions(conn, WORK_ORDER.empty()) == 0


def test_failures_are_replaced_whole(conn: psycopg.Connection, truck: int) -> None:
    row: dict[str, object] = {"source_system": "shop", "work_order_id": "W1", "line_no": 1, "vehicle_id": truck}
    row |= {"component": "cooling", "failed_at": T0, "restored_at": None, "rule": "vmrs 042"}
    made = FAILURE.frame([row | {"kind": "failure", "known_at": T0 + timedelta(days=day)} for day in range(3)])
    assert work_orders.replace_failures(conn, made) == 3
    assert work_orders.replace_failures(conn, made[1:]) == 2
    assert work_orders.fetch_failures(conn).equals(made[1:])
    assert work_orders.fetch_failures(conn, known_by=T0 + timedelta(days=1)).equals(made[1:2])
    with pytest.raises(DataError, match="failure_kind_check"):
        work_orders.replace_failures(conn, made.with_columns(kind=pl.lit("broken")))
    assert work_orders.fetch_failures(conn).height == 2
