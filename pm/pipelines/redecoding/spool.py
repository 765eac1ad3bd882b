"""The spool: what redecoding has decoded and not yet written to the database, on disk.

What belongs here: the private folder and the form of its files. A log is one file: Arrow IPC streams one
behind the other, a stream a batch of one message or of trouble codes, in the order they were decoded in.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from pm.canbus.columns import DecodedMessage
from pm.canbus.dbc import MessagePlan
from pm.canbus.extract import Column, Numbers
from pm.canbus.faults import FAULT_SCHEMA
from pm.errors import StoreError

_LOCK: Final = "lock"
_FOLDER: Final = "redecode-"
_MESSAGE: Final = b"message"
_OPTIONS: Final = pa.ipc.IpcWriteOptions(compression="zstd")
_PARTS: Final = ("time", "source_address", "destination_address", "channel")


@contextmanager
def spool_folder(root: Path) -> Iterator[Path]:
    """A new folder below `root` that nobody else can read, gone at the end.

    What processes left that were killed is removed first: their locks ended with them.

    Raises:
        StoreError: the folder cannot be made.
    """
    held = ExitStack()
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(root / _LOCK):  # so that nobody removes a folder whose lock is not held yet
            for left in root.glob(f"{_FOLDER}*"):
                _remove_if_left(left)
            folder = Path(tempfile.mkdtemp(prefix=_FOLDER, dir=root))
            held.enter_context(_locked(folder / _LOCK))
    except OSError as reason:
        raise StoreError(f"spool {root}: expected a folder to write to, but got: {reason.strerror}") from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        held.close()


@contextmanager
def _locked(path: Path, *, waits: bool = True) -> Iterator[None]:
    """Holds the lock file; the system lets go of it when the process ends, however it ends.

    Raises:
        BlockingIOError: somebody else holds it, and `waits` is not set.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _remove_if_left(folder: Path) -> None:
    with suppress(BlockingIOError), _locked(folder / _LOCK, waits=False):
        shutil.rmtree(folder, ignore_errors=True)


class SpoolWriter:
    """Writes one log; use it as a context manager.

    Raises (every method):
        StoreError: the disk is full or has less than `least_free_bytes` left.
    """

    def __init__(self, path: Path, *, least_free_bytes: int) -> None:
        self._path, self._least_free_bytes = path, least_free_bytes

    def __enter__(self) -> "SpoolWriter":
        self._sink = pa.OSFile(os.fspath(self._path), "wb")
        return self

    def __exit__(self, *_: object) -> None:
        self._sink.close()

    @property
    def n_bytes(self) -> int:
        return int(self._sink.tell())

    def add(self, message: DecodedMessage) -> None:
        """Write the rows of one message."""
        self._write(message.frame(), message.plan.name)

    def add_faults(self, faults: pl.DataFrame) -> None:
        """Write trouble codes (`pm.canbus.faults.FAULT_SCHEMA`)."""
        self._write(faults, "")

    def _write(self, frame: pl.DataFrame, message: str) -> None:
        require_free(self._path.parent, self._least_free_bytes)
        table = frame.to_arrow().replace_schema_metadata({_MESSAGE: message.encode()}).combine_chunks()
        try:
            with pa.ipc.new_stream(self._sink, table.schema, options=_OPTIONS) as stream:
                stream.write_table(table)
        except OSError as reason:
            raise StoreError(f"spool {self._path.parent}: expected room to write, but got: {reason}") from None


def require_free(folder: Path, least_free_bytes: int) -> None:
    """Let others have room on the disk.

    Raises:
        StoreError: less than that is free.
    """
    free = shutil.disk_usage(folder).free
    if free < least_free_bytes:
        raise StoreError(f"spool {folder}: expected {least_free_bytes} bytes free, but got {free}")


def read_spool(path: Path, plans: Mapping[str, MessagePlan]) -> Iterator[DecodedMessage | pl.DataFrame]:
    """What was written, in that order: messages, and frames of trouble codes. One batch is in memory at a time.

    `plans` are those the log was decoded with, by message; a signal that was left out is left out.
    """
    end = path.stat().st_size
    with pa.OSFile(os.fspath(path), "rb") as source:
        while source.tell() < end:
            with pa.ipc.open_stream(source) as stream:
                name = stream.schema.metadata[_MESSAGE].decode()
                table = stream.read_all().combine_chunks()
            yield _decoded(table, _plan(plans[name], table.schema.names)) if name else _faults(table)


def _faults(table: Any) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(table)).cast(dict(FAULT_SCHEMA))  # type: ignore[arg-type]


def _plan(plan: MessagePlan, columns: list[str]) -> MessagePlan:
    kept = tuple(signal for signal in plan.signals if signal.column in columns)
    return plan if len(kept) == len(plan.signals) else replace(plan, signals=kept)


def _decoded(table: Any, plan: MessagePlan) -> DecodedMessage:
    time, source, destination, channel = (_only_chunk(table, name) for name in _PARTS)
    names = channel.cast(pa.string()).dictionary_encode()
    return DecodedMessage(
        plan,
        time.cast(pa.int64()).to_numpy(),
        source.to_numpy(),
        destination.to_numpy(),
        names.indices.to_numpy().astype(np.uint8),
        tuple(_column(_only_chunk(table, signal.column)) for signal in plan.signals),
        tuple(names.dictionary.to_pylist()),
    )


def _only_chunk(table: Any, name: str) -> Any:
    return table.column(name).combine_chunks()


def _column(array: Any) -> Column:
    if not pa.types.is_floating(array.type):
        texts: list[str | None] = array.to_pylist()
        return texts
    valid, values = array.buffers()
    if array.offset or len(array) == 0:
        raise StoreError(f"spool: expected a whole column, but got {len(array)} values from {array.offset} on")
    bits = np.frombuffer(valid, np.uint8) if valid is not None and array.null_count else None
    return Numbers(np.frombuffer(values, np.float64, len(array)), bits, array.null_count)
