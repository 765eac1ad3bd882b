"""Which scores become alerts: above the component's threshold and within the weekly budget.

What belongs here: alert episodes and the budget. How likely a failure is comes from `predict`,
what a person should do about it from `actions`.

An episode is a run of alerts on one truck and component, from one batch to the next. Only its
first alert uses budget: work already asked for is not asked for again.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import floor

import polars as pl

from pm.asof import require_instant
from pm.policy import Alerts

WEEK_D = 7
_SUBJECT = ["vehicle_id", "component"]


@dataclass(frozen=True)
class WeekBudget:
    """Alert episodes allowed and begun in the seven days that end with a batch."""

    n_allowed: int
    n_begun: int

    @property
    def n_left(self) -> int:
        return max(0, self.n_allowed - self.n_begun)


def episodes_allowed(alerts: Alerts, n_vehicles: int) -> int:
    """Episodes that may begin in any seven days: the policy's rate a 100 vehicles, rounded down.

    A fleet too small for a whole episode a week may still begin one, or it would never be warned.
    """
    rate = alerts.budget_per_100_vehicles_week * n_vehicles / 100
    return max(1, floor(rate)) if rate > 0 else 0


def episode_starts(predictions: pl.DataFrame) -> pl.DataFrame:
    """First alert of each episode: columns vehicle_id, component, as_of, oldest first.

    Args:
        predictions: columns vehicle_id, component, as_of, alert, with at least one row of every
            batch of the period: the batches say whether two alerts are neighbours.
    """
    batches = predictions.select("as_of").unique().sort("as_of").with_row_index("batch_no")
    alerts = predictions.filter("alert").select(*_SUBJECT, "as_of").unique().join(batches, on="as_of")
    gap = pl.col("batch_no").cast(pl.Int64).diff().over(_SUBJECT, order_by="batch_no")
    return alerts.filter(gap.is_null() | (gap > 1)).select(*_SUBJECT, "as_of").sort("as_of", *_SUBJECT)


def week_budget(predictions: pl.DataFrame, as_of: datetime, *, alerts: Alerts, n_vehicles: int) -> WeekBudget:
    """The budget of the seven days that end with the batch of `as_of`, that batch included."""
    require_instant(as_of, "as_of")
    since = as_of - timedelta(days=WEEK_D)
    starts = episode_starts(predictions).filter((pl.col("as_of") > since) & (pl.col("as_of") <= as_of))
    return WeekBudget(episodes_allowed(alerts, n_vehicles), starts.height)


def choose_alerts(
    scores: pl.DataFrame, recent: pl.DataFrame, *, as_of: datetime, alerts: Alerts, n_vehicles: int
) -> pl.Series:
    """Whether each row of `scores` is an alert, in row order (Boolean).

    An episode that was open in the last batch goes on for free while the score stays at or above
    the threshold; the rest of the week's budget goes to the best-placed rows.

    Args:
        scores: columns vehicle_id, component, p_failure, threshold, position of one batch.
        recent: earlier batches, columns as for `episode_starts`; empty where there are none.
    """
    earlier = recent.filter(pl.col("as_of") < as_of)
    n_left = week_budget(earlier, as_of, alerts=alerts, n_vehicles=n_vehicles).n_left
    last = earlier.filter(pl.col("as_of") == pl.col("as_of").max())
    running = last.filter("alert").select(*_SUBJECT, pl.lit(True).alias("running")).unique()
    marked = scores.with_row_index("row_no").join(running, on=_SUBJECT, how="left", maintain_order="left")
    above = marked.filter((pl.col("p_failure") >= pl.col("threshold")) & pl.col("position").is_not_null())
    going_on = above.filter(pl.col("running").fill_null(value=False))
    begun = above.filter(pl.col("running").is_null()).sort("position").head(n_left)
    chosen = pl.concat([going_on["row_no"], begun["row_no"]])
    return marked["row_no"].is_in(chosen.implode()).alias("alert")
