"""Features of the trouble codes a truck reported.

What belongs here: counts over days out of `DAILY_FAULT`. A code is an (SPN, FMI); DM1 repeats it
every second while it is active, so reports are never counted, only days and different codes.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pm.asof import known
from pm.features.featureset import BEFORE_D, Recipe
from pm.features.quantities import COMPONENT_SPNS

Numbers = npt.NDArray[np.float64]

_CODE: Final = ("vehicle_id", "spn", "fmi")


def code_features(
    daily_faults: pl.DataFrame,
    as_of: datetime,
    recipes: Sequence[Recipe],
    *,
    vehicle_ids: Sequence[int],
    n_days_with_data: Callable[[int], Numbers],
) -> Mapping[Recipe, Numbers]:
    """Each recipe's values [vehicle] at `as_of`.

    A truck without a code has 0 where it has data in the window (`n_days_with_data(days)` > 0), and
    NaN where it has none: silence of a logger is no health.
    """
    if not recipes:
        return {}
    places = pl.DataFrame({"vehicle_id": vehicle_ids}, schema={"vehicle_id": pl.Int32})
    table = _code_days(daily_faults, as_of).group_by("vehicle_id").agg(
        **{str(i): _count(recipe) for i, recipe in enumerate(recipes)}
    )  # fmt: skip
    placed = places.join(table, on="vehicle_id", how="left", maintain_order="left")
    values = {recipe: placed[str(i)].cast(pl.Float64).to_numpy() for i, recipe in enumerate(recipes)}
    return {
        recipe: column if recipe.kind == "newest_code" else _silent_is_zero(column, n_days_with_data(recipe.days))
        for recipe, column in values.items()
    }


def _code_days(daily_faults: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """One row a vehicle, code and day known at `as_of`; `ago` is 1 on the last full day."""
    return (
        known(daily_faults, as_of)
        .with_columns(ago=(pl.lit(as_of.date()) - pl.col("day")).dt.total_days())
        .filter(pl.col("ago").is_between(1, BEFORE_D))
        .group_by(*_CODE, "ago")
        .agg(red=(pl.col("n_red") > 0).any(), amber=(pl.col("n_amber") > 0).any())
        .with_columns(
            code=pl.struct("spn", "fmi"),
            first_ago=pl.col("ago").max().over(_CODE),
        )
    )


def _count(recipe: Recipe) -> pl.Expr:
    within = pl.col("ago") <= recipe.days
    if recipe.of:
        within &= pl.col("spn").is_in(sorted(COMPONENT_SPNS[recipe.of]))
    counts = {
        "codes": within.sum(),
        "code_days": pl.col("ago").filter(within).n_unique(),
        "different_codes": pl.col("code").filter(within).n_unique(),
        "new_codes": pl.col("code").filter(within, pl.col("first_ago") <= recipe.days).n_unique(),
        "newest_code": pl.col("first_ago").filter(within).min(),
        "red_days": pl.col("ago").filter(within, pl.col("red")).n_unique(),
        "amber_days": pl.col("ago").filter(within, pl.col("amber")).n_unique(),
    }
    return counts[recipe.kind]


def _silent_is_zero(counts: Numbers, n_days_with_data: Numbers) -> Numbers:
    return np.where(np.isfinite(counts), counts, np.where(n_days_with_data > 0, 0.0, np.nan))


CODE_KINDS: Final = frozenset(
    ("codes", "code_days", "different_codes", "new_codes", "newest_code", "red_days", "amber_days")
)
