"""Live CAN buses -> rotating logs in the inbox.

What belongs here: when a file begins and ends, what is counted, and how a capture ends. The capture
never sends a frame. A file ends by size, by time (at multiples of the period since midnight UTC, and
at midnight), when every bus went away, and with the capture.
"""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, Literal, Protocol

import can

from pm.canbus.bus import BusOptions, open_bus
from pm.canbus.formats.write import CaptureFormat, Channels, channel_name
from pm.canbus.listen import Listening, Opener
from pm.errors import ConfigError, DataError, PmError, StoreError
from pm.pipelines.capture_files import CapturedFile, GrowingFile, Place, check_manifest, file_stem, recover

POLL_S: Final = 0.05
SYNC_S: Final = 5.0
"""A power cut costs at most about this much; a killed process a tenth of a second."""
PROGRESS_S: Final = 1.0
QUIET_S: Final = 30.0
CHUNK_FRAMES: Final = 2_000
EARLIEST_CLOCK: Final = datetime(2024, 1, 1, tzinfo=UTC)
"""A machine without a battery clock begins in 1970 or at its last shutdown; its stamps would be wrong."""
MEGABYTE: Final = 1_000_000

EndedBy = Literal["stopped", "frames", "duration", "bus lost", "disk"]

# linux/can/error.h: the class of an error frame is a bit of its identifier.
_ERROR_CLASSES: Final = (
    "tx_timeout",
    "lost_arbitration",
    "controller",
    "protocol",
    "transceiver",
    "no_acknowledgement",
    "bus_off",
    "bus_error",
    "restarted",
)
_CONTROLLER: Final = 0x04
_RX_OVERFLOW: Final = 0x01


@dataclass(frozen=True)
class CaptureJob:
    """What to listen to, and where to put it."""

    inbox: Path
    vehicle_ref: str
    bus: BusOptions
    channels: tuple[str | None, ...]
    """None: the interface's own default."""
    format: CaptureFormat = "candump"
    rotate_bytes: int = 64 * MEGABYTE
    rotate_s: int = 900
    duration_s: float | None = None
    n_frames: int | None = None
    give_up_s: float = 600.0
    """How long every bus may be away before the capture ends."""
    reserve_bytes: int = 500 * MEGABYTE
    """Space on the inbox's disk that is left to others."""


@dataclass
class CaptureReport:
    """What was captured. `problem` and `exit_code` say why it ended, where it did not end well."""

    vehicle_ref: str
    ended_by: EndedBy = "stopped"
    n_frames: int = 0
    """Frames written: data, remote and error."""
    n_remote: int = 0
    n_error: int = 0
    n_bytes: int = 0
    """Bytes of finished files."""
    seconds: float = 0.0
    channels: dict[str, int] = field(default_factory=dict)
    """Frames by channel."""
    error_classes: dict[str, int] = field(default_factory=dict)
    """Error frames by class, as SocketCAN tells it; one frame may be of several."""
    n_malformed: int = 0
    """Frames with an identifier no bus can carry; not written."""
    n_dropped: int = 0
    """Frames that came faster than they could be written."""
    n_overrun: int = 0
    """Frames lost before they were fetched, where system or controller tell."""
    n_reconnects: int = 0
    n_files_without_data: int = 0
    """Files of error and remote frames alone: counted, and not kept."""
    files: list[CapturedFile] = field(default_factory=list)
    problem: str | None = None
    exit_code: int = 0


class Watcher(Protocol):
    """Is told how a capture goes on."""

    def progress(self, report: CaptureReport, current: str | None, n_bytes: int) -> None:
        """About once a second: counts so far, the name and size of the file that grows."""

    def notice(self, text: str) -> None:
        """Something an operator should know."""


def capture(
    job: CaptureJob,
    stop: Callable[[], bool],
    watcher: Watcher,
    *,
    openers: Sequence[tuple[str, Opener]] | None = None,
    clock: Callable[[], float] = time.time,
) -> CaptureReport:
    """Listen until `stop()` is true, or the job's frames or duration are reached; every file is finished.

    A bus that goes away is opened again; a full disk ends the capture. Both are told in the report,
    beside what was captured until then. `openers` (name, how it is opened) stand in for the job's buses.

    Raises:
        ConfigError: a bus does not open, the vehicle cannot name a folder, or the clock is not set.
        DataError: `uploads.csv` cannot be added to.
        StoreError: the inbox cannot be written, or its disk is full before anything was captured.
    """
    if len(set(job.channels)) < len(job.channels):
        raise ConfigError(f"--channel: expected each channel once, but got {', '.join(map(str, job.channels))}")
    labels = [channel_name(channel or job.bus.interface) for channel in job.channels]
    stem = file_stem(job.vehicle_ref, job.bus.interface, [channel for channel in job.channels if channel])
    if clock() < EARLIEST_CLOCK.timestamp():
        now = datetime.fromtimestamp(clock(), UTC).isoformat()
        raise ConfigError(f"expected a clock that is set, but got {now}: frames would be stamped wrongly")
    place = Place(job.inbox, job.vehicle_ref, stem, job.format, Channels())
    files = _recover(job, watcher, clock())
    opened = openers or [
        (label, partial(open_bus, job.bus, channel)) for label, channel in zip(labels, job.channels, strict=True)
    ]
    with Listening(opened, own_names=job.bus.interface != "udp_multicast") as listening:
        run = _Capture(job, place, listening, watcher, clock)
        run.report.files = files
        return run.run(stop)


def _recover(job: CaptureJob, watcher: Watcher, now_s: float) -> list[CapturedFile]:
    try:
        (job.inbox / "logs" / job.vehicle_ref).mkdir(parents=True, exist_ok=True)
        check_manifest(job.inbox)
        files, failures = recover(job.inbox, now_s)
        if problem := _disk_problem(job):
            raise StoreError(problem)
    except OSError as reason:
        raise StoreError(f"inbox {job.inbox}: expected a folder to write, but got: {reason.strerror}") from None
    for file in files:
        watcher.notice(f"{file.path.name}: recovered {file.n_bytes:,} bytes of a capture that was killed")
    for failure in failures:
        watcher.notice(failure)
    return files


def _disk_problem(job: CaptureJob) -> str | None:
    free = shutil.disk_usage(job.inbox).free
    if free >= job.reserve_bytes:
        return None
    wanted = f"at least {job.reserve_bytes / MEGABYTE:,.0f} MB free (--reserve-mb)"
    return f"inbox {job.inbox}: expected {wanted}, but got {free / MEGABYTE:,.0f} MB"


class _Capture:
    """One run: the file that grows, the counts, the clock."""

    def __init__(
        self, job: CaptureJob, place: Place, listening: Listening, watcher: Watcher, clock: Callable[[], float]
    ) -> None:
        self.report = CaptureReport(job.vehicle_ref)
        self._job, self._place, self._listening, self._watcher, self._clock = job, place, listening, watcher, clock
        self._counts: Counter[str] = Counter()
        self._classes: Counter[str] = Counter()
        self._overflows = 0
        self._file: GrowingFile | None = None
        self._slot = (0, 0)
        self._quiet = _Quiet([bus.channel for bus in listening.buses], watcher)
        self._is_loss_told = False

    def run(self, stop: Callable[[], bool]) -> CaptureReport:
        began = synced = shown = time.monotonic()
        try:
            while True:
                ended_by = self._ending(stop(), time.monotonic() - began)
                if ended_by:
                    self._listening.close()
                self._take()
                self._tell()
                if ended_by or self._has_enough():
                    break
                now = time.monotonic()
                if now - synced >= SYNC_S:
                    synced = now
                    self._sync()
                if now - shown >= PROGRESS_S:
                    shown = now
                    self._show(now - began)
                time.sleep(POLL_S)
            self.report.ended_by = ended_by or "frames"
            self._finish_file()
        except OSError as reason:
            self._end_on_disk(StoreError(f"inbox {self._job.inbox}: expected to write, but got: {reason.strerror}"))
        except (DataError, StoreError) as reason:
            self._end_on_disk(reason)
        finally:
            self._listening.close()
        self._tell()
        self._show(time.monotonic() - began)
        return self.report

    def _ending(self, is_stopped: bool, seconds: float) -> EndedBy | None:
        lost_s = self._listening.lost_for_s()
        if lost_s > 0:
            self._finish_file()
        if lost_s > self._job.give_up_s:
            self._problem(
                DataError(
                    f"{self._place.stem}: expected the bus to come back within {self._job.give_up_s:.0f} s (--give-up-"
                    f"minutes), but got none; what came before is in the inbox"
                )
            )
            return "bus lost"
        if is_stopped:
            return "stopped"
        limit = self._job.duration_s
        return "duration" if limit is not None and seconds >= limit else None

    def _has_enough(self) -> bool:
        return self._job.n_frames is not None and self.report.n_frames >= self._job.n_frames

    def _take(self) -> None:
        messages = self._listening.take()
        valid = [message for message in messages if self._is_counted(message)]
        if self._job.n_frames is not None:
            valid = valid[: max(0, self._job.n_frames - self.report.n_frames)]
        for start in range(0, len(valid), CHUNK_FRAMES):
            self._write(valid[start : start + CHUNK_FRAMES])
        if self._file is not None and self._slot != self._slot_now():
            self._finish_file()

    def _is_counted(self, message: can.Message) -> bool:
        largest = 0x1FFFFFFF if message.is_extended_id or message.is_error_frame else 0x7FF
        ok = 0 <= int(message.arbitration_id) <= largest
        self.report.n_malformed += not ok
        return ok

    def _write(self, messages: list[can.Message]) -> None:
        if self._file is not None and (self._file.n_bytes >= self._job.rotate_bytes or self._slot != self._slot_now()):
            self._finish_file()
        if self._file is None:
            self._slot = self._slot_now()
            self._file = GrowingFile(self._place, messages[0].timestamp)
        self._count(messages)
        self._file.write(messages)
        self.report.n_frames += len(messages)

    def _count(self, messages: list[can.Message]) -> None:
        report, name = self.report, self._place.channels.name
        n_errors = report.n_error
        for message in messages:
            self._counts[name(message.channel)] += 1
            if message.is_error_frame:
                report.n_error += 1
                self._count_classes(message)
            elif message.is_remote_frame:
                report.n_remote += 1
        n_errors = report.n_error - n_errors
        self._quiet.heard(has_data=n_errors < len(messages), has_errors=n_errors > 0)

    def _count_classes(self, message: can.Message) -> None:
        if self._job.bus.interface != "socketcan":
            return
        for number, name in enumerate(_ERROR_CLASSES):
            if message.arbitration_id & 1 << number:
                self._classes[name] += 1
        if message.arbitration_id & _CONTROLLER and len(message.data) > 1 and message.data[1] & _RX_OVERFLOW:
            self._overflows += 1

    def _slot_now(self) -> tuple[int, int]:
        """Which day, and which period of it; 0 is no period."""
        day, second = divmod(int(self._clock()), 86_400)
        return day, second // self._job.rotate_s if self._job.rotate_s else 0

    def _finish_file(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        done = file.finish(self._clock())
        if done is None:
            self.report.n_files_without_data += 1
            self._watcher.notice(f"{file.n_frames:,} error and remote frames and no data: not kept; another bit rate?")
            return
        self.report.files.append(done)
        self.report.n_bytes += done.n_bytes
        self._watcher.notice(f"{done.path.name}: {done.n_frames:,} frames, {done.n_bytes:,} bytes")

    def _sync(self) -> None:
        if self._file is not None:
            self._file.sync()
        if problem := _disk_problem(self._job):
            raise StoreError(problem)

    def _end_on_disk(self, reason: PmError) -> None:
        """The disk refused: what is whole is put into the inbox if it still can be, else it stays hidden."""
        self._problem(reason)
        self.report.ended_by = "disk"
        try:
            self._finish_file()
        except (OSError, DataError):
            self._watcher.notice("the last file could not be finished; the next capture recovers it")

    def _problem(self, reason: PmError) -> None:
        self.report.problem, self.report.exit_code = str(reason), reason.exit_code

    def _tell(self) -> None:
        for text in self._listening.said():
            self._watcher.notice(text)

    def _show(self, seconds: float) -> None:
        report, buses = self.report, self._listening.buses
        report.seconds = seconds
        report.channels, report.error_classes = dict(self._counts), dict(self._classes)
        report.n_dropped = sum(bus.n_dropped for bus in buses)
        report.n_overrun = self._overflows + sum(bus.n_overrun for bus in buses)
        report.n_reconnects = sum(bus.n_reconnects for bus in buses)
        if report.n_dropped + report.n_overrun and not self._is_loss_told:
            self._is_loss_told = True
            self._watcher.notice("frames were lost: this machine or its disk is too slow, or too busy")
        self._quiet.look()
        file = self._file
        self._watcher.progress(report, file.path.name if file else None, file.n_bytes if file else 0)


class _Quiet:
    """Says once when a capture hears nothing, or errors only, for `QUIET_S`."""

    def __init__(self, names: Sequence[str], watcher: Watcher) -> None:
        self._names, self._watcher = ", ".join(names), watcher
        self._data_at = time.monotonic()
        self._error_at = self._data_at - QUIET_S
        self._is_told = False

    def heard(self, *, has_data: bool, has_errors: bool) -> None:
        if has_data:
            self._data_at, self._is_told = time.monotonic(), False
        if has_errors:
            self._error_at = time.monotonic()

    def look(self) -> None:
        now = time.monotonic()
        if self._is_told or now - self._data_at < QUIET_S:
            return
        self._is_told = True
        if now - self._error_at < QUIET_S:
            text = "only error frames: another bit rate, or wires that are swapped or not terminated?"
        else:
            text = "no frame: ignition off, other wires, another bit rate, or a gateway that asks first?"
        self._watcher.notice(f"{self._names}: {QUIET_S:.0f} s and {text}")
