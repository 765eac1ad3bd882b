"""The tables a dump is restored into.

What belongs here: emptiness, taking tables away, making telemetry tables again, and whether a
dump's tables are the database's. Rows are `pm.store.dump_restore`.

Each table is a transaction of its own, because a hypertable of many chunks takes many locks and a
server has only so many.
"""

from collections.abc import Mapping
from typing import Final

import psycopg
from psycopg import sql

from pm.errors import DataError
from pm.store.catalog import StoredTable, stored_tables
from pm.store.dump_manifest import DumpedTable, Manifest
from pm.store.queries import refusals, run
from pm.store.telemetry_tables import CHUNK, KEY, KEY_COLUMNS

_LONG_NAMES: Final = {"timestamptz": "timestamp with time zone"}
_KEY_TYPES: Final = {name: _LONG_NAMES.get(kind, kind) for name, kind, _ in KEY_COLUMNS}
_SIGNAL_TYPES: Final = frozenset({"real", "double precision", "text"})
_SCHEMAS: Final = ("readable", "telemetry", "pm")


def first_with_rows(conn: psycopg.Connection, *, journal: str) -> str | None:
    """Name of a table that has rows, the journal of migrations aside; None: the database is empty."""
    for table in stored_tables(conn):
        if str(table) == journal:
            continue
        with refusals(f"table {table}"):
            query = sql.SQL("SELECT EXISTS (SELECT FROM {})").format(table.identifier)
            if conn.execute(query).fetchone() == (True,):
                return str(table)
    return None


def drop_all(conn: psycopg.Connection) -> None:
    """Take away the schemas pm, telemetry and readable with all that is in them."""
    with refusals("emptying the database"):
        for table in stored_tables(conn):
            conn.execute(sql.SQL("DROP TABLE IF EXISTS {} CASCADE").format(table.identifier))
        for schema in _SCHEMAS:
            conn.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))


def require_telemetry(manifest: Manifest, where: str) -> None:
    """
    Raises:
        DataError: a telemetry table of the dump has other columns than such a table can have.
    """
    for table in manifest.tables:
        if table.schema != "telemetry":
            continue
        types = {column.name: column.type for column in table.columns}
        signals = {name: kind for name, kind in types.items() if name not in _KEY_TYPES}
        if {name: types.get(name) for name in _KEY_TYPES} != _KEY_TYPES or not set(signals.values()) <= _SIGNAL_TYPES:
            raise DataError(
                f"{where}, table {table}: expected the columns {_KEY_TYPES} and signals of the types "
                f"{sorted(_SIGNAL_TYPES)}, but got {types}"
            )


def make_telemetry(conn: psycopg.Connection, manifest: Manifest) -> None:
    """Make the telemetry tables of the dump, hypertables where there is TimescaleDB, with their comments."""
    for table in manifest.tables:
        if table.schema == "telemetry":
            with refusals(f"table {table}"), conn.transaction():
                _make(conn, table)


def _make(conn: psycopg.Connection, table: DumpedTable) -> None:
    name = sql.Identifier(table.schema, table.name)
    # The types are of the few that `require_telemetry` lets pass.
    columns = [
        sql.SQL("{} {} {}").format(
            sql.Identifier(column.name),
            sql.SQL(column.type),
            sql.SQL("NOT NULL" if column.name in _KEY_TYPES else ""),
        )
        for column in table.columns
    ]
    key = sql.SQL(", ").join(map(sql.Identifier, KEY))
    conn.execute(sql.SQL("CREATE TABLE {} ({}, PRIMARY KEY ({}))").format(name, sql.SQL(", ").join(columns), key))
    run(conn, "signal", "make_hypertable", table=name.as_string(conn), chunk=CHUNK)
    _comment(conn, sql.SQL("TABLE {}").format(name), table.comment)
    for column in table.columns:
        place = sql.Identifier(table.schema, table.name, column.name)
        _comment(conn, sql.SQL("COLUMN {}").format(place), column.comment)


def _comment(conn: psycopg.Connection, on: sql.Composed, text: str | None) -> None:
    if text:
        # A utility statement takes no bind parameter: psycopg quotes the text as a literal.
        conn.execute(sql.SQL("COMMENT ON {} IS {}").format(on, sql.Literal(text.replace("\0", ""))))


def matching_tables(conn: psycopg.Connection, manifest: Manifest, where: str) -> Mapping[str, StoredTable]:
    """The database's tables by name, which are those of the dump, column by column.

    Raises:
        DataError: the dump has a table or column that its migrations do not make, or lacks one.
    """
    there = {str(table): table for table in stored_tables(conn)}
    for table in manifest.tables:
        stored = there.get(str(table))
        wanted = set() if stored is None else {(c.name, c.type) for c in stored.columns if not c.generated}
        got = {(column.name, column.type) for column in table.columns}
        if wanted != got:
            raise DataError(
                f"{where}, table {table}: expected the columns that its migrations make, "
                f"but {sorted(wanted ^ got)[:5]} differ"
            )
    absent = sorted(set(there) - {str(table) for table in manifest.tables} - {"pm.schema_migration"})
    if absent:
        raise DataError(f"{where}: expected every table of its migrations, but got none of {absent[:5]}")
    return there
