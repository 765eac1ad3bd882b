"""From probabilities to alerts: what an episode is and where the threshold must lie.

What belongs here: episodes of consecutive alerts and the threshold that keeps the alert budget.
Which alerts are shown on a day is `pm.scoring`; how they turned out is `pm.backtest.metrics`.
"""

import math
from typing import Final

import numpy as np

MAXIMUM_CANDIDATES: Final = 400


def episode_starts(vehicle: np.ndarray, day: np.ndarray, alert: np.ndarray, step_d: int) -> np.ndarray:
    """True where an alert begins an episode: the same vehicle had no alert `step_d` days earlier.

    Rows are sorted by vehicle, then day. `alert` is bool of shape (n,) or (n, k): k thresholds at
    once. A day without a row (the truck is in the workshop) ends an episode.
    """
    follows = np.zeros(vehicle.size, dtype=bool)
    follows[1:] = (vehicle[1:] == vehicle[:-1]) & (np.diff(day) <= step_d)
    earlier = np.zeros_like(alert)
    earlier[1:] = alert[:-1]
    return np.asarray(alert & ~(earlier & (follows if alert.ndim == 1 else follows[:, None])))


def allowed_episodes(budget_per_100_vehicles_week: float, n_vehicles: int, days: float) -> float:
    """Episodes that the budget allows to `n_vehicles` over `days`."""
    return budget_per_100_vehicles_week * n_vehicles / 100 * days / 7


def alert_threshold(p: np.ndarray, vehicle: np.ndarray, day: np.ndarray, *, budget: float, step_d: int) -> float:
    """The lowest probability from which on alerts keep the budget on these rows.

    `budget` is in episodes a 100 vehicles a week. Every threshold above the one returned keeps it
    too. Over rows so few that the budget is less than one episode, one is allowed. Where even the
    highest score would break it (all scores equal), the threshold lies above every score.
    """
    order = np.lexsort((day, vehicle))
    p, vehicle, day = p[order], vehicle[order], day[order]
    days = float(np.unique(day).size * step_d)
    allowed = max(1.0, math.floor(allowed_episodes(budget, np.unique(vehicle).size, days)))
    candidates = np.unique(p)[::-1][:MAXIMUM_CANDIDATES]
    n_episodes = episode_starts(vehicle, day, p[:, None] >= candidates[None, :], step_d).sum(axis=0)
    breaks = np.flatnonzero(n_episodes > allowed)
    n_kept = int(breaks[0]) if breaks.size else candidates.size
    return float(candidates[n_kept - 1]) if n_kept else float(np.nextafter(candidates[0], 2.0))
