"""Log file -> telemetry, faults and manifest, one transaction a file.

A file is the unit of work and of truth: it is committed whole, exactly once, or not at all. Files
go through an `Executor` (a process pool by default), because decoding one does not need another.
"""

import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

import polars as pl

from pm.asof import require_instant
from pm.canbus.dbc import SignalDatabase, load_dbc
from pm.canbus.decode import DECODER_VERSION, DecodedBatch, LogDecoder
from pm.canbus.logfile import LogFile, open_log
from pm.canbus.staging import MOST_ROWS
from pm.errors import DataError
from pm.pipelines.quarantine import private_reason, set_aside
from pm.pipelines.sifting import Sifter, without_vin
from pm.policy import Policy
from pm.progress import Track, silent
from pm.settings import Settings
from pm.store import archive, faults, frames, log_signals, logs, quarantine, telemetry, vehicles
from pm.store.connection import Connection, connect
from pm.store.secret import installation_secret
from pm.tables import FAULT

_MOST_WAITING: Final = 2
"""Decoded batches that wait to be written."""
_SAMPLED_ROWS: Final = 6144
"""Rows of a message that are decoded at a time when sampling: few enough that writing begins early."""


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


@dataclass(frozen=True)
class Keeping:
    """What ingest keeps of a file besides what it says."""

    archive: str | None = None
    """Folder or fsspec address where the raw bytes are kept; None: nowhere."""
    secret: bytes | None = None
    """Keys the hashes of driver ids; None: they are dropped, whatever the policy says."""


_KEEPS_NOTHING: Final = Keeping()


def keeping_of(settings: Settings, policy: Policy) -> Keeping:
    """What this installation keeps; raises as `driver_secret` does."""
    return Keeping(settings.archive, driver_secret(settings, policy))


def driver_secret(settings: Settings, policy: Policy) -> bytes | None:
    """What keys the hashes of driver ids; None where the policy drops them.

    Raises:
        StoreError: the secret cannot be read or made.
    """
    return installation_secret(settings.home) if policy.privacy.driver_ids == "hash" else None


def ingest_log(
    conn: Connection, job: IngestJob, database: SignalDatabase, policy: Policy, *, keeping: Keeping = _KEEPS_NOTHING
) -> IngestReport:
    """Decode one log file and commit it; a file committed before for that vehicle changes nothing.

    Raises:
        DataError: the log cannot be read, holds no frame, or has times since its beginning only and
            `job.start` does not say when that was.
        StoreError: the database or the archive cannot be reached or refuses.
    """
    began = time.perf_counter()
    require_instant(job.known_at, "known_at")
    file = _File(conn, job, database, policy, keeping)
    log, sha256 = file.open(), file_sha256(job.path)
    with ThreadPoolExecutor(1) as beside, conn.transaction():
        logs.hold_vehicle(conn, job.vehicle_id)
        log_file_id = file.claim(log, sha256)
        if log_file_id is None:
            return IngestReport(job.path, None, seconds=time.perf_counter() - began)
        quarantine.release(conn, vehicle_id=job.vehicle_id, sha256=sha256)
        # The archive is written beside the database, and is complete before the commit: a file that is
        # stored can be decoded again. One that is only in the archive does no harm.
        kept = beside.submit(archive.put, keeping.archive, job.path, sha256=sha256) if keeping.archive else None
        try:
            with conn.transaction():
                report = file.store(log_file_id, log, expect_new=True)
        except frames.KeyStoredError:
            report = file.store(log_file_id, file.open(), expect_new=False)
        if kept is not None:
            kept.result()
    return replace(report, seconds=time.perf_counter() - began)


@dataclass(frozen=True)
class _File:
    """One file on its way into the database, inside the caller's transaction."""

    conn: Connection
    job: IngestJob
    database: SignalDatabase
    policy: Policy
    keeping: Keeping

    def open(self) -> LogFile:
        return open_log(self.job.path, start=self.job.start)

    def claim(self, log: LogFile, sha256: str) -> int | None:
        return logs.claim(
            self.conn,
            sha256=sha256,
            vehicle_id=self.job.vehicle_id,
            file_name=without_vin(self.job.path.name),
            format=log.format,
            known_at=self.job.known_at,
            dbc_sha256=self.database.sha256,
            decoder_version=DECODER_VERSION,
            size_bytes=self.job.path.stat().st_size,
            starts_at=self.job.start,
            sample_period_s=self.policy.telemetry.sample_period_s,
        )

    def store(self, log_file_id: int, log: LogFile, *, expect_new: bool) -> IngestReport:
        """All rows of the claimed file, and what came of it.

        Raises:
            KeyStoredError: with `expect_new`, a row of another file has a key of this one: they overlap.
        """
        decoder, sifter = self._decoder(), self._sifter()
        writer = _Writer(self.conn, sifter, self.job.vehicle_id, log_file_id, expect_new)
        _write_behind(writer.write, decoder.batches(log))
        report = decoder.report
        rejected = {**report.rejected, **sifter.rejected, **self._note_vins(sifter.vins)}
        log_signals.insert_log_signals(self.conn, sifter.log_signals(log_file_id))
        logs.finish(
            self.conn,
            log_file_id,
            first_at=report.first_at,
            last_at=report.last_at,
            n_frames=report.n_frames,
            n_decoded=report.n_decoded,
            rejected_json=json.dumps(rejected, sort_keys=True),
        )
        logs.mark_dirty(self.conn, self.job.vehicle_id, sifter.days)
        counts = (report.n_frames, report.n_decoded, writer.n_rows, writer.n_faults)
        return IngestReport(self.job.path, log_file_id, *counts, days=sifter.days)

    def _decoder(self) -> LogDecoder:
        telemetry_policy = self.policy.telemetry
        return LogDecoder(
            self.database,
            sample_period_s=telemetry_policy.sample_period_s,
            old_conversion_method=telemetry_policy.old_conversion_method,
            staged_rows=_SAMPLED_ROWS if telemetry_policy.sample_period_s else MOST_ROWS,
        )

    def _sifter(self) -> Sifter:
        not_before = logs.dropped_before(self.conn)
        return Sifter(self.policy, known_at=self.job.known_at, not_before=not_before, secret=self.keeping.secret)

    def _note_vins(self, vins: Iterable[str]) -> dict[str, int]:
        """Keep the VIN where the vehicle has none yet; how many in the log are another's."""
        vehicle_id, known_at = self.job.vehicle_id, self.job.known_at
        mine = [vehicles.note_vin(self.conn, vehicle_id, vin, known_at=known_at) for vin in sorted(vins)]
        return {"vin_of_another_vehicle": mine.count(False)} if False in mine else {}


def _write_behind(write: Callable[[DecodedBatch], None], batches: Iterable[DecodedBatch]) -> None:
    """Write each batch in order while the next ones are decoded; a few wait at most, so memory is bounded."""
    with ThreadPoolExecutor(1) as writer:
        waiting: deque[Future[None]] = deque()
        for batch in batches:
            waiting.append(writer.submit(write, batch))
            if len(waiting) > _MOST_WAITING:
                waiting.popleft().result()
        for written in waiting:
            written.result()


@dataclass
class _Writer:
    """Writes the decoded batches of one file inside the caller's transaction, and counts."""

    conn: Connection
    sifter: Sifter
    vehicle_id: int
    log_file_id: int
    expect_new: bool
    n_rows: int = 0
    n_faults: int = 0

    def write(self, batch: DecodedBatch) -> None:
        messages, codes = self.sifter.take(batch)
        for message in messages:
            self.n_rows += telemetry.insert_decoded(
                self.conn,
                message,
                vehicle_id=self.vehicle_id,
                log_file_id=self.log_file_id,
                expect_new=self.expect_new,
            )
        if codes.height:
            rows = codes.with_columns(
                vehicle_id=pl.lit(self.vehicle_id, pl.Int32()), log_file_id=pl.lit(self.log_file_id, pl.Int64())
            )
            self.n_faults += faults.insert_faults(
                self.conn, FAULT.check(rows, unique=False), expect_new=self.expect_new
            )


def ingest_logs(
    url: str,
    jobs: Sequence[IngestJob],
    *,
    dbc: Sequence[Path],
    policy: Policy,
    keeping: Keeping = _KEEPS_NOTHING,
    executor: Executor | None = None,
    track: Track = silent,
) -> tuple[IngestReport, ...]:
    """Ingest many files; a file that is refused is reported and the others go on.

    Files of one vehicle are taken by one worker: two would wait for each other. Their order changes
    nothing but the time it takes.
    """
    groups: dict[int, list[IngestJob]] = {}
    for job in jobs:
        groups.setdefault(job.vehicle_id, []).append(job)
    load_dbc(dbc)  # a DBC that does not parse is one error, not one a file
    arguments = [(url, tuple(group), tuple(dbc), policy, keeping) for group in groups.values()]
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


_Group = tuple[str, tuple[IngestJob, ...], tuple[Path, ...], Policy, Keeping]


def _ingest_group(group: _Group) -> tuple[IngestReport, ...]:
    url, jobs, dbc, policy, keeping = group
    database = _database(dbc)
    with connect(url) as conn:
        return tuple(_ingest_or_refuse(conn, job, database, policy, keeping) for job in jobs)


def _ingest_or_refuse(
    conn: Connection, job: IngestJob, database: SignalDatabase, policy: Policy, keeping: Keeping
) -> IngestReport:
    try:
        return ingest_log(conn, job, database, policy, keeping=keeping)
    except DataError as reason:
        said = _set_aside(conn, job, str(reason), keeping)
        return IngestReport(job.path, None, refused=said, exit_code=reason.exit_code)


def _set_aside(conn: Connection, job: IngestJob, reason: str, keeping: Keeping) -> str:
    """The reason as it is told; the file waits in quarantine where there is an archive for its bytes."""
    if keeping.archive is None:
        return private_reason(reason, job.path)
    kept = set_aside(
        conn,
        job.path,
        reason,
        archive_address=keeping.archive,
        vehicle_id=job.vehicle_id,
        known_at=job.known_at,
        starts_at=job.start,
    )
    return kept.reason


@lru_cache(maxsize=4)
def _database(dbc: tuple[Path, ...]) -> SignalDatabase:
    """Parsed once a worker process."""
    return load_dbc(dbc)
