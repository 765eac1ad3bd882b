"""One log file of the archive -> spool. What belongs here: the part of redecoding that touches no database."""

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path

from pm.canbus.dbc import SignalDatabase, load_dbc
from pm.canbus.decode import LogDecoder
from pm.canbus.logfile import open_log
from pm.errors import ConfigError, DataError, StoreError
from pm.pipelines.redecoding.spool import SpoolWriter, require_free
from pm.pipelines.sifting import Sifter
from pm.policy import Policy
from pm.store import archive


@dataclass(frozen=True)
class LogToRedecode:
    """A stored log: what it is, and what was told of it when it came."""

    log_file_id: int
    vehicle_id: int
    sha256: str
    file_name: str
    size_bytes: int | None
    known_at: datetime
    starts_at: datetime | None


@dataclass(frozen=True)
class RedecodeTask:
    """What a worker process is handed."""

    log: LogToRedecode
    archive_address: str
    dbc: tuple[Path, ...]
    dbc_sha256: tuple[str, ...]
    policy: Policy
    not_before: datetime | None
    secret: bytes | None
    folder: Path
    limit_bytes: int
    """Most bytes that the spool of one log may take."""
    least_free_bytes: int


@dataclass(frozen=True)
class SpooledLog:
    """A log that is decoded and waits in the spool."""

    log: LogToRedecode
    not_before: datetime | None
    path: Path
    n_bytes: int
    first_at: datetime | None
    last_at: datetime | None
    n_frames: int
    n_decoded: int
    rejected: dict[str, int]
    n_rows: dict[str, int]
    """Rows by message."""
    n_faults: int
    days: tuple[date, ...]
    vins: frozenset[str] = field(repr=False)


def redecode_log(task: RedecodeTask) -> SpooledLog:
    """Fetch a log from the archive, decode and sift it as ingest does, and write it to the spool.

    Raises:
        DataError: the log cannot be decoded (any more).
        StoreError: the archive has not got it or has other bytes, or the spool has no room.
    """
    log, spool = task.log, task.folder / f"{task.log.log_file_id}.arrows"
    with tempfile.TemporaryDirectory(dir=task.folder, prefix="raw-") as folder:
        require_free(task.folder, task.least_free_bytes + (log.size_bytes or 0))
        path = archive.fetch(task.archive_address, log.sha256, Path(folder), log.file_name, size_bytes=log.size_bytes)
        try:
            with SpoolWriter(spool, least_free_bytes=task.least_free_bytes) as writer:
                return _decode(task, path, spool, writer)
        except DataError as reason:
            raise DataError(f"{str(reason).replace(str(path), log.file_name)} (sha256 {log.sha256})") from None


def _decode(task: RedecodeTask, path: Path, spool: Path, writer: SpoolWriter) -> SpooledLog:
    telemetry = task.policy.telemetry
    decoder = LogDecoder(
        _database(task.dbc, task.dbc_sha256),
        sample_period_s=telemetry.sample_period_s,
        old_conversion_method=telemetry.old_conversion_method,
    )
    sifter = Sifter(task.policy, known_at=task.log.known_at, not_before=task.not_before, secret=task.secret)
    n_rows: Counter[str] = Counter()
    n_faults = 0
    for batch in decoder.batches(open_log(path, start=task.log.starts_at)):
        messages, codes = sifter.take(batch)
        for message in messages:
            writer.add(message)
            n_rows[message.plan.name] += message.n_rows
        if codes.height:
            writer.add_faults(codes)
            n_faults += codes.height
        if writer.n_bytes > task.limit_bytes:
            raise StoreError(f"spool {task.folder}: expected at most {task.limit_bytes} bytes, but got more")
    report = decoder.report
    sifter.log_signals(task.log.log_file_id).write_ipc(log_signals_file(spool))
    return SpooledLog(
        log=task.log,
        not_before=task.not_before,
        path=spool,
        n_bytes=writer.n_bytes,
        first_at=report.first_at,
        last_at=report.last_at,
        n_frames=report.n_frames,
        n_decoded=report.n_decoded,
        rejected={**report.rejected, **sifter.rejected},
        n_rows=dict(n_rows),
        n_faults=n_faults,
        days=sifter.days,
        vins=frozenset(sifter.vins),
    )


def log_signals_file(spool: Path) -> Path:
    """Where the counts of a log's signals (LOG_SIGNAL) wait, as Arrow IPC: too many to be held for all logs."""
    return spool.with_suffix(".signals")


@lru_cache(maxsize=4)
def _database(dbc: tuple[Path, ...], sha256: tuple[str, ...]) -> SignalDatabase:
    """Parsed once a worker process."""
    database = load_dbc(dbc)
    if database.sha256 != sha256:
        raise ConfigError(
            f"DBC files: expected those of sha256 {list(sha256)}, but got {list(database.sha256)}: changed"
        )
    return database
