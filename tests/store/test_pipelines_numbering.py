"""Two databases with the same fleet give the same numbering, whatever their random vehicle ids are."""

from datetime import UTC, datetime

import polars as pl

from pm.pipelines.numbering import number_vehicles
from pm.store import vehicles

KNOWN_AT = datetime(2026, 1, 5, tzinfo=UTC)


def test_places_follow_fleet_and_unit_number_and_not_the_random_id(conn):
    ids = {}
    for fleet, vehicle_ref in [("south", "T-1"), ("north", "T-2"), ("north", "T-1")]:
        ids[fleet, vehicle_ref] = vehicles.add_vehicle(conn, fleet=fleet, vehicle_ref=vehicle_ref, known_at=KNOWN_AT)
    numbering = number_vehicles(conn)
    assert numbering.places == {ids["north", "T-1"]: 1, ids["north", "T-2"]: 2, ids["south", "T-1"]: 3}
    assert numbering.names == {1: "T-1", 2: "T-2", 3: "T-1"}
    assert numbering.vehicles["vehicle_id"].to_list() == [1, 2, 3]


def test_rows_come_in_order_of_as_of_and_place(conn):
    first = vehicles.add_vehicle(conn, fleet="north", vehicle_ref="T-1", known_at=KNOWN_AT)
    second = vehicles.add_vehicle(conn, fleet="north", vehicle_ref="T-2", known_at=KNOWN_AT)
    frame = pl.DataFrame(
        {"vehicle_id": [second, first, second], "as_of": [2, 2, 1], "value": ["c", "b", "a"]},
        schema_overrides={"vehicle_id": pl.Int32},
    )
    assert number_vehicles(conn).renumber(frame)["value"].to_list() == ["a", "b", "c"]
