"""Databases made for one purpose, which go again where that fails or is done.

What belongs here: making and dropping a database beside the one that is named.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from pm.errors import StoreError
from pm.store.server_session import connect, enable_timescaledb, with_database

_LONGEST_NAME = 63


@contextmanager
def new_database(url: str, name: str, *, keep: bool) -> Iterator[str]:
    """The url of a new, empty database on the same server, with TimescaleDB where it can be had.

    Args:
        keep: whether it stays after the block. It never stays where the block fails.

    Raises:
        StoreError: there is one of that name, or this login may make none.
    """
    if not name or len(name.encode()) > _LONGEST_NAME or "\0" in name:
        raise StoreError(f"expected a database name of 1 to {_LONGEST_NAME} bytes, but got {name!r}")
    _create(url, name)
    try:
        made = with_database(url, name)
        enable_timescaledb(made)
        yield made
    except BaseException:
        _drop(url, name)
        raise
    if not keep:
        _drop(url, name)


def _create(url: str, name: str) -> None:
    with connect(url) as conn:
        try:
            # template0: what others may have put into template1 is not for this one.
            conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(name)))
        except psycopg.Error as error:
            reason = error.diag.message_primary or " ".join(str(error).split())
            raise StoreError(f"database {name}: expected to create it, but got: {reason}") from None


def _drop(url: str, name: str) -> None:
    with connect(url) as conn:
        # FORCE: TimescaleDB's background worker may be connected.
        conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
