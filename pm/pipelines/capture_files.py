"""The files of a live capture: hidden while they grow, whole when they appear in the inbox.

What belongs here: names, locks, and the steps that put a finished log into the inbox. A log grows as
`logs/<vehicle_ref>/.<name>.capturing`, which nobody takes for a log, locked (flock) by the process
that writes it. It is made durable (fsync), entered in `uploads.csv` and then renamed, in this order:
whoever sees the file sees all of it, and when it became known. What a killed process left behind is
finished the same way by the next capture.
"""

import csv
import errno
import fcntl
import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import can

from pm.canbus.formats.write import SUFFIXES, CaptureFormat, Channels, mend, new_writer
from pm.errors import ConfigError, DataError
from pm.pipelines.uploads import MANIFEST_NAME

GROWING: Final = ".capturing"
LONGEST_REF_BYTES: Final = 100
_COLUMNS: Final = ("file", "vehicle_ref", "uploaded_at")
_HEADER_LIMIT: Final = 65_536
_LONGEST_LEAD_S: Final = 60.0
"""An adapter's clock may run ahead of ours by this much and its frames still are taken as past."""


@dataclass(frozen=True)
class CapturedFile:
    """A log that stands complete in the inbox."""

    path: Path
    n_frames: int
    """Data, remote and error frames; 0 for a recovered one, whose frames were not counted."""
    n_bytes: int
    recovered: bool = False


class Place(NamedTuple):
    """Where the logs of one capture go, and how they are called."""

    inbox: Path
    vehicle_ref: str
    stem: str
    """Begins a file's name; its first time ends it."""
    format: CaptureFormat
    channels: Channels


class GrowingFile:
    """A log that is being written, not yet in the inbox."""

    def __init__(self, place: Place, first_s: float) -> None:
        """Create it, empty and locked. `first_s` is the time of its first frame, seconds since 1970 UTC.

        Raises:
            OSError: the folder cannot be written.
        """
        self._inbox = place.inbox
        folder = place.inbox / "logs" / place.vehicle_ref
        folder.mkdir(parents=True, exist_ok=True)
        stamp = datetime.fromtimestamp(first_s, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        self.path, self._growing, self._descriptor = _create(folder, f"{place.stem}_{stamp}", SUFFIXES[place.format])
        self._log = new_writer(place.format, self._descriptor, place.channels)
        self._last_s = first_s
        self.n_frames = 0
        self._has_data = False

    @property
    def n_bytes(self) -> int:
        return self._log.size

    def write(self, messages: Sequence[can.Message]) -> None:
        """Append frames.

        Raises:
            OSError: the disk refused.
        """
        self._has_data = self._has_data or any(
            not (message.is_error_frame or message.is_remote_frame) for message in messages
        )
        self._last_s = max(self._last_s, *(message.timestamp for message in messages))
        self._log.write(messages)
        self.n_frames += len(messages)

    def sync(self) -> None:
        """Make what was written so far survive a power cut.

        Raises:
            OSError: the disk refused.
        """
        self._log.flush()
        os.fdatasync(self._descriptor)

    def finish(self, now_s: float) -> CapturedFile | None:
        """Put the log into the inbox. None where it holds no data frame: ingest would refuse it.

        Raises:
            OSError: the disk refused; the log stays hidden, to be recovered.
            DataError: `uploads.csv` cannot be added to; likewise.
        """
        try:
            self._log.close()
            if not self._has_data:
                self._growing.unlink()
                return None
            known_s = max(now_s, min(self._last_s, now_s + _LONGEST_LEAD_S))
            _publish(self._inbox, self._growing, self.path, self._descriptor, known_s)
            return CapturedFile(self.path, self.n_frames, self.path.stat().st_size)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go of the file; unfinished, it is left to be recovered."""
        with suppress(OSError):
            self._log.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def file_stem(vehicle_ref: str, interface: str, channels: Sequence[str]) -> str:
    """What begins a file's name: vehicle, interface, channels, in characters every system takes.

    Raises:
        ConfigError: `vehicle_ref` cannot be a folder's name.
    """
    is_folder = vehicle_ref.strip() == vehicle_ref and vehicle_ref.isprintable() and not vehicle_ref.startswith(".")
    if not vehicle_ref or not is_folder or "/" in vehicle_ref or len(vehicle_ref.encode()) > LONGEST_REF_BYTES:
        raise ConfigError(f"--vehicle: expected a unit number that can name a folder, but got {vehicle_ref!r}")
    words = [
        re.sub(r"[^A-Za-z0-9.]+", "-", word).strip("-.") for word in (vehicle_ref, "-".join([interface, *channels]))
    ]
    return "_".join(word[:60] or "x" for word in words)


def recover(inbox: Path, now_s: float) -> tuple[list[CapturedFile], list[str]]:
    """Finish what killed captures left in `inbox`; the files, and what could not be done and why.

    A file that another process is writing is locked and left alone.

    Raises:
        DataError: `uploads.csv` cannot be added to.
    """
    files: list[CapturedFile] = []
    failures: list[str] = []
    logs = inbox / "logs"
    if not logs.is_dir():
        return files, failures
    with _locked_folder(logs):
        for path in sorted(logs.glob(f"*/.*{GROWING}")):
            try:
                found = _recover_one(inbox, path, now_s)
            except OSError as reason:
                failures.append(f"{path}: expected to recover it, but got: {reason.strerror}")
                continue
            if found is not None:
                files.append(found)
    return files, failures


def check_manifest(inbox: Path) -> None:
    """Fail early where `uploads.csv` could not be added to.

    Raises:
        DataError: it is there, and its header lacks a column or cannot be read.
    """
    path = inbox / MANIFEST_NAME
    try:
        with path.open("rb") as file:
            _header(path, file.read(_HEADER_LIMIT))
    except FileNotFoundError:
        return
    except OSError as reason:
        raise DataError(f"{path}: expected a readable file, but got: {reason.strerror}") from None


def list_upload(inbox: Path, name: str, vehicle_ref: str, uploaded_at: datetime) -> None:
    """Add a line to `uploads.csv`, made where absent; its columns keep their order.

    The line is written at once and under a lock (flock), so writers that append can work beside each
    other. A writer that replaces the whole file must lock it too, or it may lose a line; the log then
    counts as known when it is first seen, which is later and so never a leak.

    Raises:
        OSError: it cannot be written; then it is as before.
        DataError: its header lacks a column.
    """
    path = inbox / MANIFEST_NAME
    row = {"file": name, "vehicle_ref": vehicle_ref, "uploaded_at": uploaded_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
    descriptor = _open_locked(path)
    try:
        size = os.fstat(descriptor).st_size
        if size == 0:
            text = _csv_line(_COLUMNS) + _csv_line([row[column] for column in _COLUMNS])
        else:
            header = _header(path, os.pread(descriptor, _HEADER_LIMIT, 0))
            text = _csv_line([row.get(column, "") for column in header])
            if os.pread(descriptor, 1, size - 1) != b"\n":
                text = "\n" + text
        _append(descriptor, text.encode(), size)
    finally:
        os.close(descriptor)


def _create(folder: Path, stem: str, suffix: str) -> tuple[Path, Path, int]:
    """A name nobody else has or will take: the hidden file is made first, and only its maker renames it."""
    for number in range(1, 1000):
        path = folder / f"{stem}{'' if number == 1 else f'-{number}'}{suffix}"
        growing = folder / f".{path.name}{GROWING}"
        try:
            descriptor = os.open(growing, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            continue
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # A recovery that was quicker to lock it has removed it as empty; a finished file may have the name.
        is_ours = _is_same(growing, descriptor)
        if is_ours and not path.exists():
            return path, growing, descriptor
        if is_ours:
            growing.unlink()
        os.close(descriptor)
    raise FileExistsError(errno.EEXIST, f"999 files are called {stem}")


def _publish(inbox: Path, growing: Path, path: Path, descriptor: int, known_s: float) -> None:
    os.fsync(descriptor)
    list_upload(inbox, path.relative_to(inbox).as_posix(), path.parent.name, datetime.fromtimestamp(known_s, UTC))
    growing.rename(path)
    _sync_folder(path.parent)


def _recover_one(inbox: Path, growing: Path, now_s: float) -> CapturedFile | None:
    name = growing.name.removeprefix(".").removesuffix(GROWING)
    format = next((kind for kind, suffix in SUFFIXES.items() if name.endswith(suffix)), None)
    descriptor = os.open(growing, os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        if format is None or not _is_same(growing, descriptor):
            return None
        if not mend(growing, format):
            growing.unlink()
            return None
        path, number = growing.with_name(name), 1
        while path.exists():
            number += 1
            path = growing.with_name(f"{Path(name).stem}-{number}{SUFFIXES[format]}")
        with growing.open("r+b") as file:
            _publish(inbox, growing, path, file.fileno(), now_s)
        return CapturedFile(path, 0, path.stat().st_size, recovered=True)
    finally:
        os.close(descriptor)


def _is_same(path: Path, descriptor: int) -> bool:
    """Whether `path` still is the file that was opened; its writer may have renamed it meanwhile."""
    with suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    return False


@contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    """One recovery at a time."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _open_locked(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if _is_same(path, descriptor):  # else replaced while we waited
            return descriptor
        os.close(descriptor)


def _append(descriptor: int, text: bytes, size: int) -> None:
    try:
        if os.write(descriptor, text) != len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, size)
        raise


def _header(path: Path, head: bytes) -> list[str]:
    """Column names; an empty file has ours."""
    line = head.split(b"\n", 1)[0].decode("utf-8-sig", errors="replace")
    header = next(csv.reader([line]), []) if head else list(_COLUMNS)
    absent = [column for column in _COLUMNS if column not in header]
    if absent:
        raise DataError(f"{path}: expected columns {absent} in the header, but got {header}")
    return header


def _csv_line(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
