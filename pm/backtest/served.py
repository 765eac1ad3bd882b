"""Alerts as they would have been served: one threshold a day for the fleet, one budget for the week.

What belongs here: the replay of the rule that `pm.scoring.alerts` applies to one batch, over all batches
of a backtest. A component's own threshold says where its share of the budget lies; a workshop has one
list, so the lowest of them holds for all components and the week's budget goes to the likeliest.
"""

from typing import Final

import numpy as np
import polars as pl

from pm.policy import Alerts

_WEEK_D: Final = 7


def serve_alerts(scores: pl.DataFrame, alerts: Alerts) -> pl.DataFrame:
    """`scores` with threshold and alert as served, kind by kind, in the same row order.

    Columns used: kind, component, vehicle_id, as_of, p_failure, threshold (each component's own). The
    fleet of a day is its vehicles with a score. An alert of the last batch goes on for free while its
    score is at or above the day's threshold; new episodes take the rest of the budget of the seven days
    that end with the day, likeliest first, equal scores by vehicle and component.
    """
    if scores.is_empty():
        return scores
    lowest = scores.with_columns(threshold=pl.col("threshold").min().over("kind", "as_of")).with_row_index("_line")
    served = np.zeros(scores.height, dtype=bool)
    for part in lowest.partition_by("kind"):
        _serve(part, alerts, served)
    return lowest.drop("_line").with_columns(alert=pl.Series(served))


def _serve(scores: pl.DataFrame, alerts: Alerts, served: np.ndarray) -> None:
    """Mark the lines of one kind's alerts in `served`."""
    ranked = scores.sort("as_of", "p_failure", "vehicle_id", "component", descending=[False, True, False, False])
    subject = ranked.select(pl.struct("vehicle_id", "component").rank("dense")).to_series().to_numpy()
    vehicle, day = ranked["vehicle_id"].to_numpy(), ranked["as_of"].dt.epoch("d").to_numpy()
    above = (ranked["p_failure"] >= ranked["threshold"]).to_numpy()
    line = ranked["_line"].to_numpy()
    ends = np.append(np.flatnonzero(np.diff(day)) + 1, day.size)
    running = np.zeros(subject.max() + 1, dtype=bool)
    begun: list[tuple[int, int]] = []
    start = 0
    for end in ends:
        n_left = allowed(alerts, np.unique(vehicle[start:end]).size)
        n_left -= sum(n for at, n in begun if at > day[start] - _WEEK_D)
        going_on = above[start:end] & running[subject[start:end]]
        new = np.flatnonzero(above[start:end] & ~running[subject[start:end]])[: max(0, n_left)]
        alert = going_on.copy()
        alert[new] = True
        begun.append((int(day[start]), new.size))
        running[:] = False
        running[subject[start:end][alert]] = True
        served[line[start:end][alert]] = True
        start = end


def allowed(alerts: Alerts, n_vehicles: int) -> int:
    """Episodes that may begin in seven days; at least one where the budget is not 0, as in serving."""
    rate = alerts.budget_per_100_vehicles_week * n_vehicles / 100
    return max(1, int(rate)) if rate > 0 else 0
