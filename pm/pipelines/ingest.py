"""Log file -> telemetry, faults and manifest, one transaction a file.

A file is the unit of work and of truth: it is committed whole, exactly once, or not at all. Files
go through an `Executor` (a process pool by default), because decoding one does not need another.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

import polars as pl

from pm.asof import midnight, require_instant
from pm.canbus.dbc import SignalDatabase, load_dbc
from pm.canbus.decode import DECODER_VERSION, DecodedBatch, LogDecoder
from pm.canbus.logfile import open_log
from pm.errors import DataError
from pm.policy import Policy
from pm.progress import Track, silent
from pm.store import faults, logs, telemetry, vehicles
from pm.store.connection import Connection, connect
from pm.tables import FAULT

VIN_SPN: Final = 237
"""J1939-71: the vehicle identification number. It goes into `vehicle_identity` and nowhere else."""


@dataclass(frozen=True)
class IngestJob:
    """One file to ingest: of which vehicle, known since when."""

    path: Path
    vehicle_id: int
    known_at: datetime
    start: datetime | None = None
    """For a log without absolute times: the instant of its time zero."""


@dataclass(frozen=True)
class IngestReport:
    """What became of one file. `log_file_id` is None where it was there before or was refused."""

    path: Path
    log_file_id: int | None
    n_frames: int = 0
    n_decoded: int = 0
    n_rows: int = 0
    n_faults: int = 0
    days: tuple[date, ...] = ()
    seconds: float = 0.0
    refused: str | None = None
    exit_code: int = 0


def ingest_log(conn: Connection, job: IngestJob, database: SignalDatabase, policy: Policy) -> IngestReport:
    """Decode one log file and commit it; a file committed before for that vehicle changes nothing.

    Raises:
        DataError: the log cannot be read, holds no frame, or has times since its beginning only and
            `job.start` does not say when that was.
        StoreError: the database cannot be reached or refuses.
    """
    began = time.perf_counter()
    require_instant(job.known_at, "known_at")
    log = open_log(job.path, start=job.start)
    decoder = LogDecoder(
        database,
        sample_period_s=policy.telemetry.sample_period_s,
        old_conversion_method=policy.telemetry.old_conversion_method,
    )
    with conn.transaction():
        log_file_id = logs.claim(
            conn,
            sha256=file_sha256(job.path),
            vehicle_id=job.vehicle_id,
            file_name=job.path.name,
            format=log.format,
            known_at=job.known_at,
            dbc_sha256=database.sha256,
            decoder_version=DECODER_VERSION,
        )
        if log_file_id is None:
            return IngestReport(job.path, None, seconds=time.perf_counter() - began)
        floor = midnight(policy.telemetry.floor)
        writer = _Writer(conn, database, job, log_file_id, floor)
        for batch in decoder.batches(log):
            writer.write(batch)
        report = decoder.report
        logs.finish(
            conn,
            log_file_id,
            first_at=report.first_at,
            last_at=report.last_at,
            n_frames=report.n_frames,
            n_decoded=report.n_decoded,
            rejected_json=json.dumps({**report.rejected, **writer.rejected()}, sort_keys=True),
        )
        logs.mark_dirty(conn, job.vehicle_id, sorted(writer.days))
    return IngestReport(
        job.path,
        log_file_id,
        report.n_frames,
        report.n_decoded,
        writer.n_rows,
        writer.n_faults,
        tuple(sorted(writer.days)),
        time.perf_counter() - began,
    )


@dataclass
class _Writer:
    """Writes the decoded batches of one file inside the caller's transaction, and counts."""

    conn: Connection
    database: SignalDatabase
    job: IngestJob
    log_file_id: int
    floor: datetime
    n_rows: int = 0
    n_faults: int = 0
    n_impossible: int = 0
    days: set[date] = field(default_factory=set)
    vins: set[str] = field(default_factory=set)

    def write(self, batch: DecodedBatch) -> None:
        for message in batch.decoded:
            plan, decoded = message.plan, message.frame()
            if vin_columns := [signal.column for signal in plan.signals if signal.spn == VIN_SPN]:
                self.vins.update(decoded[vin_columns[0]].drop_nulls().to_list())
                continue
            self.n_rows += telemetry.insert_signals(
                self.conn, plan, self._possible(decoded), vehicle_id=self.job.vehicle_id, log_file_id=self.log_file_id
            )
        if not batch.faults.height:
            return
        found = self._possible(batch.faults).with_columns(
            vehicle_id=pl.lit(self.job.vehicle_id, pl.Int32()), log_file_id=pl.lit(self.log_file_id, pl.Int64())
        )
        self.n_faults += faults.insert_faults(self.conn, FAULT.check(found, unique=False))

    def rejected(self) -> dict[str, int]:
        """Counts of what was decoded and not taken, by reason; keeps the VIN where the vehicle has none."""
        vehicle_id, known_at = self.job.vehicle_id, self.job.known_at
        mine = [vehicles.note_vin(self.conn, vehicle_id, vin, known_at=known_at) for vin in sorted(self.vins)]
        counts = {"impossible_time": self.n_impossible, "vin_of_another_vehicle": mine.count(False)}
        return {reason: count for reason, count in counts.items() if count}

    def _possible(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows that happened after the policy's floor and not after they were known; notes their days."""
        first, last = frame["time"].min(), frame["time"].max()
        kept = frame
        # Looking first: nearly always all rows stay, and a filter costs more than two numbers.
        if isinstance(first, datetime) and isinstance(last, datetime):
            if first < self.floor or last > self.job.known_at:
                kept = frame.filter(pl.col("time").is_between(self.floor, self.job.known_at))
            self.days.update(kept["time"].dt.date().unique().to_list())
        self.n_impossible += frame.height - kept.height
        return kept


def ingest_logs(
    url: str,
    jobs: Sequence[IngestJob],
    *,
    dbc: Sequence[Path],
    policy: Policy,
    executor: Executor | None = None,
    track: Track = silent,
) -> tuple[IngestReport, ...]:
    """Ingest many files; a file that is refused is reported and the others go on.

    Files of one vehicle are taken in the given order by one worker, so that of overlapping files
    the one known first keeps its rows.
    """
    groups: dict[int, list[IngestJob]] = {}
    for job in jobs:
        groups.setdefault(job.vehicle_id, []).append(job)
    load_dbc(dbc)  # a DBC that does not parse is one error, not one a file
    arguments = [(url, tuple(group), tuple(dbc), policy) for group in groups.values()]
    done: Iterable[tuple[IngestReport, ...]]
    done = map(_ingest_group, arguments) if executor is None else executor.map(_ingest_group, arguments)
    reports: list[IngestReport] = []
    for group_reports in track(done, "ingest, by vehicle", len(arguments)):
        reports.extend(group_reports)
    return tuple(reports)


def jobs_for(conn: Connection, files: Iterable[tuple[Path, str, datetime]]) -> tuple[IngestJob, ...]:
    """Jobs for (path, vehicle_ref, known_at).

    Raises:
        DataError: a vehicle is not known.
    """
    ids: dict[str, int] = {}
    jobs = []
    for path, vehicle_ref, known_at in files:
        if vehicle_ref not in ids:
            ids[vehicle_ref] = vehicles.vehicle_id(conn, vehicle_ref)
        jobs.append(IngestJob(path, ids[vehicle_ref], known_at))
    return tuple(jobs)


def file_sha256(path: Path) -> str:
    """sha256 of the file's bytes, hex.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as reason:
        raise DataError(f"{path}: expected a readable file, but got: {reason.strerror}") from None


def _ingest_group(arguments: tuple[str, tuple[IngestJob, ...], tuple[Path, ...], Policy]) -> tuple[IngestReport, ...]:
    url, jobs, dbc, policy = arguments
    database = _database(dbc)
    with connect(url) as conn:
        return tuple(_ingest_or_refuse(conn, job, database, policy) for job in jobs)


def _ingest_or_refuse(conn: Connection, job: IngestJob, database: SignalDatabase, policy: Policy) -> IngestReport:
    try:
        return ingest_log(conn, job, database, policy)
    except DataError as reason:
        return IngestReport(job.path, None, refused=str(reason), exit_code=reason.exit_code)


@lru_cache(maxsize=4)
def _database(dbc: tuple[Path, ...]) -> SignalDatabase:
    """Parsed once a worker process."""
    return load_dbc(dbc)
