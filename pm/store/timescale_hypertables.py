"""Hypertables of this product: their chunks, and the columnstore.

What belongs here: what only TimescaleDB has. What is to be done on every engine is `pm.store.upkeep`;
where a server without the extension comes from, `pm.store.server`.

Names in the queries are those of TimescaleDB 2.18 and later. The Apache edition knows all statements
and refuses those of the Community edition by their licence, so a test can tell that each is well formed.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import psycopg
from psycopg import sql

from pm.errors import StoreError
from pm.store.queries import named, refusals, run

COLUMNSTORE_SINCE: Final = (2, 18)
"""The first version with `add_columnstore_policy`."""


@dataclass(frozen=True)
class Hypertable:
    """A hypertable as it is set up."""

    schema: str
    name: str
    chunk: timedelta
    """Length of chunks still to be made."""
    columnstore: bool
    """Chunks can be put into the columnstore."""
    policy: bool
    """A job of the server puts them there."""
    columnstore_after: timedelta | None
    """When that job does it; None where there is none, or it goes by another rule."""

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Chunk:
    """One chunk, holding rows with start <= time < end."""

    schema: str
    name: str
    start: datetime
    end: datetime
    columnstore: bool


def extension_schema(conn: psycopg.Connection) -> str | None:
    """The schema in which this database has TimescaleDB's functions; None: plain PostgreSQL."""
    row = run(conn, "hypertable", "extension_schema").fetchone()
    return None if row is None else str(row[0])


def fetch_hypertables(conn: psycopg.Connection) -> tuple[Hypertable, ...]:
    """The hypertables in the schemas `pm` and `telemetry`, by name; none on plain PostgreSQL."""
    if extension_schema(conn) is None:
        return ()
    rows = run(conn, "hypertable", "all").fetchall()
    return tuple(Hypertable(schema, name, chunk, bool(on), job, after) for schema, name, chunk, on, after, job in rows)


def chunks_before(conn: psycopg.Connection, schema: str, name: str, cutoff: datetime) -> tuple[Chunk, ...]:
    """Chunks of the hypertable that begin before `cutoff`, the oldest first."""
    rows = run(conn, "hypertable", "chunks_from_before", schema=schema, relation=name, cutoff=cutoff).fetchall()
    return tuple(Chunk(*row) for row in rows)


def drop_chunk(conn: psycopg.Connection, schema: str, name: str, chunk: Chunk) -> int:
    """Drop the chunks of the table that end by the end of `chunk`; returns how many.

    Called with the oldest first, that is one, so no lock on a chunk is held while another is waited for.
    """
    return len(_call(conn, "drop_chunks", table=_regclass(conn, schema, name), older_than=chunk.end).fetchall())


def set_chunk_interval(conn: psycopg.Connection, table: Hypertable, days: int) -> None:
    """Chunks made from now on cover so many days; those that are there stay as they are."""
    _call(
        conn,
        "set_chunk_interval",
        table=_regclass(conn, table.schema, table.name),
        interval=timedelta(days=days),
    )


def set_columnstore(conn: psycopg.Connection, table: Hypertable, after_d: int) -> None:
    """Have the server put chunks into the columnstore that ended `after_d` days ago; 0: no longer.

    Chunks in the columnstore stay there. Rows of one vehicle stand together, in the order of the key.

    Raises:
        StoreError: the edition does not have it.
    """
    name = _regclass(conn, table.schema, table.name)
    identifiers = {"table": sql.Identifier(table.schema, table.name)}
    if after_d and not table.columnstore:
        with refusals(f"table {table}"):
            conn.execute(sql.SQL(named("hypertable", "enable_columnstore")).format(**identifiers))
    if table.policy:
        _call(conn, "remove_columnstore_policy", table=name)
    if after_d:
        _call(conn, "add_columnstore_policy", table=name, after=timedelta(days=after_d))


def lift_decompression_limit(conn: psycopg.Connection) -> None:
    """Let new sessions on this database write to the columnstore what a late file brings, however much."""
    database = sql.Identifier(conn.info.dbname)
    with refusals(f"database {conn.info.dbname}"):
        conn.execute(sql.SQL(named("hypertable", "lift_decompression_limit")).format(database=database))


def _call(conn: psycopg.Connection, query: str, **params: object) -> psycopg.Cursor[tuple[object, ...]]:
    """The cursor of a query of `hypertable.sql` that calls a function of the extension, wherever that stands."""
    schema = extension_schema(conn)
    if schema is None:
        raise StoreError("expected the extension timescaledb, but got plain PostgreSQL")
    with refusals(f"query hypertable.{query}"):
        return conn.execute(sql.SQL(named("hypertable", query)).format(extension=sql.Identifier(schema)), params)


def _regclass(conn: psycopg.Connection, schema: str, name: str) -> str:
    return sql.Identifier(schema, name).as_string(conn)
