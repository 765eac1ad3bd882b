"""Vehicles and their identity."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from pm.errors import DataError
from pm.store import vehicles

T0 = datetime(2026, 3, 1, tzinfo=UTC)


def test_adding_twice_gives_one_vehicle(conn: psycopg.Connection) -> None:
    first = vehicles.add_vehicle(conn, fleet="north", vehicle_ref="T1", known_at=T0, model="FH", vin="YV2A1")
    later = T0 + timedelta(days=1)
    again = vehicles.add_vehicle(conn, fleet="north", vehicle_ref="T1", known_at=later, model_year=2020, left_at=later)
    assert again == first
    found = vehicles.fetch_vehicles(conn).row(0, named=True)
    assert found == {
        "vehicle_id": first, "fleet": "north", "vehicle_ref": "T1", "model": "FH", "model_year": 2020, "duty": None,
        "in_service_at": None, "left_at": later, "known_at": T0,
    }  # fmt: skip


def test_numbers_are_random_and_positive(conn: psycopg.Connection) -> None:
    numbers = [vehicles.add_vehicle(conn, fleet="n", vehicle_ref=str(ref), known_at=T0) for ref in range(20)]
    assert len(set(numbers)) == 20
    assert all(number > 0 for number in numbers)
    assert numbers != sorted(numbers)


def test_a_number_that_is_taken_is_drawn_again(conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = iter([6, 6, 6, 41])
    monkeypatch.setattr(vehicles.secrets, "randbelow", lambda _: next(draws))
    one = vehicles.add_vehicle(conn, fleet="n", vehicle_ref="1", known_at=T0)
    two = vehicles.add_vehicle(conn, fleet="n", vehicle_ref="2", known_at=T0)
    assert (one, two) == (7, 42)


def test_a_vin_stands_in_its_own_table_only(conn: psycopg.Connection) -> None:
    for vin in ("YV2A1", "YV2A1", "YV2B2"):
        number = vehicles.add_vehicle(conn, fleet="n", vehicle_ref="1", known_at=T0, vin=vin)
    assert conn.execute("SELECT vehicle_id, vin FROM pm.vehicle_identity").fetchall() == [(number, "YV2B2")]
    assert "vin" not in vehicles.fetch_vehicles(conn).columns


def test_a_vehicle_is_found_by_its_unit_number(conn: psycopg.Connection) -> None:
    north = vehicles.add_vehicle(conn, fleet="north", vehicle_ref="1", known_at=T0)
    assert vehicles.vehicle_id(conn, "1") == north
    south = vehicles.add_vehicle(conn, fleet="south", vehicle_ref="1", known_at=T0)
    assert vehicles.vehicle_id(conn, "1", "south") == south
    with pytest.raises(DataError, match=r"expected one fleet, but got \['north', 'south'\]"):
        vehicles.vehicle_id(conn, "1")


def test_an_unknown_vehicle_is_named(conn: psycopg.Connection) -> None:
    with pytest.raises(DataError, match="vehicle T9: expected a known vehicle in fleet north"):
        vehicles.vehicle_id(conn, "T9", "north")


def test_a_naive_instant_is_refused(conn: psycopg.Connection) -> None:
    with pytest.raises(DataError, match="known_at: expected a UTC instant"):
        vehicles.add_vehicle(conn, fleet="n", vehicle_ref="1", known_at=datetime(2026, 3, 1))
    assert vehicles.fetch_vehicles(conn).height == 0
