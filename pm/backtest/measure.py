"""From scores to the measures document: per component, per fold and pooled, every kind on the same rows.

What belongs here: which rows count for whom, and the shape of the document. The measures are
`pm.backtest.metrics`, `pm.backtest.episodes` and `pm.backtest.compare`.

The document (JSON-able; a figure is {value, low, high, n_rows, n_positives, reason}):

    {components: {<component>: {labels: {positive, negative, pending, censored, early: n},
                                rows: {n_rows, n_positives, n_vehicles, n_failures},
                                folds_used: [number], kinds: {<kind>: {figures: {<measure>: figure}, reason,
                                  alerts: {...}, pr_curve, reliability}},
                                best_rule, comparison: {model, rule, difference: figure, verdict},
                                comparisons: {<other kind>: as comparison},
                                folds: [{fold, cutoff, kinds: {<kind>: {figures, reason}}}]}},
     pooled: the same, with components_used and models: {<truck model>: {rows, kinds}}}

Alerts are those that would have been served (`pm.backtest.served`); the cost curve asks what other
thresholds would have cost without a weekly budget.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from pm.backtest.compare import best_rule, compare
from pm.backtest.cost_curve import cost_curve
from pm.backtest.episodes import alert_figures
from pm.backtest.figures import Figure, vehicle_weights
from pm.backtest.metrics import Judged, pr_curve, reliability, row_figures
from pm.backtest.task import SCORE_SCHEMA
from pm.policy import Policy
from pm.tables import LABEL_STATES

MINIMUM_FOLD_SHARE = 0.5
"""A kind trained in fewer than this share of the model's folds would take too many rows from the others."""


@dataclass(frozen=True)
class _Slice:
    """Score rows of the kinds that are compared on the same rows; keys of the rows are unique."""

    frames: Mapping[str, pl.DataFrame]
    reasons: Mapping[str, str]
    """Why the other kinds have no score here."""


def measure(
    scores: pl.DataFrame,
    labels: pl.DataFrame,
    *,
    kinds: Sequence[str],
    components: Sequence[str],
    cutoffs: Mapping[int, str],
    reasons: Mapping[tuple[int, str, str], str],
    policy: Policy,
    step_d: int,
    models: Mapping[int, str | None] | None = None,
) -> dict[str, Any]:
    """The measures document.

    `scores`: columns fold, component, vehicle_id, as_of, kind, p_failure, threshold, alert, state,
    failed_at, judged; one row a vehicle, component, as-of and trained kind. `labels`: the same
    rows once, whoever scored them. `reasons`: why a kind was not trained, by (fold, component,
    kind). `models`: the truck model of each vehicle, where it is known.
    """
    made: dict[str, Any] = {}
    slices: dict[str, _Slice] = {}
    for component in components:
        mine = scores.filter(pl.col("component") == component)
        slices[component] = _common(mine, component, kinds, cutoffs, reasons)
        made[component] = {
            "labels": _states(labels.filter(pl.col("component") == component)),
            **_section(slices[component], kinds, policy, step_d),
            "folds": [
                {
                    "fold": number,
                    "cutoff": cutoff,
                    "kinds": _fold(
                        mine.filter(pl.col("fold") == number),
                        {
                            kind: reasons[number, component, kind]
                            for kind in kinds
                            if (number, component, kind) in reasons
                        },
                        kinds,
                        policy,
                    ),
                }
                for number, cutoff in cutoffs.items()
            ],
        }
    pooled, used = _pool(slices, kinds)
    together = {
        "labels": _states(labels),
        "components_used": used,
        **_section(pooled, kinds, policy, step_d),
        "folds": [
            {"fold": number, "cutoff": cutoff, "kinds": _pooled_fold(pooled, number, kinds, policy)}
            for number, cutoff in cutoffs.items()
        ],
        "models": _by_model(pooled, models or {}, kinds, policy, step_d),
    }
    return {"components": made, "pooled": together}


def _pooled_fold(part: _Slice, number: int, kinds: Sequence[str], policy: Policy) -> dict[str, Any]:
    frames = [frame.filter(pl.col("fold") == number) for frame in part.frames.values()]
    scores = pl.concat(frames) if frames else pl.DataFrame(schema=SCORE_SCHEMA)
    return _fold(scores, part.reasons, kinds, policy)


def _by_model(
    part: _Slice, models: Mapping[int, str | None], kinds: Sequence[str], policy: Policy, step_d: int
) -> dict[str, Any]:
    """Row and alert figures of each truck model over all components; empty where no model is known."""
    vehicles = {vehicle for frame in part.frames.values() for vehicle in frame["vehicle_id"].unique().to_list()}
    named = {vehicle: models.get(vehicle) or "unknown" for vehicle in vehicles}
    made = {}
    for model in sorted(set(named.values()) if any(models.get(vehicle) for vehicle in vehicles) else ()):
        mine = [vehicle for vehicle, name in named.items() if name == model]
        frames = {kind: frame.filter(pl.col("vehicle_id").is_in(mine)) for kind, frame in part.frames.items()}
        section = _section(_Slice(frames, part.reasons), kinds, policy, step_d, curves=False)
        made[model] = {"rows": section["rows"], "kinds": section["kinds"]}
    return made


def _states(labels: pl.DataFrame) -> dict[str, int]:
    """Rows by state; "early": known already, but the as-of has not matured, so not judged."""
    judged, never = labels.filter("judged"), ("pending", "censored")
    counts = {state: (labels if state in never else judged).filter(state=state).height for state in LABEL_STATES}
    return {**counts, "early": labels.height - sum(counts.values())}


def _common(
    scores: pl.DataFrame,
    component: str,
    kinds: Sequence[str],
    cutoffs: Mapping[int, str],
    reasons: Mapping[tuple[int, str, str], str],
) -> _Slice:
    """Rows of the folds in which the model and every kind that was trained often enough have a score."""
    trained = {kind: set(scores.filter(pl.col("kind") == kind)["fold"].unique().to_list()) for kind in kinds}
    wanted = trained[kinds[0]] or max(trained.values(), key=len)
    needed = max(1.0, MINIMUM_FOLD_SHARE * len(wanted))
    taking = [kind for kind in kinds if len(trained[kind] & wanted) >= needed]
    folds = sorted(set.intersection(wanted, *(trained[kind] for kind in taking)))
    missing = {}
    for kind in kinds:
        if kind not in taking or not folds:
            why = next(
                (reasons[number, component, kind] for number in cutoffs if (number, component, kind) in reasons), ""
            )
            missing[kind] = f"trained in {len(trained[kind])} of {len(cutoffs)} folds; {why}".rstrip("; ")
    kept = scores.filter(pl.col("fold").is_in(folds))
    return _Slice({kind: _sorted(kept, kind) for kind in taking if folds}, missing)


def _sorted(scores: pl.DataFrame, kind: str) -> pl.DataFrame:
    return scores.filter(pl.col("kind") == kind).sort("as_of", "component", "vehicle_id")


def _pool(slices: Mapping[str, _Slice], kinds: Sequence[str]) -> tuple[_Slice, list[str]]:
    """The components where most kinds have scores, one under the other."""
    most = max((len(part.frames) for part in slices.values()), default=0)
    used = [component for component, part in slices.items() if part.frames and len(part.frames) == most]
    frames: dict[str, pl.DataFrame] = {}
    missing: dict[str, str] = {}
    for kind in kinds:
        without = [component for component in used if kind not in slices[component].frames]
        if without or not used:
            missing[kind] = f"no score for {', '.join(without) or 'any component'}"
        else:
            rows = pl.concat([slices[component].frames[kind] for component in used])
            frames[kind] = rows.sort("as_of", "component", "vehicle_id")
    return _Slice(frames, missing), used


def _section(part: _Slice, kinds: Sequence[str], policy: Policy, step_d: int, *, curves: bool = True) -> dict[str, Any]:
    """Figures of every kind on the slice's rows, and the comparison of the first kind with the best rule."""
    if not part.frames:
        empty = {kind: {"figures": {}, "reason": part.reasons.get(kind, "no score")} for kind in kinds}
        none: dict[str, Any] = {"best_rule": None, "comparison": None, "comparisons": {}}
        return {"rows": _row_counts(None), "folds_used": [], "kinds": empty, **none}
    one = next(iter(part.frames.values()))
    vehicles = np.unique(one["vehicle_id"].to_numpy())
    weights = vehicle_weights(vehicles.size, policy.backtest.bootstrap_samples, policy.backtest.seed)
    rows, p = _judged(part.frames, vehicles, weights)
    made: dict[str, Any] = {}
    pr_auc: dict[str, Figure] = {}
    for kind in kinds:
        if kind not in p:
            made[kind] = {"figures": {}, "reason": part.reasons.get(kind, "no score")}
            continue
        figures = row_figures(rows, p[kind], p.get("base_rate"))
        pr_auc[kind] = figures["pr_auc"]
        alerts, details = alert_figures(part.frames[kind], vehicles, weights, step_d=step_d, policy=policy)
        made[kind] = {
            "figures": {name: figure.as_document() for name, figure in {**figures, **alerts}.items()},
            "reason": None,
            "alerts": details,
        }
        if curves:
            made[kind] |= {
                "pr_curve": pr_curve(rows.positive, p[kind]),
                "reliability": reliability(rows.positive, p[kind]),
                "cost_curve": cost_curve(part.frames[kind], step_d=step_d, policy=policy),
            }
    rule = best_rule(pr_auc)
    return {
        "rows": _row_counts(one),
        "folds_used": sorted(one["fold"].unique().to_list()),
        "kinds": made,
        "best_rule": rule,
        "comparison": compare(rows, kinds[0], rule, p).as_document(),
        "comparisons": {
            kind: compare(rows, kinds[0], kind, p).as_document() for kind in kinds[1:] if curves and kind in p
        },
    }


def _row_counts(scores: pl.DataFrame | None) -> dict[str, int]:
    """What was judged."""
    if scores is None:
        return {"n_rows": 0, "n_positives": 0, "n_vehicles": 0, "n_failures": 0}
    judged = scores.filter("judged")
    positive = judged.filter(pl.col("state") == "positive")
    return {
        "n_rows": judged.height,
        "n_positives": positive.height,
        "n_vehicles": judged["vehicle_id"].n_unique(),
        "n_failures": positive.select("vehicle_id", "component", "failed_at").n_unique(),
    }


def _judged(
    frames: Mapping[str, pl.DataFrame], vehicles: np.ndarray, weights: np.ndarray
) -> tuple[Judged, dict[str, np.ndarray]]:
    """The judged rows once, and each kind's probabilities in their order."""
    judged = {kind: frame.filter("judged") for kind, frame in frames.items()}
    one = next(iter(judged.values()))
    rows = Judged(
        np.searchsorted(vehicles, one["vehicle_id"].to_numpy()),
        one["as_of"].dt.epoch("d").to_numpy().astype(np.int64),
        (one["state"] == "positive").to_numpy(),
        weights,
    )
    return rows, {kind: frame["p_failure"].to_numpy() for kind, frame in judged.items()}


def _fold(scores: pl.DataFrame, reasons: Mapping[str, str], kinds: Sequence[str], policy: Policy) -> dict[str, Any]:
    """Row figures of one component in one fold; alerts are too few in one fold to be measured."""
    frames = {kind: frame for kind in kinds if (frame := _sorted(scores, kind)).height}
    made: dict[str, Any] = {kind: {"figures": {}, "reason": reasons.get(kind, "no test row")} for kind in kinds}
    if frames:
        vehicles = np.unique(next(iter(frames.values()))["vehicle_id"].to_numpy())
        weights = vehicle_weights(vehicles.size, policy.backtest.bootstrap_samples, policy.backtest.seed)
        rows, p = _judged(frames, vehicles, weights)
        for kind in frames:
            figures = row_figures(rows, p[kind], p.get("base_rate"))
            made[kind] = {"figures": {name: one.as_document() for name, one in figures.items()}, "reason": None}
    return made
