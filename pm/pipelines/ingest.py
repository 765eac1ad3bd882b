"""Log files -> telemetry, faults and manifest, each in one transaction.

A file is the unit of work and of truth: it is committed whole, exactly once, or not at all
(`pm.pipelines.log_transaction`). Files go through an `Executor` (a process pool by default), because
decoding one does not need another.
"""

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

from pm.asof import require_instant
from pm.canbus.dbc import SignalDatabase, load_dbc
from pm.errors import DataError
from pm.pipelines.log_transaction import IngestJob, Keeping, StoredLog, store_log
from pm.pipelines.quarantine import private_reason, set_aside
from pm.policy import Policy
from pm.progress import Track, silent
from pm.settings import Settings
from pm.store import vehicles
from pm.store.connection import Connection, connect
from pm.store.secret import installation_secret

__all__ = [
    "IngestJob",
    "IngestReport",
    "Keeping",
    "driver_secret",
    "ingest_log",
    "ingest_logs",
    "jobs_for",
    "keeping_of",
]


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
    stored = store_log(conn, job, database, policy, keeping)
    report = IngestReport(job.path, None) if stored is None else _report(job, stored)
    return replace(report, seconds=time.perf_counter() - began)


def _report(job: IngestJob, stored: StoredLog) -> IngestReport:
    counts = (stored.decoding.n_frames, stored.decoding.n_decoded, stored.n_rows, stored.n_faults)
    return IngestReport(job.path, stored.log_file_id, *counts, days=stored.days)


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
