"""Telemetry and faults -> daily aggregates, for the dirty vehicle days only."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import Final

import polars as pl

from pm.asof import midnight
from pm.features.daily import aggregate_faults, aggregate_signals
from pm.features.ranges import Ranges, ranges_by_source
from pm.progress import Track, silent
from pm.store import dailies, logs, telemetry
from pm.store.connection import Connection, connect, transaction
from pm.tables import DAILY_SIGNAL, DIRTY_DAY

BATCH_FRAMES: Final = 4_000_000
"""About so many frames are taken at once: bounds memory, however dense the logs."""
BATCH_DAYS: Final = 1_000
"""So many vehicle days are written at once: bounds memory and transaction, however sparse the logs."""
_WASTE: Final = 2
"""At most so many times the dirty days' telemetry is read: vehicles of a batch share one span of time."""


@dataclass(frozen=True)
class DailiesReport:
    """How much was made again."""

    n_vehicle_days: int
    n_signal_rows: int
    n_fault_rows: int


def refresh_dailies(
    url: str,
    *,
    ranges: Mapping[str, Ranges] | None = None,
    executor: Executor | None = None,
    track: Track = silent,
) -> DailiesReport:
    """Aggregate every dirty (vehicle, day) again and clear its mark, a batch of vehicles at a time.

    Args:
        ranges: ranges whose time is counted, by `message.signal`; None: those of a truck's quantities.

    A batch is a connection and a transaction. Stopping half-way leaves the marks of what was not done, so running it
    again completes it. Days whose telemetry was dropped for its age keep the aggregates they have: their marks are
    only taken back.
    """
    with connect(url) as conn:
        batches = list(_batches(_dirty_days(conn), dailies.fetch_pace(conn)))
    refresh = partial(_refresh_batch, url, ranges_by_source() if ranges is None else ranges)
    done: Iterable[DailiesReport] = map(refresh, batches) if executor is None else executor.map(refresh, batches)
    reports = list(track(done, "daily aggregates", len(batches)))
    return DailiesReport(
        sum(report.n_vehicle_days for report in reports),
        sum(report.n_signal_rows for report in reports),
        sum(report.n_fault_rows for report in reports),
    )


def _dirty_days(conn: Connection) -> pl.DataFrame:
    dirty, kept_from = logs.fetch_dirty(conn), logs.dropped_before(conn)
    if kept_from is None:
        return dirty
    is_gone = pl.col("day") < kept_from.date()
    gone = dirty.filter(is_gone)
    if gone.height:
        logs.clear_dirty(conn, gone)
    return dirty.filter(~is_gone)


def _refresh_batch(url: str, ranges: Mapping[str, Ranges], dirty: pl.DataFrame) -> DailiesReport:
    vehicle_ids = dirty["vehicle_id"].unique().sort().to_list()
    start, end = _bounds(dirty)
    with connect(url) as conn, transaction(conn):
        parts = [DAILY_SIGNAL.empty()]
        for message in telemetry.stored_messages(conn):
            found = dailies.fetch_telemetry(conn, message, vehicle_ids=vehicle_ids, start=start, end=end)
            parts.append(aggregate_signals(_of_days(found, dirty), message, ranges))
        codes = dailies.fetch_faults(conn, vehicle_ids=vehicle_ids, start=start, end=end)
        signal_rows = pl.concat(parts)
        fault_rows = aggregate_faults(_of_days(codes, dirty))
        dailies.replace_days(conn, dirty, signal_rows, fault_rows)
    return DailiesReport(dirty.height, signal_rows.height, fault_rows.height)


def _of_days(rows: pl.DataFrame, dirty: pl.DataFrame) -> pl.DataFrame:
    """The rows of the dirty vehicle days, of others nothing is made again."""
    dated = rows.with_columns(day=pl.col("time").dt.date())
    return dated.join(dirty.select("vehicle_id", "day"), on=("vehicle_id", "day"), how="semi").drop("day")


@dataclass(frozen=True)
class _Batch:
    """Spans of vehicles, and the time from the first dirty day to the last of them all."""

    days: tuple[pl.DataFrame, ...] = ()
    n_days: int = 0
    frames_a_day: float = 0.0
    first: date = date.max
    last: date = date.min

    @property
    def n_days_read(self) -> int:
        return len(self.days) * ((self.last - self.first).days + 1)

    @property
    def is_too_much(self) -> bool:
        n_frames = self.frames_a_day * ((self.last - self.first).days + 1)
        return n_frames > BATCH_FRAMES or self.n_days > BATCH_DAYS or self.n_days_read > _WASTE * self.n_days

    def with_span(self, days: pl.DataFrame, frames_a_day: float) -> "_Batch":
        first, last = days["day"][0], days["day"][-1]
        return replace(
            self,
            days=(*self.days, days),
            n_days=self.n_days + days.height,
            frames_a_day=self.frames_a_day + frames_a_day,
            first=min(self.first, first),
            last=max(self.last, last),
        )


def _batches(dirty: pl.DataFrame, pace: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Dirty days of vehicles whose days lie close together, in pieces that are not too much at once."""
    batch = _Batch()
    for days, frames_a_day in sorted(_spans(dirty, pace), key=lambda span: (span[0]["day"][0], span[0]["day"][-1])):
        fuller = batch.with_span(days, frames_a_day)
        if batch.days and fuller.is_too_much:
            yield pl.concat(batch.days)
            fuller = _Batch().with_span(days, frames_a_day)
        batch = fuller
    if batch.days:
        yield pl.concat(batch.days)


def _spans(dirty: pl.DataFrame, pace: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, float]]:
    """Dirty days of one vehicle and its frames a day, cut so that a span has about `BATCH_FRAMES` frames."""
    days = (BATCH_FRAMES / pl.col("frames_a_day")).clip(1, 366).fill_null(1).cast(pl.Int32)
    paced = dirty.join(pace, on="vehicle_id", how="left").with_columns(_span=pl.col("day").dt.epoch("d") // days)
    by_span = paced.sort("vehicle_id", "day").partition_by("vehicle_id", "_span", maintain_order=True)
    for rows in by_span:
        yield rows.select(DIRTY_DAY.column_names), rows["frames_a_day"][0] or 0.0


def _bounds(dirty: pl.DataFrame) -> tuple[datetime, datetime]:
    first, last = dirty["day"].min(), dirty["day"].max()
    assert isinstance(first, date)  # noqa: S101 - a batch has days
    assert isinstance(last, date)  # noqa: S101
    return midnight(first), midnight(last + timedelta(days=1))
