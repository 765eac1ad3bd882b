"""Alerts as a workshop sees them: episodes, hits, lead times, failures missed, money.

What belongs here: measures that count episodes and failures. Row-by-row measures are
`pm.backtest.metrics`; what makes an episode is `pm.models.threshold`.
"""

from dataclasses import replace
from typing import Any, Final

import numpy as np
import polars as pl

from pm.backtest.figures import Figure, figure
from pm.backtest.intervals import interval_cost, interval_counts
from pm.backtest.resampling import weighted
from pm.models.threshold import episode_starts
from pm.policy import Policy

_DAY_US: Final = 86_400_000_000


def alert_episodes(scores: pl.DataFrame, step_d: int) -> pl.DataFrame:
    """One row an alert episode, from the score rows of one kind (all states).

    Columns: vehicle_id, component, fold, started_at, last_at, n_alerts, judged (the label at its
    start has matured), hit (it failed within the horizon of the start; null: not judged),
    failed_at and lead_d (days from start to failure; null: no hit).
    """
    rows = scores.sort("component", "vehicle_id", "as_of")
    key = rows.select(pl.struct("component", "vehicle_id").rank("dense")).to_series().to_numpy()
    day = rows["as_of"].dt.epoch("d").to_numpy()
    starts = episode_starts(key, day, rows["alert"].to_numpy(), step_d)
    alerts = rows.with_columns(episode=pl.Series(np.cumsum(starts))).filter("alert")
    made = alerts.group_by("episode", maintain_order=True).agg(
        pl.col("vehicle_id", "component", "fold", "judged", "state", "failed_at").first(),
        started_at=pl.col("as_of").first(),
        last_at=pl.col("as_of").last(),
        n_alerts=pl.len(),
    )
    hit = pl.when("judged").then(pl.col("state") == "positive")
    failed_at = pl.when(hit).then(pl.col("failed_at"))
    lead_d = (failed_at - pl.col("started_at")).dt.total_microseconds() / _DAY_US
    return made.with_columns(hit=hit, failed_at=failed_at, lead_d=lead_d).select(
        "vehicle_id", "component", "fold", "started_at", "last_at", "n_alerts", "judged", "hit", "failed_at", "lead_d"
    )


def failures_seen(scores: pl.DataFrame, episodes: pl.DataFrame) -> pl.DataFrame:
    """One row a failure that judged rows looked ahead to.

    Columns: vehicle_id, component, failed_at, first_lead_d (days from the first judged row whose
    horizon holds it: the longest lead anyone could have had), lead_d (days from the first
    episode that hit it; null: missed).
    """
    key = ["vehicle_id", "component", "failed_at"]
    judged = scores.filter(pl.col("judged") & (pl.col("state") == "positive"))
    possible = judged.group_by(key).agg(first_at=pl.col("as_of").min())
    caught = episodes.filter(pl.col("hit").fill_null(value=False)).group_by(key).agg(lead_d=pl.col("lead_d").max())
    first_lead_d = (pl.col("failed_at") - pl.col("first_at")).dt.total_microseconds() / _DAY_US
    return possible.with_columns(first_lead_d=first_lead_d).join(caught, on=key, how="left").drop("first_at").sort(key)


def alert_figures(
    scores: pl.DataFrame, vehicles: np.ndarray, weights: np.ndarray, *, step_d: int, policy: Policy
) -> tuple[dict[str, Figure], dict[str, Any]]:
    """Figures of the alerts in `scores` (one kind), and their counts, lead times and episodes.

    `vehicles` are the ids behind the columns of `weights`. Precision is the share of judged
    episodes that hit. Recall with a lead of L days is the share of failures hit by an episode
    that began at least L days before, among those that a judged row could have warned of so
    early. Costs: `policy.costs`; a failure is repaired as planned where the lead is at least the
    least of `policy.alerts.lead_days`, else it is a breakdown; an episode that hits nothing is a
    needless visit. Savings are against running to failure, and against replacing each part at the
    interval that looked best before its fold's cutoff (`pm.backtest.intervals`).
    """
    episodes = alert_episodes(scores, step_d)
    judged = episodes.filter("judged")
    failures = failures_seen(scores, episodes)
    lead_days = policy.alerts.lead_days or (1,)
    n_rows = scores.filter("judged").height
    counts = _counts(scores, judged, failures, vehicles, lead_days)
    fixed = _fixed_cost(scores.filter("judged"), vehicles, weights, step_d=step_d, policy=policy)
    sums = {name: weighted(weights, count) for name, count in counts.items()}
    shape = {"n_rows": n_rows, "n_positives": scores.filter(pl.col("judged") & (pl.col("state") == "positive")).height}
    figures = {
        name: _honest(figure(values, undefined=undefined, n_vehicles=int((counts[rests_on] > 0).sum()), **shape))
        for name, (values, undefined, rests_on) in _alert_values(sums, fixed, lead_days, policy, step_d).items()
    }
    details = {
        "n_episodes": episodes.height,
        "n_judged_episodes": judged.height,
        "n_hits": int(counts["hits"].sum()),
        "n_failures": failures.height,
        "n_failures_caught": failures["lead_d"].drop_nulls().len(),
        "lead_d": (leads := [round(lead, 3) for lead in sorted(judged["lead_d"].drop_nulls().to_list())]),
        "lead_quartiles_d": [float(np.quantile(leads, q)) for q in (0.25, 0.5, 0.75)] if leads else None,
    }
    return figures, details


def _fixed_cost(
    judged: pl.DataFrame, vehicles: np.ndarray, weights: np.ndarray, *, step_d: int, policy: Policy
) -> np.ndarray:
    """Cost a resample of replacing by the calendar, component by component."""
    total = np.zeros(weights.shape[0])
    for part in judged.partition_by("component"):
        counts = interval_counts(part, vehicles, step_d)
        sums = {name: weighted(weights, count) for name, count in counts.items()}
        total += interval_cost(sums, policy.costs)
    return total


def _honest(made: Figure) -> Figure:
    """No interval where every resample gives the same: none or all of a few says little of the next."""
    if made.low is None or made.low != made.high:
        return made
    return replace(made, low=None, high=None, reason="no interval: every resample gives the same")


def _counts(
    scores: pl.DataFrame,
    judged: pl.DataFrame,
    failures: pl.DataFrame,
    vehicles: np.ndarray,
    lead_days: tuple[int, ...],
) -> dict[str, np.ndarray]:
    """Counts a vehicle, in the order of `vehicles`."""

    def count(frame: pl.DataFrame) -> np.ndarray:
        found = np.searchsorted(vehicles, frame["vehicle_id"].to_numpy())
        return np.bincount(found, minlength=vehicles.size).astype(np.float64)

    made = {
        "episodes": count(judged),
        "hits": count(judged.filter("hit")),
        "failures": count(failures),
        "caught": count(failures.drop_nulls("lead_d")),
        "planned": count(failures.filter(pl.col("lead_d") >= min(lead_days))),
        "judged_truck_days": count(scores.filter("judged").select("vehicle_id", "as_of").unique()),
    }
    for lead in lead_days:
        made[f"possible_{lead}"] = count(failures.filter(pl.col("first_lead_d") >= lead))
        made[f"caught_{lead}"] = count(failures.filter(pl.col("lead_d") >= lead))
    return made


def _alert_values(
    sums: dict[str, np.ndarray], fixed: np.ndarray, lead_days: tuple[int, ...], policy: Policy, step_d: int
) -> dict[str, tuple[np.ndarray, str, str]]:
    """Values a resample, why there may be none, and the count whose vehicles an interval rests on."""
    truck_weeks = sums["judged_truck_days"] * step_d / 7
    missed = sums["failures"] - sums["planned"]
    costs = policy.costs
    to_failure = sums["failures"] * costs.missed_breakdown
    cost = missed * costs.missed_breakdown + sums["planned"] * costs.planned_repair
    cost = cost + (sums["episodes"] - sums["hits"]) * costs.needless_visit
    no_rows, no_failure = "no matured test row", "no failure in the matured test rows"
    no_young = (
        no_rows
        if not sums["judged_truck_days"][0]
        else (
            "no cost of fixed intervals: no judged truck-day on a part younger than its interval, or nothing to pay for"
        )
    )
    made = {
        "alert_precision": (_divide(sums["hits"], sums["episodes"]), "no alert", "episodes"),
        "alert_rate": (_divide(100 * sums["episodes"], truck_weeks), no_rows, "judged_truck_days"),
        "cost": (_divide(100 * cost, truck_weeks), no_rows, "judged_truck_days"),
        "cost_to_failure": (_divide(100 * to_failure, truck_weeks), no_rows, "judged_truck_days"),
        "saving": (_divide(to_failure - cost, to_failure), no_failure, "failures"),
        "alert_recall": (_divide(sums["caught"], sums["failures"]), no_failure, "failures"),
        "cost_fixed": (_divide(100 * fixed, truck_weeks), no_young, "judged_truck_days"),
        "saving_fixed": (_divide(fixed - cost, fixed), no_young, "failures"),
    }
    for lead in lead_days:
        undefined = f"no failure that could have been seen {lead} days ahead"
        recall = _divide(sums[f"caught_{lead}"], sums[f"possible_{lead}"])
        made[f"alert_recall_{lead}d"] = (recall, undefined, f"possible_{lead}")
    return made


def _divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(below > 0, above / below, np.nan))
