"""A file is committed whole, exactly once, or not at all."""

import hashlib
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pm.canbus.dbc import load_dbc
from pm.errors import DataError, StoreError
from pm.pipelines.dailies import refresh_dailies
from pm.pipelines.executor import open_executor
from pm.pipelines.ingest import IngestJob, Keeping, ingest_log, ingest_logs
from pm.policy import Policy, Telemetry
from pm.store import archive, dailies, log_signals, logs, telemetry, vehicles
from pm.store.upkeep import refuse_older

PROJECT = Path(__file__).resolve().parents[2]
DBC = (PROJECT / "dbc" / "j1939_open_subset.dbc",)
KNOWN_AT = datetime(2026, 3, 10, tzinfo=UTC)
NOON = int(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp())


def coolant(seconds: int, temperature_c: int, source_address: int = 0) -> str:
    """ET1 (PGN 65262): byte 1 is the coolant temperature, offset -40."""
    return f"({seconds}.000000) can0 18FEEE{source_address:02X}#{temperature_c + 40:02X}FFFFFFFFFFFFFF\n"


def red_lamp(seconds: int) -> str:
    """DM1: red lamp on, SPN 110 FMI 0, count 1."""
    return f"({seconds}.500000) can0 18FECA00#10FF6E000001FFFF\n"


def written(folder: Path, name: str, *lines: str) -> Path:
    path = folder / name
    path.write_text("".join(lines), encoding="ascii")
    return path


@pytest.fixture
def vehicle_id(conn):
    return vehicles.add_vehicle(conn, fleet="north", vehicle_ref="T-1", known_at=KNOWN_AT)


def checksum(conn) -> str:
    """Of everything a file brings, log_file_id and ingested_at aside."""
    state = hashlib.sha256()
    for table, columns in (
        ("telemetry.et1", '"time", source_address, channel, engcoolanttemp'),
        ("pm.fault", '"time", source_address, spn, fmi, occurrence_count, lamp_red'),
        ("pm.log_file", "sha256, vehicle_id, n_frames, n_decoded, first_at, last_at, rejected_json, known_at"),
        ("pm.dirty_day", "vehicle_id, day, 1"),
    ):
        for row in conn.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3").fetchall():  # noqa: S608
            state.update(repr(row).encode())
    return state.hexdigest()


@pytest.fixture
def committed(conn, vehicle_id, tmp_path):
    path = written(tmp_path, "a.log", coolant(NOON, 88), coolant(NOON + 1, 90), red_lamp(NOON + 2))
    report = ingest_log(conn, IngestJob(path, vehicle_id, KNOWN_AT), load_dbc(DBC), Policy())
    return path, report


def test_values_faults_manifest_and_dirty_day_are_there(conn, vehicle_id, committed):
    _, report = committed
    assert (report.n_frames, report.n_decoded, report.n_faults) == (3, 3, 1)
    assert report.days == (date(2026, 3, 2),)
    rows = telemetry.fetch_signals(
        conn, "ET1", vehicle_id=vehicle_id, start=datetime(2026, 3, 2, tzinfo=UTC), end=datetime(2026, 3, 3, tzinfo=UTC)
    )
    assert rows["EngCoolantTemp"].to_list() == [88.0, 90.0]
    assert rows["EngFuelTemp1"].to_list() == [None, None]
    assert rows["known_at"].unique().to_list() == [KNOWN_AT]
    assert logs.fetch_dirty(conn)["day"].to_list() == [date(2026, 3, 2)]


@pytest.mark.parametrize("name", ["a.log", "another name.log"])
def test_the_same_bytes_again_change_nothing(conn, vehicle_id, committed, name):
    path, _ = committed
    before = checksum(conn)
    copy = path.with_name(name)
    copy.write_bytes(path.read_bytes())
    report = ingest_log(conn, IngestJob(copy, vehicle_id, KNOWN_AT.replace(day=11)), load_dbc(DBC), Policy())
    assert report.log_file_id is None
    assert checksum(conn) == before


def test_two_workers_with_the_same_file_commit_it_once(conn, database_url, vehicle_id, committed, tmp_path):
    path = written(tmp_path, "b.log", *(coolant(NOON + 10 + number, 80) for number in range(500)))
    job = IngestJob(path, vehicle_id, KNOWN_AT)
    with open_executor(2) as executor:
        found = list(executor.map(_ingest_one, [(database_url, job)] * 2))
    assert sorted(report is None for report in found) == [False, True]
    assert logs.fetch_log_files(conn).height == 2


def _ingest_one(arguments):
    url, job = arguments
    (report,) = ingest_logs(url, [job], dbc=DBC, policy=Policy())
    return report.log_file_id


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "empty"), (bytes(range(256)) * 40, "expected"), (b"LOGG" + b"\0" * 40, "expected")],
)
def test_a_file_that_cannot_be_read_is_refused_and_leaves_nothing(
    conn, database_url, vehicle_id, committed, tmp_path, content, said
):
    before = checksum(conn)
    bad = tmp_path / "bad.log"
    bad.write_bytes(content)
    good = written(tmp_path, "good.log", coolant(NOON + 100, 70))
    jobs = [IngestJob(path, vehicle_id, KNOWN_AT) for path in (bad, good)]
    refused, taken = ingest_logs(database_url, jobs, dbc=DBC, policy=Policy())
    assert refused.log_file_id is None
    assert refused.exit_code == DataError.exit_code
    assert "bad.log" in str(refused.refused)
    assert said in str(refused.refused)
    assert taken.refused is None
    assert logs.fetch_log_files(conn)["file_name"].to_list() == ["a.log", "good.log"]
    assert checksum(conn) != before


def test_an_overlapping_file_adds_only_its_new_rows_and_the_first_keeps_its_own(conn, vehicle_id, committed, tmp_path):
    later = written(tmp_path, "b.log", coolant(NOON + 1, 50), coolant(NOON + 5, 91))
    report = ingest_log(conn, IngestJob(later, vehicle_id, KNOWN_AT.replace(day=12)), load_dbc(DBC), Policy())
    assert report.n_rows == 1
    rows = conn.execute("SELECT engcoolanttemp FROM telemetry.et1 ORDER BY time").fetchall()
    assert [row[0] for row in rows] == [88.0, 90.0, 91.0]


def test_rows_before_the_floor_or_after_they_were_known_are_counted_and_left_out(conn, vehicle_id, tmp_path):
    end = int(KNOWN_AT.timestamp())
    lines = [coolant(NOON, 88), coolant(100, 88), coolant(end + 300, 88), coolant(end + 301, 88), red_lamp(end + 400)]
    report = ingest_log(
        conn, IngestJob(written(tmp_path, "a.log", *lines), vehicle_id, KNOWN_AT), load_dbc(DBC), Policy()
    )
    assert (report.n_rows, report.n_faults) == (2, 0)
    assert report.days == (date(2026, 3, 2), date(2026, 3, 10))
    rejected = json.loads(logs.fetch_log_files(conn)["rejected_json"][0])
    # After the file was known: a coolant row, and the lamps' message and its trouble code.
    assert (rejected["time_before_floor"], rejected["time_after_known"]) == (1, 3)


def test_only_dirty_days_are_aggregated_and_a_late_file_has_its_own_row(
    conn, database_url, vehicle_id, committed, tmp_path
):
    assert refresh_dailies(database_url).n_vehicle_days == 1
    assert refresh_dailies(database_url).n_vehicle_days == 0
    late = written(tmp_path, "late.log", coolant(NOON + 60, 100), coolant(NOON + 86400, 60))
    ingest_log(conn, IngestJob(late, vehicle_id, KNOWN_AT.replace(day=20)), load_dbc(DBC), Policy())
    assert refresh_dailies(database_url).n_vehicle_days == 2
    found = dailies.fetch_daily_signals(conn).filter(pl.col("signal") == "EngCoolantTemp").sort("day", "known_at")
    assert found.select("day", "known_at", "n_values", "maximum").rows() == [
        (date(2026, 3, 2), KNOWN_AT, 2, 90.0),
        (date(2026, 3, 2), KNOWN_AT.replace(day=20), 1, 100.0),
        (date(2026, 3, 3), KNOWN_AT.replace(day=20), 1, 60.0),
    ]


def test_telemetry_is_a_hypertable_where_timescaledb_is(conn, committed, running_server):
    if running_server.engine == "timescaledb":
        found = conn.execute(
            "SELECT hypertable_schema || '.' || hypertable_name FROM timescaledb_information.hypertables"
        )
        assert ("telemetry.et1",) in found.fetchall()
    else:
        assert conn.execute("SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'").fetchone() == (0,)


def test_telemetry_columns_carry_their_unit(conn, committed):
    query = """
        SELECT col_description(attrelid, attnum) FROM pg_attribute
        WHERE attrelid = 'telemetry.et1'::regclass AND attname = 'engcoolanttemp'
    """
    (comment,) = conn.execute(query).fetchone()
    assert "degC" in comment
    assert "110" in comment


def broadcast(seconds: int, pgn: int, payload: bytes) -> list[str]:
    """A message in packets, to all."""
    packets = [payload[at : at + 7].ljust(7, b"\xff") for at in range(0, len(payload), 7)]
    control = f"20{len(payload):02X}00{len(packets):02X}FF{pgn.to_bytes(3, 'little').hex().upper()}"
    lines = [f"({seconds}.000000) can0 1CECFF00#{control}\n"]
    for number, packet in enumerate(packets, 1):
        lines.append(f"({seconds}.{number:02}0000) can0 1CEBFF00#{number:02X}{packet.hex().upper()}\n")
    return lines


def vehicle_identification(seconds: int, vin: str) -> list[str]:
    return broadcast(seconds, 65260, f"{vin}*".encode("ascii"))


def test_previously_active_codes_are_stored_and_do_not_count_as_faults_of_the_day(
    conn, database_url, vehicle_id, tmp_path
):
    two_codes = broadcast(NOON + 2, 65227, bytes.fromhex("00FF" + "64000303" + "6E000002"))
    one_code = f"({NOON + 13}.000000) can0 18FECB00#00FF64000303FFFF\n"
    path = written(tmp_path, "a.log", coolant(NOON, 88), red_lamp(NOON + 1), *two_codes, one_code)
    assert ingest_log(conn, IngestJob(path, vehicle_id, KNOWN_AT), load_dbc(DBC), Policy()).n_faults == 4
    found = conn.execute("SELECT dm, spn, fmi, flash_mil FROM pm.fault ORDER BY time, dm, spn").fetchall()
    assert found == [(1, 110, 0, 3), (2, 100, 3, 3), (2, 110, 0, 3), (2, 100, 3, 3)]
    refresh_dailies(database_url)
    assert dailies.fetch_daily_faults(conn).select("spn", "n_reports", "n_red").rows() == [(110, 1, 1)]


def test_a_vin_goes_into_the_identity_table_and_nowhere_else(conn, vehicle_id, tmp_path):
    mine, other = "1PM00000000000001", "1PM00000000000002"
    path = written(
        tmp_path,
        "a.log",
        coolant(NOON, 88),
        *vehicle_identification(NOON + 1, mine),
        *vehicle_identification(NOON + 9, other),
    )
    ingest_log(conn, IngestJob(path, vehicle_id, KNOWN_AT), load_dbc(DBC), Policy())
    stored = conn.execute("SELECT vin FROM pm.vehicle_identity").fetchall()
    assert stored in ([(mine,)], [(other,)])
    assert '"vin_of_another_vehicle": 1' in logs.fetch_log_files(conn)["rejected_json"][0]
    assert telemetry.stored_messages(conn) == ("ET1",)


def test_a_log_with_relative_times_needs_its_start_and_is_refused_without(conn, vehicle_id, tmp_path):
    lines = [f" (00{at}.000000)  can0  18FEEE00   [8]  {80 + at:02X} FF FF FF FF FF FF FF\n" for at in (0, 4)]
    path = written(tmp_path, "screen.txt", *lines)
    with pytest.raises(DataError, match="screen.txt: expected the instant of time zero .--start."):
        ingest_log(conn, IngestJob(path, vehicle_id, KNOWN_AT), load_dbc(DBC), Policy())
    assert logs.fetch_log_files(conn).is_empty()
    start = KNOWN_AT.replace(day=9)
    assert ingest_log(conn, IngestJob(path, vehicle_id, KNOWN_AT, start), load_dbc(DBC), Policy()).n_rows == 2
    times = [row[0] for row in conn.execute("SELECT time FROM telemetry.et1 ORDER BY time").fetchall()]
    assert times == [start, start + timedelta(seconds=4)]


def test_the_real_truck_logs_go_in_and_keep_their_two_odometers(conn, vehicle_id, shared):
    path = shared("can/logs/P1_trucksentry_normal_drive.candump-screen.txt")
    job = IngestJob(path, vehicle_id, KNOWN_AT, start=KNOWN_AT.replace(day=9))
    report = ingest_log(conn, job, load_dbc(DBC), Policy())
    assert report.n_frames == 19957
    found = conn.execute(
        "SELECT source_address, max(highrestotalvehicledistance) FROM telemetry.vdhr GROUP BY 1 ORDER BY 1"
    ).fetchall()
    assert [(address, round(distance_km)) for address, distance_km in found] == [(0, 438978), (49, 537152)]


def test_a_late_file_of_dropped_days_brings_no_rows_and_takes_no_aggregates_away(
    conn, database_url, vehicle_id, committed, tmp_path
):
    refresh_dailies(database_url)
    before = dailies.fetch_daily_signals(conn)
    assert before.height
    refuse_older(conn, datetime(2026, 3, 3, tzinfo=UTC), 1)
    conn.execute("DELETE FROM telemetry.et1")
    late = written(tmp_path, "late.log", coolant(NOON + 60, 100), coolant(NOON + 86400, 60))
    report = ingest_log(conn, IngestJob(late, vehicle_id, KNOWN_AT.replace(day=20)), load_dbc(DBC), Policy())
    assert (report.n_rows, report.days) == (1, (date(2026, 3, 3),))
    assert json.loads(logs.fetch_log_files(conn)["rejected_json"][1])["time_before_retention"] == 1
    logs.mark_dirty(conn, vehicle_id, [date(2026, 3, 2)])  # as an import from before the drop would have
    assert refresh_dailies(database_url).n_vehicle_days == 1
    after = dailies.fetch_daily_signals(conn)
    assert after.filter(pl.col("day") == date(2026, 3, 2)).equals(before)
    assert logs.fetch_dirty(conn).is_empty()


OVERLAPPING = (
    ("known first", 10, (88, 90, 92)),
    ("known second", 11, (50, 51, 52)),
    ("known third", 12, (60, 61, 62)),
)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_of_overlapping_files_the_one_known_first_keeps_its_rows_in_any_order(conn, vehicle_id, tmp_path, order):
    for at in order:
        name, day, temperatures = OVERLAPPING[at]
        times = range(NOON + at, NOON + at + 3)
        lines = [coolant(seconds, value) for seconds, value in zip(times, temperatures, strict=True)]
        path = written(tmp_path, f"{name}.log", *lines, red_lamp(NOON + 2))
        ingest_log(conn, IngestJob(path, vehicle_id, KNOWN_AT.replace(day=day)), load_dbc(DBC), Policy())
    query = """
        SELECT engcoolanttemp, file_name FROM telemetry.et1 JOIN pm.log_file USING (log_file_id) ORDER BY time
    """
    assert conn.execute(query).fetchall() == [
        (88.0, "known first.log"),
        (90.0, "known first.log"),
        (92.0, "known first.log"),
        (52.0, "known second.log"),
        (62.0, "known third.log"),
    ]
    faults = conn.execute("SELECT file_name FROM pm.fault JOIN pm.log_file USING (log_file_id)").fetchall()
    assert faults == [("known first.log",)]


def test_what_a_file_held_of_each_signal_is_kept(conn, vehicle_id, committed):
    found = log_signals.fetch_log_signals(conn, 1).filter(pl.col("signal").is_in(["EngCoolantTemp", "EngFuelTemp1"]))
    first, last = (datetime.fromtimestamp(NOON + at, UTC) for at in (0, 1))
    assert found.select("signal", "n_rows", "n_values", "first_at", "last_at").rows() == [
        ("EngCoolantTemp", 2, 2, first, last),
        ("EngFuelTemp1", 2, 0, None, None),
    ]


def test_the_raw_bytes_are_in_the_archive_and_a_vin_in_the_name_is_not_kept(conn, vehicle_id, tmp_path):
    path = written(tmp_path, "1XPBDP9X1FD257820 of Monday.log", coolant(NOON, 88))
    folder = str(tmp_path / "archive")
    ingest_log(conn, IngestJob(path, vehicle_id, KNOWN_AT), load_dbc(DBC), Policy(), keeping=Keeping(folder))
    (file,) = logs.fetch_log_files(conn).rows(named=True)
    assert (file["file_name"], file["size_bytes"]) == ("VIN of Monday.log", path.stat().st_size)
    assert archive.fetch(folder, file["sha256"], tmp_path, "again.log").read_bytes() == path.read_bytes()


def test_without_the_archive_nothing_is_committed(conn, vehicle_id, committed, tmp_path):
    before = checksum(conn)
    path = written(tmp_path, "b.log", coolant(NOON + 50, 88))
    nowhere = Keeping(str(written(tmp_path, "a file", "x") / "archive"))
    with pytest.raises(StoreError, match="archive"):
        ingest_log(conn, IngestJob(path, vehicle_id, KNOWN_AT), load_dbc(DBC), Policy(), keeping=nowhere)
    assert checksum(conn) == before


@pytest.mark.parametrize(("sample_period_s", "n_faults"), [(1.0, 2), (0.0, 12)])
def test_a_trouble_code_that_stays_is_kept_once_in_a_while_when_sampling(
    conn, vehicle_id, tmp_path, sample_period_s, n_faults
):
    path = written(tmp_path, "a.log", coolant(NOON, 88), *(red_lamp(NOON + second) for second in range(12)))
    policy = Policy(telemetry=Telemetry(sample_period_s=sample_period_s))
    assert ingest_log(conn, IngestJob(path, vehicle_id, KNOWN_AT), load_dbc(DBC), policy).n_faults == n_faults
