"""One component's audit: the runs, in order, and what each shows.

What belongs here: which run feeds which check. The runs are `pm.backtest.audit_runs` and
`audit_features`, the thresholds and sentences `pm.backtest.audit_verdicts`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pm.backtest import audit_verdicts as verdicts
from pm.backtest.audit_features import all_alone, identities, importance
from pm.backtest.audit_result import Check
from pm.backtest.audit_rows import FoldRows, Grid, Labelled
from pm.backtest.audit_runs import (
    Scored,
    above_chance,
    base_rate,
    chance,
    difference,
    honest,
    plainly_scored,
    pooled,
    pr_auc,
    random_split,
    score,
    shuffled,
    split_by_vehicle,
)
from pm.backtest.figures import Figure
from pm.features.featureset import FeatureSet
from pm.models.gbm import GbmModel
from pm.policy import Policy

_SHUFFLES = ("as_of", "vehicle")
_MINIMUM_VEHICLES = 6


@dataclass(frozen=True)
class ComponentTask:
    """Everything one component needs; arrays and frozen values, so that any executor can carry it."""

    component: str
    folds: tuple[FoldRows, ...]
    grid: Grid
    shares: dict[int, float]
    """Share of positive rows a vehicle, over every as-of."""
    feature_set: FeatureSet
    policy: Policy
    seed: int
    arrivals_pass: bool
    """Whether making the vectors again showed that they know nothing of later."""


@dataclass(frozen=True)
class Honest:
    """The result that is audited."""

    scored: Scored
    pr_auc: Figure
    base_rate: Figure
    p_chance: float
    """How often chance reaches as much."""
    models: tuple[GbmModel, ...]
    """One a fold."""


def audit_component(task: ComponentTask) -> tuple[Check, ...]:
    """All checks of one component; a single one, not possible with its reason, where there is too little."""
    folds = [fold for fold in task.folds if not _too_little(fold, task.policy)]
    if not folds:
        why = "; ".join(sorted({_too_little(fold, task.policy) for fold in task.folds})) or "no fold with a failure"
        return (verdicts.not_possible(task.component, why),)
    task = replace(task, folds=tuple(folds))
    result = _honest(task)
    if not _judgeable(result.scored.rows):
        return (verdicts.not_possible(task.component, "the test rows of the audited cutoffs hold one class only"),)
    return (*_features(task, result), _random(task, result), _shuffled(task, result), _shifted(task, result),
            _new_vehicles(task, result))  # fmt: skip


def _too_little(fold: FoldRows, policy: Policy) -> str:
    """Why the booster cannot be trained or tested on the fold; empty: it can."""
    train, test, needed = fold.train, fold.test, policy.gates.minimum_positives
    if train.n_positives < needed or train.n_positives == train.day.size:
        return f"cutoff {fold.cutoff} has {train.n_positives} positive of {train.day.size} training rows"
    if not test.day.size or np.unique(test.vehicle).size < _MINIMUM_VEHICLES:
        return f"cutoff {fold.cutoff} has test rows of {np.unique(test.vehicle).size} vehicles"
    return ""


def _judgeable(rows: Labelled) -> bool:
    return 0 < rows.n_positives < rows.day.size


def _honest(task: ComponentTask) -> Honest:
    runs = [honest(task.grid, fold, task.seed) for fold in task.folds]
    scored = pooled([one for one, _ in runs])
    figure, values = _measured(task, scored)
    reached = chance(scored, "vehicle", task.policy.audit.permutations, task.seed)
    p_chance = above_chance(float(values[0]), reached)
    return Honest(scored, figure, _base_rate(task, scored), p_chance, tuple(model for _, model in runs))


def _measured(task: ComponentTask, scored: Scored) -> tuple[Figure, np.ndarray]:
    return pr_auc(scored, task.policy.audit.bootstrap_samples, task.seed)


def _base_rate(task: ComponentTask, scored: Scored) -> Figure:
    return base_rate(scored, task.policy.audit.bootstrap_samples, task.seed)


def _random(task: ComponentTask, result: Honest) -> Check:
    """A random split against the honest one, both by the same booster that can memorise."""
    runs = [random_split(task.grid, fold, task.seed) for fold in task.folds]
    scored = pooled([one for one, _ in runs])
    plain = pooled([plainly_scored(task.grid, fold.train, fold.test, task.seed) for fold in task.folds])
    horizon_d = task.policy.horizon.days
    near = np.concatenate([_has_neighbour(one.rows, rest, horizon_d) for one, rest in runs])
    honestly_near = np.concatenate([_has_neighbour(fold.test, fold.train, horizon_d) for fold in task.folds])
    return verdicts.random_check(
        task.component, _measured(task, scored)[0], _measured(task, plain)[0], result.base_rate,
        near=float(near.mean()), honestly_near=float(honestly_near.mean()),
    )  # fmt: skip


def _has_neighbour(test: Labelled, train: Labelled, horizon_d: int) -> np.ndarray:
    """Whether a test row has a training row of the same vehicle less than a horizon away: their labels overlap."""
    span = int(max(test.day.max(initial=0), train.day.max(initial=0))) + 4 * horizon_d
    trained = np.sort(train.vehicle * span + train.day)
    wanted = test.vehicle * span + test.day
    low = np.searchsorted(trained, wanted - horizon_d, side="right")
    return np.asarray(np.searchsorted(trained, wanted + horizon_d, side="left") > low)


def _shuffled(task: ComponentTask, result: Honest) -> Check:
    audit = task.policy.audit
    p_values: dict[str, list[float]] = {how: [] for how in _SHUFFLES}
    figures: dict[str, Figure] = {}
    for how in _SHUFFLES:
        for number in range(audit.shuffles):
            seed = task.seed + 1 + number
            scored = pooled([shuffled(task.grid, fold, how, seed) for fold in task.folds])
            if not _judgeable(scored.rows):
                continue
            figure, values = _measured(task, scored)
            figures[f"{how}_{number + 1}"] = figure
            p_values[how].append(above_chance(float(values[0]), chance(scored, how, audit.permutations, seed)))
    return verdicts.shuffled_check(task.component, figures, p_values, result.base_rate, task.policy)


def _shifted(task: ComponentTask, result: Honest) -> Check:
    """PR-AUC by the age of the features, on the rows that have vectors on all of these days."""
    spacing = task.grid.spacing_d
    audit = task.policy.audit
    shifts = sorted(
        {-_rounded(days, spacing) for days in audit.older_d} | {_rounded(days, spacing) for days in audit.newer_d}
    )
    folds = [_with_all(task.grid, fold, shifts) for fold in task.folds]
    folds = [fold for fold in folds if not _too_little(fold, task.policy)]
    scores = {
        shift: pooled([score(task.grid, fold.train, fold.test, task.seed, shift_d=shift) for fold in folds])
        for shift in (0, *shifts)
        if folds
    }
    if not scores or not _judgeable(scores[0].rows):
        return verdicts.shift_not_possible(task.component)
    measured = {shift: _measured(task, scored) for shift, scored in scores.items()}
    youngest = max(shift for shift in shifts if shift < 0)
    lost = difference(measured[0][1], measured[youngest][1], scores[0], audit.bootstrap_samples, task.seed)
    return verdicts.shift_check(
        task.component, {shift: figure for shift, (figure, _) in sorted(measured.items())},
        _base_rate(task, scores[0]), lost, is_result=result.p_chance <= audit.alarm_level, policy=task.policy,
        arrivals_pass=task.arrivals_pass,
    )  # fmt: skip


def _rounded(days: int, spacing_d: int) -> int:
    return max(1, round(days / spacing_d)) * spacing_d


def _with_all(grid: Grid, fold: FoldRows, shifts: Sequence[int]) -> FoldRows:
    def kept(rows: Labelled) -> Labelled:
        there = [grid.find(rows.vehicle, rows.day + shift) >= 0 for shift in shifts]
        return rows.take(np.logical_and.reduce(there))

    return replace(fold, train=kept(fold.train), test=kept(fold.test))


def _features(task: ComponentTask, result: Honest) -> tuple[Check, Check, Check]:
    """The checks honest, single_feature and identity: what carries the result."""
    names, component, policy = task.feature_set.names, task.component, task.policy
    is_result = result.p_chance <= policy.audit.alarm_level
    ranked = all_alone(task.grid, task.folds)
    named = identities(task.grid, task.shares)
    telling = [names[one.position] for one in named if one.distinct_share >= verdicts.NEARLY_UNIQUE]
    inside = importance(
        task.grid, task.folds, result.models, task.seed, [ranked[0].position, *map(names.index, telling)]
    )  # fmt: skip
    dropped = {
        names[at]: verdicts.dropped_share(result.pr_auc, result.base_rate, _measured(task, scored)[0])
        for at, scored in inside.permuted.items()
    }
    alone = {names[one.position]: _measured(task, one.scored)[0] for one in ranked[: verdicts.N_SHOWN]}
    return (
        verdicts.honest_check(
            component, result.pr_auc, result.base_rate, result.p_chance, dropped=dropped, policy=policy
        ),
        verdicts.single_check(
            component, alone, result.pr_auc, result.base_rate,
            gain_share={names[at]: float(inside.gain_share[at]) for at in inside.permuted},
            dropped=dropped, is_result=is_result, policy=policy,
        ),
        verdicts.identity_check(
            component, {names[one.position]: one for one in named},
            {name: dropped[name] for name in telling}, is_result=is_result, policy=policy,
        ),
    )  # fmt: skip


def _new_vehicles(task: ComponentTask, result: Honest) -> Check:
    """Rows in another order than the honest ones: both are brought to the same before they are compared."""
    scored = pooled([split_by_vehicle(task.grid, fold, task.seed) for fold in task.folds])
    if scored.score.size != result.scored.score.size:
        return verdicts.new_vehicles_not_possible(task.component)
    order, there = _order(scored.rows), _order(result.scored.rows)
    figure, values = _measured(task, scored.take(order))
    known = result.scored.take(there)
    _, before = _measured(task, known)
    audit = task.policy.audit
    lost = difference(before, values, known, audit.bootstrap_samples, task.seed)
    return verdicts.new_vehicles_check(
        task.component, figure, result.pr_auc, result.base_rate, lost,
        is_result=result.p_chance <= audit.alarm_level, policy=task.policy,
    )  # fmt: skip


def _order(rows: Labelled) -> np.ndarray:
    return np.lexsort((rows.vehicle, rows.day))
