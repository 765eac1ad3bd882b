"""What is dropped for its age: rows of telemetry, trouble codes and events, and raw files.

What belongs here: `pm.retention`, finding what is too old, and taking it away on every engine. How long
things are kept is `pm.upkeep`; hypertables are `pm.store.timescale_hypertables`.

`pm.retention` is written first: from then on nothing from before is taken again. Then the rows go: whole
chunks where they are wholly older, the rest in batches, each a transaction of its own. What is cut off in
between is done by the next run, which looks at the rows and not at what the last one did.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final

import psycopg
from psycopg import sql

from pm.errors import StoreError
from pm.store import logs
from pm.store.queries import refusals, run
from pm.store.timescale_hypertables import Chunk, chunks_before, drop_chunk, fetch_hypertables
from pm.upkeep import Work, step_start

_WRITERS_TIMEOUT: Final = "60s"
"""For files that are being written to end; those that come meanwhile wait as long."""
_SMALLEST_ROW: Final = 28
"""Bytes of a row without columns and its pointer: no page holds more rows than its size by this."""
_BUSY: Final = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)


@dataclass(frozen=True)
class AgedTable:
    """A table whose rows go by age."""

    schema: str
    name: str
    hypertable: bool

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


class BusyError(StoreError):
    """A lock was not had in time: others work there. Nothing was changed, the next run may have it."""


def note_dropped(conn: psycopg.Connection, what: str, before: datetime) -> None:
    """Write `pm.retention` of "telemetry" or "archive". The instant only ever moves on."""
    run(conn, "retention", "note", what=what, dropped_before=before)


def database_now(conn: psycopg.Connection) -> datetime:
    """The server's clock."""
    row = run(conn, "retention", "database_now").fetchone()
    if row is None:
        raise StoreError("expected an instant, but got no row")
    now: datetime = row[0]
    return now.astimezone(UTC)


def aged_tables(conn: psycopg.Connection) -> tuple[AgedTable, ...]:
    """Tables of decoded telemetry, trouble codes and events, by name."""
    hypertables = {(table.schema, table.name) for table in fetch_hypertables(conn)}
    rows = run(conn, "retention", "tables").fetchall()
    return tuple(AgedTable(schema, name, (schema, name) in hypertables) for schema, name in rows)


def allowed_cutoff(conn: psycopg.Connection, cutoff: datetime, step_d: int) -> datetime:
    """`cutoff`, or an earlier step where days before it still wait for their daily aggregates."""
    since = logs.dropped_before(conn)
    row = run(conn, "retention", "first_dirty_day", since=since).fetchone()
    if row is None or row[0] is None:
        return cutoff
    return min(cutoff, step_start(datetime.combine(row[0], time(), UTC), step_d))


def refuse_older(conn: psycopg.Connection, cutoff: datetime, step_d: int) -> datetime:
    """From now on no row from before the cutoff is taken; returns the cutoff that holds.

    Waits for the files that are being written and looks for dirty days after them, so that nothing
    from before can still come in and no day goes before it was aggregated. Commits.

    Raises:
        BusyError: files were being written all the time.
    """
    with busy("writers of telemetry"), conn.transaction():
        run(conn, "retention", "lock_timeout", timeout=_WRITERS_TIMEOUT)
        logs.hold_all(conn)
        note_dropped(conn, "telemetry", allowed_cutoff(conn, cutoff, step_d))
    return logs.dropped_before(conn) or cutoff


def whole_chunks(conn: psycopg.Connection, table: AgedTable, cutoff: datetime) -> tuple[Chunk, ...]:
    """Chunks of the table with no row from the cutoff on, the oldest first; none on plain PostgreSQL."""
    if not table.hypertable:
        return ()
    return tuple(chunk for chunk in chunks_before(conn, table.schema, table.name, cutoff) if chunk.end <= cutoff)


def drop_whole_chunk(conn: psycopg.Connection, table: AgedTable, chunk: Chunk, work: Work) -> int:
    """Drop one chunk of `whole_chunks`, the oldest first; returns how many went. Commits.

    Raises:
        BusyError: it was being read all the time.
    """
    with short_transaction(conn, table, work):
        return drop_chunk(conn, table.schema, table.name, chunk)


def count_older(conn: psycopg.Connection, table: AgedTable, cutoff: datetime) -> int:
    """Rows of the table from before the cutoff that stand in no whole chunk, and go by themselves."""
    chunks = whole_chunks(conn, table, cutoff)
    since = max((chunk.end for chunk in chunks), default=datetime.min.replace(tzinfo=UTC))
    with refusals(f"table {table}"):
        row = conn.execute(
            sql.SQL("SELECT count(*) FROM {} WHERE time < %s AND time >= %s").format(table.identifier),
            (cutoff, since if chunks else "-infinity"),
        ).fetchone()
    return 0 if row is None else int(row[0])


def delete_older(conn: psycopg.Connection, table: AgedTable, cutoff: datetime, work: Work) -> Iterator[int]:
    """Delete what is older and stands in no whole chunk; yields the rows of each transaction.

    One pass over the pages of a plain table, or of the chunks that the cutoff lies in.

    Raises:
        BusyError: a row or table was not free in time.
    """
    if not table.hypertable:
        yield from _delete_pages(conn, table, table.identifier, cutoff, work)
        return
    for chunk in chunks_before(conn, table.schema, table.name, cutoff):
        if chunk.columnstore:
            yield from _delete_days(conn, table, chunk, cutoff, work)
        else:
            place = sql.Identifier(chunk.schema, chunk.name)
            yield from _delete_pages(conn, table, place, cutoff, work)


def _delete_pages(
    conn: psycopg.Connection, table: AgedTable, place: sql.Identifier, cutoff: datetime, work: Work
) -> Iterator[int]:
    """Page by page, since a table has no index that leads with time, and the pass shall read each page once."""
    row = run(conn, "retention", "pages", table=place.as_string(conn)).fetchone()
    n_pages, page_bytes = (0, 8192) if row is None else (int(row[0]), int(row[1]))
    step = max(1, work.rows_a_transaction // (page_bytes // _SMALLEST_ROW))
    delete = sql.SQL("DELETE FROM {} WHERE ctid >= %s::tid AND ctid < %s::tid AND time < %s").format(place)
    for page in range(0, n_pages, step):
        with short_transaction(conn, table, work):
            deleted = conn.execute(delete, (f"({page},0)", f"({page + step},0)", cutoff)).rowcount
        yield deleted


def _delete_days(
    conn: psycopg.Connection, table: AgedTable, chunk: Chunk, cutoff: datetime, work: Work
) -> Iterator[int]:
    """Day by day through the hypertable: rows in the columnstore have no pages of their own."""
    delete = sql.SQL("DELETE FROM {} WHERE time >= %s AND time < %s").format(table.identifier)
    start = chunk.start
    while start < min(chunk.end, cutoff):
        end = min(start + timedelta(days=1), chunk.end, cutoff)
        with short_transaction(conn, table, work):
            deleted = conn.execute(delete, (start, end)).rowcount
        yield deleted
        start = end


def old_files(conn: psycopg.Connection, cutoff: datetime) -> tuple[str, ...]:
    """sha256 of the files whose last row is older than `cutoff` and that may still be in the archive.

    Files that were considered by an earlier run are left out, unless they came since; those that wait
    in quarantine, too.
    """
    row = run(conn, "retention", "of_archive").fetchone()
    before, at = (None, None) if row is None else row
    found = run(conn, "retention", "old_files", before=cutoff, dropped_before=before, dropped_at=at)
    return tuple(str(each[0]) for each in found.fetchall())


@contextmanager
def read_only(conn: psycopg.Connection) -> Iterator[None]:
    """A transaction in which the database refuses every change."""
    with refusals("reading"), conn.transaction():
        run(conn, "retention", "read_only")
        yield


@contextmanager
def busy(what: str) -> Iterator[None]:
    """Tells a lock that was not had in time from everything else that goes wrong."""
    try:
        with refusals(what):
            yield
    except StoreError as error:
        if isinstance(error.__context__, _BUSY):
            raise BusyError(f"{what}: expected it to be free, but got others at work there") from None
        raise


@contextmanager
def short_transaction(conn: psycopg.Connection, table: object, work: Work) -> Iterator[None]:
    """A transaction that waits no longer for a lock than `work` allows.

    Raises:
        BusyError: it had to wait longer.
    """
    with busy(f"table {table}"), conn.transaction():
        run(conn, "retention", "lock_timeout", timeout=f"{round(work.lock_timeout_s * 1000)}ms")
        yield
