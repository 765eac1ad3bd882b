"""What is dumped comes back the same, on either engine; what cannot leaves the target as it was."""

import json
import shutil
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner
from dump_files import changed, entries_of, packed, table_in, written
from filled_database import fill

from pm.cli import db_backup
from pm.errors import ConfigError, DataError, StoreError
from pm.pipelines.drill import drill_backup
from pm.pipelines.dump import dump_database
from pm.pipelines.restore import restore_database
from pm.policy import Policy
from pm.store import archive
from pm.store.checksums import TableChecksum, combined, table_checksums
from pm.store.connection import connect, migrate_database
from pm.store.migrate import applied_migrations

AT = datetime(2026, 4, 1, tzinfo=UTC)


def dump(conn: psycopg.Connection, path: Path, **more) -> Path:
    dump_database(conn, path, created_at=AT, policy=Policy(), **more)
    return path


def databases(url: str) -> set[str]:
    with connect(url) as conn:
        return {str(row[0]) for row in conn.execute("SELECT datname FROM pg_database")}


def database_named(url: str, name: str) -> str:
    return url.rsplit("/", 1)[0] + f"/{name}"


@pytest.fixture
def filled(conn):
    """Rows in every table that can hold a vehicle's; values that are hard to carry."""
    fill_all(conn)
    return conn


def fill_all(conn):
    fill(conn, "T-1", "T-2")
    conn.execute(
        "INSERT INTO telemetry.et1 (vehicle_id, source_address, destination_address, channel, time, log_file_id,"
        " engcoolanttemp) SELECT 1, 0, -1, 'ü\n\t\"', '2026-01-01Z'::timestamptz + n * interval '1 day', 7, v"
        " FROM unnest(ARRAY['NaN', '-0', 'Infinity', '-Infinity', NULL, '1e-45']::real[]) WITH ORDINALITY AS u (v, n)"
    )
    conn.execute(
        'INSERT INTO pm.log_file SELECT (jsonb_populate_record(f, \'{"log_file_id": 77, "part": 3}\')).*'
        " FROM pm.log_file AS f LIMIT 1"
    )
    conn.execute("SELECT setval(pg_get_serial_sequence('pm.log_file', 'log_file_id'), 2000)")


@pytest.fixture
def other_server(running_server, request):
    """The other engine."""
    other = {"postgres": "timescaledb_server", "timescaledb": "postgres_server"}[running_server.engine]
    return request.getfixturevalue(other)


@pytest.fixture
def target(running_server):
    """A name for a new database beside the test's own; it is dropped."""
    yield "restored"
    with connect(running_server.admin_url) as admin:
        admin.execute("DROP DATABASE IF EXISTS restored WITH (FORCE)")


def test_what_is_dumped_comes_back_the_same_on_the_other_engine(filled, settings, other_server, tmp_path):
    path = dump(filled, tmp_path / "a.pmdump")
    try:
        report = restore_database(settings, other_server.admin_url, path, into="crossed")
        with connect(database_named(other_server.admin_url, "crossed")) as there:
            assert table_checksums(there) == table_checksums(filled)
            assert there.execute("SELECT nextval(pg_get_serial_sequence('pm.log_file', 'log_file_id'))").fetchone() == (
                2001,
            )
            is_hypertable = there.execute(
                "SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
                " WHERE n.nspname = '_timescaledb_internal' AND relname LIKE '_hyper%chunk' AND relkind = 'r'"
            ).fetchone()[0]
            assert bool(is_hypertable) == (other_server.engine == "timescaledb")
            comment = (
                "SELECT col_description(attrelid, attnum) FROM pg_attribute"
                " WHERE attname = %s AND attrelid = 'telemetry.et1'::regclass"
            )
            assert "degC" in there.execute(comment, ("engcoolanttemp",)).fetchone()[0]
            again = dump(there, tmp_path / "b.pmdump")
        back = restore_database(settings, settings.database_url, again, into="crossed_back")
        with connect(database_named(settings.database_url, "crossed_back")) as here:
            assert table_checksums(here) == table_checksums(filled)
        assert back.n_rows == report.n_rows
    finally:
        for url, name in ((other_server.admin_url, "crossed"), (settings.database_url, "crossed_back")):
            with connect(url) as admin:
                admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def test_restoring_into_the_empty_database_itself(filled, settings, empty_database_url, tmp_path):
    path = dump(filled, tmp_path / "a.pmdump")
    with connect(empty_database_url) as there:
        restore_database(settings, empty_database_url, path)
        assert table_checksums(there) == table_checksums(filled)
        with pytest.raises(StoreError, match="expected an empty database to restore into, but got rows in pm"):
            restore_database(settings, empty_database_url, path)
        assert table_checksums(there) == table_checksums(filled)


def test_a_migrated_database_without_rows_is_empty(filled, settings, empty_database_url, tmp_path):
    path = dump(filled, tmp_path / "a.pmdump")
    migrate_database(settings, empty_database_url)
    assert restore_database(settings, empty_database_url, path).migrated == ()
    with connect(empty_database_url) as there:
        assert table_checksums(there) == table_checksums(filled)


def test_an_older_dump_is_restored_at_its_migrations_and_then_migrated(empty_database_url, settings, target, tmp_path):
    """Migration 7 changed what rows mean: those of a dump from before it have to go through it."""
    project = tmp_path / "old"
    (project / "sql" / "migrations").mkdir(parents=True)
    files = sorted((settings.project / "sql" / "migrations").glob("*.sql"))
    for file in files[:6]:
        shutil.copy(file, project / "sql" / "migrations")
    migrate_database(replace(settings, project=project), empty_database_url)
    with connect(empty_database_url) as old:
        old.execute(
            "INSERT INTO pm.fault VALUES (1, '2026-01-01Z', 'can0', 0, 100, 1, 1, 0, 0, 0, 0, 0, 9),"
            " (1, '2026-01-02Z', 'can0', 0, 100, 1, 1, 1, 0, 0, 0, 0, 9)"
        )
        path = dump(old, tmp_path / "old.pmdump")
    report = restore_database(settings, settings.database_url, path, into=target)
    assert report.migrated == tuple(file.name for file in files[6:])
    with connect(database_named(settings.database_url, target)) as there:
        found = there.execute("SELECT dm, conversion_method FROM pm.fault ORDER BY time").fetchall()
    assert found == [(1, 4), (1, 3)]


def test_a_dump_of_newer_software_is_refused(filled, settings, target, tmp_path):
    path = dump(filled, tmp_path / "a.pmdump")
    project = tmp_path / "older"
    (project / "sql" / "migrations").mkdir(parents=True)
    files = sorted((settings.project / "sql" / "migrations").glob("*.sql"))
    for file in files[:-1]:
        shutil.copy(file, project / "sql" / "migrations")
    with pytest.raises(DataError, match=f"{files[-1].name}.*newer software"):
        restore_database(replace(settings, project=project), settings.database_url, path, into=target)
    assert target not in databases(settings.database_url)


def test_the_dump_is_of_one_instant(filled, database_url, settings, target, tmp_path):
    before = table_checksums(filled)
    with connect(database_url) as other:

        def write_meanwhile(items, description, total):
            for number, item in enumerate(items):
                if number == 1:
                    other.execute("UPDATE pm.work_order SET description = description || '!'")
                    other.execute("DELETE FROM pm.dirty_day")
                yield item

        path = dump(filled, tmp_path / "a.pmdump", track=write_meanwhile)
    assert table_checksums(filled) != before
    restore_database(settings, settings.database_url, path, into=target)
    with connect(database_named(settings.database_url, target)) as there:
        assert table_checksums(there) == before


def test_a_dump_that_fails_leaves_no_file(filled, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()

    def fail(items, description, total):
        for number, item in enumerate(items):
            if description.startswith("dump") and number == 3:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        dump(filled, folder / "a.pmdump", track=fail)
    assert list(folder.iterdir()) == []
    assert filled.execute("SELECT 1").fetchone() == (1,)


# Damaged and foreign files; what the file alone tells is in tests/unit/test_store_dump_file.py.


@pytest.fixture(scope="module")
def dumped(postgres_server, tmp_path_factory):
    """A good dump of a database like `filled`."""
    url = database_named(postgres_server.admin_url, "backup_source")
    with connect(postgres_server.admin_url) as admin:
        admin.execute("CREATE DATABASE backup_source TEMPLATE template_pm")
    with connect(url) as conn:
        fill_all(conn)
        path = dump(conn, tmp_path_factory.mktemp("dumped") / "good.pmdump")
    with connect(postgres_server.admin_url) as admin:
        admin.execute("DROP DATABASE backup_source WITH (FORCE)")
    return path


@pytest.fixture
def copied(dumped, tmp_path):
    """The good dump, in this test's own folder."""
    return Path(shutil.copy(dumped, tmp_path))


def refused(settings, conn, path: Path) -> str:
    """What is said of `path`; the empty database is as before."""
    before, migrations = table_checksums(conn), applied_migrations(conn)
    with pytest.raises(DataError) as caught:
        restore_database(settings, settings.database_url, path)
    assert table_checksums(conn) == before
    assert applied_migrations(conn) == migrations
    assert path.name in str(caught.value)
    return str(caught.value)


def test_a_damaged_file_is_refused_before_the_database_is_touched(settings, conn, copied):
    bad, whole = copied.with_name("bad.pmdump"), copied.read_bytes()
    bad.write_bytes(whole[:-20])
    assert "cut off" in refused(settings, conn, bad)
    with zipfile.ZipFile(copied) as good:
        # Behind the entry's header, which has 30 bytes, the name and 20 bytes of sizes.
        at = good.getinfo("pm.work_order.copy.zst").header_offset + 30 + len("pm.work_order.copy.zst") + 20 + 12
    bad.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    conn.execute("CREATE TABLE telemetry.untouched ()")
    assert "table pm.work_order" in refused(settings, conn, bad)
    assert conn.execute("SELECT to_regclass('telemetry.untouched') IS NOT NULL").fetchone() == (True,)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: table_in(m, "et1")["columns"][0].update(type="text"), "expected the columns"),
        (lambda m: table_in(m, "et1")["columns"][-1].update(type="regclass"), "signals of the types"),
        (lambda m: table_in(m, "vehicle")["columns"][0].update(type="bigint"), "the columns that its migrations make"),
        (lambda m: table_in(m, "vehicle").update(checksum="0" * 16), "2 rows with checksum 0000000000000000, but got"),
        (lambda m: table_in(m, "fault").update(n_rows=99), "expected 99 rows"),
        (lambda m: m["sequences"][0].update(table="vehicle"), "a sequence of the database, but got pm.vehicle"),
        (lambda m: m["migrations"][-1].update(sha256="0" * 64), "migrations that this software has"),
        (lambda m: m["migrations"].pop(3), "expected the migrations"),
        (lambda m: m.update(migrations=[]), "expected the migrations"),
    ],
)
def test_a_manifest_that_the_database_does_not_bear_out_is_refused(settings, conn, copied, change, said):
    assert said in refused(settings, conn, changed(copied, change))


def test_a_table_that_no_migration_makes_is_refused(settings, conn, copied):
    entries = entries_of(copied)
    manifest = json.loads(entries["manifest.json"])
    manifest["tables"].append({**table_in(manifest, "vehicle"), "name": "intruder"})
    entries |= {"manifest.json": json.dumps(manifest).encode(), "pm.intruder.copy.zst": entries["pm.vehicle.copy.zst"]}
    bad = written(copied.with_name("bad.pmdump"), entries)
    assert "table pm.intruder: expected the columns that its migrations make" in refused(settings, conn, bad)


def test_rows_that_the_database_does_not_take_are_refused(settings, conn, copied):
    """The right number of bytes and a right CRC, but no COPY."""
    entries = entries_of(copied)
    n_bytes = table_in(json.loads(entries["manifest.json"]), "vehicle")["n_bytes"]
    entries["pm.vehicle.copy.zst"] = packed(b"\xaa" * n_bytes)
    assert "table pm.vehicle" in refused(settings, conn, written(copied.with_name("bad.pmdump"), entries))


def test_a_new_database_is_dropped_again(settings, copied):
    there = databases(settings.database_url)
    bad = changed(copied, lambda m: table_in(m, "fault").update(n_rows=99))
    with pytest.raises(DataError, match="expected 99 rows"):
        restore_database(settings, settings.database_url, bad, into="refused")
    assert databases(settings.database_url) == there


def stop_in_the_middle(items, description, total):
    for number, item in enumerate(items):
        if description.startswith("restore") and number == 20:
            raise KeyboardInterrupt
        yield item


def test_a_restore_that_was_killed_is_told_and_can_be_begun_again(settings, conn, copied, monkeypatch):
    """As kill -9 leaves it: nothing is taken back."""
    url = settings.database_url
    with monkeypatch.context() as patched:
        patched.setattr("pm.store.dump_restore._take_back", lambda *_: None)
        with pytest.raises(KeyboardInterrupt):
            restore_database(settings, url, copied, track=stop_in_the_middle)
    with pytest.raises(ConfigError, match="restore_not_finished_run_pm_db_restore_again"):
        migrate_database(settings, url)
    restore_database(settings, url, copied)
    assert combined(table_checksums(conn)) == json_checksum(copied, conn)
    migrate_database(settings, url)


def json_checksum(path: Path, conn: psycopg.Connection) -> str:
    """Of the tables as the manifest says they were, and of the journal of `conn`."""
    journal = [one for one in table_checksums(conn) if one.table == "schema_migration"]
    tables = json.loads(entries_of(path)["manifest.json"])["tables"]
    said = [TableChecksum(one["schema"], one["name"], one["n_rows"], one["checksum"]) for one in tables]
    return combined([*said, *journal])


def test_an_interrupted_restore_leaves_an_empty_database(settings, conn, copied):
    before = table_checksums(conn)
    with pytest.raises(KeyboardInterrupt):
        restore_database(settings, settings.database_url, copied, track=stop_in_the_middle)
    assert table_checksums(conn) == before


def test_a_new_database_is_not_one_that_is_there(settings, copied):
    there = databases(settings.database_url)
    name = settings.database_url.rsplit("/", 1)[1]
    with pytest.raises(StoreError, match=f"database {name}: expected to create it, but got: .*already exists"):
        restore_database(settings, settings.database_url, copied, into=name)
    assert databases(settings.database_url) == there


def test_missing_files_are_named(filled, settings, target, tmp_path):
    path = dump(filled, tmp_path / "a.pmdump")
    report = restore_database(settings, settings.database_url, path, into=target, check_files=True)
    assert report.missing is not None
    assert (report.missing.n_raw, len(report.missing.raw)) == (2, 2)
    assert not archive.has(settings.archive, report.missing.raw[0])


def test_the_drill_leaves_nothing_behind(filled, settings):
    there, before = databases(settings.database_url), table_checksums(filled)
    report = drill_backup(settings, settings.database_url, at=AT, policy=Policy())
    assert (
        report.restore.n_rows
        == report.dump.n_rows
        == sum(one.n_rows for one in before) - len(applied_migrations(filled))
    )
    assert databases(settings.database_url) == there
    assert not report.dump.path.exists()
    assert table_checksums(filled) == before


@pytest.fixture
def command(settings, monkeypatch):
    monkeypatch.setenv("PM_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("PM_HOME", str(settings.home))

    def run(name, *arguments):
        return CliRunner().invoke(getattr(db_backup, name), list(map(str, arguments)))

    return run


def test_the_commands_print_one_json_document_each(filled, command, target, tmp_path):
    path = tmp_path / "a.pmdump"
    dumped = json.loads(command("dump", path, "--json").stdout)
    restored = json.loads(command("restore", path, "--into", target, "--json").stdout)
    assert dumped["n_rows"] == restored["n_rows"] > 20
    exact = json.loads(command("checksum", "--json").stdout)
    content = json.loads(command("checksum", "--content", "--json").stdout)
    assert exact["checksum"] != content["checksum"]
    assert [one["n_rows"] for one in exact["tables"] if one["table"] == "vehicle"] == [2]
    assert json.loads(command("drill", "--json").stdout)["restore"]["n_rows"] == dumped["n_rows"]


def test_the_commands_say_that_the_file_holds_vins_and_what_was_restored(filled, command, target, tmp_path):
    path = tmp_path / "a.pmdump"
    assert "it holds VINs" in command("dump", path).stdout
    said = command("restore", path, "--into", target, "--check-files").stdout
    assert "every checksum is that of the dump" in said
    assert "raw files: 2 of 2 missing" in said
    assert "VIN-T-1" not in said
