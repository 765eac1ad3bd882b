"""The four sets of ../shared/outcomes, by the mappings in examples/: counts, and values worked out by hand."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from pm.canbus.dbc import load_dbc
from pm.pipelines.imports.events import import_events
from pm.pipelines.imports.mapping_file import load_mapping
from pm.pipelines.imports.telemetry import import_telemetry
from pm.pipelines.imports.vehicles import import_mapped_vehicles
from pm.pipelines.imports.work_orders import import_mapped_work_orders
from pm.policy import Policy
from pm.store import events, telemetry, vehicles, work_orders

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
IMPORTED_AT = datetime(2026, 6, 1, tzinfo=UTC)
ANY = {"start": datetime(1990, 1, 1, tzinfo=UTC), "end": datetime(2030, 1, 1, tzinfo=UTC)}


@pytest.fixture
def take(conn, settings):
    """Import a file by a mapping of examples/."""
    database = load_dbc(settings.dbc_files)

    def taken(kind, path, mapping):
        plan = load_mapping(EXAMPLES / f"{mapping}.toml", kind)
        if kind == "telemetry":
            return import_telemetry(conn, path, plan, database=database, policy=Policy(), imported_at=IMPORTED_AT)
        if kind == "events":
            return import_events(conn, path, plan, policy=Policy(), imported_at=IMPORTED_AT)
        import_mapped = import_mapped_vehicles if kind == "vehicles" else import_mapped_work_orders
        return import_mapped(conn, path, plan, imported_at=IMPORTED_AT)

    return taken


def number(conn, vehicle_ref):
    return vehicles.vehicle_id(conn, vehicle_ref)


def test_azure_machines_errors_maintenance_and_failures(conn, take, shared):
    def table(name):
        return shared(f"outcomes/azure_pdm/{name}.parquet")

    assert take("vehicles", table("PdM_machines"), "azure_pdm/vehicles").n_stored == 100
    assert take("events", table("PdM_errors"), "azure_pdm/errors").n_stored == 2611
    maintenance = take("work-orders", table("PdM_maint"), "azure_pdm/maintenance")
    failures = take("work-orders", table("PdM_failures"), "azure_pdm/failures")
    assert [(report.n_rows, report.n_stored, report.n_rejected) for report in (maintenance, failures)] == [
        (2316, 2316, 0),
        (522, 522, 0),
    ]
    first = events.fetch_events(conn, vehicle_id=number(conn, "machine-1"), **ANY).row(0, named=True)
    assert (first["time"], first["code"]) == (datetime(2015, 1, 3, 1, tzinfo=UTC), "error1")  # 07:00 of its clock
    versions = work_orders.fetch_work_orders(conn)
    lines = versions.group_by("work_order_id").len()
    assert lines["len"].value_counts().sort("len").rows() == [
        (1, 1830),
        (2, 504),
    ]  # 18 failures have no maintenance row
    of_first = versions.filter(work_order_id="1/2015-01-05T06:00:00/comp4").sort("known_at")
    assert of_first.select("planned", "reason_for_repair", "known_at").rows() == [
        (True, "08", datetime(2015, 1, 5, tzinfo=UTC)),
        (False, "01", datetime(2015, 1, 5, 1, tzinfo=UTC)),
    ]


def test_azure_daily_means_are_of_the_end_of_their_day(conn, take, shared):
    take("vehicles", shared("outcomes/azure_pdm/PdM_machines.parquet"), "azure_pdm/vehicles")
    report = take("telemetry", shared("outcomes/azure_pdm/telemetry_daily_mean.parquet"), "azure_pdm/telemetry_daily")
    assert (report.n_rows, report.n_stored, report.n_rejected) == (24_300, 24_300, 0)
    found = telemetry.fetch_signals(conn, "PDM_DAILY", vehicle_id=number(conn, "machine-1"), **ANY).sort("time")
    assert found.height == 243
    first = found.row(0, named=True)
    # The last of its 24 hours begins at 05:00 of the machines' clock and is over, and known, at UTC midnight.
    assert (first["time"], first["known_at"]) == (
        datetime(2015, 1, 1, 23, tzinfo=UTC),
        datetime(2015, 1, 2, tzinfo=UTC),
    )
    assert first["Voltage"] == pytest.approx(170.614862, rel=1e-6)


def test_backblaze_drives_of_a_slice(conn, take, shared, tmp_path):
    whole = pl.read_parquet(shared("outcomes/backblaze_2013/drive_stats.parquet"))
    failed = whole.filter(failure=1)["serial_number"].sort().head(5)
    others = whole.filter(~pl.col("serial_number").is_in(failed.implode()))["serial_number"].unique().sort().head(195)
    path = tmp_path / "drive_stats.parquet"
    part = whole.filter(pl.col("serial_number").is_in(pl.concat([failed, others]).implode()))
    part.write_parquet(path)
    assert take("vehicles", path, "backblaze_2013/vehicles").n_stored == 200
    report = take("telemetry", path, "backblaze_2013/telemetry")
    assert (report.n_rows, report.n_stored, report.n_rejected) == (part.height, part.height, 0)
    orders = take("work-orders", path, "backblaze_2013/failures")
    assert (orders.n_stored, orders.n_left_out) == (5, part.height - 5)
    serial = failed[0]
    mine = part.filter(serial_number=serial).sort("date")
    found = telemetry.fetch_signals(conn, "SMART", vehicle_id=number(conn, serial), **ANY).sort("time")
    assert found["ReadErrorRate"].to_list() == mine["smart_1_raw"].to_list()
    assert found["time"].to_list() == [
        datetime(day.year, day.month, day.day, tzinfo=UTC) + (datetime(2, 1, 2) - datetime(2, 1, 1))
        for day in mine["date"]
    ]
    drive = vehicles.fetch_vehicles(conn).filter(vehicle_ref=serial).row(0, named=True)
    order = work_orders.fetch_work_orders(conn).filter(work_order_id=serial).row(0, named=True)
    assert order["opened_at"] == order["known_at"] == drive["left_at"] == found["time"].max()


def test_ttc_incidents_by_the_clocks_of_toronto(conn, take, shared):
    path = shared("outcomes/ttc/bus.parquet")
    report = take("work-orders", path, "ttc/work_orders")
    # 79,682 mechanical incidents; 60 have no vehicle number and 102 the number 0
    assert (report.n_rows, report.n_left_out, report.n_rejected) == (255_710, 255_710 - 79_682, 393)
    assert report.reasons["vehicle_ref: expected a value, but got none"] == 162
    assert report.n_stored == 78_916  # distinct bus and minute
    orders = work_orders.fetch_work_orders(conn)
    first = orders.filter(work_order_id="1794/2019-01-01T00:13:00").row(0, named=True)
    assert first["opened_at"] == datetime(2019, 1, 1, 5, 13, tzinfo=UTC)  # winter: UTC-5
    assert first["known_at"] == datetime(2019, 1, 2, 5, 13, tzinfo=UTC)
    assert (first["description"], first["vehicle_id"]) == ("Mechanical, NECR", number(conn, "bus-1794"))
    summer = orders.filter(pl.col("work_order_id").str.contains("/2021-0[678]-")).row(0, named=True)
    local = datetime.fromisoformat(summer["work_order_id"].split("/")[1]).replace(tzinfo=UTC)
    assert (summer["opened_at"] - local).total_seconds() == 4 * 3600


def test_lanl_failures_have_a_start_and_an_end(conn, take, shared):
    report = take("work-orders", shared("outcomes/lanl/lanl_failures.parquet"), "lanl/work_orders")
    assert (report.n_rows, report.n_stored, report.n_repeated, report.n_rejected) == (10_259, 10_243, 14, 2)
    assert vehicles.fetch_vehicles(conn).height == 184
    first = work_orders.fetch_work_orders(conn).filter(work_order_id="2/0/6/21/2005 10:54").row(0, named=True)
    assert first["out_of_service_at"] == datetime(2005, 6, 21, 16, 54, tzinfo=UTC)  # summer in Los Alamos: UTC-6
    assert first["returned_to_service_at"] == datetime(2005, 6, 21, 17, 0, tzinfo=UTC)
    assert first["known_at"] == datetime(2005, 6, 22, 17, 0, tzinfo=UTC)
    assert first["description"] == "Graphics Accel Hdwr"
