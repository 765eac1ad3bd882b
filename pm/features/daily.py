"""Partial aggregates of one UTC day: a signal's values, and a trouble code's reports.

What belongs here: telemetry or faults in, `DAILY_SIGNAL` or `DAILY_FAULT` rows out, one a log file,
so that a day can be merged again from exactly the files known at any instant. What does not:
anything over more than one day (`pm.features.windows`).

Sums are taken over rows in a fixed order, so the same rows give the same bits in whatever order
they arrive. Means and sums of squares merge by the pairwise formula of Chan, Golub and LeVeque,
"Algorithms for computing the sample variance", The American Statistician 37 (1983) 242-247.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pm.errors import DataError
from pm.features.daily_kernels import measure
from pm.features.ranges import Ranges
from pm.features.sketch import BYTES_A_BUCKET, Sketches
from pm.features.sketch_kernels import MOST_BUCKETS
from pm.schema import UTC_INSTANT
from pm.tables import DAILY_FAULT, DAILY_SIGNAL, FAULT

Numbers = npt.NDArray[np.float64]
Positions = npt.NDArray[np.intp]

_SERIES: Final = ("vehicle_id", "day", "log_file_id", "channel", "source_address")
_NOT_SIGNALS: Final = frozenset({*_SERIES, "known_at", "time", "destination_address"})
_DAY_KEY: Final = ("vehicle_id", "day", "message", "signal", "channel", "source_address")
_LAMP_ON: Final = 1
_ACTIVE: Final = 1


def aggregate_signals(
    telemetry: pl.DataFrame, message: str, ranges: Mapping[str, Ranges] = MappingProxyType({})
) -> pl.DataFrame:
    """One `DAILY_SIGNAL` row a vehicle, UTC day, log file, signal, channel and source address.

    Args:
        telemetry: columns vehicle_id, log_file_id, known_at, time, channel, source_address,
            destination_address (used to order rows of one instant, may be missing), then one float
            column a signal; text columns are left out. Rows in any order.
        message: name of the message the signals belong to.
        ranges: the ranges whose time is counted, by `message.signal`.

    A value that is null, not finite, or above 1e150 in magnitude does not count; a signal with no value that day
    has no row. A value holds until the next one of its series, at most for the ranges' longest gap; what lies
    between two log files or across midnight belongs to neither side, because either may be known without the other.

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
    series = _Series(ordered, _run_starts(ordered, _SERIES))
    measured = [series.measure(name, ranges.get(f"{message}.{name}")) for name in signals]
    return DAILY_SIGNAL.check(series.rows(message, signals, measured).sort(DAILY_SIGNAL.key))


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
        *(pl.when(pl.col(name).is_not_null().all()).then(pl.col(name).sum()) for name in ("n_transitions", "n_starts")),
        pl.when(_is_counted_alike()).then(pl.col("ranges_id").first()),
        pl.col("n_values").sum(),
        pl.col("minimum").min(),
        pl.col("maximum").max(),
        first_value=pl.col("first_value").sort_by("first_at", maintain_order=True).first(),
        last_value=pl.col("last_value").sort_by("last_at", maintain_order=True).last(),
        first_at=pl.col("first_at").min(),
        last_at=pl.col("last_at").max(),
    )
    time_us = _range_sums(ordered["range_us"], starts, exact["ranges_id"].is_not_null())
    sketch = Sketches.of(ordered["sketch"]).merged_runs(starts).series()
    return exact.with_columns(mean=moments.mean, m2=moments.m2, range_us=time_us, sketch=sketch).select(columns)


def _is_counted_alike() -> pl.Expr:
    """Whether all partials counted time by the same edges."""
    return pl.col("ranges_id").is_not_null().all() & (pl.col("ranges_id").n_unique() == 1)


def _range_sums(range_us: pl.Series, starts: Positions, wanted: pl.Series) -> pl.Series:
    """The lists of each group added up; null where not `wanted`."""
    lengths = range_us.list.len().gather(starts).fill_null(0).to_list()
    columns = [range_us.list.get(i, null_on_oob=True).fill_null(0).to_numpy() for i in range(max(lengths))]
    sums = np.stack([np.add.reduceat(column, starts) for column in columns], axis=1).tolist() if columns else lengths
    rows = [row[:n] if there else None for row, n, there in zip(sums, lengths, wanted, strict=True)]
    return pl.Series(rows, dtype=pl.List(pl.Int64))


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


@dataclass(frozen=True)
class _Measured:
    """Of one signal, a row a series; rows without values are left out."""

    kept: Positions
    numbers: Numbers
    places: npt.NDArray[np.int64]
    ranges_id: int | None
    range_us: npt.NDArray[np.int64]
    has_starts: bool
    sketches: Sketches


class _Series:
    """Rows of one message, in order, and where each series of a day begins."""

    def __init__(self, ordered: pl.DataFrame, starts: Positions) -> None:
        self._ordered = ordered
        self._heads = ordered.select(*_SERIES, "known_at")[starts]
        self._edges = np.append(starts, ordered.height).astype(np.int64)
        self._time_us = ordered["time"].to_physical().to_numpy()
        self._keys, self._counts = (np.empty(MOST_BUCKETS + 1, np.int64) for _ in range(2))
        room = np.minimum(np.diff(self._edges), MOST_BUCKETS).sum() + starts.size
        self._packed = np.empty(int(room) * BYTES_A_BUCKET, np.uint8)

    def measure(self, signal: str, ranges: Ranges | None) -> _Measured:
        values = self._ordered[signal].cast(pl.Float64).fill_null(np.nan).to_numpy(writable=True)
        n = self._heads.height
        numbers, places = np.zeros((n, 4)), np.zeros((n, 5), np.int64)
        range_us = np.zeros((n, len(ranges.edges) + 1 if ranges else 1), np.int64)
        ends = np.zeros(n + 1, np.int64)
        measure(
            values, self._time_us, self._edges, np.array(ranges.edges if ranges else (), np.float64),
            ranges.longest_gap_us if ranges else 0, np.array((ranges and ranges.start) or (), np.float64),
            numbers, places, range_us, self._keys, self._counts, self._packed, ends,
        )  # fmt: skip
        kept = np.flatnonzero(places[:, 0])
        sizes = np.diff(ends)[kept]
        sketches = Sketches(self._packed[: ends[-1]].copy(), np.concatenate([[0], np.cumsum(sizes)]))
        starts = ranges is not None and ranges.start is not None
        ranges_id = ranges.ranges_id if ranges else None
        return _Measured(kept, numbers[kept], places[kept], ranges_id, range_us[kept], starts, sketches)

    def rows(self, message: str, signals: Sequence[str], measured: Sequence[_Measured]) -> pl.DataFrame:
        """`DAILY_SIGNAL`, signal by signal."""
        sizes = [one.kept.size for one in measured]
        values = self._ordered["time"], np.concatenate([one.places for one in measured])
        numbers, (time, places) = np.concatenate([one.numbers for one in measured]), values
        first, last = (self._values(signals, measured, column) for column in (1, 2))
        return self._heads[np.concatenate([one.kept for one in measured])].with_columns(
            message=pl.lit(message),
            signal=pl.Series(np.repeat(np.array(signals, dtype=object), sizes), dtype=pl.String),
            n_values=pl.Series(places[:, 0]),
            mean=pl.Series(numbers[:, 0]),
            m2=pl.Series(numbers[:, 1]),
            minimum=pl.Series(numbers[:, 2]),
            maximum=pl.Series(numbers[:, 3]),
            first_at=time.gather(places[:, 1]),
            last_at=time.gather(places[:, 2]),
            first_value=pl.Series(first),
            last_value=pl.Series(last),
            n_transitions=pl.Series(places[:, 3], dtype=pl.Int32),
            n_starts=pl.concat([_where(one.has_starts, one.places[:, 4], pl.Int32()) for one in measured]),
            ranges_id=pl.concat([_repeated(one.ranges_id, one.kept.size) for one in measured]),
            range_us=pl.concat([_range_lists(one) for one in measured]),
            sketch=Sketches.joined([one.sketches for one in measured]).series(),
        )

    def _values(self, signals: Sequence[str], measured: Sequence[_Measured], column: int) -> Numbers:
        """The value at a place of each row: the first or the last."""
        pairs = zip(signals, measured, strict=True)
        parts = [self._ordered[name].gather(one.places[:, column]).cast(pl.Float64).to_numpy() for name, one in pairs]
        return np.concatenate(parts)


def _where(there: bool, values: npt.NDArray[np.int64], dtype: pl.DataType) -> pl.Series:
    return pl.Series(values, dtype=dtype) if there else pl.repeat(None, values.size, dtype=dtype, eager=True)


def _repeated(value: int | None, n: int) -> pl.Series:
    return pl.repeat(value, n, dtype=pl.Int32, eager=True)


def _range_lists(one: _Measured) -> pl.Series:
    if one.ranges_id is None:
        return pl.repeat(None, one.kept.size, dtype=pl.List(pl.Int64), eager=True)
    return pl.Series(one.range_us, dtype=pl.Array(pl.Int64, one.range_us.shape[1])).arr.to_list()
