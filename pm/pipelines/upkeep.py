"""Decisions about storage -> chunks, columnstore, and what is dropped for its age."""

from dataclasses import dataclass
from datetime import datetime

from pm.progress import Track, silent
from pm.store import archive, logs, upkeep
from pm.store.connection import Connection
from pm.store.edition import columnstore_hindrance
from pm.store.timescale_hypertables import (
    Hypertable,
    fetch_hypertables,
    lift_decompression_limit,
    set_chunk_interval,
    set_columnstore,
)
from pm.upkeep import Upkeep, Work, cutoff


@dataclass(frozen=True)
class UpkeepReport:
    """What was done, or with `dry_run` what would be."""

    dry_run: bool
    chunk_interval_set: tuple[str, ...] = ()
    """Tables whose chunks get another length from now on."""
    columnstore_set: tuple[str, ...] = ()
    """Tables whose rule for the columnstore changed."""
    columnstore_hindrance: str | None = None
    """Why old chunks are not put into the columnstore although that is asked for; None: nothing hinders."""
    telemetry_before: datetime | None = None
    """Signals, trouble codes and events from before are dropped; None: kept for ever."""
    wanted_before: datetime | None = None
    """The same by age alone; `telemetry_before` is earlier where days still wait for their daily aggregates."""
    n_chunks: int = 0
    """Whole chunks dropped."""
    n_rows: int = 0
    """Rows deleted that stood in no whole chunk."""
    archive_before: datetime | None = None
    """Raw files whose last row is older are dropped; None: kept for ever."""
    n_files: int = 0
    """Of the archive; in a dry run, those that may be there."""
    postponed: tuple[str, ...] = ()
    """Tables in use by others, left for the next run."""


@dataclass
class _Done:
    """Counts while the work goes on."""

    n_chunks: int = 0
    n_rows: int = 0


def run_upkeep(
    conn: Connection, decided: Upkeep, *, archive_address: str, now: datetime, dry_run: bool = False,
    track: Track = silent,
) -> UpkeepReport:  # fmt: skip
    """Bring the database and the archive to what is decided. Running it again changes nothing more.

    Every step is a short transaction of its own: it goes on beside ingests, what is in use is left for
    the next run, and what a crash cut off is completed by it.

    Args:
        archive_address: folder or fsspec address of the raw files.
        now: the instant that ages are counted from; the database's clock where that is behind.
        dry_run: only look; the database is asked to refuse changes.

    Raises:
        DataError: `now` is not UTC.
        StoreError: the database or the archive cannot be reached or refuses.
    """
    now = min(now, upkeep.database_now(conn))
    if dry_run:
        with upkeep.read_only(conn):
            return _look(conn, decided, now)
    postponed: list[str] = []
    intervals, columns = _set_up(conn, decided, postponed)
    wanted, before, done = _drop_rows(conn, decided, now, postponed, track)
    archive_before, n_files = _drop_files(conn, decided, archive_address, now, track)
    return UpkeepReport(
        False,
        intervals,
        columns,
        columnstore_hindrance(conn) if decided.telemetry.columnstore_after_d else None,
        before,
        wanted,
        done.n_chunks,
        done.n_rows,
        archive_before,
        n_files,
        tuple(postponed),
    )


def _look(conn: Connection, decided: Upkeep, now: datetime) -> UpkeepReport:
    hindrance = columnstore_hindrance(conn)
    hypertables = fetch_hypertables(conn)
    wanted, before, n_chunks, n_rows = _wanted(decided, now), None, 0, 0
    if wanted is not None:
        allowed = upkeep.allowed_cutoff(conn, wanted, decided.telemetry.chunk_d)
        before = max(allowed, logs.dropped_before(conn) or allowed)
        tables = upkeep.aged_tables(conn)
        n_chunks = sum(len(upkeep.whole_chunks(conn, table, before)) for table in tables)
        n_rows = sum(upkeep.count_older(conn, table, before) for table in tables)
    archive_before = cutoff(now, keep_d=decided.archive.keep_d)
    return UpkeepReport(
        True,
        tuple(str(table) for table in hypertables if _other_interval(table, decided)),
        tuple(str(table) for table in hypertables if not hindrance and _other_columnstore(table, decided)),
        hindrance if decided.telemetry.columnstore_after_d else None,
        before,
        wanted,
        n_chunks,
        n_rows,
        archive_before,
        0 if archive_before is None else len(upkeep.old_files(conn, archive_before)),
    )


def _wanted(decided: Upkeep, now: datetime) -> datetime | None:
    return cutoff(now, keep_d=decided.telemetry.keep_d, step_d=decided.telemetry.chunk_d)


def _other_interval(table: Hypertable, decided: Upkeep) -> bool:
    """Trouble codes and events keep their long chunks: they are few."""
    return table.schema == "telemetry" and table.chunk.total_seconds() != decided.telemetry.chunk_d * 86_400


def _other_columnstore(table: Hypertable, decided: Upkeep) -> bool:
    after_d = decided.telemetry.columnstore_after_d
    if table.schema != "telemetry":
        return False
    if not after_d:
        return table.policy
    after = table.columnstore_after
    return after is None or after.total_seconds() != after_d * 86_400


def _set_up(conn: Connection, decided: Upkeep, postponed: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the tables that got another chunk interval, and another rule for the columnstore."""
    intervals, columns = [], []
    hindrance = columnstore_hindrance(conn)
    for table in fetch_hypertables(conn):
        try:
            if _other_interval(table, decided):
                with upkeep.short_transaction(conn, table, decided.work):
                    set_chunk_interval(conn, table, decided.telemetry.chunk_d)
                intervals.append(str(table))
            if not hindrance and _other_columnstore(table, decided):
                with upkeep.short_transaction(conn, table, decided.work):
                    set_columnstore(conn, table, decided.telemetry.columnstore_after_d)
                columns.append(str(table))
        except upkeep.BusyError:
            postponed.append(str(table))
    if columns:
        lift_decompression_limit(conn)
    return tuple(intervals), tuple(columns)


def _drop_rows(
    conn: Connection, decided: Upkeep, now: datetime, postponed: list[str], track: Track
) -> tuple[datetime | None, datetime | None, _Done]:
    """The cutoff by age, the one that holds, and what went."""
    done, wanted = _Done(), _wanted(decided, now)
    if wanted is None:
        return None, None, done
    before = logs.dropped_before(conn)
    if before is None or wanted > before:
        try:
            before = upkeep.refuse_older(conn, wanted, decided.telemetry.chunk_d)
        except upkeep.BusyError:
            postponed.append("pm.retention")
    if before is not None:
        tables = upkeep.aged_tables(conn)
        for table in track(tables, "old rows, by table", len(tables)):
            try:
                _drop_from(conn, table, before, decided.work, done)
            except upkeep.BusyError:
                postponed.append(str(table))
    return wanted, before, done


def _drop_from(conn: Connection, table: upkeep.AgedTable, before: datetime, work: Work, done: _Done) -> None:
    for chunk in upkeep.whole_chunks(conn, table, before):
        done.n_chunks += upkeep.drop_whole_chunk(conn, table, chunk, work)
    for n_rows in upkeep.delete_older(conn, table, before, work):
        done.n_rows += n_rows


def _drop_files(
    conn: Connection, decided: Upkeep, address: str, now: datetime, track: Track
) -> tuple[datetime | None, int]:
    """`pm.retention` is written last: files that a crash left are found again."""
    before = cutoff(now, keep_d=decided.archive.keep_d)
    if before is None:
        return None, 0
    files = upkeep.old_files(conn, before)
    n_files = sum(archive.delete(address, sha256) for sha256 in track(files, "old raw files", len(files)))
    upkeep.note_dropped(conn, "archive", before)
    return before, n_files
