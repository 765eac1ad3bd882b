"""Telemetry and faults -> daily aggregates, for the dirty vehicle days only."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import polars as pl

from pm.asof import midnight
from pm.features.daily import aggregate_faults, aggregate_signals
from pm.progress import Track, silent
from pm.store import dailies, faults, logs, telemetry
from pm.store.connection import Connection, connect, transaction
from pm.tables import DAILY_SIGNAL

SPAN_FRAMES: Final = 4_000_000
"""About so many frames of one vehicle are taken at once: bounds memory, however dense the logs."""


@dataclass(frozen=True)
class DailiesReport:
    """How much was made again."""

    n_vehicle_days: int
    n_signal_rows: int
    n_fault_rows: int


def refresh_dailies(url: str, *, executor: Executor | None = None, track: Track = silent) -> DailiesReport:
    """Aggregate every dirty (vehicle, day) again and clear its mark, a span of one vehicle at a time.

    Stopping half-way leaves the marks of what was not done, so running it again completes it. Days whose
    telemetry was dropped for its age keep the aggregates they have: their marks are only taken back.
    """
    with connect(url) as conn:
        spans = list(_spans(_dirty_days(conn), logs.fetch_log_files(conn)))
    arguments = [(url, vehicle_id, dirty) for vehicle_id, dirty in spans]
    done: Iterable[DailiesReport]
    done = map(_refresh_span, arguments) if executor is None else executor.map(_refresh_span, arguments)
    reports = list(track(done, "daily aggregates", len(spans)))
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


def _refresh_span(arguments: tuple[str, int, pl.DataFrame]) -> DailiesReport:
    url, vehicle_id, dirty = arguments
    wanted = pl.col("time").dt.date().is_in(dirty["day"].implode())
    start, end = _bounds(dirty)
    with connect(url) as conn, transaction(conn):
        parts = [DAILY_SIGNAL.empty()]
        for message in telemetry.stored_messages(conn):
            found = telemetry.fetch_signals(conn, message, vehicle_id=vehicle_id, start=start, end=end)
            parts.append(aggregate_signals(found.filter(wanted), message))
        codes = faults.fetch_faults(conn, vehicle_id=vehicle_id, start=start, end=end)
        signal_rows = pl.concat(parts)
        fault_rows = aggregate_faults(codes.filter(wanted))
        dailies.replace_days(conn, dirty, signal_rows, fault_rows)
    return DailiesReport(dirty.height, signal_rows.height, fault_rows.height)


def _spans(dirty: pl.DataFrame, files: pl.DataFrame) -> Iterator[tuple[int, pl.DataFrame]]:
    """Dirty days of one vehicle, cut so that a span has about `SPAN_FRAMES` frames."""
    length_d = (pl.col("last_at").max() - pl.col("first_at").min()).dt.total_days() + 1
    pace = files.group_by("vehicle_id").agg((pl.col("n_frames").sum() / length_d).alias("frames_a_day"))
    days = (SPAN_FRAMES / pl.col("frames_a_day")).clip(1, 366).fill_null(1).cast(pl.Int32)
    cut = dirty.join(pace, on="vehicle_id", how="left").with_columns(_span=pl.col("day").dt.epoch("d") // days)
    for (vehicle_id, _), rows in cut.sort("vehicle_id", "day").group_by("vehicle_id", "_span", maintain_order=True):
        yield int(str(vehicle_id)), rows.select(dirty.columns)


def _bounds(dirty: pl.DataFrame) -> tuple[datetime, datetime]:
    days: list[date] = dirty["day"].sort().to_list()
    return midnight(days[0]), midnight(days[-1] + timedelta(days=1))
