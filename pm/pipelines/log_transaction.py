"""One log file in one transaction.

What belongs here: the order in which a file's manifest row, telemetry, trouble codes, counts and dirty
days are written, beside reading its bytes for the sha256 and for the archive. Many files, and files
that are refused, are `pm.pipelines.ingest`.

Three things go on at the same time: the main thread decodes, one thread writes to the database, and
one reads the bytes as they are. Only the writing thread uses the connection until both have ended.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Final

import polars as pl

from pm.canbus.columns import DecodedMessage
from pm.canbus.dbc import SignalDatabase
from pm.canbus.decode import DECODER_VERSION, DecodeReport, LogDecoder
from pm.canbus.logfile import LogFile, open_log
from pm.errors import DataError
from pm.pipelines.sifting import Sifter, rejected_json, without_vin
from pm.policy import Policy
from pm.store import archive, faults, frames, log_signals, logs, quarantine, telemetry, vehicles
from pm.store.connection import Connection, transaction

_MOST_WAITING_VALUES: Final = 1 << 20
"""Decoded values that wait to be written, nine bytes each."""
_WAITING_ROWS: Final = 90_000
"""Rows that wait before they are decoded when sampling: enough that each COPY is large (`LogDecoder` hands
the first ones over earlier, so that writing begins early)."""


Sifted = tuple[tuple[DecodedMessage, ...], pl.DataFrame]
"""Messages and trouble codes of a batch that may be stored."""


@dataclass(frozen=True)
class IngestJob:
    """One file to ingest: of which vehicle, known since when."""

    path: Path
    vehicle_id: int
    known_at: datetime
    start: datetime | None = None
    """For a log without absolute times: the instant of its time zero."""


@dataclass(frozen=True)
class Keeping:
    """What ingest keeps of a file besides what it says."""

    archive: str | None = None
    """Folder or fsspec address where the raw bytes are kept; None: nowhere."""
    secret: bytes | None = None
    """Keys the hashes of driver ids; None: they are dropped, whatever the policy says."""


@dataclass(frozen=True)
class StoredLog:
    """What was stored of a file."""

    log_file_id: int
    decoding: DecodeReport
    n_rows: int
    n_faults: int
    days: tuple[date, ...]


class _AlreadyStoredError(Exception):
    """The vehicle has a file of these bytes."""


def store_log(
    conn: Connection, job: IngestJob, database: SignalDatabase, policy: Policy, keeping: Keeping
) -> StoredLog | None:
    """Store one log file, whole or not at all; None where the vehicle has one of these bytes.

    Raises:
        DataError: the log cannot be read to its end.
        StoreError: the database or the archive could not do it.
    """
    with transaction(conn), ThreadPoolExecutor(1) as beside:
        logs.hold_vehicle(conn, job.vehicle_id)
        sha256 = beside.submit(file_sha256, job.path)
        return _LogTransaction(conn, job, database, policy, keeping, beside, sha256).store()


@dataclass
class _LogTransaction:
    """A file on its way in, inside the caller's transaction."""

    conn: Connection
    job: IngestJob
    database: SignalDatabase
    policy: Policy
    keeping: Keeping
    beside: ThreadPoolExecutor
    sha256: Future[str]
    kept: Future[archive.Archived] | None = None

    def store(self) -> StoredLog | None:
        self._keep_raw()
        try:
            try:
                with transaction(self.conn):
                    stored = self._store(expect_new=True)
            except frames.KeyStoredError:  # it overlaps a file that is stored, or is one
                stored = self._store(expect_new=False)
        except _AlreadyStoredError:
            return None
        if self.kept is not None:
            # Complete before the commit: a file that is stored can be decoded again. One that is only in
            # the archive does no harm.
            self.kept.result()
        return stored

    def _store(self, *, expect_new: bool) -> StoredLog:
        log = open_log(self.job.path, start=self.job.start)
        decoder, sifter = self._decoder(), self._sifter()
        log_file_id = logs.reserve(self.conn)
        writer = _Writer(self.conn, self.job.vehicle_id, log_file_id, expect_new)
        # Sifted where they are decoded: the writing thread has nothing to do but to keep the server busy.
        sifted = map(sifter.take, decoder.batches(log))
        if expect_new:
            # Rows first: the sha256 takes as long to make as half of them to write.
            _write_behind(writer.write, sifted)
            self._claim(log, log_file_id)
        else:
            # Which of two rows stays is decided by the manifest rows of both.
            self._claim(log, log_file_id)
            _write_behind(writer.write, sifted)
        stored = StoredLog(log_file_id, decoder.report, writer.n_rows, writer.n_faults, sifter.days)
        self._finish(stored, sifter)
        return stored

    def _claim(self, log: LogFile, log_file_id: int) -> None:
        sha256 = self.sha256.result()
        claimed = logs.claim(
            self.conn,
            log_file_id=log_file_id,
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
        if claimed is None:
            raise _AlreadyStoredError
        quarantine.release(self.conn, vehicle_id=self.job.vehicle_id, sha256=sha256)

    def _keep_raw(self) -> None:
        """Begin to archive the bytes as they are, once their sha256 is known."""
        address, path = self.keeping.archive, self.job.path
        if address is not None:
            self.kept = self.beside.submit(lambda: archive.put(address, path, sha256=self.sha256.result()))

    def _finish(self, stored: StoredLog, sifter: Sifter) -> None:
        report, log_file_id = stored.decoding, stored.log_file_id
        n_others = vehicles.note_vins(self.conn, self.job.vehicle_id, sifter.vins, known_at=self.job.known_at)
        log_signals.insert_log_signals(self.conn, sifter.log_signals(log_file_id))
        logs.finish(
            self.conn,
            log_file_id,
            first_at=report.first_at,
            last_at=report.last_at,
            n_frames=report.n_frames,
            n_decoded=report.n_decoded,
            rejected_json=rejected_json({**report.rejected, **sifter.rejected}, n_vins_of_others=n_others),
        )
        logs.mark_dirty(self.conn, self.job.vehicle_id, stored.days)

    def _decoder(self) -> LogDecoder:
        telemetry_policy = self.policy.telemetry
        return LogDecoder(
            self.database,
            sample_period_s=telemetry_policy.sample_period_s,
            old_conversion_method=telemetry_policy.old_conversion_method,
            waiting_rows=_WAITING_ROWS if telemetry_policy.sample_period_s else None,
        )

    def _sifter(self) -> Sifter:
        not_before = logs.dropped_before(self.conn)
        return Sifter(self.policy, known_at=self.job.known_at, not_before=not_before, secret=self.keeping.secret)


def _write_behind(write: Callable[[Sifted], None], batches: Iterable[Sifted]) -> None:
    """Write each batch in order while the next ones are decoded; few values wait, so memory is bounded."""
    with ThreadPoolExecutor(1) as writer:
        waiting: deque[tuple[Future[None], int]] = deque()
        n_waiting = 0
        for batch in batches:
            messages, codes = batch
            n_values = sum(message.n_values for message in messages) + codes.height * codes.width
            waiting.append((writer.submit(write, batch), n_values))
            n_waiting += n_values
            while waiting and (n_waiting > _MOST_WAITING_VALUES or waiting[0][0].done()):
                written, n_values = waiting.popleft()
                written.result()
                n_waiting -= n_values
        for written, _ in waiting:
            written.result()


@dataclass
class _Writer:
    """Writes the sifted batches of one file inside the caller's transaction, and counts."""

    conn: Connection
    vehicle_id: int
    log_file_id: int
    expect_new: bool
    n_rows: int = 0
    n_faults: int = 0

    def write(self, batch: Sifted) -> None:
        log_file_id = self.log_file_id
        messages, codes = batch
        for message in messages:
            self.n_rows += telemetry.insert_decoded(
                self.conn, message, vehicle_id=self.vehicle_id, log_file_id=log_file_id, expect_new=self.expect_new
            )
        if codes.height:
            rows = codes.with_columns(
                vehicle_id=pl.lit(self.vehicle_id, pl.Int32()), log_file_id=pl.lit(log_file_id, pl.Int64())
            )
            self.n_faults += faults.insert_faults(self.conn, rows, expect_new=self.expect_new)


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
