"""Two databases with the same rows have the same checksums, whatever came first and wherever they stand."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import psycopg
import pytest

from pm.canbus.dbc import load_dbc
from pm.pipelines.ingest import IngestJob, ingest_log
from pm.policy import Policy
from pm.store import vehicles
from pm.store.catalog import stored_tables
from pm.store.checksums import _NOT_CONTENT, TableChecksum, combined, content_checksum, differences, table_checksums
from pm.store.connection import connect
from pm.store.telemetry_tables import ensure_table

PROJECT = Path(__file__).resolve().parents[2]
DBC = load_dbc((PROJECT / "dbc" / "j1939_open_subset.dbc",))
KNOWN_AT = datetime(2026, 3, 10, tzinfo=UTC)
NOON = int(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp())

_databases = count(1)


def of(conn: psycopg.Connection, name: str) -> TableChecksum:
    return next(one for one in table_checksums(conn) if f"{one.schema}.{one.table}" == name)


def log(folder: Path, name: str, *lines: str) -> Path:
    path = folder / name
    path.write_text("".join(lines), encoding="ascii")
    return path


def coolant(seconds: int, temperature_c: int) -> str:
    return f"({seconds}.000000) can0 18FEEE00#{temperature_c + 40:02X}FFFFFFFFFFFFFF\n"


def red_lamp(seconds: int) -> str:
    return f"({seconds}.500000) can0 18FECA00#10FF6E000001FFFF\n"


@pytest.fixture
def table(conn: psycopg.Connection) -> psycopg.Connection:
    conn.execute("CREATE TABLE telemetry.t (k integer, r real, d double precision, s text, at timestamptz, b bytea)")
    return conn


def test_every_table_is_there_once_by_schema_and_name(conn):
    query = "SELECT schemaname::text, tablename::text FROM pg_tables WHERE schemaname IN ('pm', 'telemetry')"
    names = [(one.schema, one.table) for one in table_checksums(conn)]
    assert names == sorted(conn.execute(query).fetchall())
    assert len(names) > 20


def test_a_view_is_no_table(conn):
    conn.execute("CREATE VIEW telemetry.v AS SELECT 1 AS one")
    assert "v" not in {one.table for one in table_checksums(conn)}


def test_the_physical_order_of_columns_and_a_dropped_one_are_nothing(table):
    table.execute("CREATE TABLE pm.t (gone text, s text, b bytea, at timestamptz, d double precision, k integer)")
    table.execute("ALTER TABLE pm.t ADD COLUMN r real")
    table.execute("ALTER TABLE pm.t DROP COLUMN gone")
    row = "1, 0.1, 0.1, 'x', '2026-03-02 12:00Z', '\\x00ff'"
    table.execute(f"INSERT INTO telemetry.t (k, r, d, s, at, b) VALUES ({row})")  # noqa: S608
    table.execute(f"INSERT INTO pm.t (k, r, d, s, at, b) VALUES ({row})")  # noqa: S608
    one, other = of(table, "telemetry.t"), of(table, "pm.t")
    assert (one.n_rows, one.checksum) == (other.n_rows, other.checksum)


def test_a_column_of_another_name_is_another_table(table):
    table.execute("INSERT INTO telemetry.t (k) VALUES (1)")
    before = of(table, "telemetry.t")
    table.execute("ALTER TABLE telemetry.t RENAME COLUMN s TO s2")
    assert of(table, "telemetry.t") != before


@pytest.mark.parametrize(
    "setting",
    [
        "DateStyle = 'German'",
        "TimeZone = 'Asia/Kathmandu'",
        "extra_float_digits = -10",
        "bytea_output = 'escape'",
        "IntervalStyle = 'iso_8601'",
    ],
)
def test_what_the_session_is_set_to_is_nothing(table, setting):
    values = "(1, 0.1, pi(), 'x', '2026-03-02 12:34:56.789Z', '\\x5cff')"
    table.execute(f"INSERT INTO telemetry.t VALUES {values}")  # noqa: S608
    before = table_checksums(table)
    table.execute(f"SET {setting}")
    assert table_checksums(table) == before


def test_both_engines_and_hypertables_give_the_same_known_checksum(table):
    """A fixed number: the same on plain PostgreSQL 18 and TimescaleDB on PostgreSQL 17."""
    table.execute("CREATE TABLE telemetry.h (k integer, time timestamptz NOT NULL, r real, s text)")
    table.execute("SELECT pm.make_hypertable('telemetry.h', 'time', interval '1 day')")
    table.execute(
        "INSERT INTO telemetry.h SELECT n, '2026-01-01Z'::timestamptz + n * interval '7 hours', n / 7.0, 'ü' || n"
        " FROM generate_series(1, 50) n"
    )
    assert of(table, "telemetry.h") == TableChecksum("telemetry", "h", 50, "e8ef676b4468ee14")


def test_all_tables_are_of_one_instant(table, database_url):
    """Rows written between two tables of one reading are in neither."""
    before = table_checksums(table)
    with connect(database_url) as other:

        def write_behind_the_first(items, description, total):
            for number, item in enumerate(items):
                yield item
                if number == 0:
                    other.execute("INSERT INTO telemetry.t (k) VALUES (1)")

        assert table_checksums(table, track=write_behind_the_first) == before
    assert of(table, "telemetry.t").n_rows == 1


def test_a_table_cannot_be_rewritten_while_it_is_read(table, database_url):
    """Rows of a table that was rewritten are gone from an older snapshot: the lock keeps that from happening."""
    table.execute("INSERT INTO telemetry.t (k, r) VALUES (1, 0.5)")
    with connect(database_url) as other:
        refused = []

        def rewrite_behind_the_first(items, description, total):
            for number, item in enumerate(items):
                yield item
                if number == 0:
                    other.execute("SET lock_timeout = '50ms'")
                    try:
                        other.execute("ALTER TABLE telemetry.t ALTER COLUMN r TYPE double precision")
                    except psycopg.errors.LockNotAvailable:
                        refused.append(True)

        found = table_checksums(table, track=rewrite_behind_the_first)
    assert refused == [True]
    assert next(one.n_rows for one in found if one.table == "t") == 1


@contextmanager
def another_database(running_server) -> Iterator[psycopg.Connection]:
    name = f"checksums_{next(_databases)}"
    url = running_server.admin_url.rsplit("/", 1)[0] + f"/{name}"
    with connect(running_server.admin_url) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template_pm")
    try:
        with connect(url) as conn:
            yield conn
    finally:
        with connect(running_server.admin_url) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def fleet(conn: psycopg.Connection, files: list[tuple[Path, str]]) -> None:
    """The files, each (path, unit number), ingested in that order."""
    ids = {}
    for _, ref in files:
        if ref not in ids:
            ids[ref] = vehicles.add_vehicle(conn, fleet="north", vehicle_ref=ref, known_at=KNOWN_AT, vin=f"VIN-{ref}")
    for path, ref in files:
        ingest_log(conn, IngestJob(path, ids[ref], KNOWN_AT), DBC, Policy())


def test_the_same_files_in_another_order_have_the_same_content_and_other_rows(conn, running_server, tmp_path):
    files = [
        (log(tmp_path, "a.log", coolant(NOON, 88), red_lamp(NOON + 1)), "T-1"),
        (log(tmp_path, "b.log", coolant(NOON + 60, 89)), "T-1"),
        (log(tmp_path, "c.log", coolant(NOON, 70)), "T-2"),
    ]
    fleet(conn, files)
    with another_database(running_server) as other:
        fleet(other, files[::-1])
        assert differences(table_checksums(conn, form="content"), table_checksums(other, form="content")) == ()
        assert content_checksum(conn) == content_checksum(other)
        different = {told.split(":")[0] for told in differences(table_checksums(conn), table_checksums(other))}
        assert {"table pm.vehicle", "table pm.log_file", "table telemetry.et1", "table pm.fault"} <= different


def test_a_row_of_another_file_is_another_content(conn, running_server, tmp_path):
    a = log(tmp_path, "a.log", coolant(NOON, 88), coolant(NOON + 1, 88))
    b = log(tmp_path, "b.log", coolant(NOON + 1, 88))
    fleet(conn, [(a, "T-1"), (b, "T-1")])
    before = content_checksum(conn)
    conn.execute(
        "UPDATE telemetry.et1 SET log_file_id = (SELECT log_file_id FROM pm.log_file WHERE file_name = 'b.log')"
        " WHERE extract(epoch FROM time) = %s",
        (NOON + 1,),
    )
    assert content_checksum(conn) != before


def test_a_number_that_stands_for_nothing_is_seen(conn, tmp_path):
    fleet(conn, [(log(tmp_path, "a.log", coolant(NOON, 88)), "T-1")])
    before = content_checksum(conn)
    conn.execute("UPDATE telemetry.et1 SET log_file_id = 999999")
    assert content_checksum(conn) != before


def test_a_table_that_a_failed_file_left_empty_is_no_content(conn, tmp_path):
    fleet(conn, [(log(tmp_path, "a.log", coolant(NOON, 88)), "T-1")])
    before, rows_before = content_checksum(conn), table_checksums(conn)
    ensure_table(conn, next(message for message in DBC.messages if message.name == "EEC1"))
    assert content_checksum(conn) == before
    assert table_checksums(conn) != rows_before


def test_the_clock_is_no_content(conn, tmp_path):
    fleet(conn, [(log(tmp_path, "a.log", coolant(NOON, 88)), "T-1")])
    before = content_checksum(conn)
    conn.execute("UPDATE pm.log_file SET ingested_at = ingested_at + interval '1 day', log_file_id = log_file_id")
    conn.execute("UPDATE pm.dirty_day SET marked_at = marked_at + interval '1 day'")
    assert content_checksum(conn) == before
    conn.execute("UPDATE pm.log_file SET known_at = known_at + interval '1 day'")
    assert content_checksum(conn) != before


def test_columns_left_out_of_the_content_exist(conn):
    """A renamed column would silently become content."""
    columns = {str(table): table.column_names for table in stored_tables(conn)}
    assert {name: left_out - columns[name] for name, left_out in _NOT_CONTENT.items()} == dict.fromkeys(
        _NOT_CONTENT, frozenset()
    )


def test_differences_names_the_table_and_both_sides():
    one, other = TableChecksum("pm", "fault", 2, "a" * 16), TableChecksum("pm", "fault", 3, "b" * 16)
    alone = TableChecksum("pm", "event", 0, "0" * 16)
    assert differences([one], [one]) == ()
    assert differences([one, alone], [other]) == (
        "table pm.event: expected 0 rows with checksum 0000000000000000, but got no such table",
        "table pm.fault: expected 2 rows with checksum aaaaaaaaaaaaaaaa, but got 3 rows with checksum bbbbbbbbbbbbbbbb",
    )
    assert combined([one, alone]) == combined([alone, one]) != combined([other, alone])
