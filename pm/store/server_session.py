"""One session with a server: connecting, the extension, and what the server says of itself.

What belongs here: what both the server ladder (`pm.store.server`) and `pm.store.connection` need.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import conninfo, sql

from pm.errors import ConfigError, StoreError

_CONNECT_TIMEOUT_S: Final = 10


@dataclass(frozen=True)
class ServerVersions:
    """What the database behind a connection runs on."""

    server: str
    timescaledb: str | None
    """Version of the extension installed in this database; None: plain PostgreSQL."""
    edition: str | None
    """"Apache" or "Community"; None without the extension."""


def connect(url: str) -> psycopg.Connection:
    """An autocommit connection with TimeZone UTC and application_name pm.

    Autocommit: a statement stands alone unless it is inside `with conn.transaction():`, and no
    session stays idle inside a transaction.

    Raises ConfigError for a url that cannot be read, StoreError where nobody answers; neither
    names the password.
    """
    try:
        conn = psycopg.connect(
            url, autocommit=True, application_name="pm", connect_timeout=_CONNECT_TIMEOUT_S, client_encoding="utf8"
        )
        conn.execute("SET TIME ZONE 'UTC'")
    except psycopg.OperationalError as error:
        reason = _without(_password_of(url), str(error))
        raise StoreError(f"expected a database at {without_password(url)}, but got: {reason}") from None
    except psycopg.ProgrammingError:
        raise ConfigError("expected postgresql://user:password@host:port/database, but got another text") from None
    return conn


def _password_of(url: str) -> str | None:
    try:
        password = conninfo.conninfo_to_dict(url).get("password")
    except psycopg.ProgrammingError:
        return None
    return None if password is None else str(password)


def _without(password: str | None, text: str) -> str:
    text = " ".join(text.split())
    if not password:
        return text
    return text.replace(quote(password, safe=""), "***").replace(password, "***")


def without_password(url: str) -> str:
    """The same address, fit to be shown: user, host, port, database."""
    try:
        parts = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return "an address that cannot be read"
    user = f"{parts['user']}@" if parts.get("user") else ""
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"postgresql://{user}{parts.get('host') or ''}{port}/{parts.get('dbname') or ''}"


def with_database(url: str, name: str) -> str:
    """The same address with another database."""
    if "://" not in url:
        return conninfo.make_conninfo(url, dbname=name)
    return urlunsplit(urlsplit(url)._replace(path=f"/{quote(name, safe='')}"))


def create_database(url: str, name: str) -> str:
    """Creates database `name` on the server of `url` unless it is there; returns its url."""
    with connect(url) as conn:
        if conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
            try:
                conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                pass  # another process was faster
            except psycopg.Error as error:
                raise StoreError(f"expected to create database {name}, but got: {error}") from None
    return with_database(url, name)


def enable_timescaledb(url: str) -> bool:
    """Creates the extension where the server offers it and lets us; True where it is there afterwards."""
    with connect(url) as conn:
        if _extension_version(conn) is not None:
            return True
        if conn.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'").fetchone() is None:
            return False
    # In a session of its own: the server ends it where the library was not preloaded.
    try:
        with connect(url) as conn:
            conn.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    except psycopg.Error:
        # Not permitted, not preloaded, or another process was faster: what counts is the outcome.
        with connect(url) as conn:
            return _extension_version(conn) is not None
    return True


def _extension_version(conn: psycopg.Connection) -> str | None:
    row = conn.execute("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'").fetchone()
    return None if row is None else str(row[0])


def describe(conn: psycopg.Connection) -> ServerVersions:
    """Versions and TimescaleDB edition of the database behind `conn`."""
    row = conn.execute("SHOW server_version").fetchone()
    version = _extension_version(conn)
    return ServerVersions(str(row[0]) if row else "", version, None if version is None else _edition(conn))


def _edition(conn: psycopg.Connection) -> str | None:
    row = conn.execute("SELECT current_setting('timescaledb.license', true)").fetchone()
    return None if row is None else {"apache": "Apache", "timescale": "Community"}.get(str(row[0]))


def database_size(conn: psycopg.Connection) -> int:
    """Bytes the connection's database takes on disk."""
    row = conn.execute("SELECT pg_database_size(current_database())").fetchone()
    if row is None:
        raise StoreError("expected a database size, but got no row")
    return int(row[0])
