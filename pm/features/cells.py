"""The values of one day and quantity, as known at any instant.

What belongs here: daily partials become *cells*, versioned by arrival: each file that arrives for
a day makes a new version of the cell, valid from the file's known_at until the next. Selecting an
as-of is then a filter, and what arrives later cannot change what was selected. What does not: any
statistic over several days (`pm.features.statistics`).

Partials merge in the order in which they became known (then log file, then channel), one at a time,
by the pairwise formula of Chan, Golub and LeVeque (1983, see `pm.features.daily`): versions before an
arrival keep their bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pm.asof import known
from pm.features.quantities import Quantity

Numbers = npt.NDArray[np.float64]

_CELL: Final = ("vehicle_id", "day", "quantity", "choice", "source_address")
_MOMENTS: Final = ("n_values", "mean", "m2", "minimum", "maximum", "first_us", "first_value", "last_us", "last_value")
_FEW: Final = 0.5
"""A source address that sends less than this share of the busiest one's values is not preferred."""


@dataclass(frozen=True)
class Days:
    """Daily values on a grid [day before the as-of, vehicle, quantity]; row 0 is the last full day.

    Where n is 0 the others mean nothing: mean and m2 are 0, minimum +inf, maximum -inf.
    """

    n: Numbers
    mean: Numbers
    m2: Numbers
    minimum: Numbers
    maximum: Numbers
    first_value: Numbers
    last_value: Numbers


def cell_versions(daily_signals: pl.DataFrame, quantities: Sequence[Quantity]) -> pl.DataFrame:
    """Every version of every cell: known_at, superseded_at (null: still valid) and the merged values.

    Rows are ordered by cell and known_at; `quantity` is the position in `quantities`, `choice` that
    of the source within the quantity.
    """
    partials = _partials(daily_signals, quantities)
    if not partials.height:
        return partials.with_columns(superseded_at=pl.col("known_at"))
    merged = _merge_in_order_of_arrival(partials)
    same_cell = pl.all_horizontal(pl.col(name) == pl.col(name).shift(-1) for name in _CELL).fill_null(value=False)
    return merged.with_columns(superseded_at=pl.when(same_cell).then(pl.col("known_at").shift(-1)))


def select_days(
    versions: pl.DataFrame, as_of: datetime, *, vehicle_ids: Sequence[int], n_quantities: int, lookback_d: int
) -> Days:
    """The cells of the `lookback_d` days before `as_of`'s day, as known at `as_of`."""
    today = as_of.date()
    rows = known(versions, as_of).filter(
        pl.col("superseded_at").is_null() | (pl.col("superseded_at") > as_of),
        pl.col("day").is_between(today - timedelta(days=lookback_d), today, closed="left"),
    )
    return _grid(_one_source(rows), today, vehicle_ids, (lookback_d, len(vehicle_ids), n_quantities))


def _partials(daily_signals: pl.DataFrame, quantities: Sequence[Quantity]) -> pl.DataFrame:
    wanted = [(source, i, j) for i, quantity in enumerate(quantities) for j, source in enumerate(quantity.sources)]
    codes = pl.DataFrame(
        {
            "message": [source.split(".", 1)[0] for source, _, _ in wanted],
            "signal": [source.split(".", 1)[1] for source, _, _ in wanted],
            "quantity": [quantity for _, quantity, _ in wanted],
            "choice": [choice for _, _, choice in wanted],
        },
        schema={"message": pl.String, "signal": pl.String, "quantity": pl.Int32, "choice": pl.Int32},
    )
    return (
        daily_signals.join(codes, on=("message", "signal"))
        .sort([*_CELL, "known_at", "log_file_id", "channel"])
        .with_columns(
            pl.col("n_values").cast(pl.Float64),
            first_us=pl.col("first_at").dt.timestamp("us").cast(pl.Float64),
            last_us=pl.col("last_at").dt.timestamp("us").cast(pl.Float64),
        )
        .select(*_CELL, "known_at", *_MOMENTS)
    )


def _merge_in_order_of_arrival(partials: pl.DataFrame) -> pl.DataFrame:
    """Row by row the merge of all partials of its cell up to it."""
    values = {name: partials[name].to_numpy().copy() for name in _MOMENTS}
    rank = partials.select(pl.int_range(pl.len()).over(_CELL)).to_series().to_numpy()
    for step in range(1, int(rank.max()) + 1):
        into = np.flatnonzero(rank == step)
        _merge(values, into - 1, into)
    return partials.with_columns(pl.Series(name, column) for name, column in values.items())


def _merge(values: dict[str, Numbers], before: npt.NDArray[np.intp], into: npt.NDArray[np.intp]) -> None:
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
    busy = first.filter(pl.col("n_values") >= _FEW * pl.col("n_values").max().over(series))
    chosen = busy.group_by(*series, "choice").agg(pl.col("source_address").min())
    return rows.join(chosen, on=(*series, "choice", "source_address"), how="semi")


def _grid(rows: pl.DataFrame, today: date, vehicle_ids: Sequence[int], shape: tuple[int, int, int]) -> Days:
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
    )  # fmt: skip
