"""A second session beside a connection, for what must be committed at once: new tables, new chunks.

What belongs here: that session, and making chunks ahead. A file is one long transaction; what others
need as well must neither wait for its end nor be taken back with it.

TimescaleDB holds a lock on a hypertable from the creation of a chunk to the end of the transaction.
Two files that each make a chunk in two tables, in another order, deadlock (seen in a test). So
chunks are made here, before the rows come.
"""

from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from weakref import WeakKeyDictionary, finalize

import polars as pl
import psycopg
from psycopg import sql

from pm.schema import UTC_INSTANT
from pm.store.queries import refusals, run

_LOCK_TIMEOUT = "60s"

_sessions: WeakKeyDictionary[psycopg.Connection, psycopg.Connection] = WeakKeyDictionary()
_days_with_chunks: dict[str, set[int]] = {}
"""Days by database and table. A chunk dropped since is made by the insert itself, as without all this."""


@contextmanager
def beside(conn: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """The session beside `conn`, in a transaction of its own that commits at the end of the block.

    A lock not had within a minute is an error: it may be held by `conn` itself, which cannot let go.
    """
    session = _sessions.get(conn)
    if session is None or session.closed:
        session = psycopg.connect(conn.info.dsn, password=conn.info.password or None, autocommit=True)
        _sessions[conn] = session
        finalize(conn, session.close)
    with session.transaction():
        session.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
        yield session


def days_of(times: pl.Series) -> set[int]:
    """The UTC days of instants, as days since 1970."""
    return set(times.dt.epoch("d").unique().cast(pl.Int64).to_list())


def make_chunks(
    conn: psycopg.Connection, table: sql.Identifier, days: Set[int], placeholder: Mapping[str, object]
) -> None:
    """Make sure of a chunk for each of `days` (since 1970, UTC) where the table is a hypertable.

    Args:
        placeholder: a row of the table without its time, of no vehicle. It is written and deleted in
            one transaction, so nobody sees it; the chunk stays.
    """
    name = f"{conn.info.host}:{conn.info.port}/{conn.info.dbname}/{table.as_string(conn)}"
    there = _days_with_chunks.setdefault(name, set())
    absent = sorted(days - there)
    if not absent:
        return
    with refusals(f"table {name}"):
        if run(conn, "signal", "has_hypertables").fetchone() is not None:
            _touch(conn, table, absent, placeholder)
    there.update(absent)


def _touch(conn: psycopg.Connection, table: sql.Identifier, days: list[int], placeholder: Mapping[str, object]) -> None:
    instants = (pl.Series(days, dtype=pl.Int64) * 86_400_000_000).cast(UTC_INSTANT).to_list()
    columns = [*placeholder, "time"]
    insert = sql.SQL("INSERT INTO {} ({}) SELECT {}, day FROM unnest(%s::timestamptz[]) AS day").format(
        table,
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(sql.Placeholder() for _ in placeholder),
    )
    delete = sql.SQL("DELETE FROM {} WHERE vehicle_id = %s AND time = ANY(%s::timestamptz[])").format(table)
    with beside(conn) as session:
        session.execute("SET LOCAL synchronous_commit = off")
        session.execute(insert, [*placeholder.values(), instants])
        session.execute(delete, [placeholder["vehicle_id"], instants])
