"""The leak audit of a backtest: is the result too good, and what carries it?

What belongs here: the order of the audit over all components. What is checked is its neighbours
`audit_*`; reading and storing is `pm.pipelines.audit`. Source of the questions: S. Kapoor and
A. Narayanan, "Leakage and the reproducibility crisis in machine-learning-based science", Patterns 4
(2023) 100804, and S. Kaufman, S. Rosset, C. Perlich and O. Stitelman, "Leakage in data mining:
formulation, detection, and avoidance", ACM TKDD 6 (2012) 15.
"""

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from datetime import datetime

import polars as pl

from pm.asof import known, require_instant
from pm.backtest.audit_arrivals import Rebuilt, arrivals_check
from pm.backtest.audit_labels import label_check, separation_check
from pm.backtest.audit_result import AuditResult, Check
from pm.backtest.audit_rows import fold_labels, grid_of, positive_shares, rows_of
from pm.backtest.audit_task import ComponentTask, audit_component
from pm.backtest.folds import plan_folds
from pm.errors import DataError
from pm.features.featureset import FeatureSet
from pm.policy import Policy
from pm.progress import Track, silent
from pm.tables import FAILURE, FEATURE_VECTOR, VEHICLE


def run_audit(
    *,
    vectors: pl.DataFrame,
    feature_set: FeatureSet,
    vehicles: pl.DataFrame,
    failures: pl.DataFrame,
    components: Sequence[str],
    policy: Policy,
    known_until: datetime,
    observed_until: datetime,
    seed: int,
    rebuilt: Sequence[Rebuilt] = (),
    not_rebuilt: str = "",
    work_orders: pl.DataFrame | None = None,
    stored_labels: pl.DataFrame | None = None,
    executor: Executor | None = None,
    track: Track = silent,
    quick: bool = False,
) -> AuditResult:
    """Audit the task that `run_backtest` runs on the same inputs.

    Args:
        vectors, feature_set, vehicles, failures, components, policy, known_until, observed_until: as given
            to `run_backtest`.
        rebuilt: as-ofs whose vectors were made again (`pm.backtest.audit_arrivals.rebuild`);
            `not_rebuilt` says why there is none.
        work_orders: WORK_ORDER, all versions, to compare clocks with.
        stored_labels: LABEL, the stored history, to compare clocks with.
        executor: gets one call of `audit_component` a component.
        quick: one cutoff, fewer runs and rows (`quickly`); every check is still made.

    Raises:
        DataError: a frame does not fit its table, the as-ofs end before the first cutoff, or no component
            is asked for.
    """
    require_instant(known_until, "known_until")
    if not components:
        raise DataError("audit: expected at least one component, but got none")
    policy_id = policy.policy_id
    policy = quickly(policy) if quick else policy
    vectors = FEATURE_VECTOR.check(vectors).filter(pl.col("as_of") <= known_until)
    failures = known(FAILURE.check(failures), known_until)
    folds, judged = fold_labels(
        plan_folds(vectors["as_of"].unique().to_list(), policy),
        vehicles=known(VEHICLE.check(vehicles), known_until), failures=failures, components=components,
        policy=policy, known_until=known_until, observed_until=observed_until,
    )  # fmt: skip
    arrivals = arrivals_check(rebuilt, feature_set, not_rebuilt)
    grid = grid_of(vectors, feature_set, policy.booster)
    tasks = [
        ComponentTask(
            component,
            tuple(rows_of(one, component, grid, policy) for one in folds),
            grid,
            positive_shares(judged, component),
            feature_set,
            policy,
            seed,
            arrivals.status == "pass",
        )
        for component in components
    ]
    orders = None if work_orders is None else known(work_orders, known_until)
    shared = (
        arrivals,
        separation_check(folds, policy),
        label_check(folds, failures, policy, work_orders=orders, stored=stored_labels),
    )
    own = [check for checks in _run(tasks, executor, track) for check in checks]
    return AuditResult(
        policy_id,
        feature_set.feature_set_id,
        known_until,
        seed,
        tuple(one.fold.cutoff.date().isoformat() for one in folds),
        tuple(components),
        (*shared, *own),
        quick,
    )


def quickly(policy: Policy) -> Policy:
    """The policy of an audit that costs a fraction of its backtest: intervals are wider, thresholds the same."""
    audit = policy.audit
    fewer = replace(
        audit,
        folds=1,
        shuffles=1,
        permutations=min(audit.permutations, math.ceil(1 / audit.alarm_level)),
        bootstrap_samples=min(audit.bootstrap_samples, 50),
        maximum_rows=min(audit.maximum_rows, 2000),
        older_d=tuple(sorted({min(audit.older_d), max(audit.older_d)})),
        newer_d=audit.newer_d[:1],
    )
    return replace(policy, audit=fewer)


def _run(tasks: Sequence[ComponentTask], executor: Executor | None, track: Track) -> Iterable[tuple[Check, ...]]:
    if executor is None:
        for task in track(tasks, "leak audit", len(tasks)):
            yield audit_component(task)
        return
    futures = [executor.submit(audit_component, task) for task in tasks]
    try:
        for future in track(futures, "leak audit", len(futures)):
            yield future.result()
    finally:
        for future in futures:
            future.cancel()
