"""Rolling cutoffs, and what was known at each of them.

What belongs here: which as-ofs a fold trains on and is tested on, and its labels on the knowledge
clock. Training and scoring are `pm.backtest.run`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl

from pm.asof import known, require_instant
from pm.errors import ConfigError, DataError
from pm.labels.horizon import label_rows
from pm.labels.maturation import LagEstimate, estimate_lag_d, matured
from pm.policy import Policy


@dataclass(frozen=True)
class Fold:
    """One cutoff: trained on what had matured by it, tested on the as-ofs from it on."""

    number: int
    cutoff: datetime
    train_as_ofs: tuple[datetime, ...]
    """At least the embargo before the cutoff; which of them have matured, their labels tell."""
    test_as_ofs: tuple[datetime, ...]
    """cutoff <= as_of < cutoff + step."""


def plan_folds(as_ofs: Sequence[datetime], policy: Policy) -> tuple[Fold, ...]:
    """Folds over the as-ofs that vectors exist for, oldest first; the last may be short.

    Raises:
        ConfigError: the policy leaves no embargo, or one shorter than the horizon.
        DataError: the as-ofs end before the first cutoff.
    """
    embargo_d, horizon_d = policy.backtest.embargo_d, policy.horizon.days
    if embargo_d < horizon_d:
        raise ConfigError(
            f"policy [backtest] embargo_d: expected at least the horizon of {horizon_d} d, but got {embargo_d}: "
            "training rows would look into the days that are tested"
        )
    days = sorted({require_instant(as_of, "as_of") for as_of in as_ofs})
    needed = policy.backtest.first_cutoff_after_d
    if not days or days[-1] < days[0] + timedelta(days=needed):
        span = f"{days[0].date()} to {days[-1].date()}" if days else "none"
        raise DataError(
            f"backtest: expected as-ofs over more than {needed} days before the first cutoff, but got {span}"
        )
    folds: list[Fold] = []
    cutoff = days[0] + timedelta(days=needed)
    while cutoff <= days[-1]:
        folds.append(_fold(len(folds) + 1, cutoff, days, policy))
        cutoff += timedelta(days=policy.backtest.step_d)
    return tuple(fold for fold in folds if fold.test_as_ofs)


def _fold(number: int, cutoff: datetime, days: Sequence[datetime], policy: Policy) -> Fold:
    last_train = cutoff - timedelta(days=policy.backtest.embargo_d)
    end = cutoff + timedelta(days=policy.backtest.step_d)
    return Fold(
        number,
        cutoff,
        tuple(day for day in days if day <= last_train),
        tuple(day for day in days if cutoff <= day < end),
    )


def grid_step_d(as_ofs: Sequence[datetime]) -> int:
    """Days between neighbouring as-ofs, the least; 1 for fewer than two."""
    ordered = sorted(set(as_ofs))
    return max(1, min(((after - before).days for before, after in pairwise(ordered)), default=1))


def vehicle_split(vehicles: pl.DataFrame, n_groups: int, seed: int) -> dict[int, int]:
    """Group of each vehicle, 0 to `n_groups` - 1, dealt out in a random order that the seed fixes."""
    ids = vehicles["vehicle_id"].unique().sort().to_numpy()
    order = np.random.default_rng(seed % 2**31).permutation(ids.size)
    return {int(vehicle): int(place) % n_groups for place, vehicle in enumerate(ids[order])}


def vehicles_known(vehicles: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """VEHICLE rows known at `as_of`; that one left later was not known then."""
    left = pl.when(pl.col("left_at") <= as_of).then(pl.col("left_at"))
    return known(vehicles, as_of).with_columns(left_at=left)


def training_labels(
    fold: Fold,
    *,
    vehicles: pl.DataFrame,
    failures: pl.DataFrame,
    components: Sequence[str],
    observed_until: datetime,
    policy: Policy,
) -> tuple[pl.DataFrame, LagEstimate]:
    """LABEL rows that had matured by the fold's cutoff, and the reporting lag estimated at it.

    Everything is taken as known at the cutoff: vehicles, failures and their versions, and the lag.
    """
    then = known(failures, fold.cutoff)
    lag = estimate_lag_d(then, fold.cutoff, policy)
    labels = label_rows(
        fold.train_as_ofs,
        vehicles=vehicles_known(vehicles, fold.cutoff),
        failures=then,
        components=components,
        known_at=fold.cutoff,
        observed_until=min(observed_until, fold.cutoff),
        lag_d=lag.lag_d,
        policy=policy,
        booking=lag.booking,
    )
    return matured(labels, fold.cutoff, lag.lag_d, policy, booking=lag.booking), lag


def judging_labels(
    fold: Fold,
    *,
    vehicles: pl.DataFrame,
    failures: pl.DataFrame,
    components: Sequence[str],
    known_until: datetime,
    observed_until: datetime,
    policy: Policy,
) -> tuple[pl.DataFrame, LagEstimate]:
    """LABEL rows of the fold's test as-ofs in all four states, as known at `known_until`."""
    then = known(failures, known_until)
    lag = estimate_lag_d(then, known_until, policy)
    labels = label_rows(
        fold.test_as_ofs,
        vehicles=vehicles_known(vehicles, known_until),
        failures=then,
        components=components,
        known_at=known_until,
        observed_until=min(observed_until, known_until),
        lag_d=lag.lag_d,
        policy=policy,
        booking=lag.booking,
    )
    return labels, lag
