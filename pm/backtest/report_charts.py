"""The report's charts: the measures document and the scores turned into calls of `pm.charts`.

What belongs here: which numbers go into which chart, and its words for those who cannot see it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from pm.backtest.episodes import alert_episodes, failures_seen
from pm.backtest.report_words import component_name, kind_name
from pm.charts import Event, Mark, Series, Shape, bar_chart, line_chart, reliability_chart, timeline_chart
from pm.models.baselines import LAST_SCORE
from pm.models.bundle import KINDS

_LOOKS: Final = (*KINDS, LAST_SCORE)
MAXIMUM_LANES: Final = 40
_WEEK_D: Final = 7


def _series(kind: str, points: Sequence[tuple[float, float | None]], shape: Shape) -> Series:
    """A line of a kind: the same look in every chart."""
    return Series(kind_name(kind), points, shape, _LOOKS.index(kind) if kind in _LOOKS else None)


def pr_chart(component: str, section: Mapping[str, Any]) -> str:
    """Precision over recall for every kind, with the base rate as reference."""
    curves = {kind: one["pr_curve"] for kind, one in section["kinds"].items() if one.get("pr_curve")}
    rows = section["rows"]
    rate = rows["n_positives"] / rows["n_rows"] if rows["n_rows"] else 0.0
    shown = {kind: points for kind, points in curves.items() if kind != "base_rate"}
    series = [_series(kind, [(r, p) for r, p in points], "line") for kind, points in shown.items()]
    return line_chart(
        series,
        title=f"Precision and recall, {component_name(component)}",
        description=f"Precision over recall for {len(series)} kinds; chance reaches the base rate {rate:.3f}.",
        x_label="recall (share of failing rows found)",
        y_label="precision",
        x_range=(0.0, 1.0),
        y_range=(0.0, 1.0),
        references=[(rate, f"base rate {rate:.3f}")],
    )


def calibration_chart(component: str, section: Mapping[str, Any]) -> str:
    """Observed share over mean probability for the trained models and the best rule."""
    wanted = [kind for kind in section["kinds"] if kind in {"gbm", "panel", section["best_rule"]}]
    curves = [
        _series(kind, [(b["p_mean"], b["observed"]) for b in section["kinds"][kind]["reliability"]], "both")
        for kind in wanted
        if section["kinds"][kind].get("reliability")
    ]
    return reliability_chart(
        curves,
        title=f"Reliability, {component_name(component)}",
        description="Observed share of failures over predicted probability; the dashed diagonal is perfect.",
    )


def cost_chart(component: str, section: Mapping[str, Any]) -> str:
    """Cost over the alert rate for every kind, with running to failure and fixed intervals as references."""
    curves = {kind: one["cost_curve"] for kind, one in section["kinds"].items() if one.get("cost_curve")}
    series = [_series(kind, [(p["alert_rate"], p["cost"]) for p in points], "both") for kind, points in curves.items()]
    figures: Mapping[str, Any] = next((one["figures"] for one in section["kinds"].values() if one["figures"]), {})
    names = {"cost_to_failure": "run to failure", "cost_fixed": "fixed intervals"}
    known = {key: figures[key]["value"] for key in names if figures.get(key, {}).get("value") is not None}
    return line_chart(
        series,
        title=f"Cost curve, {component_name(component)}",
        description=f"Cost a 100 trucks and week over the alerts a 100 trucks and week, for {len(series)} kinds.",
        x_label="alert episodes a 100 trucks and week",
        y_label="cost a 100 trucks and week",
        references=[(value, names[key]) for key, value in known.items()],
    )


def lead_chart(component: str, section: Mapping[str, Any], model: str, horizon_d: int) -> str:
    """How many days before the failure the model's hitting alerts began."""
    leads = section["kinds"].get(model, {}).get("alerts", {}).get("lead_d", [])
    counts = [0] * horizon_d
    for lead in leads:
        counts[min(int(lead), horizon_d - 1)] += 1
    return bar_chart(
        [(str(day), float(count)) for day, count in enumerate(counts)],
        title=f"Lead time of alerts that were right, {component_name(component)}",
        description=f"{len(leads)} alert episodes of {kind_name(model)}, by whole days from alert to failure.",
        x_label="whole days from alert to failure",
        y_label="alerts",
    )


def fold_chart(component: str, folds: Sequence[Mapping[str, Any]], kinds: Sequence[str]) -> str:
    """PR-AUC of every kind in every fold."""
    series = [
        _series(
            kind,
            [
                (float(index), fold["kinds"][kind]["figures"].get("pr_auc", {}).get("value"))
                for index, fold in enumerate(folds)
            ],
            "both",
        )
        for kind in kinds
    ]
    return line_chart(
        [one for one in series if any(y is not None for _, y in one.points)],
        title=f"PR-AUC a fold, {component_name(component)}",
        description="PR-AUC of every kind over the cutoffs; a gap is a fold without matured failures or without model.",
        x_label="cutoff",
        y_label="PR-AUC",
        x_range=(-0.3, max(len(folds) - 0.7, 0.7)),
        y_range=(0.0, 1.0),
        x_ticks=[(float(index), str(fold["cutoff"])[5:]) for index, fold in enumerate(folds)],
    )


def alerts_chart(
    component: str, scores: pl.DataFrame, model: str, step_d: int, names: Mapping[int, str]
) -> tuple[str, int]:
    """The model's alert episodes and the failures of each truck, and how many trucks are not shown.

    `names` has the word for a vehicle; one that is not in it goes by its number.
    """
    mine = scores.filter(pl.col("component") == component, pl.col("kind") == model)
    episodes = alert_episodes(mine, step_d)
    failures = failures_seen(mine, episodes)
    lane_of = {vehicle: names.get(vehicle, f"vehicle {vehicle}") for vehicle in mine["vehicle_id"].unique().to_list()}
    if mine.is_empty() or (episodes.is_empty() and failures.is_empty()):
        return "", 0
    trucks = sorted({*episodes["vehicle_id"].to_list(), *failures["vehicle_id"].to_list()})
    events = [_episode_event(row, lane_of[row["vehicle_id"]], step_d) for row in episodes.iter_rows(named=True)]
    events += [_failure_event(row, lane_of[row["vehicle_id"]]) for row in failures.iter_rows(named=True)]
    lanes = [lane_of[vehicle] for vehicle in trucks[:MAXIMUM_LANES]]
    chart = timeline_chart(
        events,
        lanes,
        title=f"Alerts and failures, {component_name(component)}",
        description=f"{episodes.height} alert episodes and {failures.height} failures on {len(trucks)} trucks.",
        x_ticks=_weeks(mine["as_of"].to_list(), failures["failed_at"].to_list()),
        legend=_LEGEND,
    )
    return chart, max(0, len(trucks) - MAXIMUM_LANES)


_LEGEND: Final[tuple[tuple[Mark, str], ...]] = (
    ("good", "alert, then the failure"),
    ("bad", "alert without failure"),
    ("open", "alert not judged yet"),
    ("tick", "failure"),
)


def _episode_event(row: Mapping[str, Any], lane: str, step_d: int) -> Event:
    kind: Mark = "open" if row["hit"] is None else ("good" if row["hit"] else "bad")
    said = {
        "open": "not judged yet",
        "good": f"failed {row['lead_d'] or 0:.1f} days later",
        "bad": "no failure in time",
    }
    label = f"{lane}: alert {row['started_at'].date()} to {row['last_at'].date()}, {said[kind]}"
    return Event(lane, _day(row["started_at"]), _day(row["last_at"]) + step_d, kind, label)


def _failure_event(row: Mapping[str, Any], lane: str) -> Event:
    warned = "missed" if row["lead_d"] is None else f"warned of {row['lead_d']:.1f} days before"
    label = f"{lane}: failure {row['failed_at'].date()}, {warned}"
    return Event(lane, _day(row["failed_at"]), _day(row["failed_at"]), "tick", label)


def _day(instant: datetime) -> float:
    return instant.timestamp() / 86400


def _weeks(as_ofs: Sequence[datetime], failures: Sequence[datetime]) -> list[tuple[float, str]]:
    """Ticks a fortnight or so apart over everything shown."""
    first, last = min([*as_ofs, *failures]), max([*as_ofs, *failures])
    start = first.replace(hour=0, minute=0, second=0, microsecond=0)
    span_d = (last - start).days + 1
    every = max(_WEEK_D, -(-span_d // 10 // _WEEK_D) * _WEEK_D)
    ticks = [start + timedelta(days=every * index) for index in range(span_d // every + 2)]
    return [(_day(tick), tick.strftime("%d %b")) for tick in ticks]
