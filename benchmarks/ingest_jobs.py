"""What is measured at a database: the product's ingest and reading back, and the plain ways beside them, as jobs.

What belongs here: calls of the product's public functions, of psycopg and of COPY, as a user would write them.
The databases they work in are made by `ingest_server.py`.
"""

import multiprocessing
import secrets
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, Final

import polars as pl
import psycopg
from psycopg import sql

from benchmarks.ingest_server import identifier
from benchmarks.job import Counts
from pm.canbus.dbc import load_dbc
from pm.pipelines.ingest import IngestJob, IngestReport, Keeping, ingest_log, ingest_logs
from pm.policy import Policy
from pm.store import telemetry, vehicles
from pm.store.connection import connect

KNOWN_AT: Final = datetime(2026, 1, 1, tzinfo=UTC)
BYTES_SUFFIX: Final = ".copy"
FIRST_SUFFIX: Final = ".first"
"""One row a day of a table, to make its chunks with."""
_READY_LIMIT_S: Final = 300
_READINGS: Final = 15
_PIECE_BYTES: Final = 1 << 17


def add_vehicle(conn: psycopg.Connection) -> int:
    """A vehicle that nothing is stored of."""
    return vehicles.add_vehicle(conn, fleet="bench", vehicle_ref=secrets.token_hex(8), known_at=KNOWN_AT)


def policy_of(sample_s: float) -> Policy:
    """The default policy, with another sampling period."""
    return replace(Policy(), telemetry=replace(Policy().telemetry, sample_period_s=sample_s))


def _counts(reports: tuple[IngestReport, ...]) -> Counts:
    refused = [report.refused or "there already" for report in reports if report.log_file_id is None]
    if refused:
        raise RuntimeError(f"expected every file to be committed, but got: {refused[0]}")
    n_rows = sum(report.n_rows + report.n_faults for report in reports)
    return Counts(sum(report.n_frames for report in reports), rows=n_rows)


class Ingest:
    """`ingest_log`: from opening the log to the end of the COMMIT, each time for another vehicle."""

    def __init__(self, dbc: Path, *, url: str, sample_s: float, archive: str | None = None) -> None:
        self._database, self._policy, self._keeping = load_dbc([dbc]), policy_of(sample_s), Keeping(archive)
        self._conn = connect(url)
        self._vehicles = iter([add_vehicle(self._conn) for _ in range(2)])  # one for the short log before

    def run(self, files: list[Path]) -> IngestReport:
        job = IngestJob(files[0], next(self._vehicles), KNOWN_AT)
        return ingest_log(self._conn, job, self._database, self._policy, keeping=self._keeping)

    def counts(self, result: IngestReport) -> Counts:
        return _counts((result,))


def _start_worker(url: str, dbc: Path, sample_s: float, warm_file: Path, all_ready: Barrier) -> None:
    with connect(url) as conn:
        warm_job = IngestJob(warm_file, add_vehicle(conn), KNOWN_AT)
    ingest_logs(url, [warm_job], dbc=[dbc], policy=policy_of(sample_s))
    all_ready.wait(_READY_LIMIT_S)


class IngestPool:
    """`ingest_logs` of many files, each of another vehicle, by a pool of processes that are started and warm."""

    def __init__(self, dbc: Path, *, url: str, sample_s: float, n_processes: int, warm_file: str) -> None:
        self._dbc, self._url, self._sample_s, self._n_processes = dbc, url, sample_s, n_processes
        self._warm_file = Path(warm_file)

    def run(self, files: list[Path]) -> tuple[tuple[IngestReport, ...], float]:
        with connect(self._url) as conn:
            jobs = [IngestJob(path, add_vehicle(conn), KNOWN_AT) for path in files]
        context = multiprocessing.get_context("spawn")
        all_ready = context.Barrier(self._n_processes + 1)
        arguments = (self._url, self._dbc, self._sample_s, self._warm_file, all_ready)
        with ProcessPoolExecutor(self._n_processes, context, _start_worker, arguments) as pool:
            started = [pool.submit(time.monotonic) for _ in range(self._n_processes)]
            all_ready.wait(_READY_LIMIT_S)
            for each in started:
                each.result()
            began = time.perf_counter()
            reports = ingest_logs(self._url, jobs, dbc=[self._dbc], policy=policy_of(self._sample_s), executor=pool)
            return reports, time.perf_counter() - began

    def counts(self, result: tuple[tuple[IngestReport, ...], float]) -> Counts:
        reports, seconds = result
        return replace(_counts(reports), seconds=seconds, peak_bytes=0)


def write_bytes(url: str, tables: dict[str, list[str]], folder: Path) -> None:
    """The rows of these tables as the bytes of one binary COPY each, in the order in which they were written.

    They are what the product's encoder sends: the format leaves no choice.
    """
    with connect(url) as conn:
        conn.execute("SET synchronize_seqscans = off")
        for table, columns in tables.items():
            every = sql.SQL("SELECT {} FROM {}").format(_names(columns), identifier(table))
            first = sql.SQL('SELECT DISTINCT ON ("time"::date) {} FROM {} ORDER BY "time"::date').format(
                _names(columns), identifier(table)
            )
            for query, suffix in ((every, BYTES_SUFFIX), (first, FIRST_SUFFIX)):
                with (folder / f"{table}{suffix}").open("wb") as file, conn.cursor() as cursor:
                    command = sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(query)
                    with cursor.copy(command) as copy:
                        file.writelines(copy)


def make_chunks(url: str, tables: dict[str, list[str]], folder: Path) -> None:
    """The chunks that the rows will need, without the rows."""
    with connect(url) as conn:
        for table, columns in tables.items():
            _copy_in(conn, table, columns, (folder / f"{table}{FIRST_SUFFIX}").read_bytes())
            conn.execute(sql.SQL("DELETE FROM {}").format(identifier(table)))
            conn.execute(sql.SQL("VACUUM ANALYZE {}").format(identifier(table)))
        conn.execute("CHECKPOINT")


def _names(columns: list[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def _copy_in(conn: psycopg.Connection, table: str, columns: list[str], content: bytes) -> int:
    command = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(identifier(table), _names(columns))
    with conn.cursor() as cursor:
        with cursor.copy(command) as copy:
            for piece in _pieces(content):
                copy.write(piece)
        return cursor.rowcount


def _pieces(content: bytes) -> Iterator[memoryview]:
    view = memoryview(content)
    for start in range(0, len(content), _PIECE_BYTES):
        yield view[start : start + _PIECE_BYTES]


class BareCopy:
    """One binary COPY a table in one transaction, of bytes that wait in memory."""

    def __init__(self, dbc: Path, *, url: str, folder: str, tables: dict[str, list[str]]) -> None:  # noqa: ARG002
        self._conn, self._tables = connect(url), tables
        self._bytes = {table: (Path(folder) / f"{table}{BYTES_SUFFIX}").read_bytes() for table in tables}

    def run(self, files: list[Path]) -> int:  # noqa: ARG002 - the bytes are all there is
        with self._conn.transaction():
            return sum(
                _copy_in(self._conn, table, columns, self._bytes[table]) for table, columns in self._tables.items()
            )

    def counts(self, result: int) -> Counts:
        return Counts(0, rows=result)


class ExecuteMany:
    """psycopg's executemany of some of the same rows, in one transaction; the rows wait as Python tuples."""

    def __init__(self, dbc: Path, *, url: str, folder: str, tables: dict[str, list[str]], share: float) -> None:  # noqa: ARG002
        self._conn, self._tables = connect(url), tables
        self._rows = {
            table: self._some(table, columns, (Path(folder) / f"{table}{BYTES_SUFFIX}").read_bytes(), share)
            for table, columns in tables.items()
        }

    def _some(self, table: str, columns: list[str], content: bytes, share: float) -> list[tuple[Any, ...]]:
        """The first rows of what the bytes hold, by way of a table that is gone afterwards."""
        with self._conn.transaction(force_rollback=True):
            self._conn.execute(sql.SQL("CREATE TEMP TABLE waiting (LIKE {})").format(identifier(table)))
            n_rows = _copy_in(self._conn, "pg_temp.waiting", columns, content)
            query = sql.SQL("SELECT {} FROM pg_temp.waiting LIMIT {}").format(
                _names(columns), sql.Literal(max(1, round(share * n_rows)))
            )
            return self._conn.execute(query).fetchall()

    def run(self, files: list[Path]) -> int:  # noqa: ARG002
        with self._conn.transaction(), self._conn.cursor() as cursor:
            for table, columns in self._tables.items():
                values = sql.SQL(", ").join([sql.Placeholder()] * len(columns))
                statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})")
                cursor.executemany(statement.format(identifier(table), _names(columns), values), self._rows[table])
        return sum(map(len, self._rows.values()))

    def counts(self, result: int) -> Counts:
        return Counts(0, rows=result)


class ReadBack:
    """A day of one truck, of one message or all, several times; the median counts.

    `way`: "fetch_signals" is the product's, "fetchall" psycopg's rows made into a polars frame.
    """

    def __init__(
        self,
        dbc: Path,  # noqa: ARG002 - every job gets it
        *,
        url: str,
        vehicle_id: int,
        span: list[str],
        messages: list[str],
        way: str,
    ) -> None:
        self._conn, self._vehicle_id, self._messages, self._way = connect(url), vehicle_id, messages, way
        self._start, self._end = map(datetime.fromisoformat, span)
        self._queries = {message: self._query(message) for message in messages}

    def run(self, files: list[Path]) -> tuple[int, float]:  # noqa: ARG002
        read = self._fetch_signals if self._way == "fetch_signals" else self._fetchall
        seconds, n_rows = [], 0
        for _ in range(_READINGS + 1):
            began = time.perf_counter()
            n_rows = sum(read(message).height for message in self._messages)
            seconds.append(time.perf_counter() - began)
        return n_rows, statistics.median(seconds[1:])

    def counts(self, result: tuple[int, float]) -> Counts:
        n_rows, seconds = result
        return Counts(0, seconds=seconds, rows=n_rows)

    def _fetch_signals(self, message: str) -> pl.DataFrame:
        return telemetry.fetch_signals(
            self._conn, message, vehicle_id=self._vehicle_id, start=self._start, end=self._end
        )

    def _query(self, message: str) -> sql.Composed:
        """Every column of the message's rows of one vehicle and span, in the order in which the server gives them."""
        row = self._conn.execute("SELECT table_name FROM pm.signal WHERE message = %s LIMIT 1", (message,)).fetchone()
        assert row is not None  # noqa: S101 - the messages were read from there
        return sql.SQL('SELECT * FROM {} WHERE vehicle_id = %s AND "time" >= %s AND "time" < %s').format(
            identifier(f"telemetry.{row[0]}")
        )

    def _fetchall(self, message: str) -> pl.DataFrame:
        cursor = self._conn.execute(self._queries[message], (self._vehicle_id, self._start, self._end))
        names = [column.name for column in cursor.description or ()]
        return pl.DataFrame(cursor.fetchall(), schema=names, orient="row", infer_schema_length=None)
