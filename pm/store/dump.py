"""Writing a dump: every table of schemas pm and telemetry, in one snapshot.

What belongs here: what goes into a dump. The file is `pm.store.dump_file`, the way back
`pm.store.dump_restore`.

Why not pg_dump: it writes a hypertable as TimescaleDB's own catalog and chunks, which only the same
version of TimescaleDB takes back and plain PostgreSQL never; and its program has to be at least as
new as the server. Binary COPY of the tables as they are called crosses all of that.
"""

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import psycopg
from psycopg import sql

from pm.progress import Track, silent
from pm.store import server_session
from pm.store.catalog import StoredTable, parents_first
from pm.store.checksums import TableChecksum, table_checksum
from pm.store.dump_file import BLOCK, DumpWriter
from pm.store.dump_manifest import (
    FORMAT,
    VERSION,
    DumpedColumn,
    DumpedMigration,
    DumpedSequence,
    DumpedTable,
    Manifest,
)
from pm.store.migrate import applied_migrations
from pm.store.queries import refusals, run
from pm.store.snapshot import snapshot

JOURNAL: Final = "pm.schema_migration"
"""Not dumped as rows: a restored database has a journal of its own, of the same migrations."""
_STEP_ROWS: Final = 20_000


def write_dump(
    conn: psycopg.Connection,
    writer: DumpWriter,
    *,
    created_at: datetime,
    pm_version: str,
    policy_id: str,
    track: Track = silent,
) -> Manifest:
    """Write every table and the manifest; all of the same instant.

    Others read and write meanwhile; whoever alters a table waits (`pm.store.snapshot`).

    Raises:
        StoreError: the database could not do it.
        DataError: a table or column has a name that no dump may have.
    """
    with snapshot(conn) as tables:
        ordered = [table for table in parents_first(conn, tables) if str(table) != JOURNAL]
        sums = [table_checksum(conn, table) for table in track(ordered, "checksums", len(ordered))]
        work = _Work(conn, writer, ordered, sums)
        with closing(work.steps()) as steps:
            for _ in track(steps, f"dump, {_STEP_ROWS} rows each", work.n_steps):
                pass
        versions = server_session.describe(conn)
        manifest = Manifest(
            FORMAT,
            VERSION,
            created_at,
            pm_version,
            versions.server,
            versions.timescaledb,
            policy_id,
            tuple(DumpedMigration(row.version, row.name, row.sha256) for row in applied_migrations(conn)),
            tuple(work.done),
            tuple(DumpedSequence(*row) for row in run(conn, "catalog", "sequences").fetchall()),
        )
    writer.write_manifest(manifest)
    return manifest


@dataclass
class _Work:
    """Tables on their way into the file."""

    conn: psycopg.Connection
    writer: DumpWriter
    tables: list[StoredTable]
    sums: list[TableChecksum]
    done: list[DumpedTable] = field(default_factory=list)

    @property
    def n_steps(self) -> int:
        return sum(one.n_rows // _STEP_ROWS + 1 for one in self.sums)

    def steps(self) -> Generator[None, None, None]:
        """Writes; one step a table and each further `_STEP_ROWS` rows."""
        comments = {(str(row[0]), row[1]): row[2] for row in run(self.conn, "catalog", "comments").fetchall()}
        for table, checksum in zip(self.tables, self.sums, strict=True):
            said = comments if table.schema == "telemetry" else {}
            columns = tuple(
                DumpedColumn(column.name, column.type, said.get((table.name, column.name)))
                for column in table.columns
                if not column.generated
            )
            dumped = DumpedTable(
                table.schema,  # type: ignore[arg-type]  # one of the two that `stored_tables` looks at
                table.name,
                said.get((table.name, None)),
                columns,
                checksum.n_rows,
                0,
                checksum.checksum,
            )
            yield from self._copy(table, dumped)

    def _copy(self, table: StoredTable, dumped: DumpedTable) -> Generator[None, None, None]:
        names = sql.SQL(", ").join(sql.Identifier(column.name) for column in dumped.columns)
        # Through a query: of a hypertable, COPY by name has no rows.
        command = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT (FORMAT binary)").format(names, table.identifier)
        kept: list[bytes | bytearray | memoryview] = []
        n_kept = 0
        with refusals(f"dump of {table}"), self.writer.table(dumped.entry) as entry, self.conn.cursor() as cursor:
            with cursor.copy(command) as copy:
                for number, row in enumerate(copy, 1):
                    kept.append(row)
                    n_kept += len(row)
                    if n_kept >= BLOCK:
                        entry.write(b"".join(kept))
                        kept, n_kept = [], 0
                    if number % _STEP_ROWS == 0:
                        yield
            entry.write(b"".join(kept))
        self.done.append(replace(dumped, n_bytes=entry.n_bytes))
        yield
