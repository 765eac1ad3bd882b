"""Replacing parts by the calendar: what a workshop without any prediction can do.

What belongs here: the age of each part, the interval that looked best before a cutoff, and what it
would have cost after it. Age replacement: R. E. Barlow, L. C. Hunter, "Optimum preventive maintenance
policies", Operations Research 8 (1960). The hazard below an age is failures over truck-days below it.
"""

from typing import Final

import numpy as np
import polars as pl

from pm.policy import Costs

INTERVALS_D: Final = (14, 21, 28, 42, 56, 84, 112, 168, 252, 364, 546, 728)
MINIMUM_LIVES: Final = 5
"""An interval is only judged on truck-days worth at least so many whole ones."""
_DAY_US: Final = 86_400_000_000
_RENEWING: Final = ("failure", "planned", "campaign")
_PART: Final = ("vehicle_id", "component")


def with_ages(rows: pl.DataFrame, vehicles: pl.DataFrame, failures: pl.DataFrame) -> pl.DataFrame:
    """`rows` (vehicle_id, component, as_of) with age_d, days since the part was last renewed.

    A failure repaired, a planned replacement and a campaign renew it; before the first of them it is as old as
    the vehicle's service, and null where that is not known. `failures` holds one row a work order
    line, as known at the decision.
    """
    renewed = (
        failures.filter(pl.col("kind").is_in(_RENEWING))
        .select(*_PART, renewed_at=pl.coalesce("restored_at", "failed_at"))
        .sort("renewed_at")
    )
    born = vehicles.select("vehicle_id", "in_service_at")
    found = (
        rows.with_row_index("_line")
        .sort("as_of")
        .join_asof(
            renewed, left_on="as_of", right_on="renewed_at", by=list(_PART), strategy="backward", check_sortedness=False
        )
        .join(born, on="vehicle_id", how="left")
        .sort("_line")
    )
    since = pl.coalesce("renewed_at", "in_service_at")
    age = (pl.col("as_of") - since).dt.total_microseconds() / _DAY_US
    return found.with_columns(age_d=age.cast(pl.Float64)).drop("_line", "renewed_at", "in_service_at")


def best_interval_d(rows: pl.DataFrame, *, step_d: int, costs: Costs) -> float | None:
    """The interval with the least cost a day over `rows`; None where running to failure costs less.

    `rows`: vehicle_id, component, as_of, age_d, failed_at (null: healthy over the horizon), of one
    component, all known at the cutoff.
    """
    known = rows.drop_nulls("age_d")
    ages, failed = known["age_d"].to_numpy(), failure_ages(known)["age_d"].to_numpy()
    if not failed.size:
        return None
    best, least = None, costs.missed_breakdown * failed.size / (ages.size * step_d)
    for interval_d in INTERVALS_D:
        days = float((ages < interval_d).sum() * step_d)
        if days < MINIMUM_LIVES * interval_d:
            continue
        cost = costs.missed_breakdown * (failed < interval_d).sum() / days + costs.planned_repair / interval_d
        if cost < least:
            best, least = float(interval_d), cost
    return best


def failure_ages(rows: pl.DataFrame) -> pl.DataFrame:
    """One row a failure that `rows` looked ahead to, with the part's age_d when it failed."""
    ahead = (pl.col("failed_at") - pl.col("as_of")).dt.total_microseconds() / _DAY_US
    failing = rows.drop_nulls(["failed_at", "age_d"]).with_columns(age_d=pl.col("age_d") + ahead)
    return failing.sort("as_of").unique([*_PART, "failed_at"], keep="last", maintain_order=True)


def interval_counts(judged: pl.DataFrame, vehicles: np.ndarray, step_d: int) -> dict[str, np.ndarray]:
    """What fixed intervals would have meant on the judged rows of one component, counts a vehicle.

    `judged` has vehicle_id, component, as_of, failed_at, age_d and interval_d (null: run to failure).
    fixed_days: truck-days under an interval; young_days: those on parts younger than it, and
    young_failures; replacements; free_failures: failures where no interval was set.
    """
    bound = pl.col("interval_d").is_not_null()
    young = judged.filter(pl.col("age_d") < pl.col("interval_d"))
    under = judged.filter(bound)
    failed = failure_ages(under)
    free = judged.filter(~bound).drop_nulls("failed_at").unique([*_PART, "failed_at"])
    each = (step_d / under["interval_d"]).to_numpy()
    return {
        "fixed_days": step_d * _count(under, vehicles),
        "young_days": step_d * _count(young, vehicles),
        "young_failures": _count(failed.filter(pl.col("age_d") < pl.col("interval_d")), vehicles),
        "replacements": _count(under, vehicles, each),
        "free_failures": _count(free, vehicles),
    }


def _count(frame: pl.DataFrame, vehicles: np.ndarray, each: np.ndarray | None = None) -> np.ndarray:
    place = np.searchsorted(vehicles, frame["vehicle_id"].to_numpy())
    return np.bincount(place, weights=each, minlength=vehicles.size).astype(np.float64)


def interval_cost(sums: dict[str, np.ndarray], costs: Costs) -> np.ndarray:
    """Cost a resample of one component; NaN where no judged truck-day was younger than the interval.

    Under the policy every part is younger than its interval, so failures come at the rate seen on
    such parts.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(sums["young_days"] > 0, sums["young_failures"] / sums["young_days"], np.nan)
    expected = np.where(sums["fixed_days"] > 0, rate * sums["fixed_days"], 0.0)
    breakdowns = expected + sums["free_failures"]
    return np.asarray(costs.missed_breakdown * breakdowns + costs.planned_repair * sums["replacements"])
