"""Features of what was repaired before, as known at the as-of.

What belongs here: times since and counts out of `FAILURE`, of each line its latest version known by
then. A visit that was not yet known at the as-of does not exist.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pm.asof import latest_known
from pm.features.definition import Recipe

Numbers = npt.NDArray[np.float64]

CAP_D: Final = 365.0
"""Days since a repair are not told apart beyond this."""
LINE: Final = ("source_system", "work_order_id", "line_no")
"""Key of a work order line, whose versions these are."""
_US_PER_D: Final = 86_400e6


def history_features(
    failures: pl.DataFrame, as_of: datetime, recipes: Sequence[Recipe], *, vehicle_ids: Sequence[int]
) -> Mapping[Recipe, Numbers]:
    """Each recipe's values [vehicle] at `as_of`: NaN days since a repair where none is known, counts from 0."""
    if not recipes:
        return {}
    visits = latest_known(failures, as_of, LINE).filter(pl.col("failed_at") <= as_of)
    table = visits.group_by("vehicle_id").agg(**{str(i): _value(recipe, as_of) for i, recipe in enumerate(recipes)})
    places = pl.DataFrame({"vehicle_id": vehicle_ids}, schema={"vehicle_id": pl.Int32})
    placed = places.join(table, on="vehicle_id", how="left", maintain_order="left")
    return {recipe: _filled(placed[str(i)], recipe) for i, recipe in enumerate(recipes)}


def is_repair(as_of: datetime) -> pl.Expr:
    """Of the latest versions of lines: a failure or planned work that was finished by `as_of`."""
    return pl.col("kind").is_in(["failure", "planned", "campaign"]) & (pl.col("restored_at") <= as_of)


def _value(recipe: Recipe, as_of: datetime) -> pl.Expr:
    kind = pl.col("kind")
    about = pl.col("component") == recipe.of if recipe.of else pl.lit(value=True)
    recent = pl.col("failed_at") > as_of - timedelta(days=recipe.days) if recipe.days else pl.lit(value=True)
    if recipe.kind == "days_since_repair":
        done = about & is_repair(as_of)
        return (pl.lit(as_of) - pl.col("restored_at").filter(done).max()).dt.total_microseconds() / _US_PER_D
    counted = "failure" if recipe.kind == "failures" else "no_trouble_found"
    return (about & recent & (kind == counted)).sum()


def _filled(column: pl.Series, recipe: Recipe) -> Numbers:
    values: Numbers = column.cast(pl.Float64).to_numpy()
    if recipe.kind == "days_since_repair":
        return np.asarray(np.minimum(values, CAP_D))
    return np.where(np.isfinite(values), values, 0.0)
