"""The last driving days of every vehicle and signal, laid out for checks.

What belongs here: daily partials become a grid [driving day back, subject], as known at an as-of. A
*subject* is a vehicle, message, signal and source address: two controllers that send the same signal
are two subjects and are never held against each other. What does not: any check.

A *driving day* is a UTC day on which the truck moved, as far as its signals tell, and sent at least a
quarter of what it usually sends. Days are counted back by driving days, so that a weekend is no silence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pm.asof import known
from pm.features.checks.plausible import ENGINE_HOURS, ODOMETER, SPEED, sources_of
from pm.features.quantities import Quantity

Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

SUBJECT: Final = ("vehicle_id", "message", "signal", "source_address")
NEW_D: Final = 1
"""Rows known for at most so many days are new."""
_FULL_DAY: Final = 0.25
"""A day with less than this share of a vehicle's median day is a half-arrived one, or a truck moved in the yard."""
_MOVES_KMH: Final = 1.0
_MOVES: Final = 0.05
"""Kilometres or hours that a counter must gain on a driving day."""


@dataclass(frozen=True)
class SubjectDays:
    """Daily values [driving day back, subject]; where n is 0 the others are NaN. Row 0 is the latest.

    `subjects` has SUBJECT in order, `model` (empty: not known) and `known_at`, the latest of its rows.
    `n_days` [subject] is how many driving days its vehicle has in the window, at most all rows.
    """

    subjects: pl.DataFrame
    n_days: npt.NDArray[np.int64]
    n: Numbers
    mean: Numbers
    m2: Numbers
    minimum: Numbers
    maximum: Numbers
    is_new: Flags
    """Whether the day's values became known within the last day: files may bring a week at once."""
    hours: Numbers
    """Engine hours of the subject's vehicle on the day, from its hour meter; NaN: not known."""

    @cached_property
    def signals(self) -> pl.DataFrame:
        """Each subject's message and signal."""
        return self.subjects.select("message", "signal")

    def of(self, names: Sequence[tuple[str, str]]) -> Flags:
        """Which subjects are one of these (message, signal)."""
        wanted = pl.DataFrame(names, schema={"message": pl.String, "signal": pl.String}, orient="row").unique()
        found = self.signals.join(wanted.with_columns(is_one=True), on=("message", "signal"), how="left",
                                  maintain_order="left")  # fmt: skip
        return found["is_one"].fill_null(value=False).to_numpy()


def lay_out(
    daily: pl.DataFrame,
    as_of: datetime,
    *,
    vehicles: pl.DataFrame,
    quantities: Sequence[Quantity],
    n_days: int,
) -> SubjectDays:
    """The last `n_days` driving days before `as_of`'s day, from rows of `daily` (DAILY_SIGNAL) known then."""
    today = as_of.date()
    rows = _numbered(known(daily, as_of).filter(pl.col("day") < today))
    merged = _merged(rows)
    active = _driving_days(merged, quantities).filter(pl.col("back") < n_days)
    placed = merged.join(active, on=("vehicle_id", "day")).sort("subject", "back")
    subjects = _subjects(placed, vehicles)
    fresh = placed.with_columns(is_new=pl.col("known_at") > as_of - timedelta(days=NEW_D))
    return _grid(fresh, subjects, active, _hours(rows, active, quantities), n_days)


def lookback_start(as_of: datetime, n_days: int) -> date:
    """First day worth reading for `n_days` driving days: half as many calendar days more, and two weeks."""
    return as_of.date() - timedelta(days=n_days + n_days // 2 + 14)


def _numbered(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with the number of their subject, in one order whatever order they came in."""
    subjects = rows.select(SUBJECT).unique().sort(SUBJECT).with_row_index("subject")
    return rows.join(subjects, on=SUBJECT).sort("subject", "day", "known_at", "log_file_id", "channel")


def _merged(rows: pl.DataFrame) -> pl.DataFrame:
    """One row a subject and day; means and sums of squares pooled as in `pm.features.daily`."""
    keys = [*SUBJECT, "subject", "day"]
    if not rows.height:
        return rows.select(*keys, "known_at", "n_values", "mean", "m2", "minimum", "maximum")
    new_day = (pl.col("subject") != pl.col("subject").shift(1)) | (pl.col("day") != pl.col("day").shift(1))
    starts = np.flatnonzero(rows.select(new_day.fill_null(value=True)).to_series().to_numpy())
    n, mean, m2 = (rows[name].cast(pl.Float64).to_numpy() for name in ("n_values", "mean", "m2"))
    total = np.add.reduceat(n, starts)
    pooled = np.add.reduceat(n * mean, starts) / total
    apart = mean - np.repeat(pooled, np.diff(starts, append=n.size))
    epoch = rows["known_at"].to_physical().to_numpy()
    return (
        rows[starts]
        .select(keys)
        .with_columns(
            known_at=pl.Series(np.maximum.reduceat(epoch, starts)).cast(rows.schema["known_at"]),
            n_values=pl.Series(total),
            mean=pl.Series(pooled),
            m2=pl.Series(np.add.reduceat(m2 + n * apart * apart, starts)),
            minimum=pl.Series(np.minimum.reduceat(rows["minimum"].to_numpy(), starts)),
            maximum=pl.Series(np.maximum.reduceat(rows["maximum"].to_numpy(), starts)),
        )
    )


def _driving_days(merged: pl.DataFrame, quantities: Sequence[Quantity]) -> pl.DataFrame:
    """vehicle_id, day and `back`: 0 for a vehicle's latest driving day, 1 for the one before, and so on."""
    speeds, counts = (
        _is_one_of(sources_of(quantities, SPEED)),
        _is_one_of(sources_of(quantities, ODOMETER, ENGINE_HOURS)),
    )
    days = merged.group_by("vehicle_id", "day").agg(
        amount=pl.col("n_values").sum(),
        tells=(speeds | counts).any(),
        moves=(
            (speeds & (pl.col("maximum") > _MOVES_KMH)) | (counts & (pl.col("maximum") - pl.col("minimum") > _MOVES))
        ).any(),
    )
    full = pl.col("amount") >= _FULL_DAY * pl.col("amount").median().over("vehicle_id")
    return (
        days.filter(full & (pl.col("moves") | ~pl.col("tells")))
        .with_columns(back=pl.col("day").rank("ordinal", descending=True).over("vehicle_id").cast(pl.Int64) - 1)
        .select("vehicle_id", "day", "back")
    )


def _is_one_of(names: Sequence[tuple[str, str]]) -> pl.Expr:
    is_one = pl.lit(value=False)
    for message, signal in names:
        is_one = is_one | ((pl.col("message") == message) & (pl.col("signal") == signal))
    return is_one


def _subjects(placed: pl.DataFrame, vehicles: pl.DataFrame) -> pl.DataFrame:
    models = vehicles.select("vehicle_id", pl.col("model").fill_null(""))
    found = placed.group_by("subject", maintain_order=True).agg(
        *(pl.col(name).first() for name in SUBJECT), pl.col("known_at").max()
    )
    return found.join(models, on="vehicle_id", how="left", maintain_order="left").with_columns(
        pl.col("model").fill_null("")
    )


def _hours(rows: pl.DataFrame, active: pl.DataFrame, quantities: Sequence[Quantity]) -> pl.DataFrame:
    """vehicle_id, back and the hour meter's gain, summed file by file: a file that is missing adds no hours."""
    meters = rows.filter(_is_one_of(sources_of(quantities, ENGINE_HOURS)))
    gains = meters.group_by(*SUBJECT, "day", maintain_order=True).agg(
        hours=(pl.col("last_value") - pl.col("first_value")).clip(0.0).sum()
    )
    # Of several meters the one that counted most: another may have been asked only once that day.
    return (
        gains.group_by("vehicle_id", "day")
        .agg(pl.col("hours").max())
        .join(active, on=("vehicle_id", "day"))
        .select("vehicle_id", "back", "hours")
    )


def _grid(
    placed: pl.DataFrame, subjects: pl.DataFrame, active: pl.DataFrame, hours: pl.DataFrame, n_days: int
) -> SubjectDays:
    shape = (n_days, subjects.height)
    columns = placed["subject"].rank("dense").cast(pl.Int64).to_numpy() - 1
    at = (placed["back"].to_numpy(), columns)

    def spread(values: pl.DataFrame, name: str, empty: float) -> Numbers:
        grid = np.full(shape, empty)
        grid[at] = values[name].to_numpy()
        return grid

    counted = active.group_by("vehicle_id").agg(n_days=pl.len().cast(pl.Int64))
    ids = subjects.select("vehicle_id")
    per_subject = ids.join(counted, on="vehicle_id", how="left", maintain_order="left")
    return SubjectDays(
        subjects=subjects.drop("subject"),
        n_days=per_subject["n_days"].fill_null(0).to_numpy(),
        n=spread(placed, "n_values", 0.0),
        mean=spread(placed, "mean", np.nan),
        m2=spread(placed, "m2", np.nan),
        minimum=spread(placed, "minimum", np.nan),
        maximum=spread(placed, "maximum", np.nan),
        is_new=spread(placed, "is_new", 0.0) > 0,
        hours=_hours_grid(ids, hours, n_days),
    )


def _hours_grid(ids: pl.DataFrame, hours: pl.DataFrame, n_days: int) -> Numbers:
    vehicles = ids.unique().sort("vehicle_id").with_row_index("place")
    table = np.full((n_days, vehicles.height), np.nan)
    placed = hours.join(vehicles, on="vehicle_id")
    table[placed["back"].to_numpy(), placed["place"].to_numpy()] = placed["hours"].to_numpy()
    places = ids.join(vehicles, on="vehicle_id", how="left", maintain_order="left")["place"].to_numpy()
    return table[:, places]


def median(values: Numbers) -> Numbers:
    """Median over the first axis of what is not NaN; NaN where nothing is."""
    if not values.shape[0]:
        return np.full(values.shape[1:], np.nan)
    ordered = np.sort(values, axis=0)  # NaN goes to the end
    count = np.isfinite(values).sum(axis=0)
    low, high = np.maximum(count - 1, 0) // 2, count // 2
    high = np.minimum(high, values.shape[0] - 1)
    picked = [np.take_along_axis(ordered, at[None], axis=0)[0] for at in (low, high)]
    return np.where(count > 0, (picked[0] + picked[1]) / 2, np.nan)
