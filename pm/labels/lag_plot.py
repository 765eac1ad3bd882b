"""The reporting lag as numbers and as a chart: with and without the correction for what is not in yet.

What belongs here: showing `pm.labels.maturation`'s estimate. Nothing is estimated anew here.
"""

from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Final

import numpy as np
import polars as pl

from pm.charts import STYLE, Series, line_chart
from pm.labels.booking import Calendar
from pm.labels.maturation import LagEstimate, estimate_lag_d, lag_distribution, observed_lags, quantile_of
from pm.policy import Policy

_POINTS: Final = 200
_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_PAGE_STYLE: Final = """
:root{color-scheme:light dark;--page:#fbfbfa;--ink:#1b1f24}
@media (prefers-color-scheme:dark){:root{--page:#15181c;--ink:#e7e9ec}}
body{max-width:42rem;margin:0 auto;padding:1.5rem 1rem;background:var(--page);color:var(--ink);
 font:16px/1.5 system-ui,sans-serif}h1{font-size:1.5rem}
"""


@dataclass(frozen=True)
class LagCurve:
    """Distribution of known_at - failed_at as it could be estimated at `known_at`."""

    known_at: datetime
    estimate: LagEstimate
    lag_quantile: float
    values_d: tuple[float, ...]
    """The different lags seen, rising, days."""
    share: tuple[float, ...]
    """Estimated share of all lags up to each."""
    plain_share: tuple[float, ...]
    """Share of the lags seen so far: too high, for late reports of recent failures are not in yet."""
    plain_quantile_d: float | None
    """The quantile without correction; None: no failure is known."""


def lag_curve(failures: pl.DataFrame, known_at: datetime, policy: Policy) -> LagCurve:
    """The lag's estimate in force at `known_at`, and the distributions behind it.

    Args:
        failures: `FAILURE`, all versions; used is what was known at `known_at`.
    """
    estimate = estimate_lag_d(failures, known_at, policy)
    lags_d, windows_d = observed_lags(failures, known_at)
    if not lags_d.size:
        return LagCurve(known_at, estimate, policy.labels.lag_quantile, (), (), (), None)
    values_d, share = lag_distribution(lags_d, windows_d)
    plain = np.searchsorted(np.sort(lags_d), values_d, side="right") / lags_d.size
    return LagCurve(
        known_at,
        estimate,
        policy.labels.lag_quantile,
        tuple(values_d.tolist()),
        tuple(share.tolist()),
        tuple(plain.tolist()),
        quantile_of(values_d, plain, policy.labels.lag_quantile),
    )


def lag_chart(curve: LagCurve) -> str:
    """One `<svg>`: both distributions as steps, and the quantile asked for."""
    said = describe(curve.estimate)
    top = max((*curve.values_d, curve.estimate.lag_d, 1.0))
    in_force = Series(f"in force: {curve.estimate.lag_d:.2f} d ({curve.estimate.source})",
                      [(curve.estimate.lag_d, 0.0), (curve.estimate.lag_d, 1.0)], look=3)  # fmt: skip
    return line_chart(
        [
            Series("corrected for reports not in yet", _steps(curve.values_d, curve.share, top), "step"),
            Series("as seen so far", _steps(curve.values_d, curve.plain_share, top), "step"),
            in_force,
        ],
        title=f"Days from a failure to its record, {curve.estimate.n_failures} failures known at "
        f"{curve.known_at:%Y-%m-%d}",
        description=f"Share of failures that are recorded within so many days. {said}",
        x_label="days from failure to record",
        y_label="share recorded",
        x_range=(0.0, top),
        y_range=(0.0, 1.0),
        references=((curve.lag_quantile, f"{curve.lag_quantile:.0%}"),),
    )


def lag_page(curve: LagCurve) -> str:
    """A self-contained HTML page with the chart."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/><title>Reporting lag</title>'
        f"<style>{STYLE}{_PAGE_STYLE}</style></head><body><h1>Reporting lag</h1>"
        f"{lag_chart(curve)}<p>{escape(describe(curve.estimate))}</p></body></html>\n"
    )


def describe(estimate: LagEstimate) -> str:
    """The lag and the days of booking in a sentence each."""
    return (
        f"The lag in force is {estimate.lag_d:.2f} days ({estimate.source}: {estimate.reason}; "
        f"{estimate.n_failures} failures). Failures are recorded {describe_days(estimate.booking.recorded)} and dated "
        f"{describe_days(estimate.booking.dated)}."
    )


def describe_days(calendar: Calendar) -> str:
    """The calendar in words, for instance "on any day but Saturday, Sunday (estimate)"."""
    declared = f", with {len(calendar.closed_days)} days closed by policy" if calendar.closed_days else ""
    if calendar.month_days is not None:
        first, last = calendar.month_days
        return f"once a month, {first:+d} to {last:+d} days from its last day ({calendar.source}){declared}"
    if not calendar.closed_weekdays:
        return f"on any day{declared}"
    names = ", ".join(_WEEKDAYS[number] for number in sorted(calendar.closed_weekdays))
    return f"on any day but {names} ({calendar.source}){declared}"


def _steps(values_d: tuple[float, ...], share: tuple[float, ...], top: float) -> list[tuple[float, float]]:
    """At most some 200 points, so that a page stays small; the last always."""
    if not values_d:
        return []
    points = [(0.0, 0.0), *zip(values_d, share, strict=True)]
    every = max(1, len(points) // _POINTS)
    return [*points[::every], points[-1], (top, points[-1][1])]
