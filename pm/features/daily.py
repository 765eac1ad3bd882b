"""Partial aggregates of one UTC day: a signal's values, and a trouble code's reports.

What belongs here: telemetry or faults in, `DAILY_SIGNAL` or `DAILY_FAULT` rows out, one a log file,
so that a day can be merged again from exactly the files known at any instant. What does not:
anything over more than one day (`pm.features.windows`).

Sums are taken over rows in a fixed order, so the same rows give the same bits in whatever order
they arrive. Means and sums of squares merge by the pairwise formula of Chan, Golub and LeVeque,
"Algorithms for computing the sample variance", The American Statistician 37 (1983) 242-247.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pm.errors import DataError
from pm.schema import UTC_INSTANT
from pm.tables import DAILY_FAULT, DAILY_SIGNAL, FAULT

Numbers = npt.NDArray[np.float64]
Positions = npt.NDArray[np.intp]

_SERIES: Final = ("vehicle_id", "day", "log_file_id", "channel", "source_address")
_NOT_SIGNALS: Final = frozenset({*_SERIES, "known_at", "time", "destination_address"})
_DAY_KEY: Final = ("vehicle_id", "day", "message", "signal", "channel", "source_address")
_LAMP_ON: Final = 1
_ACTIVE: Final = 1


def aggregate_signals(telemetry: pl.DataFrame, message: str) -> pl.DataFrame:
    """One `DAILY_SIGNAL` row a vehicle, UTC day, log file, signal, channel and source address.

    Args:
        telemetry: columns vehicle_id, log_file_id, known_at, time, channel, source_address,
            destination_address (used to order rows of one instant, may be missing), then one float
            column a signal; text columns are left out. Rows in any order.
        message: name of the message the signals belong to.

    A value that is null or not finite does not count; a signal with no value that day has no row.

    Raises:
        DataError: a column is missing.
    """
    absent = sorted({*_SERIES, "known_at", "time"} - {"day"} - set(telemetry.columns))
    if absent:
        raise DataError(f"telemetry of {message}: expected columns {absent}, but got {telemetry.columns}")
    signals = [name for name, kind in telemetry.schema.items() if name not in _NOT_SIGNALS and kind.is_float()]
    if not telemetry.height or not signals:
        return DAILY_SIGNAL.empty()
    ordered = _in_order(telemetry)
    starts = _run_starts(ordered, _SERIES)
    parts = [_aggregate_one(ordered, starts, message, name) for name in signals]
    return DAILY_SIGNAL.check(pl.concat(parts).sort(DAILY_SIGNAL.key))


def aggregate_faults(faults: pl.DataFrame) -> pl.DataFrame:
    """One `DAILY_FAULT` row a vehicle, UTC day, log file, channel, source address, SPN and FMI.

    Only active codes count: a previously active one (DM2) is history, sent when a tester asks for it.

    Args:
        faults: `FAULT` with one more column known_at, that of the log file.

    Raises:
        DataError: a column is missing or of another type.
    """
    if "known_at" not in faults.columns:
        raise DataError(f"faults: expected column known_at besides those of {FAULT.name}, but got {faults.columns}")
    FAULT.check(faults, unique=False)
    days = faults.filter(pl.col("dm") == _ACTIVE).with_columns(day=pl.col("time").dt.date())
    made = days.group_by(DAILY_FAULT.key).agg(
        pl.col("known_at").max(),
        n_reports=pl.len().cast(pl.Int64),
        first_at=pl.col("time").min(),
        last_at=pl.col("time").max(),
        maximum_occurrence_count=pl.col("occurrence_count").max(),
        n_red=(pl.col("lamp_red") == _LAMP_ON).sum().cast(pl.Int64),
        n_amber=(pl.col("lamp_amber") == _LAMP_ON).sum().cast(pl.Int64),
    )
    return DAILY_FAULT.check(made.sort(DAILY_FAULT.key))


def merge_days(daily: pl.DataFrame) -> pl.DataFrame:
    """The partials of a day merged: one row a vehicle, day, message, signal, channel and source address.

    Args:
        daily: `DAILY_SIGNAL`; hand over only what was known at the instant of the decision
            (`pm.asof.known`). log_file_id is gone from the result, known_at is the latest.
    """
    columns = [name for name in DAILY_SIGNAL.column_names if name != "log_file_id"]
    ordered = DAILY_SIGNAL.check(daily).sort([*_DAY_KEY, "log_file_id"])
    if not ordered.height:
        return ordered.select(columns)
    starts = _run_starts(ordered, _DAY_KEY)
    moments = pool(ordered["n_values"].to_numpy(), ordered["mean"].to_numpy(), ordered["m2"].to_numpy(), starts)
    exact = ordered.group_by(_DAY_KEY, maintain_order=True).agg(
        pl.col("known_at").max(),
        pl.col("n_values").sum(),
        pl.col("minimum").min(),
        pl.col("maximum").max(),
        first_value=pl.col("first_value").sort_by("first_at", maintain_order=True).first(),
        last_value=pl.col("last_value").sort_by("last_at", maintain_order=True).last(),
        first_at=pl.col("first_at").min(),
        last_at=pl.col("last_at").max(),
    )
    return exact.with_columns(mean=moments.mean, m2=moments.m2).select(columns)


@dataclass(frozen=True)
class Moments:
    """Mean and sum of squared differences from it, one a group."""

    mean: Numbers
    m2: Numbers


def pool(n: npt.NDArray[np.int64], mean: Numbers, m2: Numbers, starts: Positions) -> Moments:
    """Moments of groups of partials; group i holds the rows from starts[i] to before starts[i + 1]."""
    group = np.repeat(np.arange(starts.size), np.diff(starts, append=n.size))
    pooled = np.add.reduceat(n * mean, starts) / np.add.reduceat(n, starts)
    return Moments(pooled, np.add.reduceat(m2 + n * (mean - pooled[group]) ** 2, starts))


def _in_order(telemetry: pl.DataFrame) -> pl.DataFrame:
    keys = [*_SERIES, "time"] + [name for name in ("destination_address",) if name in telemetry.columns]
    return telemetry.with_columns(
        pl.col("time").cast(UTC_INSTANT),
        pl.col("known_at").cast(UTC_INSTANT),
        day=pl.col("time").dt.date(),
    ).sort(keys, maintain_order=True)


def _run_starts(ordered: pl.DataFrame, keys: Sequence[str]) -> Positions:
    """Positions where a new combination of `keys` begins; `ordered` is sorted by them."""
    changes = ordered.select(pl.any_horizontal(pl.col(list(keys)).ne_missing(pl.col(list(keys)).shift(1))))
    begins = changes.to_series().to_numpy().copy()
    begins[:1] = True
    return np.flatnonzero(begins)


def _aggregate_one(ordered: pl.DataFrame, starts: Positions, message: str, signal: str) -> pl.DataFrame:
    values = ordered[signal].cast(pl.Float64).fill_null(np.nan).to_numpy()
    kept = np.flatnonzero(np.isfinite(values))
    if not kept.size:
        return DAILY_SIGNAL.empty()
    group = np.repeat(np.arange(starts.size), np.diff(starts, append=values.size))[kept]
    first = np.flatnonzero(np.diff(group, prepend=-1))
    last = np.append(first[1:], kept.size) - 1
    values = values[kept]
    n = last - first + 1
    mean = np.add.reduceat(values, first) / n
    deviation = values - np.repeat(mean, n)
    rows = ordered.select(*_SERIES, "known_at", "time")[kept]
    return (
        rows[first]
        .rename({"time": "first_at"})
        .with_columns(
            message=pl.lit(message),
            signal=pl.lit(signal),
            n_values=pl.Series(n, dtype=pl.Int64),
            mean=pl.Series(mean),
            m2=pl.Series(np.add.reduceat(deviation * deviation, first)),
            minimum=pl.Series(np.minimum.reduceat(values, first)),
            maximum=pl.Series(np.maximum.reduceat(values, first)),
            last_at=rows["time"][last],
            first_value=pl.Series(values[first]),
            last_value=pl.Series(values[last]),
        )
        .select(DAILY_SIGNAL.column_names)
    )
