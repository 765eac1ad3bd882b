"""Archive -> telemetry: a span of event time decoded again, replacing what is stored of it.

Phase 1 decodes in parallel into a spool on disk and writes nothing to the database. Phase 2 is one
transaction: a reader sees all of the old rows until it commits, then all of the new ones. Stopped at any
point, it has done nothing or everything. known_at stays: what a file says was known when it came.
"""

import shutil
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, get_args

import polars as pl

from pm.asof import require_instant
from pm.canbus.dbc import SignalDatabase, load_dbc
from pm.canbus.formats.sniff import LogFormat
from pm.errors import DataError, StoreError
from pm.pipelines.redecoding.choice import logs_to_redecode
from pm.pipelines.redecoding.log import LogToRedecode, RedecodeTask, SpooledLog, redecode_log
from pm.pipelines.redecoding.replacement import Replacement, lost_sentence, plans_of, replace_rows
from pm.pipelines.redecoding.spool import spool_folder
from pm.policy import Policy
from pm.progress import Track, silent
from pm.store import archive, logs, redecoding, telemetry
from pm.store.connection import Connection, connect, transaction

LEAST_FREE_BYTES: Final = 1 << 29
"""The spool leaves at least so much of the disk free, 512 MiB."""
ROUNDS: Final = 5
"""So often files that arrived meanwhile are decoded too; each round is shorter than the one before."""
_LOG_FORMATS: Final = get_args(LogFormat)


@dataclass(frozen=True)
class RedecodeRequest:
    """What is to be decoded again, and how."""

    start: datetime
    end: datetime
    """start <= time < end, by event time."""
    dbc: tuple[Path, ...]
    redecoded_at: datetime
    vehicle_ids: tuple[int, ...] | None = None
    """None: all vehicles."""
    drop_messages: bool = False
    """Go on where a stored message would have no rows any more."""
    skip_missing: bool = False
    """Leave files as they are that the archive has not got."""


@dataclass(frozen=True)
class RedecodePlan:
    """What would be done."""

    n_files: int
    n_frames: int
    size_bytes: int
    """Of the files as they came, where known."""
    n_missing: int
    """Files that the archive has not got."""
    messages: tuple[str, ...]
    """Messages that have rows of these files now."""
    lost_messages: tuple[str, ...]
    """Those of them that no DBC file names."""


@dataclass(frozen=True)
class RedecodeReport:
    """What was done."""

    replaced: Replacement
    n_frames: int
    n_skipped: int
    """Files that the archive has not got, left as they are."""
    n_late: int
    """Files that went on arriving, left as they are."""
    spool_bytes: int
    seconds: float


def plan_redecode(
    url: str, request: RedecodeRequest, *, archive_address: str, policy: Policy, track: Track = silent
) -> RedecodePlan:
    """Look only: which files, and what stands in the way.

    Raises:
        ConfigError: a DBC file cannot be used.
        StoreError: the database or the archive cannot be reached.
    """
    database = load_dbc(request.dbc)
    with connect(url) as conn:
        files = _chosen(conn, request, policy)
        messages = redecoding.messages_with_rows(conn, files)
    missing = _missing(archive_address, files, track)
    return RedecodePlan(
        files.height,
        int(files["n_frames"].sum()),
        int(files["size_bytes"].sum()),
        len(missing),
        messages,
        _not_named(messages, database),
    )


def redecode(
    url: str,
    request: RedecodeRequest,
    *,
    archive_address: str,
    spool_root: Path,
    policy: Policy,
    secret: bytes | None = None,
    spool_limit_bytes: int | None = None,
    executor: Executor | None = None,
    track: Track = silent,
) -> RedecodeReport:
    """Decode the logs of a span again from the archive and replace their rows.

    Args:
        secret: keys the hashes of driver ids (`pm.pipelines.ingest.Keeping`).
        spool_limit_bytes: None: half of what is free below `spool_root`.

    Raises:
        ConfigError: a DBC file cannot be used, or does not fit a stored table.
        DataError: files are missing in the archive, one cannot be decoded any more, or a stored message
            would have no rows. The database is as before.
        StoreError: the database, the archive or the disk could not do it. The database is as before.
    """
    began = time.perf_counter()
    require_instant(request.start, "start")
    require_instant(request.end, "end")
    database = load_dbc(request.dbc)
    with spool_folder(spool_root) as folder:
        limit = shutil.disk_usage(folder).free // 2 if spool_limit_bytes is None else spool_limit_bytes
        run = _Run(url, request, archive_address, folder, policy, secret, limit, database, executor, track)
        return replace(run.to_end(), seconds=time.perf_counter() - began)


@dataclass
class _Run:
    """One redecoding: what is spooled so far, and the rounds until all is."""

    url: str
    request: RedecodeRequest
    archive_address: str
    folder: Path
    policy: Policy
    secret: bytes | None
    limit_bytes: int
    database: SignalDatabase
    executor: Executor | None
    track: Track
    spooled: dict[int, SpooledLog] = field(default_factory=dict)
    missing: set[int] = field(default_factory=set)

    def to_end(self) -> RedecodeReport:
        self._decode(*self._look())
        for n_left in reversed(range(ROUNDS)):
            report = self._replace(is_last=n_left == 0)
            if report is not None:
                return report
            self._decode(*self._look())
        raise StoreError("redecode: expected the last round to end, but got none")

    def _look(self) -> tuple[pl.DataFrame, datetime | None]:
        """Files that are to be decoded, and from when on telemetry is kept; refuses what can be known now."""
        with connect(self.url) as conn:
            files, not_before = self._wanted(conn)
            if not self.request.drop_messages:
                lost = _not_named(redecoding.messages_with_rows(conn, files), self.database)
                if lost:
                    raise DataError(lost_sentence(lost))
        return files, not_before

    def _wanted(self, conn: Connection) -> tuple[pl.DataFrame, datetime | None]:
        files = _chosen(conn, self.request, self.policy)
        return files.filter(~pl.col("log_file_id").is_in(list(self.missing))), logs.dropped_before(conn)

    def _decode(self, files: pl.DataFrame, not_before: datetime | None) -> None:
        """Spool what is not spooled yet."""
        waiting = files.filter(
            ~pl.col("log_file_id").is_in([log.log.log_file_id for log in self._ready(files, not_before)])
        )
        missing = _missing(self.archive_address, waiting, self.track)
        if missing and not self.request.skip_missing:
            raise DataError(
                f"redecode: expected {waiting.height} files in the archive, but got {len(missing)} that are missing, "
                f"for instance {waiting.filter(pl.col('log_file_id') == min(missing))['file_name'][0]}"
            )
        self.missing |= missing
        wanted = [log for log in _logs(waiting) if log.log_file_id not in missing]
        tasks = [self._task(log, not_before) for log in wanted]
        done: Iterable[SpooledLog]
        done = map(redecode_log, tasks) if self.executor is None else self.executor.map(redecode_log, tasks)
        for log in self.track(done, "decode logs", len(tasks)):
            self.spooled[log.log.log_file_id] = log
            self._require_room()

    def _task(self, log: LogToRedecode, not_before: datetime | None) -> RedecodeTask:
        return RedecodeTask(
            log=log,
            archive_address=self.archive_address,
            dbc=tuple(self.request.dbc),
            dbc_sha256=self.database.sha256,
            policy=self.policy,
            not_before=not_before,
            secret=self.secret,
            folder=self.folder,
            limit_bytes=self.limit_bytes,
            least_free_bytes=LEAST_FREE_BYTES,
        )

    @property
    def _spool_bytes(self) -> int:
        return sum(log.n_bytes for log in self.spooled.values())

    def _require_room(self) -> None:
        if self._spool_bytes > self.limit_bytes:
            raise StoreError(
                f"spool {self.folder}: expected at most {self.limit_bytes} bytes, but got {self._spool_bytes} "
                f"after {len(self.spooled)} files: take a shorter span or fewer vehicles"
            )

    def _ready(self, files: pl.DataFrame, not_before: datetime | None) -> list[SpooledLog]:
        """What is spooled of `files`, in their order.

        Not of a file that was forgotten and came again, nor what was sifted by another age that is kept.
        """
        found = ((log, self.spooled.get(log.log_file_id)) for log in _logs(files))
        return [done for log, done in found if done is not None and done.log == log and done.not_before == not_before]

    def _replace(self, *, is_last: bool) -> RedecodeReport | None:
        """None: more files are there than are spooled, and nothing was done."""
        plans = plans_of(self.spooled.values(), self.database)
        with connect(self.url) as conn:
            # Before: who changes a table waits for everybody who writes to it, and would wait for itself.
            telemetry.ensure_tables(conn, replace(self.database, messages=tuple(plans.values())))
            with transaction(conn):
                logs.hold_all(conn)
                files, not_before = self._wanted(conn)
                ready = self._ready(files, not_before)
                if len(ready) < files.height and not is_last:
                    return None
                done = replace_rows(
                    conn,
                    files.filter(pl.col("log_file_id").is_in([log.log.log_file_id for log in ready])),
                    ready,
                    plans,
                    dbc_sha256=self.database.sha256,
                    sample_period_s=self.policy.telemetry.sample_period_s,
                    redecoded_at=self.request.redecoded_at,
                    drop_messages=self.request.drop_messages,
                    track=self.track,
                )
        return RedecodeReport(
            replaced=done,
            n_frames=sum(log.n_frames for log in ready),
            n_skipped=len(self.missing),
            n_late=files.height - len(ready),
            spool_bytes=self._spool_bytes,
            seconds=0.0,
        )


def _chosen(conn: Connection, request: RedecodeRequest, policy: Policy) -> pl.DataFrame:
    files = redecoding.fetch_logs(conn, formats=_LOG_FORMATS, vehicle_ids=request.vehicle_ids)
    return logs_to_redecode(files, start=request.start, end=request.end, telemetry=policy.telemetry)


def _logs(files: pl.DataFrame) -> list[LogToRedecode]:
    columns = ("log_file_id", "vehicle_id", "sha256", "file_name", "size_bytes", "known_at", "starts_at")
    rows: Iterable[dict[str, Any]] = files.select(columns).iter_rows(named=True)
    return [LogToRedecode(**row) for row in rows]


def _missing(archive_address: str, files: pl.DataFrame, track: Track) -> set[int]:
    """log_file_id of the files that the archive has not got."""
    pairs = list(files.select("log_file_id", "sha256").iter_rows())
    return {
        log_file_id
        for log_file_id, sha256 in track(pairs, "look into the archive", len(pairs))
        if not archive.has(archive_address, sha256)
    }


def _not_named(messages: Sequence[str], database: SignalDatabase) -> tuple[str, ...]:
    named = {message.name for message in database.messages}
    return tuple(message for message in messages if message not in named)
