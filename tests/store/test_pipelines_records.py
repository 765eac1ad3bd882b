"""Vehicles and work orders from CSV: idempotent, every version kept, bad rows refused by reason."""

from datetime import UTC, datetime

import pytest

from pm.pipelines.imports.vehicles import import_vehicles
from pm.pipelines.imports.work_orders import import_work_orders
from pm.store import vehicles, work_orders

IMPORTED_AT = datetime(2026, 6, 1, tzinfo=UTC)
VEHICLES = (
    "fleet,vehicle_ref,model,in_service_at,vin\nnorth,T-1,A,2026-01-05T00:00:00Z,VIN00000000000001\nnorth,T-2,A,,\n"
)
HEADER = "source_system,work_order_id,line_no,vehicle_ref,opened_at,recorded_at,description\n"


@pytest.fixture
def fleet(conn, tmp_path):
    path = tmp_path / "vehicles.csv"
    path.write_text(VEHICLES, encoding="utf-8")
    report = import_vehicles(conn, path, known_at=IMPORTED_AT)
    assert (report.n_vehicles, report.rejected) == (2, ())
    return path


def orders(conn, folder, *rows):
    path = folder / "work_orders.csv"
    path.write_text(HEADER + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return import_work_orders(conn, path, imported_at=IMPORTED_AT)


def test_importing_vehicles_again_changes_nothing_and_a_vehicle_is_known_from_its_first_day(conn, fleet):
    before = vehicles.fetch_vehicles(conn)
    import_vehicles(conn, fleet, known_at=IMPORTED_AT.replace(month=7))
    assert vehicles.fetch_vehicles(conn).equals(before)
    known = dict(before.select("vehicle_ref", "known_at").iter_rows())
    assert known == {"T-1": datetime(2026, 1, 5, tzinfo=UTC), "T-2": IMPORTED_AT}


def test_a_version_is_known_when_it_was_recorded_and_else_when_it_was_imported(conn, fleet, tmp_path):
    report = orders(
        conn,
        tmp_path,
        "shop,W1,1,T-1,2026-03-01T08:00:00Z,2026-03-09T10:00:00Z,pump replaced",
        "shop,W2,1,T-2,2026-03-02T08:00:00Z,,alternator replaced",
    )
    assert (report.n_versions, report.n_new, report.rejected) == (2, 2, ())
    stored = work_orders.fetch_work_orders(conn)
    known = dict(stored.select("work_order_id", "known_at").iter_rows())
    assert known == {"W1": datetime(2026, 3, 9, 10, tzinfo=UTC), "W2": IMPORTED_AT}


def test_a_revision_is_a_second_version_and_the_same_file_again_is_none(conn, fleet, tmp_path):
    rows = (
        "shop,W1,1,T-1,2026-03-01T08:00:00Z,2026-03-09T10:00:00Z,misc repair",
        "shop,W1,1,T-1,2026-03-01T08:00:00Z,2026-03-20T10:00:00Z,coolant pump replaced",
    )
    assert orders(conn, tmp_path, *rows).n_new == 2
    assert orders(conn, tmp_path, *rows).n_new == 0
    assert work_orders.fetch_work_orders(conn)["description"].to_list() == ["misc repair", "coolant pump replaced"]


def test_a_row_refused_for_its_vehicle_is_taken_when_the_vehicle_is_known(conn, fleet, tmp_path):
    rows = (
        "shop,W1,1,T-9,2026-03-01T08:00:00Z,2026-03-09T10:00:00Z,pump",
        "shop,W2,1,T-1,2026-03-01T08:00:00Z,2026-03-09T10:00:00Z,pump",
    )
    assert orders(conn, tmp_path, *rows).n_new == 1
    vehicles.add_vehicle(conn, fleet="north", vehicle_ref="T-9", known_at=IMPORTED_AT)
    again = orders(conn, tmp_path, *rows)
    assert (again.n_new, again.rejected) == (1, ())
    assert orders(conn, tmp_path, *rows).n_new == 0
    assert work_orders.fetch_work_orders(conn)["work_order_id"].to_list() == ["W1", "W2"]


def test_a_version_that_tells_of_what_came_after_it_was_recorded_is_refused(conn, fleet, tmp_path):
    path = tmp_path / "late.csv"
    header = HEADER.replace("description", "completed_at,description")
    path.write_text(
        header
        + "shop,W1,1,T-1,2026-03-01T08:00:00Z,2026-03-01T09:00:00Z,2026-03-05T16:00:00Z,pump\n"
        + "shop,W2,1,T-1,2026-03-01T08:00:00Z,2026-03-05T16:00:00Z,2026-03-05T16:00:00Z,pump\n",
        encoding="utf-8",
    )
    report = import_work_orders(conn, path, imported_at=IMPORTED_AT)
    assert report.n_new == 1
    assert [(row.line, row.reason) for row in report.rejected] == [
        (2, "recorded_at: expected an instant at or after completed_at, but got an earlier one")
    ]


def test_two_contents_of_one_version_refuse_the_later_row_and_not_the_file(conn, fleet, tmp_path):
    rows = (
        "shop,W1,1,T-1,2026-03-01T08:00:00Z,2026-03-09T10:00:00Z,pump",
        "shop,W1,1,T-1,2026-03-01T08:00:00Z,2026-03-09T10:00:00Z,pump",
        "shop,W1,1,T-1,2026-03-01T08:00:00Z,2026-03-09T10:00:00Z,belt",
    )
    report = orders(conn, tmp_path, *rows)
    assert (report.n_versions, report.n_new, [row.line for row in report.rejected]) == (2, 1, [4])
    other = orders(conn, tmp_path, rows[2], "shop,W2,1,T-1,2026-03-01T08:00:00Z,2026-03-09T10:00:00Z,hose")
    assert (other.n_new, [row.line for row in other.rejected]) == (1, [2])
    assert work_orders.fetch_work_orders(conn)["description"].to_list() == ["pump", "hose"]


def test_a_work_order_finds_its_vehicle_by_vin_too(conn, fleet, tmp_path):
    report = orders(conn, tmp_path, "shop,W1,1,VIN00000000000001,2026-03-01T08:00:00Z,2026-03-09T10:00:00Z,pump")
    assert (report.n_new, report.rejected) == (1, ())
    (number,) = vehicles.fetch_vehicles(conn).filter(vehicle_ref="T-1")["vehicle_id"]
    assert work_orders.fetch_work_orders(conn)["vehicle_id"].to_list() == [number]


def test_an_unknown_vehicle_and_a_row_from_the_future_are_refused_and_the_others_go_on(conn, fleet, tmp_path):
    report = orders(
        conn,
        tmp_path,
        "shop,W1,1,T-9,2026-03-01T08:00:00Z,2026-03-09T10:00:00Z,pump",
        "shop,W2,1,T-1,2026-03-01T08:00:00Z,2026-09-09T10:00:00Z,pump",
        "shop,W3,1,T-1,2026-03-01T08:00:00Z,2026-03-09T10:00:00Z,pump",
    )
    assert report.n_new == 1
    assert [(row.line, row.reason) for row in report.rejected] == [
        (2, "vehicle_ref: expected the unit number or VIN of a known vehicle, but got neither"),
        (3, "recorded_at: expected an instant before the import, but got a later one"),
    ]
