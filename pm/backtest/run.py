"""Replay history: train at each cutoff on what was known then, judge by what is known now.

What belongs here: the run over all folds and what it gives back. One fold is `pm.backtest.fold_run`, what
it may see `pm.backtest.folds`, how it is measured `pm.backtest.measure`.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from pm.asof import known, require_instant
from pm.backtest.fold_run import run_fold
from pm.backtest.folds import grid_step_d, plan_folds
from pm.backtest.keeping import FoldKeeper, fold_keys
from pm.backtest.measure import measure
from pm.backtest.report_words import first_line
from pm.backtest.served import serve_alerts
from pm.backtest.task import SCORE_SCHEMA, FoldRecord, FoldResult, FoldTask, Trained
from pm.backtest.vectors import make_vectors, open_vectors, prefix_hashes, write_vectors
from pm.errors import DataError, ModelError
from pm.features.featureset import FeatureSet
from pm.models.baselines import LAST_SCORE
from pm.models.bundle import KINDS
from pm.policy import Policy
from pm.progress import Track, silent
from pm.tables import FAILURE, FEATURE_VECTOR, VEHICLE

__all__ = [
    "MEASURED_KINDS", "SCORE_SCHEMA", "BacktestResult", "FoldRecord", "FoldResult", "FoldTask", "Trained",
    "run_backtest", "run_fold",
]  # fmt: skip

MEASURED_KINDS: Final = (*KINDS, LAST_SCORE)
"""What is measured on the same rows: every kind of model and rule, and the model's last score carried forward."""


@dataclass(frozen=True)
class BacktestResult:
    """A whole backtest; the same inputs give the same result, whoever ran the folds."""

    backtest_id: str
    """Hash of policy, feature set, every fold's inputs and the models they made."""
    policy: Policy
    feature_set_id: str
    known_until: datetime
    observed_until: datetime
    kinds: tuple[str, ...]
    components: tuple[str, ...]
    measures: dict[str, Any]
    """JSON-able, shape in `pm.backtest.measure`; besides it backtest_id, policy_id, feature_set_id,
    known_until, observed_until, horizon_d, lag_d, step_d, kinds, folds_run and first_line."""
    scores: pl.DataFrame
    """SCORE_SCHEMA, sorted by fold, component, as_of, vehicle, kind."""
    folds: tuple[FoldRecord, ...]

    @property
    def policy_id(self) -> str:
        return self.policy.policy_id

    @property
    def measures_json(self) -> str:
        """Canonical JSON of `measures`."""
        return json.dumps(self.measures, sort_keys=True, separators=(",", ":"), allow_nan=False)


def run_backtest(
    *,
    vectors: pl.DataFrame,
    feature_set: FeatureSet,
    vehicles: pl.DataFrame,
    failures: pl.DataFrame,
    components: Sequence[str],
    policy: Policy,
    known_until: datetime,
    observed_until: datetime,
    track: Track = silent,
    executor: Executor | None = None,
    kinds: Sequence[str] = MEASURED_KINDS,
    keeper: FoldKeeper | None = None,
    folder: Path | None = None,
) -> BacktestResult:
    """Run every fold and measure all kinds on the same rows.

    `vectors` is a FEATURE_VECTOR frame over all as-ofs, made from what was known at each;
    `failures` a FAILURE frame with every version; rows known after `known_until` are not seen.
    The first of `kinds` is the model that is compared with the best simple rule. A kind that
    cannot be trained in a fold has null with the reason there. An `executor` gets one call of
    `run_fold` a fold, the largest first. A `keeper` gets each fold when it is finished, and is asked
    for it before it is run. With a `folder` (empty, and to be seen by whoever runs folds) the vectors
    are written there once and mapped; without one each fold is handed its own.

    Raises:
        ConfigError: the policy's embargo is shorter than the horizon.
        DataError: a frame does not fit its table, the as-ofs end before the first cutoff, no
            label has matured, or no component or kind is asked for.
    """
    require_instant(known_until, "known_until")
    _require_names(components, kinds)
    chosen = FEATURE_VECTOR.check(vectors).filter(pl.col("as_of") <= known_until)
    del vectors
    _require_set(chosen, feature_set)
    folds = plan_folds(chosen["as_of"].unique().to_list(), policy)
    given = make_vectors(chosen, len(feature_set.names))
    del chosen
    hashes = prefix_hashes(given, [fold.test_as_ofs[-1] for fold in folds]) if keeper else [""] * len(folds)
    files = None if folder is None else write_vectors(given, folder)
    if files is not None:
        given = open_vectors(files, len(feature_set.names))
    fleet = known(VEHICLE.check(vehicles), known_until).sort("vehicle_id")
    versions = known(FAILURE.check(failures), known_until).sort(FAILURE.key)
    tasks = [
        FoldTask(
            fold,
            files or given.until(fold.test_as_ofs[-1]),
            feature_set,
            fleet,
            versions,
            tuple(components),
            tuple(kinds),
            policy,
            known_until,
            observed_until,
        )
        for fold in folds
    ]
    keys = fold_keys(tasks, hashes) if keeper else [""] * len(tasks)
    results = dict(_run(tasks, keys, keeper, executor, track))
    return _result(tasks[-1], [results[number] for number in range(len(tasks))])


def _require_names(components: Sequence[str], kinds: Sequence[str]) -> None:
    unknown = [kind for kind in kinds if kind not in MEASURED_KINDS]
    if unknown or not kinds or not components or kinds[0] == LAST_SCORE:
        raise DataError(
            f"backtest: expected components and kinds of {MEASURED_KINDS}, a model first, "
            f"but got {list(components)}, {list(kinds)}"
        )


def _require_set(vectors: pl.DataFrame, feature_set: FeatureSet) -> None:
    others = sorted(set(vectors["feature_set_id"].unique()) - {feature_set.feature_set_id})
    if others:
        raise ModelError(f"feature vectors: expected feature set {feature_set.feature_set_id}, but got {others}")


def _run(
    tasks: Sequence[FoldTask],
    keys: Sequence[str],
    keeper: FoldKeeper | None,
    executor: Executor | None,
    track: Track,
) -> Iterator[tuple[int, FoldResult]]:
    """Each task's place and result: those kept before first, the others as they finish."""
    waiting = []
    for place, key in enumerate(keys):
        found = keeper.find(key) if keeper else None
        if found is None:
            waiting.append(place)
        else:
            yield place, found
    for place, result in track(_finished(tasks, waiting, executor), "backtest folds", len(waiting)):
        if keeper:
            keeper.keep(keys[place], result)
        yield place, result


def _finished(
    tasks: Sequence[FoldTask], places: Sequence[int], executor: Executor | None
) -> Iterator[tuple[int, FoldResult]]:
    if executor is None:
        for place in places:
            yield place, run_fold(tasks[place])
        return
    # The last fold has the most to learn from: begun last, it would be waited for alone.
    futures = {executor.submit(run_fold, tasks[place]): place for place in reversed(places)}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        for future in futures:
            future.cancel()


def _result(task: FoldTask, results: Sequence[FoldResult]) -> BacktestResult:
    """`task` is any fold's."""
    records = tuple(result.record for result in results)
    scores = pl.concat([result.scores for result in results]).sort("fold", "component", "as_of", "vehicle_id", "kind")
    scores = serve_alerts(scores, task.policy.alerts)
    labels = pl.concat([result.labels for result in results])
    if not labels["judged"].any():
        _refuse_unmatured(task, labels)
    reasons = {
        (record.number, one.component, one.kind): one.reason
        for record in records
        for one in record.trained
        if one.reason is not None
    }
    step_d = grid_step_d(labels["as_of"].unique().to_list())
    measures = measure(
        scores,
        labels,
        kinds=task.kinds,
        components=task.components,
        cutoffs={record.number: record.cutoff.date().isoformat() for record in records},
        reasons=reasons,
        policy=task.policy,
        step_d=step_d,
        models=dict(task.vehicles.select("vehicle_id", "model").iter_rows()),
    )
    head = _head(task, records, results[-1].judged_lag_d)
    return BacktestResult(
        head["backtest_id"],
        task.policy,
        task.feature_set.feature_set_id,
        task.known_until,
        task.observed_until,
        task.kinds,
        task.components,
        {**head, "step_d": step_d, "first_line": first_line(measures, task.kinds[0]), **measures},
        scores,
        records,
    )


def _refuse_unmatured(task: FoldTask, labels: pl.DataFrame) -> None:
    states = dict(sorted(labels["state"].value_counts().iter_rows()))
    raise DataError(
        f"backtest: expected test rows whose labels have matured by {task.known_until.isoformat()}, but got "
        f"{states or 'no row'}: the record must go on for the horizon and the reporting lag after the first cutoff"
    )


def _head(task: FoldTask, records: Sequence[FoldRecord], lag_d: float) -> dict[str, Any]:
    named: dict[str, Any] = {
        "policy_id": task.policy.policy_id,
        "feature_set_id": task.feature_set.feature_set_id,
        "known_until": task.known_until.isoformat(),
        "observed_until": task.observed_until.isoformat(),
        "kinds": list(task.kinds),
        "components_asked": list(task.components),
    }
    inputs = [[record.inputs_hash, [one.model_id for one in record.trained]] for record in records]
    identity = hashlib.sha256(json.dumps([named, inputs], sort_keys=True).encode()).hexdigest()[:12]
    return {
        "backtest_id": identity,
        **named,
        "horizon_d": task.policy.horizon.days,
        "lag_d": lag_d,
        "folds_run": [_record_document(record) for record in records],
    }


def _record_document(record: FoldRecord) -> dict[str, Any]:
    return {
        "fold": record.number,
        "cutoff": record.cutoff.date().isoformat(),
        "test_from": record.test_from.date().isoformat(),
        "test_until": record.test_until.date().isoformat(),
        "lag_d": record.lag_d,
        "lag_source": record.lag_source,
        "inputs_hash": record.inputs_hash,
        "intervals_d": record.intervals_d,
        "trained": [vars(one) for one in record.trained],
    }
