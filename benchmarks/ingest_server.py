"""The servers that ingest is measured on: the product's own private ones, in a folder of the benchmark's.

What belongs here: starting and stopping them, a fresh database for each measurement, what tables take on disk.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from benchmarks.make_files import DBC, PROJECT
from pm.canbus.dbc import load_dbc
from pm.errors import StoreError
from pm.settings import Settings, read_settings
from pm.store import server, telemetry
from pm.store.connection import connect, ensure_database, migrate_database
from pm.store.server_place import Engine, find_place

ENGINES: Final[tuple[Engine, ...]] = ("timescaledb", "postgres")
NAMES: Final = {"timescaledb": "TimescaleDB", "postgres": "PostgreSQL"}
_TEMPLATE: Final = "template_bench"

_numbers = count(1)


@dataclass(frozen=True)
class RunningServer:
    """A private server with the settings that the product gives it: durable, nothing tuned for this."""

    engine: Engine
    url: str
    version: str
    """Of the server, and of the extension with its edition."""
    edition: str | None

    @property
    def name(self) -> str:
        return NAMES[self.engine]


def start(engine: Engine, folder: Path) -> RunningServer | str:
    """The server, its template database made anew; or why there is none."""
    settings = _settings(engine, folder)
    said: list[str] = []
    software = find_place(read_settings().home).software
    try:
        found = server.start(settings, engine=engine, say=said.append, software=software)
    except StoreError as reason:
        return "; ".join([*said, str(reason)])
    assert found.url is not None  # noqa: S101 - `start` raises where there is none
    extension = f", TimescaleDB {found.timescaledb_version} ({found.edition})" if found.timescaledb_version else ""
    running = RunningServer(engine, found.url, f"PostgreSQL {found.server_version}{extension}", found.edition)
    _make_template(running, settings)
    return running


def stop(engine: Engine, folder: Path) -> None:
    """Stop the server; its data stay until the next start makes them anew."""
    server.stop(_settings(engine, folder))


def _settings(engine: Engine, folder: Path) -> Settings:
    return Settings(project=PROJECT, home=folder / f"server-{engine}", database_url=None)


def _make_template(running: RunningServer, settings: Settings) -> None:
    """Migrated, with the table of every message of the DBC file: an installation's first minutes are not measured."""
    for name in _databases(running):
        _drop(running, name)
    url = ensure_database(running.url, _TEMPLATE)
    migrate_database(settings, url)
    with connect(url) as conn:
        telemetry.ensure_tables(conn, load_dbc([DBC]))


def _databases(running: RunningServer) -> list[str]:
    with connect(running.url) as conn:
        found = conn.execute("SELECT datname FROM pg_database WHERE datname ~ '^(bench_|template_bench)'").fetchall()
        return [str(name) for (name,) in found]


def _drop(running: RunningServer, name: str) -> None:
    with connect(running.url) as conn:
        conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def fresh_database(running: RunningServer) -> Iterator[str]:
    """The url of a database like the template, with nothing of another measurement left to be written."""
    name = f"bench_{next(_numbers)}"
    with connect(running.url) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(_TEMPLATE)))
        conn.execute("CHECKPOINT")
    try:
        yield running.url.rsplit("/", 1)[0] + f"/{name}"
    finally:
        _drop(running, name)


def telemetry_tables(conn: psycopg.Connection) -> dict[str, list[str]]:
    """Columns of every telemetry table that has rows, and of pm.fault, by "schema.table"."""
    tables: dict[str, list[str]] = {}
    for schema, name, columns in conn.execute(
        "SELECT table_schema, table_name, array_agg(column_name::text ORDER BY ordinal_position)"
        " FROM information_schema.columns WHERE table_schema = 'telemetry' OR (table_schema, table_name) = "
        "('pm', 'fault') GROUP BY 1, 2 ORDER BY 1, 2"
    ).fetchall():
        query = sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(schema, name))
        if _scalar(conn, query):
            tables[f"{schema}.{name}"] = list(columns)
    return tables


def identifier(table: str) -> sql.Identifier:
    """Of "schema.table"."""
    return sql.Identifier(*table.split(".", 1))


@dataclass(frozen=True)
class Size:
    """What values take on disk, with tables, indexes and what belongs to them."""

    stored_as: str
    n_values: int = 0
    n_bytes: int = 0
    problem: str | None = None
    """Why it was not measured."""


def sizes(running: RunningServer, url: str) -> list[Size]:
    """Bytes of the signals in this database: as the product stores them, one row a value, and in columns."""
    with connect(url) as conn:
        conn.execute("CHECKPOINT")
        tables = {name: columns for name, columns in telemetry_tables(conn).items() if name.startswith("telemetry.")}
        signals = _signals(conn)
        n_values = sum(_count_values(conn, table, signals[table]) for table in tables)
        wide = sum(_table_bytes(conn, running, table) for table in tables)
        found = [Size("wide: a table a message, a column a signal (the product)", n_values, wide)]
        found.append(_narrow(conn, running, {table: signals[table] for table in tables}))
        found.append(_columnstore(conn, running, list(tables), n_values))
        return found


def _signals(conn: psycopg.Connection) -> dict[str, list[str]]:
    """Columns that hold numbers, by table."""
    rows = conn.execute(
        "SELECT 'telemetry.' || signal.table_name, array_agg(signal.column_name ORDER BY signal.column_name)"
        " FROM pm.signal JOIN information_schema.columns AS its ON its.table_schema = 'telemetry'"
        " AND (its.table_name, its.column_name) = (signal.table_name, signal.column_name)"
        " WHERE its.data_type IN ('real', 'double precision') GROUP BY 1"
    ).fetchall()
    return {str(table): list(columns) for table, columns in rows}


def _count_values(conn: psycopg.Connection, table: str, columns: list[str]) -> int:
    counts = sql.SQL(" + ").join(sql.SQL("count({})").format(sql.Identifier(column)) for column in columns)
    return int(_scalar(conn, sql.SQL("SELECT {} FROM {}").format(counts, identifier(table))))


def _table_bytes(conn: psycopg.Connection, running: RunningServer, table: str) -> int:
    function = "hypertable_size" if running.engine == "timescaledb" else "pg_total_relation_size"
    query = sql.SQL("SELECT {}({}::regclass)").format(sql.SQL(function), sql.Literal(table))
    return int(_scalar(conn, query))


def _narrow(conn: psycopg.Connection, running: RunningServer, tables: dict[str, list[str]]) -> Size:
    """One row a value, primary key (vehicle, signal, source, time); a hypertable where the wide tables are."""
    conn.execute(
        'CREATE TABLE public.narrow ("time" timestamptz NOT NULL, value double precision NOT NULL,'
        " vehicle_id integer NOT NULL, signal_id integer NOT NULL, source_address smallint NOT NULL,"
        ' PRIMARY KEY (vehicle_id, signal_id, source_address, "time"))'
    )
    conn.execute("SELECT pm.make_hypertable('public.narrow', 'time', INTERVAL '7 days')")
    n_rows, first_id = 0, 1
    for table, columns in tables.items():
        pairs = [
            sql.SQL("({}, {}::double precision)").format(sql.Literal(number), sql.Identifier(column))
            for number, column in enumerate(columns, first_id)
        ]
        first_id += len(columns)
        # The same time and source with two destinations would be one key: such a value is left out, and counted so.
        done = conn.execute(
            sql.SQL(
                'INSERT INTO public.narrow SELECT "time", value, vehicle_id, signal_id, source_address FROM {}'
                " CROSS JOIN LATERAL (VALUES {}) AS its (signal_id, value) WHERE value IS NOT NULL"
                ' ORDER BY vehicle_id, signal_id, source_address, "time" ON CONFLICT DO NOTHING'
            ).format(identifier(table), sql.SQL(", ").join(pairs))
        )
        n_rows += done.rowcount
    return Size("narrow: one row a value", n_rows, _table_bytes(conn, running, "public.narrow"))


def _columnstore(conn: psycopg.Connection, running: RunningServer, tables: list[str], n_values: int) -> Size:
    name = "wide, in the columnstore"
    if running.edition != "Community":
        has = f"TimescaleDB {running.edition}" if running.edition else "plain PostgreSQL"
        return Size(name, problem=f"skipped: the columnstore is in TimescaleDB Community, and this is {has}")
    for table in tables:
        conn.execute(
            sql.SQL(
                "ALTER TABLE {} SET (timescaledb.compress, timescaledb.compress_orderby = 'time',"
                " timescaledb.compress_segmentby = 'vehicle_id, source_address, destination_address, channel')"
            ).format(identifier(table))
        )
        conn.execute("SELECT compress_chunk(chunk) FROM show_chunks(%s::regclass) AS chunk", (table,))
    return Size(name, n_values, sum(_table_bytes(conn, running, table) for table in tables))


def _scalar(conn: psycopg.Connection, query: sql.Composed) -> Any:
    row = conn.execute(query).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always has a row
    return row[0]
