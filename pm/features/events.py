"""Features of events that are no J1939 trouble codes: tell-tales, error codes, alarms.

What belongs here: counts over days, and days since the last one, out of events with their known_at. An event is an
instant: a window of n days is (as_of - n d, as_of].
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pm.asof import known
from pm.features.definition import Component, Recipe
from pm.schema import Table
from pm.tables import EVENT
from pm.tables.columns import KNOWN_AT

Numbers = npt.NDArray[np.float64]

KNOWN_EVENT: Final = Table("event", "Events with the instant their file became known.", EVENT.key,
                           (*EVENT.columns, KNOWN_AT))  # fmt: skip
_US_PER_D: Final = 86_400e6


def event_features(
    events: pl.DataFrame,
    as_of: datetime,
    recipes: Sequence[Recipe],
    *,
    vehicle_ids: Sequence[int],
    components: Mapping[str, Component],
) -> Mapping[Recipe, Numbers]:
    """Each recipe's values [vehicle] at `as_of`: counts from 0, NaN days since an event that was not seen.

    A count is 0 for a vehicle that sent nothing at all, too: there are fleets that have events and no telemetry.
    """
    if not recipes:
        return {}
    ago = ((pl.lit(as_of) - pl.col("time")).dt.total_microseconds() / _US_PER_D).alias("ago_d")
    rows = known(events, as_of).filter(pl.col("time") <= as_of).with_columns(ago)
    table = rows.group_by("vehicle_id").agg(**{str(i): _value(r, components) for i, r in enumerate(recipes)})
    places = pl.DataFrame({"vehicle_id": vehicle_ids}, schema={"vehicle_id": pl.Int32})
    placed = places.join(table, on="vehicle_id", how="left", maintain_order="left")
    return {recipe: _filled(placed[str(i)], recipe) for i, recipe in enumerate(recipes)}


def _value(recipe: Recipe, components: Mapping[str, Component]) -> pl.Expr:
    wanted = (pl.col("ago_d") < recipe.days) & _about(recipe, components)
    if recipe.kind == "days_since_event":
        return pl.col("ago_d").filter(wanted).min()
    if recipe.kind == "event_days":
        return pl.col("ago_d").floor().filter(wanted).n_unique().cast(pl.Float64)
    return wanted.sum().cast(pl.Float64)


def _about(recipe: Recipe, components: Mapping[str, Component]) -> pl.Expr:
    subject, _, name = recipe.of.partition(":")
    if subject == "code":
        return pl.col("code") == name
    if subject == "kind":
        return pl.col("kind") == name
    if subject == "component":
        return pl.col("code").is_in(list(components[name].events))
    return pl.lit(value=True)


def _filled(column: pl.Series, recipe: Recipe) -> Numbers:
    values: Numbers = column.cast(pl.Float64).to_numpy()
    return values if recipe.kind == "days_since_event" else np.where(np.isfinite(values), values, 0.0)
