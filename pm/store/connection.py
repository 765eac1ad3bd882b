"""Connections to the database.

What belongs here: how the rest of the store reaches its database. Which server that is, is
`pm.store.server`; what its tables are, `pm.store.migrate`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg import Connection

from pm.errors import StoreError
from pm.settings import Settings
from pm.store import server, server_session
from pm.store.migrate import applied_migrations, migrate
from pm.store.queries import refusals
from pm.store.server_session import connect
from pm.store.server_software import Say
from pm.store.views import refresh_views

__all__ = [
    "Connection",
    "DatabaseReport",
    "connect",
    "database_url",
    "ensure_database",
    "inspect_database",
    "migrate_database",
    "open_database",
    "transaction",
]


@contextmanager
def transaction(conn: Connection) -> Iterator[None]:
    """All of the block or nothing. Inside another transaction it is a savepoint.

    Raises:
        StoreError: the database went away, or could not begin or commit.
    """
    with refusals("transaction"), conn.transaction():
        yield


def database_url(settings: Settings, *, say: Say = server.quiet) -> str:
    """The address with the password; starts the private server where none is named and none runs."""
    if settings.database_url is not None:
        return settings.database_url
    url = server.start(settings, say=say).url
    if url is None:
        raise StoreError(f"expected a running private server below {settings.home}, but got none")
    return url


def open_database(settings: Settings, *, say: Say = server.quiet) -> Connection:
    """A connection (see `connect`) to the database with every migration applied.

    Starts the private server where none is named, and creates the extension timescaledb where
    the server offers it and lets us. The caller closes the connection.

    Raises StoreError where no server answers or a migration fails, ConfigError for an edited or
    missing migration.
    """
    url = database_url(settings, say=say)
    migrate_database(settings, url)
    return connect(url)


def migrate_database(settings: Settings, url: str) -> tuple[str, ...]:
    """Creates the extension where it can be had, applies the project's migrations and makes the views that they,
    or a process that was killed, left out; the files applied now."""
    server_session.enable_timescaledb(url)
    with connect(url) as conn:
        applied = migrate(conn, settings.project / "sql" / "migrations")
        refresh_views(conn)
        return applied


def ensure_database(url: str, name: str) -> str:
    """The url of database `name` on the same server, created where missing."""
    return server_session.create_database(url, name)


@dataclass(frozen=True)
class DatabaseReport:
    """What stands in the database."""

    migrations: tuple[str, ...]
    """Names of the applied files, in order."""
    size_bytes: int


def inspect_database(url: str) -> DatabaseReport:
    """Applied migrations and size of the database at `url`; changes nothing."""
    with connect(url) as conn:
        applied = applied_migrations(conn)
        return DatabaseReport(tuple(row.name for row in applied), server_session.database_size(conn))
