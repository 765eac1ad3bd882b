"""Migrations: `sql/migrations/NNNN_verb_object.sql`, each applied once, in order, in a transaction of its own.

What belongs here: reading the folder, the journal `pm.schema_migration`, applying. What the
tables are stands in the files.

An applied file is history: edited or missing, it is an error, because the database would no
longer be what the folder says.
"""

import hashlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import psycopg
from psycopg.pq import TransactionStatus

from pm.errors import ConfigError, StoreError
from pm.store.views import drop_views

_FILE_NAME: Final = re.compile(r"(\d{4})_[a-z0-9]+(_[a-z0-9]+)+\.sql")
_LOCK: Final = int.from_bytes(hashlib.sha256(b"pm.schema_migration").digest()[:8], "big", signed=True)
_POLL_S: Final = 0.05

_CREATE_JOURNAL: Final = """
CREATE SCHEMA IF NOT EXISTS pm;
CREATE TABLE IF NOT EXISTS pm.schema_migration (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE pm.schema_migration IS 'Journal of sql/migrations: one row an applied file.';
"""


@dataclass(frozen=True)
class Migration:
    """One file of the folder."""

    version: int
    name: str
    sha256: str
    text: str


@dataclass(frozen=True)
class Applied:
    """One row of the journal."""

    version: int
    name: str
    sha256: str


def read_migrations(folder: Path) -> tuple[Migration, ...]:
    """The folder's migrations by version.

    Raises ConfigError for a missing or empty folder, a file name of another form, or a number used twice.
    """
    files = sorted(folder.glob("*.sql"))
    if not files:
        raise ConfigError(f"expected migrations NNNN_verb_object.sql in {folder}, but got none")
    migrations = tuple(_read(file) for file in files)
    for one, other in pairwise(migrations):
        if one.version == other.version:
            raise ConfigError(f"expected one migration a number, but got {one.name} and {other.name} in {folder}")
    return migrations


def _read(file: Path) -> Migration:
    match = _FILE_NAME.fullmatch(file.name)
    if match is None:
        raise ConfigError(f"expected a migration named NNNN_verb_object.sql, but got {file}")
    try:
        # Line ends as one form: a checkout that converts them does not edit a migration.
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"expected a readable migration, but got {file}: {error}") from None
    return Migration(int(match[1]), file.name, hashlib.sha256(text.encode()).hexdigest(), text)


def pending(migrations: Sequence[Migration], applied: Sequence[Applied], folder: Path) -> tuple[Migration, ...]:
    """The migrations still to apply, in order.

    Raises ConfigError naming the file where an applied one was edited or is missing, or a new one
    has a number below an applied one.
    """
    files: Mapping[int, Migration] = {migration.version: migration for migration in migrations}
    for row in applied:
        file = files.get(row.version)
        if file is None:
            raise ConfigError(
                f"expected {row.name} in {folder}, which this database has applied, but got no such file: "
                "is the software older than the database?"
            )
        if (file.name, file.sha256) != (row.name, row.sha256):
            raise ConfigError(
                f"expected {folder / file.name} as it was applied ({row.name}, sha256 {row.sha256[:12]}), but got "
                f"sha256 {file.sha256[:12]}: take the edit back and write a new migration"
            )
    done = {row.version for row in applied}
    left = tuple(migration for migration in migrations if migration.version not in done)
    newest = max(done, default=0)
    if left and left[0].version < newest:
        raise ConfigError(f"expected a new migration numbered above {newest:04d}, but got {folder / left[0].name}")
    return left


def applied_migrations(conn: psycopg.Connection) -> tuple[Applied, ...]:
    """The journal by version; empty in a database that was never migrated."""
    there = conn.execute("SELECT to_regclass('pm.schema_migration') IS NOT NULL").fetchone()
    if there is None or not there[0]:
        return ()
    rows = conn.execute("SELECT version, name, sha256 FROM pm.schema_migration ORDER BY version").fetchall()
    return tuple(Applied(*row) for row in rows)


def migrate(conn: psycopg.Connection, folder: Path, *, wait_s: float = 120.0) -> tuple[str, ...]:
    """Applies what is pending; returns the names of the files applied now.

    Safe from several processes: one applies, the others wait up to `wait_s` and find nothing left.

    Raises ConfigError for an edited or missing migration (see `pending`), StoreError where a
    statement fails; that file is then rolled back whole, the ones before it stay.
    """
    if conn.info.transaction_status != TransactionStatus.IDLE:
        raise StoreError("expected a connection outside a transaction to migrate with, but got one inside")
    migrations = read_migrations(folder)
    try:
        with conn.transaction():
            if not pending(migrations, applied_migrations(conn), folder):
                return ()
        with _alone(conn, wait_s):
            with conn.transaction():
                conn.execute(_CREATE_JOURNAL)
                left = pending(migrations, applied_migrations(conn), folder)
            for migration in left:
                _apply(conn, migration, folder)
    except psycopg.Error as error:
        raise StoreError(f"expected to migrate the database, but got: {_one_line(error)}") from None
    return tuple(migration.name for migration in left)


def _apply(conn: psycopg.Connection, migration: Migration, folder: Path) -> None:
    try:
        with conn.transaction():
            drop_views(conn)  # a migration may change what stands under a view; taken back with it where it fails
            conn.execute(migration.text.encode())
            conn.execute(
                "INSERT INTO pm.schema_migration (version, name, sha256) VALUES (%s, %s, %s)",
                (migration.version, migration.name, migration.sha256),
            )
    except psycopg.Error as error:
        where = folder / migration.name
        raise StoreError(
            f"expected to apply {where}, but got: {_one_line(error)}{_line_of(error, migration)}"
        ) from None


def _one_line(error: psycopg.Error) -> str:
    return error.diag.message_primary or " ".join(str(error).split())


def _line_of(error: psycopg.Error, migration: Migration) -> str:
    position = error.diag.statement_position
    return f" (line {migration.text.count(chr(10), 0, int(position) - 1) + 1})" if position else ""


@contextmanager
def _alone(conn: psycopg.Connection, wait_s: float) -> Iterator[None]:
    """Holds the database's migration lock.

    Tried in a loop: sessions that wait inside pg_advisory_lock hold a snapshot and deadlock with
    CREATE INDEX CONCURRENTLY.
    """
    for _ in range(max(1, round(wait_s / _POLL_S))):
        if _try_lock(conn):
            break
        time.sleep(_POLL_S)
    else:
        raise StoreError(f"expected to migrate within {wait_s:g} s, but got another process still migrating")
    try:
        yield
    finally:
        if not conn.closed:
            with conn.transaction():
                conn.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))


def _try_lock(conn: psycopg.Connection) -> bool:
    with conn.transaction():
        row = conn.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,)).fetchone()
    return row is not None and bool(row[0])
