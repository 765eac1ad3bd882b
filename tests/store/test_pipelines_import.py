"""Imports of telemetry and events: exactly once, every row or its reason, two clocks, no VIN."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from import_tables import EVENTS, IMPORTED_AT, TELEMETRY, contents, write_table

from pm.asof import daily_as_ofs
from pm.canbus.dbc import load_dbc
from pm.errors import ConfigError, DataError
from pm.features.daily import merge_days
from pm.pipelines.dailies import refresh_dailies
from pm.pipelines.imports.events import import_events
from pm.pipelines.imports.mapping import plain_mapping
from pm.pipelines.imports.mapping_file import load_mapping
from pm.pipelines.imports.rows import DecodedRows, ImportedFile, import_decoded
from pm.pipelines.imports.telemetry import import_telemetry
from pm.pipelines.imports.vehicles import import_mapped_vehicles, import_vehicles
from pm.pipelines.imports.work_orders import import_mapped_work_orders
from pm.policy import Policy
from pm.schema import UTC_INSTANT
from pm.store import dailies, events, faults, imports, logs, telemetry, vehicles
from pm.store.connection import connect
from pm.store.log_signals import fetch_log_signals
from pm.store.telemetry_tables import fetch_dictionary
from pm.tables import EVENT

T0 = datetime(2026, 3, 1, 6)
VIN = "YV2RT40A5JB123456"


def at(*parts):
    return datetime(*parts, tzinfo=UTC)


@pytest.fixture
def trucks(conn):
    return [
        vehicles.add_vehicle(conn, fleet="north", vehicle_ref=ref, known_at=at(2026, 1, 1), vin=vin)
        for ref, vin in (("T1", None), ("T2", VIN))
    ]


@pytest.fixture
def load(tmp_path):
    def loaded(kind, text):
        path = tmp_path / f"{kind}.toml"
        path.write_text(text, encoding="utf-8")
        return load_mapping(path, kind)

    return loaded


@pytest.fixture
def take(conn, settings, load):
    """Import a telemetry file."""
    database = load_dbc(settings.dbc_files)

    def taken(path, text=TELEMETRY, *, known_at=IMPORTED_AT, policy=None):
        return import_telemetry(
            conn, path, load("telemetry", text), database=database, policy=policy or Policy(), imported_at=known_at
        )

    return taken


def readings(n=48, unit="T1", start=T0):
    times = [start + timedelta(hours=number) for number in range(n)]
    return pl.DataFrame(
        {
            "unit": [unit] * n,
            "at": times,
            "received": [instant + timedelta(minutes=90) for instant in times],
            "coolant_f": [32.0 + number for number in range(n)],
            "odometer_mi": [100_000.25 + number for number in range(n)],
            "level": [255 if number % 4 == 0 else number for number in range(n)],
        }
    )


def stored(conn, message, truck):
    return telemetry.fetch_signals(conn, message, vehicle_id=truck, start=at(2020, 1, 1), end=at(2030, 1, 1))


def test_values_come_in_the_units_of_the_dbc_file_and_of_the_mapping(conn, trucks, take, tmp_path):
    report = take(write_table(readings(), tmp_path / "t.csv"))
    assert (report.n_rows, report.n_rejected, report.n_stored, report.n_repeated) == (48, 0, 96, 0)
    coolant = stored(conn, "ET1", trucks[0])
    assert coolant["EngCoolantTemp"].to_list() == pytest.approx([number * 5 / 9 for number in range(48)], abs=1e-5)
    own = stored(conn, "PORTAL", trucks[0])
    assert own["Odometer"].to_list() == pytest.approx([(100_000.25 + n) * 1.609344 for n in range(48)], abs=1e-6)
    assert own["Level"].to_list()[:6] == [None, 1.0, 2.0, 3.0, None, 5.0]
    assert own.select("source_address", "destination_address", "channel").unique().row(0) == (-1, -1, "")


def test_the_dictionary_has_units_and_spns_of_the_dbc_file_and_of_the_mapping(conn, trucks, take, tmp_path):
    take(write_table(readings(), tmp_path / "t.csv"))
    facts = fetch_dictionary(conn).select("message", "signal", "pgn", "spn", "unit", "description")
    assert facts.rows() == [
        ("ET1", "EngCoolantTemp", 65262, 110, "degC", facts["description"][0]),
        ("PORTAL", "Level", None, 96, "%", "tank"),
        ("PORTAL", "Odometer", None, None, "km", ""),
    ]


def test_each_row_is_known_no_earlier_than_it_was_and_midnights_see_exactly_what_was_known(
    conn, trucks, take, tmp_path
):
    given = readings(n=100)
    take(write_table(given, tmp_path / "t.parquet"))
    found = stored(conn, "ET1", trucks[0]).sort("time")
    exact = given["received"].dt.replace_time_zone("UTC").cast(UTC_INSTANT)
    assert (found["known_at"] >= exact).all()
    for as_of in daily_as_ofs(at(2026, 3, 1), at(2026, 3, 8)):
        assert ((found["known_at"] <= as_of) == (exact <= as_of)).all(), as_of


def test_a_row_known_at_midnight_is_seen_by_that_midnight(conn, trucks, take, tmp_path):
    given = readings(n=2).with_columns(received=pl.Series([datetime(2026, 3, 2), datetime(2026, 3, 2, 0, 0, 1)]))
    take(write_table(given, tmp_path / "t.parquet"))
    assert stored(conn, "ET1", trucks[0])["known_at"].to_list() == [at(2026, 3, 2), at(2026, 3, 2, 0, 0, 1)]


def test_days_are_aggregated_as_those_of_decoded_logs_are(conn, database_url, trucks, take, tmp_path):
    take(write_table(readings(n=18), tmp_path / "t.csv"))
    assert refresh_dailies(database_url).n_vehicle_days == 1
    daily = dailies.fetch_daily_signals(conn).filter(message="ET1", signal="EngCoolantTemp")
    assert merge_days(daily).select("n_values", "minimum", "maximum").rows() == [(18, 0.0, pytest.approx(17 * 5 / 9))]
    assert daily["known_at"].to_list() == [at(2026, 3, 1, 23, 30), at(2026, 3, 2, 0, 30)]


def test_the_manifest_has_a_part_a_vehicle_and_knowledge_day(conn, trucks, take, tmp_path):
    given = pl.concat([readings(n=30), readings(n=3, unit="T2")])
    path = write_table(given, tmp_path / f"{VIN}.csv")
    take(path)
    parts = logs.fetch_log_files(conn).sort("part")
    assert parts["part"].to_list() == [1, 2, 3]
    by_truck = dict(parts.group_by("vehicle_id").agg(pl.col("n_frames").sort(descending=True)).iter_rows())
    assert by_truck == {trucks[0]: [34, 26], trucks[1]: [6]}  # two messages a row; 17 rows known on the first day
    assert parts.select("format", "file_name", "decoder_version").unique().row(0) == ("csv", "VIN.csv", "import-1")
    assert parts["size_bytes"].unique().to_list() == [path.stat().st_size]
    seen = [fetch_log_signals(conn, part) for part in parts["log_file_id"]]
    assert [counts.height for counts in seen] == [3, 0, 0]
    assert seen[0].select("message", "signal", "n_rows", "n_values").rows() == [
        ("ET1", "EngCoolantTemp", 33, 33),
        ("PORTAL", "Level", 33, 24),
        ("PORTAL", "Odometer", 33, 33),
    ]
    days = logs.fetch_dirty(conn).select("vehicle_id", "day").rows()
    assert sorted(days) == sorted(
        [(trucks[0], T0.date()), (trucks[0], T0.date() + timedelta(days=1)), (trucks[1], T0.date())]
    )


def test_the_same_file_again_and_under_another_name_changes_nothing(conn, trucks, take, tmp_path):
    path = write_table(readings(), tmp_path / "t.csv")
    take(path)
    logs.clear_dirty(conn, logs.fetch_dirty(conn))
    before = contents(conn)
    assert len(before["telemetry.et1"]) == 48
    again = take(path.rename(tmp_path / "other.csv"), known_at=IMPORTED_AT + timedelta(days=1))
    assert (again.was_there, again.n_stored) == (True, 0)
    assert contents(conn) == before


def test_two_workers_with_one_file_store_it_once(conn, database_url, settings, trucks, load, tmp_path):
    path, mapping = write_table(readings(), tmp_path / "t.csv"), load("telemetry", TELEMETRY)
    database = load_dbc(settings.dbc_files)
    reports = []

    def work():
        with connect(database_url) as own:
            reports.append(
                import_telemetry(own, path, mapping, database=database, policy=Policy(), imported_at=IMPORTED_AT)
            )

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(report.n_stored for report in reports) == [0, 96]
    assert stored(conn, "ET1", trucks[0]).height == 48
    assert len(logs.fetch_log_files(conn)) == len(logs.fetch_log_files(conn).unique("part"))


def test_what_is_killed_half_way_leaves_nothing_and_can_be_done_again(
    conn, database_url, settings, trucks, take, tmp_path
):
    path = write_table(readings(n=300), tmp_path / "t.csv")
    (tmp_path / "telemetry.toml").write_text(TELEMETRY, encoding="utf-8")
    before = contents(conn)
    command = [
        sys.executable,
        "-m",
        "pm",
        "import",
        "telemetry",
        str(path),
        "--mapping",
        str(tmp_path / "telemetry.toml"),
    ]
    environment = {**os.environ, "PM_DATABASE_URL": database_url, "PM_HOME": str(tmp_path / "home")}
    with connect(database_url) as blocker, blocker.transaction():
        # Holds the import at its last step: its rows are written, its manifest is not.
        blocker.execute("LOCK TABLE pm.import_file IN EXCLUSIVE MODE")
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as child:
            for _ in range(600):
                waits = conn.execute(
                    "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
                ).fetchone()
                if waits:
                    break
                time.sleep(0.05)
            assert waits
            child.send_signal(signal.SIGKILL)
    left = {name: rows for name, rows in contents(conn).items() if name in before}
    changed = {name for name, rows in left.items() if rows != before[name]}
    assert changed <= {"pm.signal"}  # the dictionary of the empty tables, which do no harm
    assert contents(conn)["telemetry.et1"] == []
    assert take(path).n_stored == 600


def test_a_bad_header_leaves_the_tables_as_before(conn, trucks, take, tmp_path):
    before = contents(conn)
    with pytest.raises(DataError, match=r"t.csv: expected columns \['coolant_f'\] in the header"):
        take(write_table(readings().drop("coolant_f"), tmp_path / "t.csv"))
    assert contents(conn) == before


def test_bad_rows_are_set_aside_with_their_reasons_and_the_others_go_on(conn, trucks, take, tmp_path):
    path = tmp_path / "t.csv"
    header = "unit,at,received,coolant_f,odometer_mi,level\n"
    path.write_text(
        header
        + "T1,2026-03-01 10:00:00,2026-03-01 10:05:00,100,1,1\n"  # 2: good
        + "T9,2026-03-01 10:00:00,2026-03-01 10:05:00,100,1,1\n"
        + "T1,not a time,2026-03-01 10:05:00,100,1,1\n"
        + "T1,2026-03-01 11:00:00,2026-03-01 10:05:00,100,1,1\n"
        + "T1,2026-03-01 12:00:00,2026-06-01 10:05:00,100,1,1\n"
        + "T1,1999-12-31 12:00:00,2026-03-01 10:05:00,100,1,1\n"
        + "T1,2026-03-01 13:00:00,2026-03-01 13:05:00,hot,1,1\n"
        + "T1,2026-03-01 14:00:00,2026-03-01 14:05:00,,,255\n"
        + ",2026-03-01 15:00:00,2026-03-01 15:05:00,100,1,1\n"
        + "T1,2026-03-01 16:00:00\n"
        + "T1,2026-03-01 17:00:00,2026-03-01 16:57:00,100,1,1\n"  # 12: clocks differ by three minutes
        + "T1,2026-03-01 18:00:00,2026-03-01 18:05:00,5000,1,1\n",  # 13: too hot for the DBC, the others count
        encoding="utf-8",
    )
    report = take(path)
    assert (report.n_rows, report.n_rejected, report.n_stored) == (12, 9, 5)
    reasons = {row.line: row.reason for row in report.rejected}
    assert reasons == {
        3: "vehicle_ref: expected the unit number or VIN of a known vehicle, but got neither",
        4: "time (at): expected an instant that exists in UTC, but got 'not a time'",
        5: "known_at: expected an instant at or after the event time, but got an earlier one",
        6: "known_at: expected an instant up to the import at 2026-06-01T00:00:00+00:00, but got a later",
        7: "time: expected 2000-01-01 or later, but got 1999-12-31",
        8: "ET1.EngCoolantTemp (coolant_f): expected a number, but got 'hot'",
        9: "expected a value of at least one signal, but got none",
        10: "vehicle_ref: expected a value, but got none",
        11: "expected 6 cells, but got 2",
    }
    assert "1 values were not used: outside limits" in report.notes
    kept = conn.execute("SELECT row_no, reason FROM pm.rejected_row ORDER BY row_no").fetchall()
    assert dict(kept) == reasons
    assert conn.execute("SELECT n_rows, n_stored, n_rejected FROM pm.import_file").fetchone() == (12, 5, 9)
    assert stored(conn, "ET1", trucks[0]).height == 2
    assert stored(conn, "PORTAL", trucks[0]).height == 3


def test_rows_refused_for_their_vehicle_come_in_when_it_is_known_and_the_others_stay(conn, trucks, take, tmp_path):
    path = write_table(pl.concat([readings(n=5), readings(n=7, unit="T9")]), tmp_path / "t.jsonl")
    assert (take(path).n_stored, imports.find(conn, _file(conn)).n_rejected) == (10, 7)
    before = contents(conn)
    assert take(path).n_stored == 0
    assert contents(conn) == before
    late = vehicles.add_vehicle(conn, fleet="north", vehicle_ref="T9", known_at=IMPORTED_AT)
    again = take(path)
    assert (again.n_stored, again.n_repeated, again.n_rejected, again.was_there) == (14, 0, 0, True)
    assert stored(conn, "ET1", late).height == 7
    assert stored(conn, "ET1", trucks[0]).height == 5
    assert conn.execute("SELECT n_stored, n_rejected FROM pm.import_file").fetchone() == (24, 0)
    assert conn.execute("SELECT count(*) FROM pm.rejected_row").fetchone() == (0,)


def _file(conn):
    row = conn.execute("SELECT sha256, kind, mapping_sha256, file_name, format FROM pm.import_file").fetchone()
    return ImportedFile(*row, 0)


def test_what_retention_has_dropped_is_not_taken_again(conn, trucks, take, tmp_path):
    conn.execute(
        "INSERT INTO pm.retention (what, dropped_before, dropped_at) VALUES ('telemetry', %s, now())", (at(2026, 3, 2),)
    )
    report = take(write_table(readings(n=24), tmp_path / "t.csv"))
    assert (report.n_rejected, report.n_stored) == (18, 12)
    assert "was dropped for its age" in next(iter(report.reasons))


def test_of_overlapping_files_the_one_known_first_stays_whatever_the_order(conn, trucks, take, tmp_path):
    early = readings(n=4).with_columns(level=pl.lit(11))
    late = readings(n=6).with_columns(level=pl.lit(22), received=pl.col("received") + pl.duration(days=3))
    take(write_table(late, tmp_path / "late.csv"))
    report = take(write_table(early, tmp_path / "early.csv"))
    assert report.n_stored == 8
    assert stored(conn, "PORTAL", trucks[0]).sort("time")["Level"].to_list() == [11.0] * 4 + [22.0] * 2


def test_a_signal_keeps_the_unit_it_was_first_stored_in(conn, trucks, take, tmp_path):
    take(write_table(readings(n=2), tmp_path / "a.csv"))
    metres = TELEMETRY.replace('unit = "mi", stored_unit = "km"', 'unit = "m"')
    path = write_table(readings(n=4).with_columns(odometer_mi=pl.lit(5000.0)), tmp_path / "b.csv")
    report = take(path, metres)
    assert report.n_stored == 4  # two hours are new
    assert stored(conn, "PORTAL", trucks[0]).sort("time")["Odometer"].to_list()[2:] == [5.0, 5.0]
    with pytest.raises(ConfigError, match=r"\[signals.PORTAL\] Odometer: unit: expected a unit of length"):
        take(path, metres.replace('unit = "m"', 'unit = "psi"'))
    with pytest.raises(ConfigError, match=r"Odometer: expected the unit of the column \(the signal is kept in 'km'\)"):
        take(path, metres.replace('unit = "m", ', ""))


def test_a_correction_of_a_mapping_says_that_stored_rows_stay(conn, trucks, take, tmp_path):
    path = write_table(readings(n=2), tmp_path / "a.csv")
    take(path)
    report = take(path, TELEMETRY + "\n")
    assert (report.n_stored, report.n_repeated) == (0, 4)
    assert "the same file was imported with another mapping before" in report.notes[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ('EngCoolantTmp = { column = "coolant_f", unit = "degF" }', "expected a signal of ET1 in the DBC files"),
        ('EngCoolantTemp = { column = "coolant_f" }', "expected the unit of the column"),
        ('EngCoolantTemp = { column = "coolant_f", unit = "psi" }', "expected a unit of temperature"),
        ('EngCoolantTemp = { column = "coolant_f", unit = "degF", spn = 1 }', "the DBC files say them"),
    ],
)
def test_a_signal_of_the_dbc_file_is_as_that_file_says(conn, trucks, take, tmp_path, change, said):
    before = contents(conn)
    text = TELEMETRY.replace('EngCoolantTemp = { column = "coolant_f", unit = "degF" }', change)
    with pytest.raises(ConfigError, match=said):
        take(write_table(readings(), tmp_path / "t.csv"), text)
    assert contents(conn) == before


def test_positions_and_drivers_are_not_stored_unless_the_policy_says_so(conn, trucks, take, tmp_path):
    path = write_table(readings(), tmp_path / "t.csv")
    position = TELEMETRY + 'Latitude = { column = "level" }\n'
    with pytest.raises(ConfigError, match=r"\[signals.PORTAL\] Latitude: expected no position"):
        take(path, position)
    with pytest.raises(ConfigError, match="expected nothing that tells who drives"):
        take(path, TELEMETRY + 'Driver1Id = { column = "level" }\n')
    policy = Policy()
    allowed = replace(policy, privacy=replace(policy.privacy, positions=True))
    assert take(path, position, policy=allowed).n_stored == 96


def test_unknown_vehicles_are_added_where_the_mapping_says_so_known_since_their_first_row(conn, take, tmp_path):
    text = TELEMETRY.replace('vehicle_ref = "unit"', 'vehicle_ref = "unit"\nunknown = "add"')
    given = pl.concat([readings(n=3), readings(n=2, unit="T7"), readings(n=1, unit=VIN)])
    report = take(write_table(given, tmp_path / "t.parquet"), text)
    assert (report.n_stored, report.n_rejected) == (10, 1)
    assert "looks like a VIN" in report.rejected[0].reason
    assert "2 vehicles were added" in report.notes
    known = vehicles.fetch_vehicles(conn).select("fleet", "vehicle_ref", "known_at").rows()
    first = (T0 + timedelta(minutes=90)).replace(tzinfo=UTC)
    assert known == [("north", "T1", first), ("north", "T7", first)]


def test_a_vehicle_is_found_by_vin_and_its_vin_stands_in_one_table_only(conn, trucks, settings, load, tmp_path):
    text = EVENTS.replace('vehicle_ref = "unit"', 'vin = "unit"\nunknown = "add"').replace(
        'value = "level"', 'severity = "said"'
    )
    new = "YV2RT40A5JB999999"
    given = pl.DataFrame(
        {
            "unit": [VIN, new, new, "", "short"],
            "at": [T0] * 5,
            "received": ["2026-03-01 06:00:00", "2026-03-01 06:00:00", new, new, "x"],
            "code": ["A", "A", "B", "A", "A"],
            "said": [f"from {VIN}", "", "", "", ""],
        }
    )
    path = write_table(given, tmp_path / f"{new}.csv")
    report = import_events(conn, path, load("events", text), policy=Policy(), imported_at=IMPORTED_AT)
    assert (report.n_stored, report.n_rejected) == (2, 3)
    work_orders = tmp_path / "w.csv"
    work_orders.write_text(
        "source_system,work_order_id,line_no,vehicle_ref,opened_at,description\n"
        f"shop,W1,1,{new},2026-03-01T00:00:00Z,pump of {new} replaced\n"
        f"shop,W2,1,YV2RT40A5JB000000,2026-03-01T00:00:00Z,pump\n"
        f"shop,W3,{new},{new},{new},pump\n",
        encoding="utf-8",
    )
    done = import_mapped_work_orders(conn, work_orders, plain_mapping("work-orders"), imported_at=IMPORTED_AT)
    assert (done.n_stored, done.n_rejected) == (1, 2)
    fleet = tmp_path / "v.csv"
    fleet.write_text(f"fleet,vehicle_ref,vin\nnorth,T3,{VIN[:-1]}7\nnorth,{VIN},\n", encoding="utf-8")
    assert import_mapped_vehicles(conn, fleet, plain_mapping("vehicles"), imported_at=IMPORTED_AT).n_rejected == 1
    everything = contents(conn)
    identities = everything.pop("pm.vehicle_identity")
    assert len(identities) == 3
    assert not [row for rows in everything.values() for row in rows if "YV2RT40A5JB" in row]
    assert not [row for report in (report, done) for row in report.rejected if "YV2RT40A5JB" in row.reason]
    names = vehicles.fetch_vehicles(conn)["vehicle_ref"].to_list()
    assert sum(name.startswith("vehicle-") for name in names) == 1


def test_events_are_stored_once_and_read_back_by_both_clocks(conn, trucks, load, tmp_path):
    given = readings(n=4).with_columns(code=pl.Series(["A", "A", "B", None]))
    mapping = load("events", EVENTS)
    path = write_table(pl.concat([given, given]), tmp_path / "e.parquet")
    report = import_events(conn, path, mapping, policy=Policy(), imported_at=IMPORTED_AT)
    assert (report.n_rows, report.n_stored, report.n_repeated, report.n_rejected) == (8, 3, 3, 2)
    found = events.fetch_events(conn, start=at(2026, 1, 1), end=at(2027, 1, 1))
    assert found.select("vehicle_id", "kind", "code", "value").rows() == [
        (trucks[0], "alarm", "A", 255.0),
        (trucks[0], "alarm", "A", 1.0),
        (trucks[0], "alarm", "B", 2.0),
    ]
    assert events.fetch_events(conn, start=at(2026, 1, 1), end=at(2027, 1, 1), known_by=at(2026, 3, 1, 7)).is_empty()
    assert EVENT.check(found.drop("known_at")).height == 3
    before = contents(conn)
    assert import_events(conn, path, mapping, policy=Policy(), imported_at=IMPORTED_AT).n_stored == 0
    assert contents(conn) == before


def test_rows_with_spn_and_fmi_are_trouble_codes(conn, trucks, load, tmp_path):
    text = EVENTS[: EVENTS.index("[event]")] + (
        '[fault]\nspn = "spn"\nfmi = "fmi"\noccurrence_count = { column = "n", missing = [127] }\n'
        'source_address = { constant = 0 }\nlamp_amber = { column = "lamp", map = { ON = 1, OFF = 0 } }\n'
    )
    given = readings(n=3).with_columns(
        spn=pl.Series([110, 110, 600_000]), fmi=pl.Series([0, 16, 3]), n=pl.Series([127, 5, 1]), lamp=pl.lit("ON")
    )
    path = write_table(given, tmp_path / "f.csv")
    report = import_events(conn, path, load("events", text), policy=Policy(), imported_at=IMPORTED_AT)
    assert (report.n_stored, report.n_rejected) == (2, 1)
    assert "fault" not in report.rejected[0].reason
    found = faults.fetch_faults(conn, start=at(2026, 1, 1), end=at(2027, 1, 1))
    assert found.select("spn", "fmi", "occurrence_count", "lamp_amber", "lamp_red", "dm", "source_address").rows() == [
        (110, 0, None, 1, 3, 1, 0),
        (110, 16, 5, 1, 3, 1, 0),
    ]
    assert logs.fetch_dirty(conn)["day"].to_list() == [T0.date()]


def test_a_mapping_takes_some_rows_only(conn, trucks, load, tmp_path):
    text = EVENTS + '[where]\ncode = ["A", "B"]\nlevel = 1\n'
    given = readings(n=4).with_columns(code=pl.Series(["A", "B", "B", "C"]), level=pl.Series([1, 1, 2, 1]))
    for suffix in ("csv", "jsonl", "parquet"):
        path = write_table(given, tmp_path / f"e.{suffix}")
        report = import_events(conn, path, load("events", text), policy=Policy(), imported_at=IMPORTED_AT)
        assert (report.n_rows, report.n_left_out, report.n_rejected) == (4, 2, 0)
        assert report.n_stored + report.n_repeated == 2
    assert events.fetch_events(conn, start=at(2026, 1, 1), end=at(2027, 1, 1)).height == 2


def test_an_hour_that_comes_twice_is_not_known_too_early(conn, trucks, load, tmp_path):
    text = EVENTS.replace('"UTC"', '"America/Toronto"').replace('column = "received"', 'after = "10min"')
    given = readings(n=1, start=datetime(2024, 11, 3, 1, 30)).with_columns(code=pl.lit("A"))
    path = write_table(given, tmp_path / "e.parquet")
    assert import_events(conn, path, load("events", text), policy=Policy(), imported_at=IMPORTED_AT).n_stored == 1
    ((time_, known_at),) = (
        events.fetch_events(conn, start=at(2024, 1, 1), end=at(2027, 1, 1)).select("time", "known_at").rows()
    )
    assert (time_, known_at) == (at(2024, 11, 3, 5, 30), at(2024, 11, 3, 6, 40))


def test_many_vehicles_come_in_at_once_and_say_something_new_only_once(conn, load, tmp_path):
    text = (
        '[source]\ntime_zone = "UTC"\n[vehicle]\nfleet = { constant = "south" }\nvehicle_ref = "unit"\n'
        'model = "model"\nin_service_at = "day"\nleft_at = { column = "day", shift = "1d" }\n'
    )
    days = [datetime(2026, 1, 1) + timedelta(days=number) for number in range(10)]
    given = pl.DataFrame(
        {
            "unit": [f"S{number}" for number in range(500) for _ in days],
            "model": [None if day.day % 2 else "X" for _ in range(500) for day in days],
            "day": [day for _ in range(500) for day in days],
        }
    )
    path = write_table(given, tmp_path / "v.parquet")
    mapping = load("vehicles", text)
    report = import_mapped_vehicles(conn, path, mapping, imported_at=IMPORTED_AT)
    assert (report.n_rows, report.n_stored, report.n_repeated) == (5000, 500, 0)
    found = vehicles.fetch_vehicles(conn)
    assert found.select("model", "in_service_at", "left_at", "known_at").unique().row(0) == (
        "X",
        at(2026, 1, 1),
        at(2026, 1, 11),
        at(2026, 1, 1),
    )
    assert found["vehicle_id"].n_unique() == 500
    more = pl.concat([given.head(20), given.head(10).with_columns(unit=pl.lit("S900"))])
    later = import_mapped_vehicles(conn, write_table(more, tmp_path / "w.csv"), mapping, imported_at=IMPORTED_AT)
    assert (later.n_stored, later.n_repeated) == (1, 2)


def test_vehicles_without_a_mapping_come_from_json_lines_too(conn, tmp_path):
    path = tmp_path / "v.jsonl"
    rows = [
        {"fleet": "n", "vehicle_ref": "1", "model_year": 2020},
        {"fleet": "n", "vehicle_ref": "2", "model_year": 2020.5},
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    report = import_vehicles(conn, path, known_at=IMPORTED_AT)
    assert report.n_vehicles == 1
    assert [(row.line, row.reason) for row in report.rejected] == [
        (2, "model_year: expected a whole number, but got '2020.5'")
    ]


def test_the_door_refuses_frames_that_lack_a_clock(conn, trucks):
    file = ImportedFile("ab" * 32, "events", "", "x.json", "rfms", 3)
    frame = EVENT.empty().drop("log_file_id")
    with pytest.raises(DataError, match=r"expected columns \['known_at'\]"), conn.transaction():
        import_decoded(conn, file, (DecodedRows(events=frame),), imported_at=IMPORTED_AT, n_rows=0)
    assert imports.find(conn, file) is None
