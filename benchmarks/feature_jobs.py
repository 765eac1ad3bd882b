"""What `make bench-features` measures, each in a process of its own: vectors from daily rows, and the plain ways.

What belongs here: making the daily rows, and one function a measurement. Which are run, and what comes of it, is
`features.py`.

As a program (`python -m benchmarks.feature_jobs`) it reads a task as JSON from its standard input and prints the
outcome as the last line of its standard output.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from pm.features import declare
from pm.features.definition import FeatureSet
from pm.features.quantities import Quantity
from pm.features.windows import Sources, build_batches
from pm.schema import UTC_INSTANT
from pm.tables import DAILY_FAULT, DAILY_SIGNAL, FAILURE, VEHICLE

START: Final = datetime(2025, 1, 1, tzinfo=UTC)
WINDOWS_D: Final = (1, 3, 7, 14, 28)
STATISTICS: Final = ("mean", "std", "min", "max")
BLOCK_AS_OFS: Final = 14
_KILOBYTE: Final = 1024
_TYPES: Final = {"n_transitions": pl.Int32, "n_starts": pl.Int32, "ranges_id": pl.Int32, "range_us": pl.List(pl.Int64),
                 "sketch": pl.Binary}  # fmt: skip


def feature_set(n_signals: int) -> FeatureSet:
    """Mean, spread, least and greatest of every signal over every window."""
    quantities = tuple(Quantity(f"s{i:02}", "1", f"signal {i}", (f"M{i // 8}.S{i:02}",)) for i in range(n_signals))
    features = tuple(
        declare.window(statistic, quantity, days)
        for quantity in quantities
        for statistic in STATISTICS
        for days in WINDOWS_D
    )
    return FeatureSet("bench", 1, features, quantities, ())


def daily_rows(first_vehicle: int, n_vehicles: int, n_days: int, n_signals: int) -> pl.DataFrame:
    """DAILY_SIGNAL of some vehicles: a row a day and signal, of one value, known at the day's end."""
    generator = np.random.default_rng(first_vehicle)
    n = n_vehicles * n_days * n_signals
    vehicle = np.repeat(np.arange(first_vehicle, first_vehicle + n_vehicles, dtype=np.int32), n_days * n_signals)
    day = np.tile(np.repeat(np.arange(n_days), n_signals), n_vehicles)
    signal = np.tile(np.arange(n_signals), n_vehicles * n_days)
    mean = generator.normal(80, 7, n)
    at = pl.lit(START).cast(UTC_INSTANT)
    names = [quantity.sources[0].split(".") for quantity in feature_set(n_signals).quantities]
    return DAILY_SIGNAL.check(
        pl.DataFrame({"vehicle_id": vehicle, "d": day, "mean": mean}).with_columns(
            day=(pl.lit(START.date()) + pl.duration(days="d")).cast(pl.Date),
            log_file_id=pl.col("vehicle_id").cast(pl.Int64) * 10_000 + pl.col("d"),
            known_at=at + pl.duration(days=pl.col("d") + 1),
            message=pl.Series(np.array([m for m, _ in names])[signal]),
            signal=pl.Series(np.array([s for _, s in names])[signal]),
            channel=pl.lit("can0"), source_address=pl.lit(0, dtype=pl.Int16), n_values=pl.lit(1, dtype=pl.Int64),
            m2=pl.lit(0.0), minimum=pl.col("mean") - 5, maximum=pl.col("mean") + 5,
            first_at=at + pl.duration(days="d"), last_at=at + pl.duration(days="d", hours=5),
            first_value=pl.col("mean"), last_value=pl.col("mean"),
            **{name: pl.lit(None, dtype=kind) for name, kind in _TYPES.items()},
        ),
        unique=False,
    )  # fmt: skip


def fleet(n_vehicles: int) -> pl.DataFrame:
    """VEHICLE."""
    row = {"fleet": "f", "model": "A", "duty": "regional", "model_year": 2020, "known_at": START}
    return VEHICLE.frame([row | {"vehicle_id": i, "vehicle_ref": str(i)} for i in range(1, n_vehicles + 1)])


def as_ofs(n_days: int) -> list[datetime]:
    """Midnight after each day."""
    return [START + timedelta(days=day) for day in range(1, n_days + 1)]


def make_rows(folder: str, n_vehicles: int, n_days: int, n_signals: int) -> dict[str, Any]:
    """Write the daily rows as Parquet, a file of 30 days each, as a database would have them at hand by day."""
    rows = pl.concat([daily_rows(first, 1, n_days, n_signals) for first in range(1, n_vehicles + 1)])
    for first in range(0, n_days, 30):
        start = START.date() + timedelta(days=first)
        part = rows.filter(pl.col("day").is_between(start, start + timedelta(days=29)))
        part.write_parquet(Path(folder) / f"{first:04}.parquet", row_group_size=100_000)
    return {"rows": rows.height}


def product(folder: str, n_vehicles: int, n_days: int, n_signals: int) -> dict[str, Any]:
    """Every as-of's vectors, blocks of 14 read with their lookback: as the pipeline does, without a database."""
    wanted, n_values, n_rows = feature_set(n_signals), 0, n_vehicles * n_days * n_signals
    begin = time.perf_counter()
    for block in _blocks(as_ofs(n_days)):
        sources = Sources(fleet(n_vehicles), _read(Path(folder), block, wanted.lookback_d), *_nothing_else())
        for batch in build_batches(wanted, block, sources):
            n_values += batch.values.size
    return {"seconds": time.perf_counter() - begin, "rows": n_rows, "values": n_values}


def _blocks(ordered: Sequence[datetime]) -> Iterator[Sequence[datetime]]:
    return (ordered[at : at + BLOCK_AS_OFS] for at in range(0, len(ordered), BLOCK_AS_OFS))


def _nothing_else() -> tuple[pl.DataFrame, pl.DataFrame]:
    return DAILY_FAULT.empty(), FAILURE.empty()


def _read(folder: Path, block: Sequence[datetime], lookback_d: int) -> pl.DataFrame:
    first, last = block[0].date() - timedelta(days=lookback_d), block[-1].date()
    files = [file for file in sorted(folder.glob("*.parquet")) if _may_hold(int(file.stem), first, last)]
    return pl.scan_parquet(files).filter(pl.col("day") >= first, pl.col("day") < last).collect()


def _may_hold(first_number: int, first: date, last: date) -> bool:
    start = START.date() + timedelta(days=first_number)
    return start < last and start + timedelta(days=30) > first


def pandas_rolling(n_vehicles: int, n_days: int, n_signals: int) -> dict[str, Any]:
    """The same numbers by pandas: a dense frame, rolled a vehicle at a time. Checked against the product's first."""
    columns = {name: _dense(n_vehicles, n_days, n_signals, name) for name in ("mean", "minimum", "maximum")}
    begin = time.perf_counter()
    made = [
        getattr(columns[source].groupby(level=0).rolling(days, min_periods=1), statistic)()
        for statistic, source in (("mean", "mean"), ("std", "mean"), ("min", "minimum"), ("max", "maximum"))
        for days in WINDOWS_D
    ]
    seconds = time.perf_counter() - begin
    _require_same(made, n_vehicles, n_days, n_signals)
    return {
        "seconds": seconds, "rows": n_vehicles * n_days * n_signals, "values": sum(frame.size for frame in made)
    }  # fmt: skip


def _dense(n_vehicles: int, n_days: int, n_signals: int, name: str) -> Any:
    import pandas as pd

    rows = pl.concat([daily_rows(first, 1, n_days, n_signals) for first in range(1, n_vehicles + 1)])
    wide = rows.pivot("signal", index=["vehicle_id", "day"], values=name).sort("vehicle_id", "day")
    index = pd.MultiIndex.from_arrays([wide["vehicle_id"].to_list(), wide["day"].to_list()])
    return pd.DataFrame(wide.drop("vehicle_id", "day").to_numpy(), index=index)


def _require_same(made: Sequence[Any], n_vehicles: int, n_days: int, n_signals: int) -> None:
    rows = pl.concat([daily_rows(first, 1, n_days, n_signals) for first in range(1, n_vehicles + 1)])
    wanted, sources = feature_set(n_signals), Sources(fleet(n_vehicles), rows, *_nothing_else())
    ours = np.stack([batch.values for batch in build_batches(wanted, as_ofs(n_days), sources)], axis=1)
    shape = (n_vehicles, n_days, n_signals, len(STATISTICS), len(WINDOWS_D))
    theirs = np.stack([frame.to_numpy().reshape(shape[:3]) for frame in made], axis=-1).reshape(shape)
    np.testing.assert_allclose(ours.reshape(shape), theirs.astype(np.float32), rtol=1e-4, atol=1e-4)


def sktime_summarizer(n_vehicles: int, n_days: int, n_signals: int) -> dict[str, Any]:
    """The same windows and statistics by sktime's WindowSummarizer, a vehicle and signal at a time."""
    import pandas as pd
    from sktime.transformations.series.summarize import WindowSummarizer

    windows = {statistic: [[0, days] for days in WINDOWS_D] for statistic in STATISTICS}
    n_values = 0
    series = [
        pd.DataFrame({"s": np.random.default_rng(i).normal(80, 7, n_days)}) for i in range(n_vehicles * n_signals)
    ]
    begin = time.perf_counter()
    for one in series:
        n_values += WindowSummarizer(lag_feature=windows, n_jobs=1).fit_transform(one).size
    return {"seconds": time.perf_counter() - begin, "rows": len(series) * n_days, "values": n_values}


def one_more_day(url: str, n_vehicles: int, n_days: int, n_signals: int, first_day: int) -> dict[str, Any]:
    """The pipeline's next as-of in a database that holds `n_days` of history from `first_day` on; median of three."""
    from pm.pipelines.features import build_features
    from pm.policy import Policy
    from pm.store import frames
    from pm.store.connection import connect

    with connect(url) as conn:
        frames.insert(conn, VEHICLE, fleet(n_vehicles))
        rows = pl.concat([daily_rows(first, 1, first_day + n_days, n_signals) for first in range(1, n_vehicles + 1)])
        for day in range(first_day, first_day + n_days):  # as they come: a day of the whole fleet after the other
            frames.insert(conn, DAILY_SIGNAL, rows.filter(pl.col("day") == START.date() + timedelta(days=day)))
        del rows
        conn.execute("VACUUM ANALYZE pm.daily_signal")
        wanted, last = feature_set(n_signals), START + timedelta(days=first_day + n_days)
        seconds = []
        for _ in range(4):  # the first warms caches and is not counted
            begin = time.perf_counter()
            report = build_features(conn, [last], Policy(), feature_set=wanted, again=True)
            seconds.append(time.perf_counter() - begin)
    made = report.n_vectors * report.n_features
    return {"seconds": sorted(seconds[1:])[1], "rows": n_vehicles * n_signals, "values": made}


def taken(url: str, n_vehicles: int, n_days: int, n_signals: int, *, again: bool) -> dict[str, Any]:
    """A set with one feature more over 14 as-ofs: computed as a whole (`again`), or what is there taken."""
    from dataclasses import replace

    from pm.pipelines.features import build_features
    from pm.policy import Policy
    from pm.store.connection import connect

    first = feature_set(n_signals)
    more = replace(first, version=2, features=(*first.features, declare.trend(first.quantities[0], 14)))
    block = as_ofs(n_days)[-BLOCK_AS_OFS:]
    with connect(url) as conn:
        if not again:
            build_features(conn, block, Policy(), feature_set=first)
        begin = time.perf_counter()
        report = build_features(conn, block, Policy(), feature_set=more, again=again)
        seconds = time.perf_counter() - begin
    return {"seconds": seconds, "rows": n_vehicles * n_signals * len(block), "values": report.n_computed}


JOBS: Final[dict[str, Callable[..., dict[str, Any]]]] = {
    job.__name__: job for job in (make_rows, product, pandas_rolling, sktime_summarizer, one_more_day, taken)
}


def main() -> int:
    """Do one task; prints its outcome."""
    task = json.load(sys.stdin)
    outcome = JOBS[task.pop("job")](**task)
    outcome["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KILOBYTE
    print(json.dumps(outcome))
    return 0


if __name__ == "__main__":
    sys.exit(main())
