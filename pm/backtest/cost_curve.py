"""What other thresholds would have cost.

What belongs here: the curve over thresholds of one kind's scores. The figures at the threshold that was
in force are `pm.backtest.episodes`. The curve looks at the outcomes: it says how much there was to gain,
and sets no threshold.
"""

from typing import Final

import numpy as np
import polars as pl

from pm.models.threshold import episode_starts
from pm.policy import Policy

N_POINTS: Final = 24
_DAY_US: Final = 86_400_000_000


def cost_curve(scores: pl.DataFrame, *, step_d: int, policy: Policy) -> list[dict[str, float | None]]:
    """Points from the highest threshold to the lowest; empty where no row was judged.

    `scores` are the rows of one kind in all states. Each point: threshold (null: nothing is an alert),
    alert_rate (judged episodes a 100 trucks and week), precision (null: no judged episode), recall
    (share of failures warned of early enough to plan) and cost (a 100 trucks and week), all without a
    weekly budget.
    """
    rows = scores.sort("component", "vehicle_id", "as_of")
    judged = rows["judged"].to_numpy()
    if not judged.any():
        return []
    key = rows.select(pl.struct("component", "vehicle_id").rank("dense")).to_series().to_numpy()
    p, day = rows["p_failure"].to_numpy(), rows["as_of"].dt.epoch("d").to_numpy()
    thresholds = _thresholds(p)
    starts = episode_starts(key, day, p[:, None] >= thresholds[None, :], step_d) & judged[:, None]
    positive = (rows["state"] == "positive").to_numpy() & judged
    in_time, n_failures = _in_time(rows, positive, min(policy.alerts.lead_days or (1,)))
    planned = _any_a_failure(starts, in_time)
    episodes, hits = starts.sum(axis=0), starts[positive].sum(axis=0)
    costs = policy.costs
    money = (n_failures - planned) * costs.missed_breakdown + planned * costs.planned_repair
    money = money + (episodes - hits) * costs.needless_visit
    truck_weeks = rows.filter("judged").select("vehicle_id", "as_of").n_unique() * step_d / 7
    return [
        {
            "threshold": float(thresholds[at]) if np.isfinite(thresholds[at]) else None,
            "alert_rate": float(100 * episodes[at] / truck_weeks),
            "precision": float(hits[at] / episodes[at]) if episodes[at] else None,
            "recall": float(planned[at] / n_failures) if n_failures else None,
            "cost": float(100 * money[at] / truck_weeks),
        }
        for at in range(thresholds.size)
    ]


def _thresholds(p: np.ndarray) -> np.ndarray:
    """Nothing at all, then ever more of the rows, a fixed factor more each time; falling."""
    shares = np.geomspace(1 / max(p.size, 2), 1.0, N_POINTS - 1)
    return np.append(np.inf, np.unique(np.quantile(p, 1 - shares, method="inverted_cdf"))[::-1])


def _in_time(rows: pl.DataFrame, positive: np.ndarray, lead_d: int) -> tuple[np.ndarray, int]:
    """For each row the number of the failure that it could warn of early enough to plan, else -1; and how
    many failures there are."""
    failure = rows.select(pl.struct("component", "vehicle_id", "failed_at").rank("dense")).to_series().cast(pl.Int64)
    lead = ((rows["failed_at"] - rows["as_of"]).dt.total_microseconds() / _DAY_US).fill_null(-1.0).to_numpy()
    number = failure.to_numpy()
    return np.where(positive & (lead >= lead_d), number, -1), int(np.unique(number[positive]).size)


def _any_a_failure(starts: np.ndarray, failure: np.ndarray) -> np.ndarray:
    """How many failures have a start among their rows, a threshold, shape (k,)."""
    rows = np.flatnonzero(failure >= 0)
    if not rows.size:
        return np.zeros(starts.shape[1], dtype=np.int64)
    rows = rows[np.argsort(failure[rows], kind="stable")]
    firsts = np.flatnonzero(np.append(True, np.diff(failure[rows]) != 0))
    return np.asarray(np.logical_or.reduceat(starts[rows], firsts, axis=0).sum(axis=0))
