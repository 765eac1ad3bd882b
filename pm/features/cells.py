"""The values of one day and quantity, as known at any instant.

What belongs here: daily partials become *cells*, versioned by arrival: each file that arrives for
a day makes a new version of the cell, valid from the file's known_at until the next. Selecting an
as-of is then a filter, and what arrives later cannot change what was selected. What does not: any
statistic over several days (`pm.features.statistics`).

Partials merge in the order in which they became known (then log file, then channel), one at a time,
by the pairwise formula of Chan, Golub and LeVeque (1983, see `pm.features.daily`): versions before an
arrival keep their bits. Counts, times and sketches are whole numbers, so their order would not matter.

A partial that lacks a count (made before it was kept, or by other ranges) makes the merged one unknown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pm.asof import known
from pm.features.quantities import Quantity
from pm.features.ranges import BY_QUANTITY, Ranges
from pm.features.sketch import Sketches

Numbers = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]

_CELL: Final = ("vehicle_id", "day", "quantity", "choice", "source_address")
_MOMENTS: Final = ("n_values", "mean", "m2", "minimum", "maximum", "first_us", "first_value", "last_us", "last_value")
_COUNTS: Final = ("n_transitions", "n_starts")
FEW: Final = 0.5
"""A source address that sends less than this share of the busiest one's values is not preferred."""


@dataclass(frozen=True)
class Days:
    """Daily values on a grid [day before the as-of, vehicle, quantity]; row 0 is the last full day.

    Where n is 0 the others mean nothing: mean and m2 are 0, minimum +inf, maximum -inf. NaN: not counted.
    """

    n: Numbers
    mean: Numbers
    m2: Numbers
    minimum: Numbers
    maximum: Numbers
    first_value: Numbers
    last_value: Numbers
    n_transitions: Numbers
    n_starts: Numbers
    range_us: tuple[Numbers, ...]
    """A grid a range: time in it, in µs. NaN where the quantity has no such range."""
    sketch: Whole
    """Number of the day's sketch in `sketches`, or -1."""
    sketches: Sketches


@dataclass(frozen=True)
class CellVersions:
    """Every version of every cell, with its sketches beside it."""

    rows: pl.DataFrame
    """Cell, known_at, superseded_at (null: still valid), merged values, and the number of the merged sketch."""
    n_ranges: int
    sketches: Sketches


def cell_versions(
    daily_signals: pl.DataFrame, quantities: Sequence[Quantity], ranges: Mapping[str, Ranges] = BY_QUANTITY
) -> CellVersions:
    """The cells of `DAILY_SIGNAL`, by cell and known_at.

    `quantity` is the position in `quantities`, `choice` that of the source within the quantity. Time in ranges
    and starts count where they were counted by the limits that `ranges` declares now.
    """
    declared = [ranges.get(quantity.name) for quantity in quantities]
    n_ranges = max((len(each.edges) + 1 for each in declared if each), default=0)
    partials = _partials(daily_signals, quantities, declared, n_ranges)
    sketches = Sketches.of(partials["sketch"])
    partials = partials.with_columns(sketch=pl.int_range(pl.len(), dtype=pl.Int64))
    if partials.height:
        partials, sketches = _merge_in_order_of_arrival(partials, sketches, n_ranges)
    same_cell = pl.all_horizontal(pl.col(name) == pl.col(name).shift(-1) for name in _CELL).fill_null(value=False)
    until = pl.when(same_cell).then(pl.col("known_at").shift(-1))
    return CellVersions(partials.with_columns(superseded_at=until), n_ranges, sketches)


def select_days(
    versions: CellVersions, as_of: datetime, *, vehicle_ids: Sequence[int], n_quantities: int, lookback_d: int
) -> Days:
    """The cells of the `lookback_d` days before `as_of`'s day, as known at `as_of`."""
    today = as_of.date()
    rows = known(versions.rows, as_of).filter(
        pl.col("superseded_at").is_null() | (pl.col("superseded_at") > as_of),
        pl.col("day").is_between(today - timedelta(days=lookback_d), today, closed="left"),
    )
    shape = (lookback_d, len(vehicle_ids), n_quantities)
    return _grid(_one_source(rows), today, vehicle_ids, shape, versions)


def _partials(
    daily_signals: pl.DataFrame, quantities: Sequence[Quantity], ranges: Sequence[Ranges | None], n_ranges: int
) -> pl.DataFrame:
    wanted = [(source, i, j) for i, quantity in enumerate(quantities) for j, source in enumerate(quantity.sources)]
    codes = pl.DataFrame(
        {
            "message": [source.split(".", 1)[0] for source, _, _ in wanted],
            "signal": [source.split(".", 1)[1] for source, _, _ in wanted],
            "quantity": [quantity for _, quantity, _ in wanted],
            "choice": [choice for _, _, choice in wanted],
            "declared_id": [each.ranges_id if (each := ranges[quantity]) else None for _, quantity, _ in wanted],
        },
        schema={
            "message": pl.String, "signal": pl.String, "quantity": pl.Int32, "choice": pl.Int32,
            "declared_id": pl.Int32,
        },
    )  # fmt: skip
    is_declared = pl.col("ranges_id") == pl.col("declared_id")
    counted, started = pl.when(is_declared).then(pl.col("range_us")), pl.when(is_declared).then(pl.col("n_starts"))
    return (
        daily_signals.join(codes, on=("message", "signal"))
        .sort([*_CELL, "known_at", "log_file_id", "channel"])
        .with_columns(
            pl.col("n_values").cast(pl.Float64),
            first_us=pl.col("first_at").dt.timestamp("us").cast(pl.Float64),
            last_us=pl.col("last_at").dt.timestamp("us").cast(pl.Float64),
            n_transitions=pl.col("n_transitions").cast(pl.Float64).fill_null(np.nan),
            n_starts=started.cast(pl.Float64).fill_null(np.nan),
            **{
                name: counted.list.get(i, null_on_oob=True).cast(pl.Float64).fill_null(np.nan)
                for i, name in enumerate(_range_names(n_ranges))
            },
        )
        .select(*_CELL, "known_at", *_MOMENTS, *_COUNTS, *_range_names(n_ranges), "sketch")
    )


def _range_names(n_ranges: int) -> list[str]:
    return [f"range_{i}_us" for i in range(n_ranges)]


def _merge_in_order_of_arrival(
    partials: pl.DataFrame, sketches: Sketches, n_ranges: int
) -> tuple[pl.DataFrame, Sketches]:
    """Row by row the merge of all partials of its cell up to it; merged sketches follow those that were given."""
    added = (*_COUNTS, *_range_names(n_ranges))
    values: dict[str, npt.NDArray[Any]] = {name: partials[name].to_numpy().copy() for name in (*_MOMENTS, *added)}
    number = np.arange(partials.height)
    rank = _rank_in_cell(partials)
    for step in range(1, int(rank.max()) + 1):
        into = np.flatnonzero(rank == step)
        _merge(values, into - 1, into)
        for name in added:
            values[name][into] += values[name][into - 1]
        merged = sketches.merged(number[into - 1], number[into])
        number[into] = sketches.sizes.size + np.arange(into.size)
        sketches = Sketches.joined([sketches, merged])
    values["sketch"] = number
    return partials.with_columns(pl.Series(name, column) for name, column in values.items()), sketches


def _rank_in_cell(partials: pl.DataFrame) -> npt.NDArray[np.int64]:
    """How many rows of its cell stand before each row; rows of a cell stand together."""
    begins = partials.select(pl.any_horizontal(pl.col(name) != pl.col(name).shift(1) for name in _CELL))
    is_first = begins.to_series().fill_null(value=True).to_numpy()
    place = np.arange(partials.height)
    return place - np.maximum.accumulate(np.where(is_first, place, 0))


def _merge(values: Mapping[str, npt.NDArray[Any]], before: npt.NDArray[np.intp], into: npt.NDArray[np.intp]) -> None:
    """Write to the rows `into` the merge of `before` and `into`."""
    a = {name: column[before] for name, column in values.items()}
    b = {name: column[into] for name, column in values.items()}
    n = a["n_values"] + b["n_values"]
    apart = b["mean"] - a["mean"]
    values["n_values"][into] = n
    values["mean"][into] = a["mean"] + apart * (b["n_values"] / n)
    values["m2"][into] = a["m2"] + b["m2"] + apart * apart * (a["n_values"] * b["n_values"] / n)
    values["minimum"][into] = np.minimum(a["minimum"], b["minimum"])
    values["maximum"][into] = np.maximum(a["maximum"], b["maximum"])
    values["first_value"][into] = np.where(a["first_us"] <= b["first_us"], a["first_value"], b["first_value"])
    values["last_value"][into] = np.where(a["last_us"] > b["last_us"], a["last_value"], b["last_value"])
    values["first_us"][into] = np.minimum(a["first_us"], b["first_us"])
    values["last_us"][into] = np.maximum(a["last_us"], b["last_us"])


def _one_source(rows: pl.DataFrame) -> pl.DataFrame:
    """For each vehicle and quantity the rows of one signal and one source address.

    Two controllers that send the same signal are two series (two odometers in one truck): taken is
    the first signal of the quantity that has data, from the lowest source address that sends at
    least half as many values as the busiest one.
    """
    series = ("vehicle_id", "quantity")
    choices = rows.group_by(*series, "choice", "source_address").agg(pl.col("n_values").sum())
    first = choices.filter(pl.col("choice") == pl.col("choice").min().over(series))
    busy = first.filter(pl.col("n_values") >= FEW * pl.col("n_values").max().over(series))
    chosen = busy.group_by(*series, "choice").agg(pl.col("source_address").min())
    return rows.join(chosen, on=(*series, "choice", "source_address"), how="semi")


def _grid(
    rows: pl.DataFrame, today: date, vehicle_ids: Sequence[int], shape: tuple[int, int, int], versions: CellVersions
) -> Days:
    places = pl.DataFrame(
        {"vehicle_id": vehicle_ids, "place": range(len(vehicle_ids))},
        schema={"vehicle_id": pl.Int32, "place": pl.Int64},
    )
    placed = rows.join(places, on="vehicle_id")
    back = placed.select((pl.lit(today) - pl.col("day")).dt.total_days() - 1).to_series().to_numpy()
    at = (back, placed["place"].to_numpy(), placed["quantity"].to_numpy())

    def spread(name: str, empty: float) -> Numbers:
        grid = np.full(shape, empty)
        grid[at] = placed[name].to_numpy()
        return grid

    return Days(
        n=spread("n_values", 0.0), mean=spread("mean", 0.0), m2=spread("m2", 0.0),
        minimum=spread("minimum", np.inf), maximum=spread("maximum", -np.inf),
        first_value=spread("first_value", 0.0), last_value=spread("last_value", 0.0),
        n_transitions=spread("n_transitions", np.nan), n_starts=spread("n_starts", np.nan),
        range_us=tuple(spread(name, np.nan) for name in _range_names(versions.n_ranges)),
        sketch=spread("sketch", -1.0).astype(np.int64), sketches=versions.sketches,
    )  # fmt: skip
