"""Rows between the two passes over an import: on disk, so that memory does not grow with the file.

What belongs here: keeping batches of rows and handing them over again, as often as asked. Parts are made
from all rows of a file before the first is written (`pm.pipelines.imports.rows`).
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import polars as pl

from pm.canbus.dbc import MessagePlan
from pm.pipelines.imports.rows import DecodedRows


class Spool:
    """Batches of decoded rows in a temporary folder that goes with the block; its files hold no VIN."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="pm-import-", ignore_cleanup_errors=True)
        self._batches: list[_OnDisk] = []
        self._n_files = 0

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[DecodedRows]:
        for batch in self._batches:
            yield batch.read()

    def add(self, rows: DecodedRows) -> None:
        """Keep a batch."""
        plans, files = [], []
        for plan, frame in rows.telemetry:
            plans.append(plan)
            files.append(self._write(frame))
        events = None if rows.events is None else self._write(rows.events)
        faults = None if rows.faults is None else self._write(rows.faults)
        self._batches.append(_OnDisk(tuple(zip(plans, files, strict=True)), events, faults))

    def _write(self, frame: pl.DataFrame) -> Path:
        self._n_files += 1
        path = Path(self._folder.name) / f"{self._n_files}.arrow"
        frame.write_ipc(path, compression="lz4")
        return path


class _OnDisk:
    """One batch, by file."""

    def __init__(
        self, telemetry: tuple[tuple[MessagePlan, Path], ...], events: Path | None, faults: Path | None
    ) -> None:
        self._telemetry, self._events, self._faults = telemetry, events, faults

    def read(self) -> DecodedRows:
        return DecodedRows(
            tuple((plan, _read(path)) for plan, path in self._telemetry),
            None if self._events is None else _read(self._events),
            None if self._faults is None else _read(self._faults),
        )


def _read(path: Path) -> pl.DataFrame:
    return pl.read_ipc(path)
