"""What the product does with a log, as jobs to be measured.

What belongs here: calls of the product's public functions, as a user would write them, and the counting
of values. Nothing in here knows how the product decodes.
"""

import multiprocessing
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import polars as pl

from benchmarks.job import Counts
from pm.canbus.dbc import ROW_COLUMNS, SignalDatabase, load_dbc
from pm.canbus.decode import LogDecoder
from pm.canbus.logfile import open_log
from pm.pipelines import decode as parquet

_START_WITHOUT_ZONE: Final = {".asc", ".trc"}
_READY_LIMIT_S: Final = 300
_ANY_START: Final = datetime(2024, 1, 1, tzinfo=UTC)


def n_values(frames: Iterable[pl.DataFrame]) -> int:
    """Signal values that are no null."""
    total = 0
    for frame in frames:
        signals = frame.drop(ROW_COLUMNS)
        total += signals.width * signals.height - sum(column.null_count() for column in signals.iter_columns())
    return total


def _decode(database: SignalDatabase, path: Path, *, sample_s: float = 0.0, kept: list[Any] | None = None) -> Counts:
    """One log to columns, counted batch by batch, or collected in `kept` and not counted."""
    decoder = LogDecoder(database, sample_period_s=sample_s)
    values = 0
    start = _ANY_START if path.suffix in _START_WITHOUT_ZONE else None
    for batch in decoder.batches(open_log(path, start=start)):
        if kept is None:
            values += n_values(batch.signals.values())
        else:
            kept.append(batch.signals)
    return Counts(decoder.report.n_frames, values)


class Columns:
    """A log to columns, batch after batch; no batch is kept, so memory is that of one."""

    def __init__(self, dbc: Path, *, sample_s: float = 0.0) -> None:
        self._database = load_dbc([dbc])
        self._sample_s = sample_s

    def run(self, files: list[Path]) -> Counts:
        return _decode(self._database, files[0], sample_s=self._sample_s)

    def counts(self, result: Counts) -> Counts:
        return result


class KeptColumns:
    """A log to columns that all stay in memory."""

    def __init__(self, dbc: Path) -> None:
        self._database = load_dbc([dbc])

    def run(self, files: list[Path]) -> tuple[Counts, list[Any]]:
        kept: list[Any] = []
        return _decode(self._database, files[0], kept=kept), kept

    def counts(self, result: tuple[Counts, list[Any]]) -> Counts:
        counts, kept = result
        return Counts(counts.frames, sum(n_values(signals.values()) for signals in kept))


class Parquet:
    """A log to Parquet files, with the report, as `pm decode` writes them."""

    def __init__(self, dbc: Path) -> None:
        self._dbc = dbc
        self._database = load_dbc([dbc])

    def run(self, files: list[Path]) -> tuple[int, Any]:
        folder = tempfile.TemporaryDirectory(dir=files[0].parent, prefix=".out-")
        # Reading the DBC file is left out for everybody.
        with patch.object(parquet, "load_dbc", return_value=self._database):
            summary = parquet.decode_to_parquet(files, [self._dbc], Path(folder.name) / "out")
        return summary.n_frames, folder

    def counts(self, result: tuple[int, Any]) -> Counts:
        n_frames, folder = result
        with folder:
            tables = sorted(Path(folder.name).glob(f"out/{parquet.SIGNALS_FOLDER}/*.parquet"))
            return Counts(n_frames, sum(n_values([pl.read_parquet(table)]) for table in tables))


_worker: Columns | None = None
"""Of a pool's process."""


def _start_worker(dbc: Path, warm_file: Path, all_ready: Barrier) -> None:
    global _worker  # noqa: PLW0603 - a pool's process has no other place for it
    _worker = Columns(dbc)
    _worker.run([warm_file])
    all_ready.wait(_READY_LIMIT_S)


def _work(path: Path) -> Counts:
    assert _worker is not None  # noqa: S101 - every process of the pool begins with _start_worker
    return _worker.run([path])


class Pool:
    """Several logs to columns by a pool of processes that are started and warm before the clock runs."""

    def __init__(self, dbc: Path, *, n_processes: int, warm_file: str) -> None:
        self._dbc, self._n_processes, self._warm_file = dbc, n_processes, Path(warm_file)

    def run(self, files: list[Path]) -> list[Counts]:
        context = multiprocessing.get_context("spawn")
        all_ready = context.Barrier(self._n_processes + 1)
        arguments = (self._dbc, self._warm_file, all_ready)
        with ProcessPoolExecutor(self._n_processes, context, _start_worker, arguments) as pool:
            results = [pool.submit(_work, path) for path in files]
            all_ready.wait(_READY_LIMIT_S)
            began = time.perf_counter()
            done = [result.result() for result in results]
            return [*done, Counts(0, 0, time.perf_counter() - began)]

    def counts(self, result: list[Counts]) -> Counts:
        frames, values = sum(c.frames for c in result), sum(c.values or 0 for c in result)
        return Counts(frames, values, result[-1].seconds, peak_bytes=0)
