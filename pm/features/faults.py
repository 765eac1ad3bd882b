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
from pm.features.definition import BEFORE_D, CODE_KINDS, Component, Recipe

Numbers = npt.NDArray[np.float64]
Grid = npt.NDArray[np.bool_]

_CODE: Final = ("vehicle_id", "spn", "fmi")
_TOGETHER: Final = 2
_BY_DAY: Final = frozenset(("code_streak", "code_day_share", "component_days"))
"""Kinds that are read from a grid of days; the others are aggregates."""


class CodeDays:
    """The trouble codes of the days before one as-of, known by it."""

    def __init__(self, daily_faults: pl.DataFrame, as_of: datetime, vehicle_ids: Sequence[int]) -> None:
        """Args: `DAILY_FAULT`, the as-of, and the vehicles in the order of every answer."""
        self._places = pl.DataFrame({"vehicle_id": vehicle_ids}, schema={"vehicle_id": pl.Int32})
        self.rows = _code_days(daily_faults, as_of)
        """One row a vehicle, code and day; `ago` is 1 on the last full day."""
        placed = self.rows.join(self._places.with_row_index("place"), on="vehicle_id")
        self._at = (placed["ago"].to_numpy() - 1, placed["place"].to_numpy())
        self._spn, self._red = placed["spn"].to_numpy(), placed["red"].to_numpy()

    def counted(self, counts: Sequence[pl.Expr]) -> list[Numbers]:
        """Each expression's values [vehicle]; NaN where a vehicle has no code at all."""
        named = {str(i): count.cast(pl.Float64) for i, count in enumerate(counts)}
        table = self.rows.group_by("vehicle_id").agg(**named)
        placed = self._places.join(table, on="vehicle_id", how="left", maintain_order="left")
        return [placed[name].to_numpy() for name in named]

    def active(self, spns: Sequence[int] | None) -> Grid:
        """Days [day before the as-of, vehicle] with a code of these SPNs, or with any."""
        return self._grid(np.ones(self._spn.size, dtype=np.bool_) if spns is None else np.isin(self._spn, spns))

    @property
    def red(self) -> Grid:
        """Days [day before the as-of, vehicle] with the red stop lamp on."""
        return self._grid(self._red)

    def _grid(self, wanted: Grid) -> Grid:
        grid = np.zeros((BEFORE_D, self._places.height), dtype=np.bool_)
        grid[self._at[0][wanted], self._at[1][wanted]] = True
        return grid


def code_features(
    code_days: CodeDays,
    recipes: Sequence[Recipe],
    *,
    components: Mapping[str, Component],
    n_days_with_data: Callable[[int], Numbers],
) -> Mapping[Recipe, Numbers]:
    """Each recipe's values [vehicle] at the as-of of `code_days`.

    A truck without a code has 0 where it has data in the window (`n_days_with_data(days)` > 0), and
    NaN where it has none: silence of a logger is no health.
    """
    by_day = [recipe for recipe in recipes if recipe.kind in _BY_DAY]
    counted = [recipe for recipe in recipes if recipe.kind in CODE_KINDS - _BY_DAY]
    values: dict[Recipe, Numbers] = {}
    if counted:
        columns = code_days.counted([_count(recipe, components) for recipe in counted])
        values |= dict(zip(counted, columns, strict=True))
    if by_day:
        heard = _heard(n_days_with_data)
        values |= {recipe: _from_days(recipe, code_days, components, heard) for recipe in by_day}
    return {
        recipe: column if recipe.kind == "newest_code" else silent_is_zero(column, n_days_with_data(recipe.days))
        for recipe, column in values.items()
    }


def silent_is_zero(counts: Numbers, n_days_with_data: Numbers) -> Numbers:
    """`counts` with 0 for NaN where the vehicle was heard."""
    return np.where(np.isfinite(counts), counts, np.where(n_days_with_data > 0, 0.0, np.nan))


def _code_days(daily_faults: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
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


def _count(recipe: Recipe, components: Mapping[str, Component]) -> pl.Expr:
    within = pl.col("ago") <= recipe.days
    if recipe.of:
        within &= pl.col("spn").is_in(list(components[recipe.of].spns))
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


def _heard(n_days_with_data: Callable[[int], Numbers]) -> Grid:
    """Days [day before the as-of, vehicle] with data, out of the counts over windows."""
    counts = np.stack([n_days_with_data(days) for days in range(1, BEFORE_D + 1)])
    return np.diff(counts, axis=0, prepend=0.0) > 0


def _from_days(recipe: Recipe, code_days: CodeDays, components: Mapping[str, Component], heard: Grid) -> Numbers:
    if recipe.kind == "component_days":
        grids = [code_days.active(component.spns)[: recipe.days] for component in components.values()]
        together = np.sum(grids, axis=0) >= _TOGETHER if grids else np.zeros_like(heard[: recipe.days])
        return _number(together.sum(axis=0), heard[: recipe.days] | together)
    active = code_days.active(components[recipe.of].spns if recipe.of else None)[: recipe.days]
    there = heard[: recipe.days] | active
    if recipe.kind == "code_streak":
        return _number(_longest_run(active, there), there)
    n_there = there.sum(axis=0)
    return _number(active.sum(axis=0) / np.maximum(n_there, 1), there)


def _longest_run(active: Grid, there: Grid) -> Numbers:
    """Most days in a row that were active [vehicle]; days that are not there neither count nor end a run."""
    run, longest = np.zeros(active.shape[1]), np.zeros(active.shape[1])
    for is_active, is_there in zip(active, there, strict=True):
        run = np.where(is_there, np.where(is_active, run + 1, 0.0), run)
        longest = np.maximum(longest, run)
    return longest


def _number(counts: npt.NDArray[np.generic], there: Grid) -> Numbers:
    return np.where(there.any(axis=0), np.asarray(counts, dtype=np.float64), np.nan)
