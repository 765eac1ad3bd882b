"""Checksums of whole tables, computed in the server: are two databases the same?

What belongs here: what of a row counts, and summing it up. Which tables there are is
`pm.store.catalog`.

A row is written as text (ROW(...)::text, columns by name, so that their physical order is nothing),
hashed to 64 bits (hashtextextended, the function behind hash partitions, the same on every version
since PostgreSQL 11), and the hashes of all rows are added up. So the order of rows is nothing either,
and a row that stands twice counts twice. This finds accidents; against somebody who forges rows it
is no signature.

Two forms:
- *exact*: every column. Two databases with the same rows, for instance before a dump and after its
  restore.
- *content*: what came from outside, without numbers and instants that the database or the clock gave.
  Two databases that got the same files in another order, or again after a crash, are the same.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import psycopg
from psycopg import sql

from pm.progress import Track, silent
from pm.store.catalog import StoredTable
from pm.store.queries import named, refusals, run
from pm.store.snapshot import snapshot

Form = Literal["exact", "content"]

_JOURNAL_CLOCK: Final = {"pm.schema_migration": frozenset({"applied_at"})}
"""When this database was migrated is no content of it: a restored one was migrated later."""

_NOT_CONTENT: Final[Mapping[str, frozenset[str]]] = {
    # file_name: of one file under two names, the first to come counts.
    "pm.log_file": frozenset({"file_name", "ingested_at", "redecoded_at"}),
    "pm.dirty_day": frozenset({"marked_at"}),
    "pm.quarantine": frozenset({"file_name", "n_attempts", "first_refused_at", "last_refused_at"}),
    # n_stored: of files that overlap, the first to come stores the rows they share.
    "pm.import_file": frozenset({"file_name", "n_stored", "imported_at"}),
    "pm.retention": frozenset({"dropped_at"}),
    "pm.poll": frozenset({"polled_at"}),
    # Where a signal stands follows the order in which names came; so does which DBC spoke last.
    "pm.signal": frozenset({"table_name", "column_name", "dbc_sha256"}),
    # Digests cover numbers that the database gave; what was taken follows what was there.
    "pm.feature_batch": frozenset({"sources_digest", "readings_digest", "n_computed", "n_taken"}),
    "pm.feature_choice": frozenset({"chosen_at"}),
    "pm.model_version": frozenset({"created_at"}),
    "pm.stage_transition": frozenset({"moved_at"}),
    "pm.backtest": frozenset({"created_at"}),
    "pm.backtest_fold": frozenset({"finished_at"}),
    "pm.prediction": frozenset({"scored_at"}),
    **_JOURNAL_CLOCK,
}


@dataclass(frozen=True)
class TableChecksum:
    """One table: how many rows, and 16 hex digits over them."""

    schema: str
    table: str
    """In the content form a table of telemetry has its message's name."""
    n_rows: int
    checksum: str


def table_checksums(
    conn: psycopg.Connection, *, form: Form = "exact", track: Track = silent
) -> tuple[TableChecksum, ...]:
    """The checksum of every table of schemas pm and telemetry, by schema and name.

    All in one snapshot: that of the caller's transaction, else one of its own. The content form
    leaves out telemetry tables without rows (a file that failed leaves them), and signals of
    messages that no stored file has.

    Raises:
        StoreError: the database could not do it.
    """
    with snapshot(conn) as tables:
        readings = [_exact(table) for table in tables] if form == "exact" else _contents(conn, tables)
        found = [_sum_up(conn, reading) for reading in track(readings, f"checksums ({form})", len(readings))]
    kept = [one for one in found if form == "exact" or one.n_rows or one.schema != "telemetry"]
    return tuple(sorted(kept, key=lambda one: (one.schema, one.table)))


def table_checksum(conn: psycopg.Connection, table: StoredTable) -> TableChecksum:
    """The exact checksum of one table; inside `snapshot` only, whose text forms it needs."""
    return _sum_up(conn, _exact(table))


def combined(checksums: Iterable[TableChecksum]) -> str:
    """One checksum over many tables: 64 hex digits, equal where every table is."""
    lines = sorted(f"{one.schema}.{one.table} {one.n_rows} {one.checksum}" for one in checksums)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def content_checksum(conn: psycopg.Connection) -> str:
    """The content of the whole database as 64 hex digits; see `table_checksums`."""
    return combined(table_checksums(conn, form="content"))


def differences(expected: Iterable[TableChecksum], got: Iterable[TableChecksum]) -> tuple[str, ...]:
    """One sentence a table that is not the same on both sides; empty where all are."""
    wanted, found = ({f"{one.schema}.{one.table}": one for one in side} for side in (expected, got))
    said = []
    for name in sorted(wanted.keys() | found.keys()):
        one, other = wanted.get(name), found.get(name)
        if one != other:
            said.append(f"table {name}: expected {_told(one)}, but got {_told(other)}")
    return tuple(said)


def _told(one: TableChecksum | None) -> str:
    return "no such table" if one is None else f"{one.n_rows} rows with checksum {one.checksum}"


@dataclass(frozen=True)
class _Reading:
    """What of a table is summed up."""

    schema: str
    table: str
    source: sql.Composable
    cells: Mapping[str, sql.Composable]
    """Expression by the name it has in every database."""


def _exact(table: StoredTable) -> _Reading:
    left_out = _JOURNAL_CLOCK.get(str(table), frozenset())
    cells = {name: _cell(name) for name in table.column_names - left_out}
    return _Reading(table.schema, table.name, sql.SQL("{} AS t").format(table.identifier), cells)


def _contents(conn: psycopg.Connection, tables: Iterable[StoredTable]) -> list[_Reading]:
    places: dict[str, dict[str, str]] = {}
    messages: dict[str, str] = {}
    for table, column, message, signal in run(conn, "checksum", "signal_places").fetchall():
        places.setdefault(str(table), {})[str(column)] = str(signal)
        messages[str(table)] = str(message)
    readings = []
    for table in tables:
        if table.schema == "telemetry":
            name, signals = messages.get(table.name, table.name), places.get(table.name, {})
        else:
            name, signals = table.name, {}
        readings.append(_content(table, name, signals))
    return readings


def _content(table: StoredTable, name: str, signals: Mapping[str, str]) -> _Reading:
    left_out = _NOT_CONTENT.get(str(table), frozenset())
    cells = {signals.get(column, column): _cell(column) for column in table.column_names - left_out}
    rows = (
        sql.SQL("({})").format(sql.SQL(named("checksum", "rows_that_count")))
        if str(table) == "pm.signal"
        else table.identifier
    )
    source = sql.SQL("{} AS t").format(rows)
    for column, query in _STANDS_FOR.items():
        if column in table.column_names:
            alias = f"{column}_key"
            source = sql.SQL("{} LEFT JOIN ({}) AS {} ON {} = {}").format(
                source,
                sql.SQL(named("checksum", query)),
                sql.Identifier(alias),
                _cell(column),
                sql.Identifier(alias, column),
            )
            # A number that stands for nothing stays as it is, and so is seen.
            cells[column] = sql.SQL("coalesce({}::text, {}::text)").format(sql.Identifier(alias, "key"), _cell(column))
    return _Reading(table.schema, name, source, cells)


_STANDS_FOR: Final = {"vehicle_id": "vehicle_key", "log_file_id": "log_file_key"}
"""Random and running numbers, and the query that says what they stand for."""


def _cell(column: str) -> sql.Composed:
    return sql.SQL("t.{}").format(sql.Identifier(column))


def _sum_up(conn: psycopg.Connection, reading: _Reading) -> TableChecksum:
    names = sorted(reading.cells)
    # The names go in as the hash's seed: another column with the same values is another table.
    seed = int.from_bytes(hashlib.sha256("\0".join(names).encode()).digest()[:8], "big", signed=True)
    # hashtextextended of the same text may not depend on the database's collation.
    statement = sql.SQL('SELECT count(*), sum(hashtextextended(ROW({})::text COLLATE "C", {})) FROM {}').format(
        sql.SQL(", ").join(reading.cells[name] for name in names), sql.Literal(seed), reading.source
    )
    with refusals(f"checksum of {reading.schema}.{reading.table}"):
        row = conn.execute(statement).fetchone()
    n_rows, total = row or (0, None)
    return TableChecksum(reading.schema, reading.table, int(n_rows), f"{int(total or 0) % 2**64:016x}")
