"""When a label is final: the reporting lag, and which labels matured by an instant.

What belongs here: the estimate of known_at - failed_at and the instants that follow from it. The days
without bookings are `pm.labels.booking`, the label states `pm.labels.horizon`, the plot
`pm.labels.lag_plot`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pm.asof import known, latest_known
from pm.labels.booking import ANY_TIME, Booking, estimate_booking
from pm.policy import Policy
from pm.schema import UTC_INSTANT
from pm.tables import LABEL

Numbers = npt.NDArray[np.float64]

MINIMUM_FAILURES: Final = 20
"""Fewer known failures say nothing about a high quantile."""
_LINE: Final = ("source_system", "work_order_id", "line_no")
_LABEL: Final = ("vehicle_id", "component", "as_of", "horizon_d")
_US_PER_D: Final = 86_400e6


@dataclass(frozen=True)
class LagEstimate:
    """The reporting lag in force, and where it comes from."""

    lag_d: float
    source: str
    """policy (set there), estimate, or maximum (the policy's, because no estimate is possible)."""
    n_failures: int
    reason: str = ""
    booking: Booking = ANY_TIME
    """Days on which failures are recorded and dated, in force with the lag."""


def estimate_lag_d(failures: pl.DataFrame, known_at: datetime, policy: Policy) -> LagEstimate:
    """High quantile (`policy.labels.lag_quantile`) of the days between a failure and its being known.

    Late reports of recent failures are not in yet at `known_at`, so the plain quantile is too small.
    The distribution is estimated for right-truncated lags by `lag_distribution`; the result is never
    above `policy.labels.maximum_lag_d`, which is also the answer below 20 known failures.

    Args:
        failures: `FAILURE`, all versions; used is what was known at `known_at`.
    """
    lags_d, windows_d = observed_lags(failures, known_at)
    booking = estimate_booking(failures, known_at, policy)
    n = int(lags_d.size)
    maximum_d = policy.labels.maximum_lag_d
    if policy.labels.lag_d is not None:
        return LagEstimate(policy.labels.lag_d, "policy", n, "set by policy [labels] lag_d", booking)
    if n < MINIMUM_FAILURES:
        reason = f"expected {MINIMUM_FAILURES} known failures, but got {n}"
        return LagEstimate(maximum_d, "maximum", n, reason, booking)
    values_d, share = lag_distribution(lags_d, windows_d)
    quantile_d = quantile_of(values_d, share, policy.labels.lag_quantile)
    if quantile_d > maximum_d:
        reason = f"estimated {quantile_d:.1f} d, cut at the policy's maximum"
        return LagEstimate(maximum_d, "estimate", n, reason, booking)
    return LagEstimate(quantile_d, "estimate", n, "right-truncated product limit", booking)


def quantile_of(values_d: Numbers, share: Numbers, quantile: float) -> float:
    """The smallest of the rising `values_d` up to which at least `quantile` of the lags lie."""
    return float(values_d[np.searchsorted(share, quantile - 1e-12)])


def lag_distribution(lags_d: Numbers, windows_d: Numbers) -> tuple[Numbers, Numbers]:
    """Distribution of reporting lags from those short enough to be seen.

    Args:
        lags_d: observed lags, days, any order.
        windows_d: for each the longest lag that would have been seen (now - failed_at), at least the lag.

    Returns:
        The different lags, rising, and the estimated share of all lags up to each; the last is 1,
        because lags beyond the longest seen leave no trace.

    Source: the product-limit estimator of D. Lynden-Bell (MNRAS 155, 1971) for truncated samples, in
    reversed time as S. W. Lagakos, L. M. Barraj and V. De Gruttola, "Nonparametric analysis of
    truncated survival data, with application to AIDS", Biometrika 75 (1988) 515-523.
    """
    values, ties = np.unique(lags_d, return_counts=True)
    # At risk in reversed time at v: lag at most v, and a lag of v would have been seen.
    n_lag_up_to = np.searchsorted(np.sort(lags_d), values, side="right")
    n_window_below = np.searchsorted(np.sort(windows_d), values, side="left")
    at_risk = n_lag_up_to - n_window_below
    survives = 1.0 - ties / at_risk
    later = np.cumprod(np.append(survives[1:], 1.0)[::-1])[::-1]
    return values.astype(np.float64), later


def ripe_at(as_of: datetime, horizon_d: int, lag_d: float, booking: Booking = ANY_TIME) -> datetime:
    """When a label of `as_of` may become negative: as_of + horizon + lag, or the end of the bookings due then."""
    return booking.recorded.next_booking(as_of + timedelta(days=horizon_d) + timedelta(days=lag_d))


def matured_at(labels: pl.DataFrame, lag_d: float, *, booking: Booking = ANY_TIME) -> pl.DataFrame:
    """`labels` with one more column matured_at: when the row may first be trained on.

    That is `ripe_at` for every state, or known_at if that is later: a positive that comes early waits
    as long as the negatives of its day, else early rows would be mostly positive.
    """
    days = labels.select("as_of", "horizon_d").unique()
    ripe = [ripe_at(as_of, horizon_d, lag_d, booking) for as_of, horizon_d in days.iter_rows()]
    found = labels.join(
        days.with_columns(ripe=pl.Series(ripe, dtype=UTC_INSTANT)),
        on=["as_of", "horizon_d"],
        how="left",
        maintain_order="left",
    )
    return found.with_columns(matured_at=pl.max_horizontal("ripe", "known_at")).drop("ripe")


def matured(
    labels: pl.DataFrame, cutoff: datetime, lag_d: float, policy: Policy, *, booking: Booking = ANY_TIME
) -> pl.DataFrame:
    """`LABEL`: the rows a model may be trained on at `cutoff`, in key order.

    Of each label its latest state known at `cutoff`, if it is positive or negative and its horizon
    (`policy.horizon.days`), the reporting lag and the bookings due then are over.

    Args:
        labels: `LABEL`, one state a label or the whole history.
        booking: that of the lag's estimate.
    """
    latest = latest_known(LABEL.check(labels), cutoff, _LABEL).filter(pl.col("horizon_d") == policy.horizon.days)
    ripe = matured_at(latest, lag_d, booking=booking).filter(pl.col("matured_at") <= cutoff)
    return LABEL.check(ripe.filter(pl.col("state").is_in(["positive", "negative"])).drop("matured_at").sort(LABEL.key))


def observed_lags(failures: pl.DataFrame, known_at: datetime) -> tuple[Numbers, Numbers]:
    """Lags and truncation windows, days, of the failures known at `known_at`.

    A line counts if its latest version is a failure; its lag runs to the first version that said so.
    """
    seen = known(failures, known_at)
    first = seen.filter(pl.col("kind") == "failure").group_by(_LINE).agg(first_known_at=pl.col("known_at").min())
    latest = latest_known(failures, known_at, _LINE).filter(pl.col("kind") == "failure")
    lags = latest.join(first, on=_LINE).select(
        lag=((pl.col("first_known_at") - pl.col("failed_at")).dt.total_microseconds() / _US_PER_D).clip(0.0),
        window=((pl.lit(known_at) - pl.col("failed_at")).dt.total_microseconds() / _US_PER_D).clip(0.0),
    )
    return lags["lag"].to_numpy(), np.maximum(lags["window"].to_numpy(), lags["lag"].to_numpy())
