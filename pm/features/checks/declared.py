"""Daily aggregates are what is declared: types, keys, and rows that agree with themselves.

What belongs here: the declared table against the frame, and what holds of any aggregate: the mean lies
between the extremes, a day's values were measured on that day, nothing was known before it happened.
"""

from datetime import datetime, timedelta
from typing import Final

import polars as pl

from pm.errors import DataError
from pm.features.checks.finding import Checked, Finding
from pm.schema import Table

_EXACT: Final = 1e-9
_PLAUSIBLE: Final = {
    "n_values is not positive": pl.col("n_values") <= 0,
    "a figure is not finite": ~pl.all_horizontal(pl.col("mean", "m2", "minimum", "maximum").is_finite()),
    "the lowest value is above the highest": pl.col("minimum") > pl.col("maximum"),
    "the mean is not between the extremes": (
        (pl.col("mean") < pl.col("minimum") - _EXACT * (1 + pl.col("minimum").abs()))
        | (pl.col("mean") > pl.col("maximum") + _EXACT * (1 + pl.col("maximum").abs()))
    ),
    "m2 is negative": pl.col("m2") < 0,
    "the last value is before the first": pl.col("last_at") < pl.col("first_at"),
    "a value is of another day": (pl.col("first_at").dt.date() != pl.col("day"))
    | (pl.col("last_at").dt.date() != pl.col("day")),
}


def check_declared(daily: pl.DataFrame, table: Table, as_of: datetime, tolerance: timedelta) -> Checked:
    """Of a frame that does not fit `table` one finding of the whole fleet, else one a vehicle with rows that cannot be.

    Args:
        tolerance: how much later than it was known something may have happened: clocks differ.
    """
    try:
        table.check(daily)
    except DataError as reason:
        finding = Finding(0, "", "", -1, reason=str(reason), n_rows=daily.height, known_at=as_of)
        return Checked((finding,), 1, daily.height, whole_fleet=True)
    broken = [
        row
        for words, rule in _rules(tolerance).items()
        for row in _by_vehicle(daily.filter(rule)).with_columns(words=pl.lit(words)).iter_rows(named=True)
    ]
    first: dict[int, Finding] = {}
    for row in broken:
        first.setdefault(row["vehicle_id"], _finding(row))
    vehicles = daily["vehicle_id"].n_unique()
    return Checked(tuple(first[at] for at in sorted(first)), vehicles, daily.height)


def sound(daily: pl.DataFrame, tolerance: timedelta) -> pl.DataFrame:
    """The rows that agree with themselves: nothing else is looked at by other checks."""
    return daily.filter(~pl.any_horizontal(*_rules(tolerance).values()))


def _rules(tolerance: timedelta) -> dict[str, pl.Expr]:
    """What is wrong with a row, in words, and by which rule."""
    return {**_PLAUSIBLE, "it was known before it happened": pl.col("known_at") + tolerance < pl.col("last_at")}


def _by_vehicle(broken: pl.DataFrame) -> pl.DataFrame:
    ordered = broken.sort("vehicle_id", "day", "message", "signal", "source_address", "channel", "log_file_id")
    return ordered.group_by("vehicle_id", maintain_order=True).agg(
        pl.col("day", "message", "signal").first(), pl.col("known_at").max(), n_broken=pl.len()
    )


def _finding(row: dict[str, object]) -> Finding:
    reason = f"{row['words']} in {row['n_broken']} rows, the first of {row['message']}.{row['signal']} on {row['day']}"
    return Finding(
        row["vehicle_id"], "", "", -1, reason=reason, n_rows=row["n_broken"], known_at=row["known_at"],  # type: ignore[arg-type]
        value=float(row["n_broken"]), expected_high=0.0,  # type: ignore[arg-type]
    )  # fmt: skip
