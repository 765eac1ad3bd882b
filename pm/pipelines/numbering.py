"""Vehicles by their place in the fleet, where what is computed must not depend on their random numbers.

`vehicle_id` is random, so that it tells nothing. But a booster samples rows in their order and a
bootstrap draws vehicles in theirs: the same data in two databases would give two models. Training
and backtests therefore see vehicles numbered 1, 2, ... by fleet and unit number.
"""

from dataclasses import dataclass

import polars as pl

from pm.store import vehicles
from pm.store.connection import Connection


@dataclass(frozen=True)
class Numbering:
    """Places by vehicle_id, and unit numbers by place."""

    places: dict[int, int]
    names: dict[int, str]
    vehicles: pl.DataFrame
    """VEHICLE, renumbered."""

    def renumber(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`frame` with places for vehicle ids, in order of place where it was in order of vehicle_id."""
        keys = [name for name in ("as_of", "vehicle_id") if name in frame.columns]
        return frame.with_columns(_places(self.places)).sort(keys, maintain_order=True)


def number_vehicles(conn: Connection) -> Numbering:
    """The numbering of the fleet as it is stored now."""
    fleet = vehicles.fetch_vehicles(conn).sort("fleet", "vehicle_ref")
    places = {vehicle_id: place for place, vehicle_id in enumerate(fleet["vehicle_id"].to_list(), 1)}
    names = dict(enumerate(fleet["vehicle_ref"].to_list(), 1))
    return Numbering(places, names, fleet.with_columns(_places(places)))


def _places(places: dict[int, int]) -> pl.Expr:
    return pl.col("vehicle_id").replace_strict(places, return_dtype=pl.Int32())
