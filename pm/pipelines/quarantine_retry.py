"""Files in quarantine -> ingested, or refused once more."""

import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from pm.canbus.dbc import load_dbc
from pm.errors import StoreError
from pm.pipelines.ingest import IngestJob, IngestReport, Keeping, ingest_logs
from pm.policy import Policy
from pm.progress import Track, silent
from pm.store import archive
from pm.tables import QUARANTINE


@dataclass(frozen=True)
class _Retry:
    url: str
    files: tuple[dict[str, Any], ...]
    dbc: tuple[Path, ...]
    policy: Policy
    keeping: Keeping


def retry_quarantined(
    url: str,
    files: pl.DataFrame,
    *,
    dbc: Sequence[Path],
    policy: Policy,
    keeping: Keeping,
    executor: Executor | None = None,
    track: Track = silent,
) -> tuple[IngestReport, ...]:
    """Ingest files (QUARANTINE) again, with the known_at, the time zero and the name they came with.

    One that is taken leaves quarantine in the transaction that stores it; one that is refused once more
    stays with its new reason. One whose bytes cannot be had from the archive is reported as refused
    with the exit code of that error, and the others go on.

    Raises:
        ConfigError: a DBC file cannot be used, or the archive's address.
        StoreError: the database could not do it.
    """
    load_dbc(dbc)  # a DBC that does not parse is one error, not one a file
    by_vehicle = QUARANTINE.check(files).sort("known_at", "sha256").partition_by("vehicle_id", maintain_order=True)
    tasks = [_Retry(url, tuple(group.to_dicts()), tuple(dbc), policy, keeping) for group in by_vehicle]
    done: Iterable[tuple[IngestReport, ...]]
    done = map(_retry_vehicle, tasks) if executor is None else executor.map(_retry_vehicle, tasks)
    return tuple(report for reports in track(done, "retry, by vehicle", len(tasks)) for report in reports)


def _retry_vehicle(task: _Retry) -> tuple[IngestReport, ...]:
    return tuple(_retry(task, file) for file in task.files)


def _retry(task: _Retry, file: dict[str, Any]) -> IngestReport:
    """One file at a time, so that no more than one stands on this disk a worker."""
    name = file["file_name"]
    with tempfile.TemporaryDirectory(prefix="pm-retry-") as folder:
        try:
            path = _fetched(task.keeping, file, Path(folder))
        except StoreError as reason:
            return IngestReport(Path(name), None, refused=f"{name}: {reason}", exit_code=reason.exit_code)
        job = IngestJob(path, file["vehicle_id"], file["known_at"], file["starts_at"])
        (report,) = ingest_logs(task.url, [job], dbc=task.dbc, policy=task.policy, keeping=task.keeping)
    said = None if report.refused is None else report.refused.replace(str(path), name)
    return replace(report, path=Path(name), refused=said)


def _fetched(keeping: Keeping, file: dict[str, Any], folder: Path) -> Path:
    if keeping.archive is None:
        raise StoreError(f"file {file['sha256']}: expected an archive to fetch it from, but got none")
    return archive.fetch(keeping.archive, file["sha256"], folder, file["file_name"], size_bytes=file["size_bytes"])
