"""After `pm vehicle forget` nothing of the vehicle is found anywhere, and everything of others is as before."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner
from filled_database import KNOWN_AT, fill
from psycopg import sql

from pm.cli.app import group
from pm.errors import DataError, StoreError
from pm.pipelines.forget import forget_vehicle
from pm.store import archive, forget, vehicles
from pm.store.catalog import stored_tables
from pm.store.checksums import table_checksums

TEXTS = ("text", "text[]", "jsonb")
NUMBERS = ("integer", "bigint")


T_1 = "T-1(?![0-9])"
"""The unit number, and with it the VIN, but not those of T-10."""


def places_of(conn: psycopg.Connection, vehicle_id: int, pattern: str) -> list[str]:
    """table.column of every cell that holds the number, or the pattern anywhere in its text."""
    found = []
    for table in stored_tables(conn):
        for column in table.columns:
            name = sql.Identifier(column.name)
            if column.type in NUMBERS:
                condition, params = sql.SQL("{} = %s").format(name), [vehicle_id]
            elif column.type in TEXTS:
                condition, params = sql.SQL("{}::text ~* %s").format(name), [pattern]
            else:
                continue
            query = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(table.identifier, condition)
            (n_rows,) = conn.execute(query, params).fetchone()
            if n_rows:
                found.append(f"{table}.{column.name}")
    return found


@pytest.fixture
def filled(conn, settings):
    """T-1 and T-10 with a row of each in every table, raw files and inbox files."""
    ids = fill(conn, "T-1", "T-10")
    for ref in ids:
        file = settings.inbox / "logs" / ref / "a.log"
        file.parent.mkdir(parents=True)
        file.write_text(ref)
    return ids


def archived(conn, settings, vehicle_id: int, tmp_path: Path, content: bytes, table: str = "log_file") -> str:
    """The vehicle's row names these bytes, which are in the archive."""
    path = tmp_path / "raw"
    path.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    archive.put(settings.archive, path, sha256=sha256)
    conn.execute(
        sql.SQL("UPDATE {} SET sha256 = %s WHERE vehicle_id = %s").format(sql.Identifier("pm", table)),
        (sha256, vehicle_id),
    )
    return sha256


def test_the_fixture_has_a_row_in_every_table_with_a_vehicle_or_a_log_file(conn, filled):
    """So a table that comes later is in these tests without being named."""
    counts = forget.count_rows(conn, filled["T-1"])
    holding = {str(t) for t in stored_tables(conn) if t.column_names & {"vehicle_id", "log_file_id"}}
    assert counts == dict.fromkeys(sorted(holding), 1)
    assert {"pm.log_signal", "pm.quarantine", "telemetry.et1"} <= holding


def test_vehicles_are_named_vehicle_id_everywhere(conn):
    """Erasing finds them by that name: a reference under another one would be overlooked."""
    query = """
        SELECT k.conrelid::regclass::text || '.' || a.attname FROM pg_constraint AS k
        JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = ANY(k.conkey)
        WHERE k.confrelid = 'pm.vehicle'::regclass AND a.attname <> 'vehicle_id'
    """
    assert conn.execute(query).fetchall() == []
    names = {column for table in stored_tables(conn) for column in table.column_names if "vehicle" in column}
    assert names == {"vehicle_id", "vehicle_ref"}


def test_nothing_of_it_is_found_and_the_other_is_as_before(conn, settings, filled):
    vehicle_id = filled["T-1"]
    assert {"pm.vehicle_identity.vin", "pm.vehicle.vehicle_ref", "pm.fault.vehicle_id"} <= set(
        places_of(conn, vehicle_id, T_1)
    )
    before = forget.count_rows(conn, filled["T-10"])
    report = forget_vehicle(conn, settings, vehicle_id)
    assert places_of(conn, vehicle_id, T_1) == []
    assert forget.count_rows(conn, filled["T-10"]) == before
    assert set(report.n_rows) == set(before)
    assert not (settings.inbox / "logs" / "T-1").exists()
    assert (settings.inbox / "logs" / "T-10" / "a.log").read_text() == "T-10"


def test_the_database_without_it_is_as_if_it_had_never_been(conn, settings):
    fill(conn, "T-2")
    before = table_checksums(conn)
    conn.execute("ALTER TABLE pm.log_file ALTER COLUMN log_file_id RESTART WITH 5000")
    other = vehicles.add_vehicle(conn, fleet="north", vehicle_ref="T-3", known_at=KNOWN_AT, vin="VIN-T-3")
    conn.execute("INSERT INTO pm.dirty_day VALUES (%s, '2026-03-02', now())", (other,))
    assert table_checksums(conn) != before
    forget_vehicle(conn, settings, other)
    assert table_checksums(conn) == before


def test_a_table_that_came_later_is_not_forgotten(conn, settings, filled):
    conn.execute("CREATE TABLE pm.later (vehicle_id integer REFERENCES pm.vehicle, remark text)")
    conn.execute("CREATE TABLE telemetry.later (log_file_id bigint, value real)")
    conn.execute("INSERT INTO pm.later VALUES (%s, 'T-1')", (filled["T-1"],))
    conn.execute("INSERT INTO telemetry.later VALUES (1000, 1), (1001, 2)")
    report = forget_vehicle(conn, settings, filled["T-1"])
    assert (report.n_rows["pm.later"], report.n_rows["telemetry.later"]) == (1, 1)
    assert conn.execute("SELECT log_file_id FROM telemetry.later").fetchall() == [(1001,)]


def test_a_dry_run_counts_the_same_and_changes_nothing(conn, settings, filled, tmp_path):
    sha256 = archived(conn, settings, filled["T-1"], tmp_path, b"one")
    before = table_checksums(conn)
    planned = forget_vehicle(conn, settings, filled["T-1"], dry_run=True)
    assert table_checksums(conn) == before
    assert archive.has(settings.archive, sha256)
    assert (settings.inbox / "logs" / "T-1" / "a.log").exists()
    done = forget_vehicle(conn, settings, filled["T-1"])
    assert replace(planned, is_dry_run=False) == done
    assert (done.n_raw_files, done.n_inbox_files) == (1, 1)


@pytest.mark.parametrize("table", ["log_file", "quarantine"])
def test_raw_files_go_unless_another_vehicle_names_the_same_bytes(conn, settings, filled, tmp_path, table):
    own = archived(conn, settings, filled["T-1"], tmp_path, b"own")
    shared = archived(conn, settings, filled["T-10"], tmp_path, b"shared", table)
    conn.execute("UPDATE pm.quarantine SET sha256 = %s WHERE vehicle_id = %s", (shared, filled["T-1"]))
    report = forget_vehicle(conn, settings, filled["T-1"])
    assert (report.n_raw_files, report.n_raw_kept) == (1, 1)
    assert not archive.has(settings.archive, own)
    assert archive.has(settings.archive, shared)


def test_where_it_stops_before_the_end_it_can_be_done_again(conn, settings, filled, tmp_path, monkeypatch):
    sha256 = archived(conn, settings, filled["T-1"], tmp_path, b"one")
    before = table_checksums(conn)

    def unreachable(address, name):
        raise StoreError("the archive cannot be reached")

    with monkeypatch.context() as patched:
        patched.setattr(archive, "delete", unreachable)
        with pytest.raises(StoreError, match="cannot be reached"):
            forget_vehicle(conn, settings, filled["T-1"])
    assert table_checksums(conn) == before
    assert not (settings.inbox / "logs" / "T-1").exists()
    assert forget_vehicle(conn, settings, filled["T-1"]).n_raw_files == 1
    assert not archive.has(settings.archive, sha256)


def test_texts_of_others_that_name_it_no_longer_do(conn, settings, filled):
    conn.execute("INSERT INTO pm.import_file VALUES ('a', 'telemetry', '', 'T-1_and_T-10.csv', 'csv', 1, 1, 0, now())")
    conn.execute("INSERT INTO pm.rejected_row VALUES ('a', 'telemetry', '', 1, 'got t-1, vin-t-1 and T-10, T-11')")
    conn.execute("UPDATE pm.work_order SET description = 'parts from T-1' WHERE vehicle_id = %s", (filled["T-10"],))
    forget_vehicle(conn, settings, filled["T-1"])
    assert conn.execute("SELECT reason FROM pm.rejected_row").fetchone() == (
        "got (forgotten), (forgotten) and T-10, T-11",
    )
    assert conn.execute("SELECT description FROM pm.work_order").fetchone() == ("parts from (forgotten)",)
    assert conn.execute("SELECT file_name FROM pm.import_file").fetchone() == ("(forgotten)_and_T-10.csv",)


def test_a_short_number_stays_in_texts_of_others(conn, settings):
    ids = fill(conn, "7", "8")
    conn.execute("UPDATE pm.work_order SET description = '7 bolts' WHERE vehicle_id = %s", (ids["8"],))
    forget_vehicle(conn, settings, ids["7"])
    assert conn.execute("SELECT description FROM pm.work_order").fetchone() == ("7 bolts",)


def test_counts_of_an_import_of_several_vehicles_are_handed_on(conn, settings, filled):
    conn.execute("UPDATE pm.log_file SET sha256 = 'same', part = 1 + (vehicle_id = %s)::int", (filled["T-10"],))
    conn.execute("DELETE FROM pm.log_signal WHERE log_file_id = 1001")
    conn.execute("INSERT INTO pm.log_signal VALUES (1000, 'ET1', 'EngCoolantTemp', 9, 5, '2026-03-01Z', '2026-03-02Z')")
    conn.execute("INSERT INTO pm.log_signal VALUES (1001, 'ET1', 'EngCoolantTemp', 1, 1, '2026-02-01Z', '2026-02-02Z')")
    forget_vehicle(conn, settings, filled["T-1"])
    found = conn.execute("SELECT log_file_id, message, n_rows, n_values FROM pm.log_signal ORDER BY message").fetchall()
    assert found == [(1001, "ET1", 10, 6), (1001, "x", 1, 1)]


def test_the_inbox_list_loses_its_lines_and_files_in_other_folders(conn, settings, filled):
    elsewhere = settings.inbox / "logs" / "depot" / "b.log"
    elsewhere.parent.mkdir()
    elsewhere.write_text("T-1's")
    lines = [
        "file,vehicle_ref,uploaded_at",
        "logs/depot/b.log,T-1,2026-03-02T00:00:00Z",
        "logs/T-10/a.log,T-10,2026-03-02T00:00:00Z",
    ]
    (settings.inbox / "uploads.csv").write_text("\n".join(lines) + "\n")
    assert forget_vehicle(conn, settings, filled["T-1"]).n_inbox_files == 2
    assert not elsewhere.exists()
    assert (settings.inbox / "uploads.csv").read_text() == f"{lines[0]}\n{lines[2]}\n"


@pytest.mark.parametrize("ref", ["..", "../../kept", "."])
def test_a_unit_number_cannot_lead_out_of_the_inbox(conn, settings, ref, tmp_path):
    kept = [settings.inbox / "kept.log", settings.inbox / "logs" / "T-9" / "kept.log", settings.home / "kept" / "k.log"]
    for path in kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("kept")
    vehicle_id = vehicles.add_vehicle(conn, fleet="north", vehicle_ref=ref, known_at=KNOWN_AT)
    assert forget_vehicle(conn, settings, vehicle_id).n_inbox_files == 0
    assert [path.read_text() for path in kept] == ["kept"] * 3


def test_of_two_fleets_with_one_unit_number_the_inbox_stays(conn, settings, filled):
    vehicles.add_vehicle(conn, fleet="south", vehicle_ref="T-1", known_at=KNOWN_AT)
    report = forget_vehicle(conn, settings, filled["T-1"])
    assert (report.is_inbox_kept, report.n_inbox_files) == (True, 0)
    assert (settings.inbox / "logs" / "T-1" / "a.log").exists()
    assert vehicles.vehicle_id(conn, "T-1") != filled["T-1"]


def test_an_unknown_vehicle_is_an_error(conn, settings, filled):
    before = table_checksums(conn)
    with pytest.raises(DataError, match="vehicle 1: expected a known vehicle"):
        forget_vehicle(conn, settings, 1)
    assert table_checksums(conn) == before


@pytest.fixture
def command(settings, monkeypatch):
    monkeypatch.setenv("PM_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("PM_HOME", str(settings.home))
    return lambda *arguments, **more: CliRunner().invoke(group, ["vehicle", "forget", *arguments], **more)


def test_the_command_asks_and_no_means_nothing(conn, filled, command):
    before = table_checksums(conn)
    asked = command("T-1", input="n\n")
    assert asked.exit_code == 1
    assert "rows in" in asked.stderr
    assert table_checksums(conn) == before


def test_the_command_with_yes_prints_one_json_document(conn, filled, command):
    done = command("T-1", "--yes", "--json")
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert document["is_dry_run"] is False
    assert document["n_rows"]["pm.vehicle_identity"] == 1
    assert "VIN-T-1" not in done.output
    assert places_of(conn, filled["T-1"], T_1) == []


def test_the_dry_run_of_the_command_shows_each_table(conn, filled, command):
    before = table_checksums(conn)
    shown = command("T-1", "--dry-run")
    assert shown.exit_code == 0
    assert "telemetry.et1" in shown.stdout
    assert table_checksums(conn) == before
