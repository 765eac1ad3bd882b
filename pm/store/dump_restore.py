"""Reading a dump back into an empty database, and proving that it is the same.

What belongs here: the order of things and what happens when one fails. Which tables is
`pm.store.dump_tables`, the file `pm.store.dump_file`.

The file is read through once before the database is touched. While rows go in, the journal of
migrations holds a row that no other software knows (`_UNFINISHED`): whoever opens a database whose
restore was killed is told so, and a restore begun again starts over.
"""

import shutil
import tempfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from pm.errors import DataError, PmError, StoreError
from pm.progress import Track, silent
from pm.store import dump_tables
from pm.store.catalog import StoredTable
from pm.store.checksums import TableChecksum, differences, table_checksum
from pm.store.dump import JOURNAL
from pm.store.dump_file import BLOCK, DumpReader
from pm.store.dump_manifest import DumpedTable, Manifest
from pm.store.migrate import Applied, applied_migrations, migrate, read_migrations
from pm.store.queries import refusals, run
from pm.store.snapshot import snapshot

_UNFINISHED: Final = Applied(2**31 - 1, "restore_not_finished_run_pm_db_restore_again", "")


def restore_dump(
    conn: psycopg.Connection, reader: DumpReader, migrations: Path, *, track: Track = silent
) -> tuple[str, ...]:
    """Bring the dump into an empty database and compare every table; returns migrations applied after it.

    Args:
        conn: of a database without rows (migrated or not), in autocommit; nobody else may use it.
        migrations: the project's folder of migrations. First exactly those of the dump are applied,
            then the rows go in and are compared, then newer ones are applied.

    Of a restore that fails nothing stays: a database that was migrated is migrated and empty again.

    Raises:
        DataError: the dump is damaged, holds what its migrations do not make, or was made by newer
            software; or a table is not the same afterwards.
        StoreError: the database has rows already, or could not do it.
    """
    where = f"dump {reader.path}"
    _require_migrations(reader.manifest, migrations, where)
    dump_tables.require_telemetry(reader.manifest, where)
    applied = _require_empty(conn)
    _read_through(reader, track)
    try:
        _fill(conn, reader, migrations, track)
    except BaseException:
        _take_back(conn, migrations if applied else None)
        raise
    return migrate(conn, migrations)


def _require_migrations(manifest: Manifest, folder: Path, where: str) -> None:
    ours = {migration.version: migration for migration in read_migrations(folder)}
    versions = [row.version for row in manifest.migrations]
    expected = sorted(version for version in ours if version <= max(versions, default=0))
    for row in manifest.migrations:
        own = ours.get(row.version)
        if own is None or (own.name, own.sha256) != (row.name, row.sha256):
            raise DataError(
                f"{where}: expected migrations that this software has, but got {row.name} (sha256 {row.sha256[:12]}): "
                "was it made by newer software?"
            )
    if versions != expected or not versions:
        raise DataError(f"{where}: expected the migrations {expected} in order, but got {versions}")


def _require_empty(conn: psycopg.Connection) -> bool:
    """Whether the database is migrated; an unfinished restore counts as empty."""
    applied = applied_migrations(conn)
    if _UNFINISHED not in applied:
        filled = dump_tables.first_with_rows(conn, journal=JOURNAL)
        if filled is not None:
            raise StoreError(
                f"expected an empty database to restore into, but got rows in {filled} (--into makes a new one)"
            )
    return bool(applied)


def _read_through(reader: DumpReader, track: Track) -> None:
    """Every byte once, so that a damaged file is refused before the database is touched."""
    for _ in track(_blocks(reader), "check the file, MB", _n_blocks(reader.manifest)):
        pass


def _blocks(reader: DumpReader) -> Iterator[bytes]:
    for table in reader.manifest.tables:
        yield from reader.blocks(table)


def _n_blocks(manifest: Manifest) -> int:
    return sum(table.n_bytes // BLOCK + 1 for table in manifest.tables)


def _fill(conn: psycopg.Connection, reader: DumpReader, migrations: Path, track: Track) -> None:
    dump_tables.drop_all(conn)
    _migrate_to(conn, migrations, reader.manifest)
    run(
        conn,
        "catalog",
        "mark_unfinished",
        version=_UNFINISHED.version,
        file_name=_UNFINISHED.name,
        sha256=_UNFINISHED.sha256,
    )
    dump_tables.make_telemetry(conn, reader.manifest)
    there = dump_tables.matching_tables(conn, reader.manifest, f"dump {reader.path}")
    # Closed at once when interrupted: the transaction of the table at hand ends with it.
    with closing(_load(conn, reader, there)) as steps:
        for _ in track(steps, "restore, MB", _n_blocks(reader.manifest)):
            pass
    _set_sequences(conn, reader)
    run(conn, "catalog", "unmark_unfinished", version=_UNFINISHED.version)


def _migrate_to(conn: psycopg.Connection, migrations: Path, manifest: Manifest) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for row in manifest.migrations:
            shutil.copy(migrations / row.name, folder)
        migrate(conn, Path(folder))


def _load(
    conn: psycopg.Connection, reader: DumpReader, there: Mapping[str, StoredTable]
) -> Generator[None, None, None]:
    for table in reader.manifest.tables:
        stored = there[str(table)]
        names = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
        command = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(stored.identifier, names)
        where = f"dump {reader.path}, table {table}"
        with refusals(where), conn.transaction():
            with conn.cursor() as cursor, cursor.copy(command) as copy:
                for block in reader.blocks(table):
                    copy.write(block)
                    yield
            _compare(conn, table, stored, where)


def _compare(conn: psycopg.Connection, table: DumpedTable, stored: StoredTable, where: str) -> None:
    wanted = TableChecksum(table.schema, table.name, table.n_rows, table.checksum)
    with snapshot(conn):
        said = differences([wanted], [table_checksum(conn, stored)])
    if said:
        raise DataError(f"{where}: {said[0]}")


def _set_sequences(conn: psycopg.Connection, reader: DumpReader) -> None:
    known = {tuple(row[:3]) for row in run(conn, "catalog", "sequences").fetchall()}
    for sequence in reader.manifest.sequences:
        place = (sequence.schema, sequence.table, sequence.column)
        if place not in known:
            raise DataError(f"dump {reader.path}: expected a sequence of the database, but got {'.'.join(place)}")
        if sequence.last_value:
            table = sql.Identifier(sequence.schema, sequence.table).as_string(conn)
            run(conn, "catalog", "set_sequence", table=table, column=sequence.column, last_value=sequence.last_value)


def _take_back(conn: psycopg.Connection, migrations: Path | None) -> None:
    """An empty database as before; where even that fails, the first error still is the one to be told."""
    if conn.closed:
        return
    try:
        dump_tables.drop_all(conn)
        if migrations is not None:
            migrate(conn, migrations)
    except PmError:
        return
