import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from pm.errors import ConfigError, StoreError
from pm.store.connection import connect, ensure_database, inspect_database, migrate_database
from pm.store.migrate import _LOCK, migrate
from pm.store.server_session import enable_timescaledb, with_database

PROJECT_MIGRATIONS = Path(__file__).resolve().parents[2] / "sql" / "migrations"


def write(folder: Path, *texts: str) -> Path:
    for number, text in enumerate(texts, start=1):
        (folder / f"{number:04d}_do_step{number}.sql").write_text(text, encoding="utf-8")
    return folder


def password_of(url: str) -> str:
    return url.split("@", maxsplit=1)[0].rsplit(":", 1)[1]


def rows(conn: psycopg.Connection, query: str) -> Sequence[tuple[object, ...]]:
    return conn.execute(query.encode()).fetchall()


def test_the_template_has_every_migration_and_a_second_run_does_nothing(
    conn: psycopg.Connection, database_url: str
) -> None:
    names = tuple(sorted(file.name for file in PROJECT_MIGRATIONS.glob("*.sql")))
    assert inspect_database(database_url).migrations == names
    assert migrate(conn, PROJECT_MIGRATIONS) == ()


def test_each_file_is_applied_once_in_order(empty_database_url: str, tmp_path: Path) -> None:
    write(tmp_path, "CREATE TABLE t (x int); INSERT INTO t VALUES (7 % 4);", "UPDATE t SET x = x * 10")
    with connect(empty_database_url) as conn:
        assert migrate(conn, tmp_path) == ("0001_do_step1.sql", "0002_do_step2.sql")
        assert migrate(conn, tmp_path) == ()
        assert rows(conn, "SELECT x FROM t") == [(30,)]
        assert rows(conn, "SELECT version, name FROM pm.schema_migration ORDER BY version") == [
            (1, "0001_do_step1.sql"),
            (2, "0002_do_step2.sql"),
        ]


def test_an_edited_migration_is_an_error_and_nothing_is_applied(empty_database_url: str, tmp_path: Path) -> None:
    with connect(empty_database_url) as conn:
        migrate(conn, write(tmp_path, "SELECT 1"))
        write(tmp_path, "SELECT 2", "CREATE TABLE t ()")
        with pytest.raises(ConfigError, match=r"0001_do_step1\.sql"):
            migrate(conn, tmp_path)
        assert rows(conn, "SELECT to_regclass('t')") == [(None,)]


def test_a_failing_file_is_rolled_back_whole_and_named_with_its_line(empty_database_url: str, tmp_path: Path) -> None:
    write(tmp_path, "CREATE TABLE good ()", "CREATE TABLE half ();\nCREATE TABLE good ();", "CREATE TABLE later ()")
    with connect(empty_database_url) as conn:
        with pytest.raises(StoreError, match=r"0002_do_step2\.sql.*already exists"):
            migrate(conn, tmp_path)
        assert rows(conn, "SELECT to_regclass('good') IS NULL, to_regclass('half'), to_regclass('later')") == [
            (False, None, None)
        ]
        assert rows(conn, "SELECT version FROM pm.schema_migration") == [(1,)]
        (tmp_path / "0002_do_step2.sql").write_text("SELECT\n  nothing", encoding="utf-8")
        with pytest.raises(StoreError, match=r"0002_do_step2\.sql.*\(line 2\)"):
            migrate(conn, tmp_path)
        (tmp_path / "0002_do_step2.sql").write_text("SELECT 1", encoding="utf-8")
        assert migrate(conn, tmp_path) == ("0002_do_step2.sql", "0003_do_step3.sql")


def test_concurrent_migrators_apply_each_file_once(empty_database_url: str, tmp_path: Path) -> None:
    # Each file fails when run twice, and takes long enough for the others to come in between.
    write(tmp_path, *(f"CREATE TABLE t{n} (); SELECT pg_sleep(0.05)" for n in range(4)))
    gate = threading.Barrier(4)

    def run(_: int) -> tuple[str, ...]:
        with connect(empty_database_url) as conn:
            gate.wait(timeout=10)
            return migrate(conn, tmp_path)

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(run, range(4)))
    assert sorted(len(names) for names in done) == [0, 0, 0, 4]


def test_a_migrator_that_waits_too_long_says_so(empty_database_url: str, tmp_path: Path) -> None:
    write(tmp_path, "SELECT 1")
    with connect(empty_database_url) as holder, connect(empty_database_url) as conn:
        holder.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        with pytest.raises(StoreError, match="another process still migrating"):
            migrate(conn, tmp_path, wait_s=0.1)


def test_migrating_inside_a_transaction_is_refused(conn: psycopg.Connection) -> None:
    with conn.transaction(), pytest.raises(StoreError, match="outside a transaction"):
        migrate(conn, PROJECT_MIGRATIONS)


@pytest.mark.parametrize("n_rows", [0, 3])
def test_make_hypertable_says_whether_there_is_one(
    conn: psycopg.Connection, request: pytest.FixtureRequest, n_rows: int
) -> None:
    expected = "timescaledb" in request.node.name
    conn.execute('CREATE TABLE telemetry."EEC1" ("at" timestamptz NOT NULL, x real, PRIMARY KEY ("at"))')
    conn.execute(
        """INSERT INTO telemetry."EEC1" SELECT '2026-01-01Z'::timestamptz + n * interval '8 days', n
           FROM generate_series(1, %s) n""",
        (n_rows,),
    )
    for _ in range(2):
        made = conn.execute("""SELECT pm.make_hypertable('telemetry."EEC1"', 'at', interval '7 days')""").fetchone()
        assert made == (expected,)
    assert conn.execute('SELECT count(*) FROM telemetry."EEC1"').fetchone() == (n_rows,)
    if expected:
        found = conn.execute(
            "SELECT d.time_interval = interval '7 days', h.num_chunks FROM timescaledb_information.hypertables h"
            " JOIN timescaledb_information.dimensions d USING (hypertable_schema, hypertable_name)"
            " WHERE h.hypertable_schema = 'telemetry' AND h.hypertable_name = 'EEC1'"
        ).fetchone()
        assert found == (True, n_rows)


def test_make_hypertable_is_false_on_a_timescaledb_server_without_the_extension(
    empty_database_url: str,
) -> None:
    with connect(empty_database_url) as conn:
        conn.execute((PROJECT_MIGRATIONS / "0001_create_schemas.sql").read_bytes())
        conn.execute("CREATE TABLE t (time timestamptz NOT NULL)")
        assert rows(conn, "SELECT pm.make_hypertable('t', 'time', interval '1 day')") == [(False,)]


def test_a_connection_is_in_utc_and_named(conn: psycopg.Connection) -> None:
    assert rows(conn, "SELECT current_setting('TimeZone'), current_setting('application_name')") == [("UTC", "pm")]
    assert conn.autocommit


def test_a_missing_database_is_a_store_error_without_the_password(database_url: str) -> None:
    password = password_of(database_url)
    with pytest.raises(StoreError, match='database "nowhere" does not exist') as caught:
        connect(with_database(database_url, "nowhere"))
    assert password not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_wrong_password_is_a_store_error_without_the_password(database_url: str) -> None:
    password = password_of(database_url)
    with pytest.raises(StoreError, match="authentication failed") as caught:
        connect(database_url.replace(password, "geheim"))
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("url", ["mysql://a:geheim@h/d", "postgresql://a:geheim@h:port/d", "nonsense geheim"])
def test_an_address_that_cannot_be_read_is_an_error_without_the_password(url: str) -> None:
    with pytest.raises((ConfigError, StoreError)) as caught:
        connect(url)
    assert "geheim" not in str(caught.value)


def test_ensure_database_creates_once(database_url: str) -> None:
    with ThreadPoolExecutor(3) as pool:
        urls = set(pool.map(ensure_database, [database_url] * 3, ["dagster-store"] * 3))
    assert urls == {with_database(database_url, "dagster-store")}
    with connect(urls.pop()) as conn:
        assert rows(conn, "SELECT current_database()") == [("dagster-store",)]
    with connect(database_url) as conn:
        conn.execute('DROP DATABASE "dagster-store"')


@pytest.fixture
def modest_url(empty_database_url: str) -> Iterator[str]:
    """An empty database as a role sees it that may log in and nothing else."""
    password = password_of(empty_database_url)
    with connect(empty_database_url) as conn:
        conn.execute(sql.SQL("CREATE ROLE modest LOGIN PASSWORD {}").format(sql.Literal(password)))
    yield empty_database_url.replace("//pm:", "//modest:")
    with connect(empty_database_url) as conn:
        conn.execute("REASSIGN OWNED BY modest TO pm; DROP OWNED BY modest; DROP ROLE modest")


def test_who_may_not_create_the_extension_goes_without(modest_url: str) -> None:
    assert enable_timescaledb(modest_url) is False


def test_an_owner_who_is_no_superuser_can_migrate(
    modest_url: str, empty_database_url: str, running_server: Any
) -> None:
    with connect(empty_database_url) as conn:
        name = sql.Identifier(conn.info.dbname)
        conn.execute(sql.SQL("ALTER DATABASE {} OWNER TO modest").format(name))
    migrate_database(running_server.settings, modest_url)
    assert inspect_database(modest_url).migrations == inspect_database(running_server.template_url).migrations
