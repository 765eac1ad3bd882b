"""Vehicles and work orders from CSV: idempotent, every version kept, bad rows refused by reason."""

from datetime import UTC, datetime

import pytest

from pm.pipelines.import_vehicles import import_vehicles
from pm.pipelines.import_work_orders import import_work_orders
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
        (2, "vehicle_ref: expected a known vehicle, but got 'T-9'"),
        (3, "recorded_at: expected an instant before the import"),
    ]
