"""What a counter gained since a repair: kilometres driven, hours run.

What belongs here: the counter at the last repair known, against its latest reading. The reading of a repair is the
first of the week after it, of the same signal and controller as the latest one: two controllers count apart.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pm.asof import known, latest_known
from pm.features.definition import Recipe
from pm.features.history import LINE, is_repair
from pm.features.quantities import Quantity

Numbers = npt.NDArray[np.float64]

AFTER_D: Final = 7
"""Days after a repair in which its reading is looked for."""
_SERIES: Final = ("vehicle_id", "choice", "source_address")


def meter_features(
    readings: pl.DataFrame,
    failures: pl.DataFrame,
    as_of: datetime,
    recipes: Sequence[Recipe],
    *,
    vehicle_ids: Sequence[int],
    quantities: Mapping[str, Quantity],
) -> Mapping[Recipe, Numbers]:
    """Each recipe's values [vehicle] at `as_of`; NaN: no repair known, no reading, or a counter that was reset.

    Args:
        readings: `DAILY_SIGNAL` of the counters' signals: the days of each recipe before the as-of, and the
            `AFTER_D` days after each repair; rows of other days change nothing.
        failures: `FAILURE`, all versions.
    """
    if not recipes:
        return {}
    there = known(readings, as_of).filter(pl.col("day") < as_of.date())
    repairs = latest_known(failures, as_of, LINE).filter(is_repair(as_of))
    places = pl.DataFrame({"vehicle_id": vehicle_ids}, schema={"vehicle_id": pl.Int32})
    made = {}
    for recipe in recipes:
        counter, _, component = recipe.of.partition("-")
        mine = _of_quantity(there, quantities[counter])
        gained = _gains(mine, repairs.filter(pl.col("component") == component), as_of, recipe.days)
        values = places.join(gained, on="vehicle_id", how="left", maintain_order="left")["gained"].to_numpy()
        made[recipe] = np.where(values >= 0, values, np.nan)
    return made


def _gains(readings: pl.DataFrame, repairs: pl.DataFrame, as_of: datetime, newest_d: int) -> pl.DataFrame:
    """One row a vehicle: what its counter gained since its last repair."""
    back_d = (pl.lit(as_of.date()) - pl.col("day")).dt.total_days()
    newest = (
        readings.filter(back_d <= newest_d)
        .sort(*_SERIES, "last_at", "known_at", "log_file_id", "channel")
        .group_by(_SERIES)
        .agg(now=pl.col("last_value").last())
    )
    last_repair = repairs.group_by("vehicle_id").agg(pl.col("restored_at").max())
    after_d = (pl.col("day") - pl.col("restored_at").dt.date()).dt.total_days()
    then = (
        readings.join(last_repair, on="vehicle_id")
        .filter(after_d.is_between(1, AFTER_D))
        .sort(*_SERIES, "first_at", "known_at", "log_file_id", "channel")
        .group_by(_SERIES)
        .agg(before=pl.col("first_value").first())
    )
    pairs = newest.join(then, on=_SERIES).sort(_SERIES).unique("vehicle_id", keep="first", maintain_order=True)
    return pairs.select("vehicle_id", gained=pl.col("now") - pl.col("before"))


def _of_quantity(readings: pl.DataFrame, quantity: Quantity) -> pl.DataFrame:
    names = [source.split(".", 1) for source in quantity.sources]
    choices = pl.DataFrame(
        {"message": [m for m, _ in names], "signal": [s for _, s in names], "choice": range(len(names))},
        schema={"message": pl.String, "signal": pl.String, "choice": pl.Int32},
    )
    return readings.join(choices, on=("message", "signal"))
