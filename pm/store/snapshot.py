"""One view of the whole database, with values as text in one form.

What belongs here: the transaction that checksums and dumps read in.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from pm.errors import StoreError
from pm.store.catalog import StoredTable, stored_tables
from pm.store.queries import refusals, run

_TRIES: Final = 5


@contextmanager
def snapshot(conn: psycopg.Connection) -> Iterator[tuple[StoredTable, ...]]:
    """The tables (`stored_tables`); all reads of the block see the same instant of them.

    Numbers, instants and bytes have one text form in it, whatever the server's settings are.

    Inside a transaction of the caller it is that transaction. Else it is a read-only REPEATABLE READ
    one that first locks every table and chunk against being rewritten: what a change of a column's
    type or the columnstore moves, an older snapshot no longer sees. Rows are written meanwhile as
    ever; whoever alters a table waits.

    Raises:
        StoreError: the database could not do it, for instance because there are more chunks than
            it has locks (server parameter max_locks_per_transaction).
    """
    with refusals("snapshot"):
        if conn.info.transaction_status != TransactionStatus.IDLE:
            with conn.transaction():
                run(conn, "checksum", "fix_text_forms")
                yield stored_tables(conn)
            return
        for _ in range(_TRIES):
            wanted = stored_tables(conn)
            with conn.transaction():
                conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                # Before any query: the snapshot is taken by the first one, and has to come after the locks.
                _lock(conn, wanted)
                tables = stored_tables(conn)
                if tables == wanted:
                    run(conn, "checksum", "fix_text_forms")
                    yield tables
                    return
    raise StoreError("snapshot: expected the tables to stay for a moment, but got new ones again and again")


def _lock(conn: psycopg.Connection, tables: tuple[StoredTable, ...]) -> None:
    if tables:
        names = sql.SQL(", ").join(table.identifier for table in tables)
        conn.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))
