"""rFMS into the database: polls that overlap, crashes, privacy, and the command."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
from click.testing import CliRunner
from psycopg import sql
from rfms_server import (
    DAY,
    VIN_1,
    VIN_2,
    RfmsServer,
    full_status,
    ok,
    problem,
    ready_mapping,
    serving,
    status,
    statuses_page,
    text,
    vehicles_page,
)

from pm.cli.import_rfms import rfms_command
from pm.errors import DataError, StoreError
from pm.pipelines.dailies import refresh_dailies
from pm.pipelines.rfms.auth import Fixed
from pm.pipelines.rfms.client import RfmsClient
from pm.pipelines.rfms.files import import_rfms_files
from pm.pipelines.rfms.fleet import Fleet
from pm.pipelines.rfms.http import Limits
from pm.pipelines.rfms.poll import Poll, poll_rfms, source_name
from pm.pipelines.rfms.store import RfmsImport, RfmsReport
from pm.policy import Policy, Privacy
from pm.settings import Settings
from pm.store import dailies, events, logs, polls, telemetry, vehicles

NOW = DAY + timedelta(hours=3)
SPAN = {"start": DAY - timedelta(days=9), "end": DAY + timedelta(days=9)}
MAPPING = ready_mapping()
VEHICLES = [
    {
        "vin": VIN_1,
        "customerVehicleName": "T 17",
        "brand": "VOLVO TRUCKS",
        "model": "FH",
        "productionDate": {"day": 3, "month": 7, "year": 2024},
    },
    {"vin": VIN_2, "customerVehicleName": VIN_2, "brand": "DAF", "model": "XF"},
]


def using(policy: Policy | None = None, secret: bytes | None = None, fleet: str = "default") -> RfmsImport:
    return RfmsImport(MAPPING, policy or Policy(), Fleet(fleet), secret)


def poll(conn: psycopg.Connection, server: RfmsServer, *, limits: Limits | None = None, **asked: Any) -> RfmsReport:
    with RfmsClient(server.address, Fixed(None), limits=limits, sleep=lambda _: None) as client:
        return poll_rfms(conn, client, Poll(**{"since": DAY, **asked}), using(), now=lambda: NOW)


@pytest.fixture
def server() -> Iterator[RfmsServer]:
    records = [full_status(vin, minute) for minute in (0, 10, 20, 40) for vin in (VIN_1, VIN_2)]
    with serving(RfmsServer(VEHICLES, records, page_size=3)) as running:
        yield running


def everything(conn: psycopg.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table of the product, without the order and the instants of writing."""
    found = {}
    for schema, table in conn.execute(
        "SELECT schemaname, tablename FROM pg_catalog.pg_tables WHERE schemaname IN ('pm', 'telemetry', 'readable')"
    ).fetchall():
        rows = conn.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, table))).fetchall()
        found[f"{schema}.{table}"] = sorted(map(tuple, rows), key=repr)
    return found


def without_cursor(tables: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    return {name: rows for name, rows in tables.items() if name != "pm.poll"}


def by_vin(conn: psycopg.Connection) -> dict[str, int]:
    rows = conn.execute("SELECT vin, vehicle_id FROM pm.vehicle_identity").fetchall()
    return {str(vin): int(vehicle_id) for vin, vehicle_id in rows}


def measured(conn: psycopg.Connection) -> dict[str, pl.DataFrame]:
    """Rows by VIN, without what random vehicle numbers and the paging decide."""
    names = pl.DataFrame(
        list(by_vin(conn).items()), schema={"vin": pl.String(), "vehicle_id": pl.Int32()}, orient="row"
    )
    found = {"events": events.fetch_events(conn, **SPAN)}
    for message in telemetry.stored_messages(conn):
        parts = [telemetry.fetch_signals(conn, message, vehicle_id=number, **SPAN) for number in names["vehicle_id"]]
        found[message] = pl.concat(parts)
    return {
        name: frame.join(names, on="vehicle_id").drop("vehicle_id", "log_file_id", "known_at").sort(pl.all())
        for name, frame in found.items()
        if frame.height
    }


def test_a_first_poll_stores_what_the_server_has(conn: psycopg.Connection, server: RfmsServer) -> None:
    report = poll(conn, server)
    assert (report.n_records, report.n_new, report.n_rejected, report.n_vehicles_new) == (8, 8, 0, 2)
    assert report.counter_falls == {}
    assert report.next_start == DAY + timedelta(hours=2)
    fleet = {row["vehicle_ref"]: row for row in vehicles.fetch_vehicles(conn).to_dicts()}
    named = fleet.pop("T 17")
    assert (named["model"], named["model_year"], named["in_service_at"]) == (
        "VOLVO TRUCKS FH",
        2024,
        datetime(2024, 7, 3, tzinfo=UTC),
    )
    assert named["known_at"] == datetime(2024, 7, 3, tzinfo=UTC)
    (other,) = fleet.values()
    assert other["vehicle_ref"].startswith("rfms-")
    assert other["known_at"] == DAY + timedelta(minutes=1)  # its first record was received then
    odometer = telemetry.fetch_signals(conn, "VDHR", vehicle_id=by_vin(conn)[VIN_1], **SPAN)
    assert odometer["HighResTotalVehicleDistance"].to_list() == [95_055.0, 95_065.0, 95_075.0, 95_095.0]
    assert odometer["time"].to_list() == [DAY + timedelta(minutes=minute) for minute in (0, 10, 20, 40)]
    assert odometer.select("channel", "source_address", "destination_address").unique().rows() == [("rfms", -1, -1)]
    assert "rfms_position" not in telemetry.stored_messages(conn)
    lamps = events.fetch_events(conn, **SPAN).filter(pl.col("vehicle_id") == by_vin(conn)[VIN_1], kind="tell_tale")
    assert lamps["severity"].to_list() == ["OFF", "OFF", "OFF", "RED"]
    assert lamps["code"].unique().to_list() == ["ENGINE_COOLANT_TEMPERATURE"]


def test_known_at_is_receivedDateTime(conn: psycopg.Connection, server: RfmsServer) -> None:  # noqa: N802
    server.statuses = [full_status(VIN_1, 0, late_min=60 * 24 * 3)]
    server.clock = lambda: DAY + timedelta(days=4)
    with RfmsClient(server.address, Fixed(None)) as client:
        poll_rfms(conn, client, Poll(DAY), using(), now=lambda: DAY + timedelta(days=4))
    row = telemetry.fetch_signals(conn, "VDHR", vehicle_id=by_vin(conn)[VIN_1], **SPAN)
    assert (row["time"][0], row["known_at"][0]) == (DAY, DAY + timedelta(days=3))
    early = telemetry.fetch_signals(
        conn, "VDHR", vehicle_id=by_vin(conn)[VIN_1], log_file_known=DAY + timedelta(days=2), **SPAN
    )
    assert early.height == 0


def test_a_poll_that_overlaps_changes_nothing(conn: psycopg.Connection, server: RfmsServer) -> None:
    poll(conn, server)
    before = everything(conn)
    report = poll(conn, server, overlap=timedelta(days=1))
    assert (report.n_records, report.n_new, report.n_rows) == (8, 0, 0)
    assert without_cursor(everything(conn)) == without_cursor(before)


def test_only_what_is_new_is_written(conn: psycopg.Connection, database_url: str, server: RfmsServer) -> None:
    poll(conn, server)
    refresh_dailies(database_url)
    files = logs.fetch_log_files(conn)
    server.statuses.append(full_status(VIN_1, 24 * 60 - 180, late_min=60))
    server.page_size = 100
    report = poll(conn, server, overlap=timedelta(days=1))
    assert (report.n_records, report.n_new) == (9, 0)  # created after the poll
    assert report.n_rejected == 1
    server.statuses[-1] = full_status(VIN_1, 150)
    report = poll(conn, server, overlap=timedelta(days=1))
    assert (report.n_records, report.n_new) == (9, 1)
    made = logs.fetch_log_files(conn).join(files, on="log_file_id", how="anti")
    assert made["vehicle_id"].to_list() == [by_vin(conn)[VIN_1]]  # no trace for the vehicle without news
    assert logs.fetch_dirty(conn).select("vehicle_id", "day").rows() == [(by_vin(conn)[VIN_1], DAY.date())]
    refresh_dailies(database_url)
    daily = dailies.fetch_daily_signals(conn).filter(
        pl.col("vehicle_id") == by_vin(conn)[VIN_1], signal="HighResTotalVehicleDistance"
    )
    assert daily["n_values"].sum() == 5


def test_the_same_record_twice_in_one_response(conn: psycopg.Connection, server: RfmsServer) -> None:
    poll(conn, server)
    before = measured(conn)
    server.statuses += [dict(record) for record in server.statuses]
    server.page_size = 100
    report = poll(conn, server, again=True)
    assert (report.n_records, report.n_new) == (16, 0)
    assert without_frames(measured(conn)) == without_frames(before)


def without_frames(tables: dict[str, pl.DataFrame]) -> dict[str, list[dict[str, Any]]]:
    return {name: frame.to_dicts() for name, frame in tables.items()}


def test_paging_and_order_decide_nothing(conn: psycopg.Connection) -> None:
    """The same records in any split and order, with overlaps, give the same rows."""
    base = [
        full_status(vin, minute, trigger=trigger, late_min=1 + minute % 7)
        for vin in (VIN_1, VIN_2)
        for minute in (0, 5, 90, 60 * 25)
        for trigger in ("TIMER", "IGNITION_ON")
    ]
    chooser, seen = random.Random(4), []
    for run in range(4):
        fleet = {vin: vin[:-1] + str(run) for vin in (VIN_1, VIN_2)}
        records = [{**record, "vin": fleet[record["vin"]]} for record in base]
        chooser.shuffle(records)
        cuts = sorted(chooser.sample(range(len(records)), run * 2))
        pages = [records[start:end] for start, end in zip([0, *cuts], [*cuts, len(records)], strict=True)]
        pages += [chooser.sample(records, 5)]
        with serving(RfmsServer()) as server:
            for number, page in enumerate(pages):
                link = f"/rfms/vehiclestatuses?page={number}"
                more = number + 1 < len(pages)
                server.queue.append(ok(statuses_page(page, moreDataAvailable=more, moreDataAvailableLink=link)))
            server.statuses = []
            with RfmsClient(server.address, Fixed(None)) as client:
                poll_rfms(conn, client, Poll(DAY), using(fleet=str(run)), now=lambda: DAY + timedelta(days=3))
        rows = measured(conn)
        back = pl.col("vin").replace({new: old for old, new in fleet.items()})
        mine = {name: frame.filter(pl.col("vin").is_in(list(fleet.values()))) for name, frame in rows.items()}
        seen.append({name: frame.with_columns(back).sort(pl.all()).to_dicts() for name, frame in mine.items()})
    assert seen[0]["VDHR"]
    assert seen[1:] == [seen[0]] * 3


def test_a_counter_that_falls_is_stored_and_counted(conn: psycopg.Connection, server: RfmsServer) -> None:
    readings = [1000, 2000, 500, 600, 100]
    server.statuses = [
        status(VIN_1, minute, hrTotalVehicleDistance=metres, totalEngineHours=float(minute))
        for minute, metres in enumerate(readings)
    ]
    server.page_size = 2
    report = poll(conn, server)
    assert report.counter_falls == {"VDHR.HighResTotalVehicleDistance": 2}
    stored = telemetry.fetch_signals(conn, "VDHR", vehicle_id=by_vin(conn)[VIN_1], **SPAN)
    assert stored["HighResTotalVehicleDistance"].to_list() == [1.0, 2.0, 0.5, 0.6, 0.1]
    assert poll(conn, server, again=True).counter_falls == {}  # nothing new, nothing counted


def test_the_cursor_moves_only_when_all_pages_are_stored(conn: psycopg.Connection, server: RfmsServer) -> None:
    first, _, body = server.answer(
        "/api/rfms/vehiclestatuses", {"starttime": text(DAY)}, {"accept": "application/json; rfms=vehiclestatuses.v4.0"}
    )
    assert isinstance(body, bytes)
    server.queue = [(first, {}, body), problem(503, "down", "later")] + [problem(503, "down", "later")] * 5
    with pytest.raises(StoreError, match="got 503: down; later"):
        poll(conn, server)
    source = source_name(server.address, "default", ("ACCUMULATED", "SNAPSHOT", "UPTIME"))
    assert polls.next_start(conn, source) is None
    assert events.fetch_events(conn, **SPAN).filter(kind="trigger").height == 3  # the first page stays
    server.queue = []
    report = poll(conn, server)
    assert (report.n_records, report.n_new) == (8, 5)
    assert polls.next_start(conn, source) == DAY + timedelta(hours=2)


def test_the_next_poll_begins_at_the_servers_clock(conn: psycopg.Connection, server: RfmsServer) -> None:
    server.skew = timedelta(minutes=-45)
    poll(conn, server)
    poll(conn, server, overlap=timedelta(minutes=5))
    asked = [
        query["starttime"] for path, query, _ in server.asked if path.endswith("statuses") and "first" not in query
    ]
    assert asked == [text(DAY), text(DAY + timedelta(hours=2) - timedelta(minutes=45 + 5))]
    polled = conn.execute("SELECT source FROM pm.poll").fetchall()
    assert polled == [(f"{server.address}/vehiclestatuses ACCUMULATED,SNAPSHOT,UPTIME fleet default",)]


def test_a_server_clock_in_another_day_is_refused(conn: psycopg.Connection, server: RfmsServer) -> None:
    server.skew = timedelta(days=3)
    with pytest.raises(DataError, match="requestServerDateTime: expected about 2026-03-02T03:00:00"):
        poll(conn, server)
    assert conn.execute("SELECT count(*) FROM pm.poll").fetchone() == (0,)


def test_latest_only_leaves_the_cursor(conn: psycopg.Connection, server: RfmsServer) -> None:
    report = poll(conn, server, latest_only=True, contents=("UPTIME",))
    assert report.n_new == 2
    asked = server.asked[-1][1]
    assert (asked.get("latestOnly"), asked.get("contentFilter"), asked.get("starttime")) == ("true", "UPTIME", None)
    assert conn.execute("SELECT count(*) FROM pm.poll").fetchone() == (0,)


def test_vehicles_are_matched_by_vin(conn: psycopg.Connection, server: RfmsServer) -> None:
    with conn.transaction():
        mine = vehicles.add_vehicle(conn, fleet="north", vehicle_ref="7", known_at=NOW, model="own words", vin=VIN_1)
        bare = vehicles.add_vehicle(conn, fleet="default", vehicle_ref="T 18", known_at=NOW)
    server.vehicles = [VEHICLES[0], {"vin": VIN_2, "customerVehicleName": "T 18", "brand": "DAF"}]
    report = poll(conn, server)
    assert report.n_vehicles_new == 0
    assert by_vin(conn) == {VIN_1: mine, VIN_2: bare}
    rows = {row["vehicle_id"]: row for row in vehicles.fetch_vehicles(conn).to_dicts()}
    assert (rows[mine]["model"], rows[mine]["model_year"]) == ("own words", 2024)  # its own record counts
    assert rows[bare]["model"] == "DAF"


def test_a_name_that_another_vehicle_has(conn: psycopg.Connection, server: RfmsServer) -> None:
    with conn.transaction():
        vehicles.add_vehicle(conn, fleet="default", vehicle_ref="T 17", known_at=NOW, vin="ANOTHER0000000001")
    poll(conn, server)
    refs = vehicles.fetch_vehicles(conn)["vehicle_ref"].to_list()
    assert len([ref for ref in refs if ref.startswith("T 17-")]) == 1


def test_a_vin_of_several_fleets_is_refused(conn: psycopg.Connection, server: RfmsServer) -> None:
    with conn.transaction():
        for fleet in ("north", "south"):
            vehicles.add_vehicle(conn, fleet=fleet, vehicle_ref="7", known_at=NOW, vin=VIN_1)
    report = poll(conn, server)
    assert (report.n_new, report.n_rejected) == (4, 4)
    assert {row.reason for row in report.rejected} == {
        "vin: expected one vehicle, but vehicles of several fleets have it"
    }


def test_vins_stand_in_one_table(conn: psycopg.Connection, server: RfmsServer, tmp_path: Path) -> None:
    odd = "YV2RTO0A5KB12345"
    records = [
        full_status(VIN_1, 1, trigger=f"NEAR {VIN_2}"),
        status(odd, 2, snapshotData={"fuelType": f"as in {odd}"}),
        {**status(VIN_2, 3), "createdDateTime": "1970-01-01T00:00:00Z"},
    ]
    file = tmp_path / f"{VIN_1}-{odd}.json"
    file.write_text(json.dumps(statuses_page(records)), encoding="utf-8")
    private = replace(Policy(), privacy=Privacy(positions=True, driver_ids="hash"))
    report = import_rfms_files(conn, file, using(private, b"key"), now=lambda: NOW)
    assert (report.n_new, report.n_rejected, report.n_unusual_vins) == (2, 1, 1)
    tables = everything(conn)
    assert set(by_vin(conn)) == {VIN_1, odd}
    with_vin = {name for name, rows in tables.items() if any(vin in repr(rows) for vin in (VIN_1, VIN_2, odd))}
    assert with_vin == {"pm.vehicle_identity"}
    assert not any("D1234567890123" in repr(rows) for rows in tables.values())
    assert not any("WSM00000003012345" in repr(rows) for rows in tables.values())
    driver = telemetry.fetch_signals(conn, "rfms_driver", vehicle_id=by_vin(conn)[VIN_1], **SPAN)["driver_1"]
    assert len(driver[0]) == 16
    place = telemetry.fetch_signals(conn, "rfms_position", vehicle_id=by_vin(conn)[VIN_1], **SPAN)
    assert place["latitude_deg"].to_list() == [57.71727]
    assert logs.fetch_log_files(conn)["file_name"].unique().to_list() == ["VIN-VIN.json"]


def test_histogram_columns_are_bounded_over_responses(conn: psycopg.Connection, server: RfmsServer) -> None:
    small = RfmsImport(replace(MAPPING, maximum_class_columns=4), Policy(), Fleet("default"))
    server.page_size = 1
    server.statuses = [
        status(VIN_1, number, accumulatedData={"vehicleSpeedClass": [{"from": number, "to": number + 1, "seconds": 1}]})
        for number in range(6)
    ]
    with RfmsClient(server.address, Fixed(None)) as client:
        report = poll_rfms(conn, client, Poll(DAY), small, now=lambda: NOW)
    assert report.left_out == {"class of a histogram: no column left": 2}
    found = telemetry.fetch_dictionary(conn).filter(message="rfms_accumulated")["signal"].to_list()
    assert found == [f"speed_kmh_{number}_to_{number + 1}_s" for number in range(4)]


def test_a_folder_of_responses(conn: psycopg.Connection, tmp_path: Path) -> None:
    pages = {
        "a.json": statuses_page([full_status(VIN_1, 0), full_status(VIN_1, 10)]),
        "b.json": vehicles_page(VEHICLES),
        "c.json": statuses_page([full_status(VIN_1, 10), full_status(VIN_1, 20)]),
    }
    for name, page in pages.items():
        (tmp_path / name).write_text(json.dumps(page), encoding="utf-8")
    (tmp_path / "d.json").write_text("[]", encoding="utf-8")
    (tmp_path / "notes.txt").write_text("no response", encoding="utf-8")
    report = import_rfms_files(conn, tmp_path, using(), now=lambda: NOW)
    assert (report.n_responses, report.n_records, report.n_new) == (3, 4, 3)
    assert [file.file_name for file in report.refused] == ["d.json"]
    assert "T 17" in vehicles.fetch_vehicles(conn)["vehicle_ref"].to_list()  # vehicles come before statuses
    before = everything(conn)
    again = import_rfms_files(conn, tmp_path, using(), now=lambda: NOW + timedelta(days=1))
    assert (again.n_new, again.n_rows) == (0, 0)
    assert everything(conn) == before


def test_two_pollers_at_once(conn: psycopg.Connection, database_url: str, server: RfmsServer) -> None:
    code = (
        "import sys; sys.path[:0] = ['tests/support', 'tests/store']\n"
        "from test_rfms_import import poll; from rfms_server import RfmsServer\n"
        "from pm.store.connection import connect\n"
        "with connect(sys.argv[1]) as conn: print(poll(conn, RfmsServer(address=sys.argv[2])).n_new)\n"
    )
    command = [sys.executable, "-c", code, database_url, server.address]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert sum(int(out) for out, _ in said) == 8
    assert len(by_vin(conn)) == 2
    assert events.fetch_events(conn, **SPAN).filter(kind="trigger").height == 8


def test_a_kill_between_pages_loses_nothing(conn: psycopg.Connection, database_url: str, server: RfmsServer) -> None:
    code = (
        "import sys, time; sys.path[:0] = ['tests/support', 'tests/store']\n"
        "import test_rfms_import as t; from pm.store.connection import connect\n"
        "import pm.pipelines.rfms.poll as p\n"
        "stored = p.store_response\n"
        "def then_wait(*given, **named):\n"
        "    stored(*given, **named)\n"
        "    if named['file_name'] == 'vehiclestatuses': print('stored', flush=True); time.sleep(60)\n"
        "p.store_response = then_wait\n"
        "with connect(sys.argv[1]) as conn: t.poll(conn, t.RfmsServer(address=sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", code, database_url, server.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "stored\n"
        os.kill(run.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while conn.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone() != (0,):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert events.fetch_events(conn, **SPAN).filter(kind="trigger").height == 3
    assert conn.execute("SELECT count(*) FROM pm.poll").fetchone() == (0,)
    report = poll(conn, server)
    assert (report.n_records, report.n_new) == (8, 5)
    assert events.fetch_events(conn, **SPAN).filter(kind="trigger").height == 8


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command, as `pm` runs it: exit code, standard output, standard error."""
    assert settings.database_url is not None
    monkeypatch.setenv("PM_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("PM_HOME", str(settings.home))
    monkeypatch.setenv("RFMS_TOKEN", "s3cret")

    def invoke(*words: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(rfms_command, words)
        error = result.exception
        code = getattr(error, "exit_code", result.exit_code)
        told = "" if error is None or isinstance(error, SystemExit) else str(error)
        return code, result.stdout, result.stderr + told

    return invoke


def test_the_command_polls_a_server(run: Any, server: RfmsServer) -> None:
    server.token = "s3cret"
    words = (server.address, "--secret-variable", "RFMS_TOKEN", "--since", text(DAY), "--json")
    code, out, err = run(*words)
    assert (code, json.loads(out)["n_new"]) == (0, 8)
    assert "page 3: 8 records so far, 8 new" in err
    code, out, err = run(*words)
    assert (code, json.loads(out)["n_new"]) == (0, 0)
    code, out, err = run(*words[:-1])
    assert (code, "new records" in out) == (0, True)
    assert "s3cret" not in out + err


def test_the_command_takes_files(run: Any, tmp_path: Path) -> None:
    good = tmp_path / "good.json"
    good.write_text(json.dumps(statuses_page([full_status("YV2RTO0A5KB123456", 0), {"vin": None}])), encoding="utf-8")
    code, out, err = run(str(good))
    assert code == 0
    assert "vin: expected a text" in out
    assert "1 VINs have not the form of ISO 3779" in err
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")
    code, out, err = run(str(tmp_path))
    assert (code, "error: " in err, "bad.json: expected an rFMS response in JSON" in err) == (3, True, True)


@pytest.mark.parametrize(
    ("words", "exit_code", "said"),
    [
        (["missing.json"], 3, "expected a readable file"),
        (["http://rfms.example/rfms", "--auth", "none"], 2, "server: expected https://"),
        (["https://rfms.example/rfms"], 2, "authentication bearer: expected a secret"),
        (
            ["https://rfms.example/rfms", "--secret-variable", "A", "--secret-file", "b"],
            2,
            "expected a file or a variable",
        ),
        (["https://rfms.example/rfms", "--secret-file", "none"], 2, "none: expected a readable secret"),
        (["x.json", "--mapping", "none.toml"], 2, "mapping none.toml: expected readable TOML"),
        (["x.json", "--content", "EVERYTHING"], 2, "Invalid value for '--content'"),
    ],
)
def test_exit_codes(run: Any, words: list[str], exit_code: int, said: str) -> None:
    code, _, err = run(*words)
    assert (code, said in err) == (exit_code, True), err


def test_exit_codes_of_a_server(run: Any, server: RfmsServer) -> None:
    server.token = "right"
    code, _, err = run(server.address, "--secret-variable", "RFMS_TOKEN")
    assert (code, "got 401: invalid_token" in err, "s3cret" in err) == (2, True, False)
    server.token = None
    server.queue = [ok({"no": "response"})]
    assert run(server.address, "--auth", "none", "--since", text(DAY))[0] == 3
    server.queue = [problem(429, "too_many", "later", Retry_After="9999")]
    assert run(server.address, "--auth", "none", "--since", text(DAY))[0] == 4
