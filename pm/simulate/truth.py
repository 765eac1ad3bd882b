"""The truth of a simulated fleet, read back: who fails when, and how likely that was.

What belongs here: reading a fleet's `truth/` for its ceiling (`pm.simulate.oracle`). Nothing else opens
it; no step of the pipeline does.
"""

from pathlib import Path
from typing import Final

import polars as pl

from pm.errors import DataError
from pm.schema import UTC_INSTANT
from pm.simulate.wear import HORIZON_D

ROW: Final = ("vehicle_ref", "component", "as_of")
_HORIZON: Final = pl.duration(days=HORIZON_D)


def oracle_p(folder: Path) -> pl.DataFrame:
    """The true probability of failing within the next 14 days.

    Returns:
        vehicle_ref, component, as_of (a midnight, UTC), p_failure; a row for each midnight at which
        the truck was in the fleet and neither broken nor in the workshop, in key order.

    Raises:
        DataError: `folder` holds no simulation's truth.
    """
    found = _truth(folder, "hazards").select(
        "vehicle_ref", "component", pl.col("day").cast(UTC_INSTANT).alias("as_of"), p_failure="p_failure_14d"
    )
    return found.drop_nulls().sort(ROW)


def true_rows(folder: Path) -> pl.DataFrame:
    """Every vehicle-day of the fleet with the state of its label, were everything known at once.

    Returns:
        vehicle_ref, component, as_of, state: positive (it fails within the horizon), censored (before
        that it left the fleet or the component was replaced by plan), pending (the simulation ends
        before the horizon does) or negative.

    Raises:
        DataError: `folder` holds no simulation.
    """
    hazards = _truth(folder, "hazards")
    end = hazards["day"].cast(UTC_INSTANT).max()
    failures = _truth(folder, "failures").select("vehicle_ref", "component", at="failed_at")
    replaced = _truth(folder, "replacements").select("vehicle_ref", "component", at=pl.col("day").cast(UTC_INSTANT))
    left = _vehicles(folder).drop_nulls().rename({"left_at": "at"})
    rows = oracle_p(folder).drop("p_failure").sort("as_of")
    rows = _with_next(rows, failures, "fails", by=("vehicle_ref", "component"))
    rows = _with_next(rows, replaced, "is_replaced", by=("vehicle_ref", "component"))
    rows = _with_next(rows, left, "leaves", by=("vehicle_ref",))
    state = (
        # The last day is in the record whole, so that the record ends with the midnight after it.
        pl.when(pl.col("as_of") + _HORIZON > pl.lit(end) + pl.duration(days=1)).then(pl.lit("pending"))
        .when("fails").then(pl.lit("positive"))
        .when(pl.col("is_replaced") | pl.col("leaves")).then(pl.lit("censored"))
        .otherwise(pl.lit("negative"))
    )  # fmt: skip
    return rows.select(*ROW, state=state).sort(ROW)


def _with_next(rows: pl.DataFrame, events: pl.DataFrame, name: str, *, by: tuple[str, ...]) -> pl.DataFrame:
    """Add whether the next event after `as_of` comes within the horizon; `rows` are in order of time."""
    joined = rows.join_asof(
        events.sort("at"), left_on="as_of", right_on="at", by=list(by), strategy="forward",
        allow_exact_matches=False, check_sortedness=False,
    )  # fmt: skip
    within = (pl.col("at") <= pl.col("as_of") + _HORIZON).fill_null(value=False)
    return joined.with_columns(within.alias(name)).drop("at")


def _truth(folder: Path, name: str) -> pl.DataFrame:
    path = folder / "truth" / f"{name}.parquet"
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError):
        raise DataError(f"{path}: expected the truth of a simulated fleet, but got no readable file") from None


def _vehicles(folder: Path) -> pl.DataFrame:
    path = folder / "vehicles.csv"
    try:
        found = pl.read_csv(path, columns=["vehicle_ref", "left_at"], schema_overrides={"left_at": pl.String})
        return found.with_columns(pl.col("left_at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC"))
    except (OSError, pl.exceptions.PolarsError):
        raise DataError(f"{path}: expected the vehicles of a simulated fleet, but got no readable file") from None
