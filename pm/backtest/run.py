"""Replay history: train at each cutoff on what was known then, judge by what is known now.

What belongs here: the fold as a unit of work and the run over all folds. What a fold may see is
`pm.backtest.folds`, how it is measured `pm.backtest.measure`.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

import numpy as np
import polars as pl

from pm.asof import known, require_instant
from pm.backtest.folds import Fold, judging_labels, plan_folds, training_labels
from pm.backtest.measure import measure
from pm.errors import DataError, ModelError
from pm.features.featureset import FeatureSet
from pm.labels.maturation import matured
from pm.models.bundle import KINDS
from pm.models.rows import feature_matrix
from pm.models.train import fit_bundle
from pm.policy import Policy
from pm.progress import Track, silent
from pm.schema import UTC_INSTANT
from pm.tables import FAILURE, FEATURE_VECTOR, VEHICLE

SCORE_SCHEMA: Final = pl.Schema({
    "fold": pl.Int32(), "component": pl.String(), "vehicle_id": pl.Int32(), "as_of": UTC_INSTANT, "kind": pl.String(),
    "p_failure": pl.Float64(), "threshold": pl.Float64(), "alert": pl.Boolean(), "state": pl.String(),
    "failed_at": UTC_INSTANT, "judged": pl.Boolean(),
})  # fmt: skip
"""`BacktestResult.scores`; judged: the label is positive or negative and has matured."""


@dataclass(frozen=True)
class FoldTask:
    """Everything one fold needs; frames and frozen values, so that any executor can carry it."""

    fold: Fold
    vectors: pl.DataFrame
    feature_set: FeatureSet
    vehicles: pl.DataFrame
    failures: pl.DataFrame
    components: tuple[str, ...]
    kinds: tuple[str, ...]
    policy: Policy
    known_until: datetime
    observed_until: datetime


@dataclass(frozen=True)
class Trained:
    """What became of one kind for one component in one fold."""

    component: str
    kind: str
    model_id: str | None
    """None: not trained, `reason` says why."""
    n_rows: int
    n_positives: int
    n_calibration_rows: int
    n_calibration_positives: int
    calibration: str | None
    threshold: float | None
    reason: str | None


@dataclass(frozen=True)
class FoldRecord:
    """One fold as it was run."""

    number: int
    cutoff: datetime
    test_from: datetime
    test_until: datetime
    """Last as-of tested."""
    lag_d: float
    """Reporting lag as estimated at the cutoff."""
    lag_source: str
    inputs_hash: str
    """Hash of the vectors, training labels and judging labels of this fold."""
    trained: tuple[Trained, ...]


@dataclass(frozen=True)
class FoldResult:
    """What a fold gives back: its record, its scores, and its labels once a row."""

    record: FoldRecord
    scores: pl.DataFrame
    labels: pl.DataFrame
    judged_lag_d: float
    """Reporting lag as estimated at `known_until`."""


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
    known_until, observed_until, horizon_d, lag_d, step_d, kinds and folds_run."""
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
    kinds: Sequence[str] = KINDS,
) -> BacktestResult:
    """Run every fold and measure all kinds on the same rows.

    `vectors` is a FEATURE_VECTOR frame over all as-ofs, made from what was known at each;
    `failures` a FAILURE frame with every version; rows known after `known_until` are not seen.
    The first of `kinds` is the model that is compared with the best simple rule. A kind that
    cannot be trained in a fold has null with the reason there. An `executor` gets one call of
    `run_fold` a fold.

    Raises:
        DataError: a frame does not fit its table, the as-ofs end before the first cutoff, or no
            component or kind is asked for.
    """
    require_instant(known_until, "known_until")
    _require_names(components, kinds)
    vectors = FEATURE_VECTOR.check(vectors).filter(pl.col("as_of") <= known_until).sort("as_of", "vehicle_id")
    vehicles = known(VEHICLE.check(vehicles), known_until).sort("vehicle_id")
    failures = known(FAILURE.check(failures), known_until).sort(FAILURE.key)
    folds = plan_folds(vectors["as_of"].unique().to_list(), policy)
    tasks = [
        FoldTask(
            fold,
            vectors.filter(pl.col("as_of") <= fold.test_as_ofs[-1]),
            feature_set,
            vehicles,
            failures,
            tuple(components),
            tuple(kinds),
            policy,
            known_until,
            observed_until,
        )
        for fold in folds
    ]
    results = list(_run(tasks, executor, track))
    return _result(tasks[-1], results)


def _require_names(components: Sequence[str], kinds: Sequence[str]) -> None:
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds or not components:
        raise DataError(
            f"backtest: expected components and kinds of {KINDS}, but got {list(components)}, {list(kinds)}"
        )


def _run(tasks: Sequence[FoldTask], executor: Executor | None, track: Track) -> Iterable[FoldResult]:
    if executor is None:
        for task in track(tasks, "backtest folds", len(tasks)):
            yield run_fold(task)
        return
    futures = [executor.submit(run_fold, task) for task in tasks]
    try:
        for future in track(futures, "backtest folds", len(futures)):
            yield future.result()
    finally:
        for future in futures:
            future.cancel()


def run_fold(task: FoldTask) -> FoldResult:
    """Train and score one fold. Reads nothing but `task`."""
    fold, policy = task.fold, task.policy
    shared: dict[str, Any] = {
        "vehicles": task.vehicles,
        "failures": task.failures,
        "components": task.components,
        "observed_until": task.observed_until,
        "policy": policy,
    }
    training, lag = training_labels(fold, **shared)
    labels, judged_lag = judging_labels(fold, known_until=task.known_until, **shared)
    labels = _mark_judged(labels, task, judged_lag.lag_d)
    past = task.vectors.filter(pl.col("as_of").is_in(fold.train_as_ofs))
    test = task.vectors.filter(pl.col("as_of").is_in(fold.test_as_ofs))
    features = feature_matrix(test, len(task.feature_set.names))
    rows = test.select("vehicle_id", "as_of").with_row_index("row").join(labels, on=["vehicle_id", "as_of"])
    rows = rows.with_columns(fold=pl.lit(fold.number, pl.Int32))
    trained: list[Trained] = []
    scored: list[pl.DataFrame] = [pl.DataFrame(schema=SCORE_SCHEMA)]
    for component in task.components:
        mine = rows.filter(pl.col("component") == component).sort("as_of", "vehicle_id")
        for kind in task.kinds:
            one, scores = _train_and_score(
                kind, component, task=task, past=past, training=training, rows=mine, features=features
            )
            trained.append(one)
            scored.append(scores)
    record = FoldRecord(
        fold.number,
        fold.cutoff,
        fold.test_as_ofs[0],
        fold.test_as_ofs[-1],
        lag.lag_d,
        lag.source,
        _hash(past, test, training, labels),
        tuple(trained),
    )
    return FoldResult(record, pl.concat(scored), rows.drop("row"), judged_lag.lag_d)


def _mark_judged(labels: pl.DataFrame, task: FoldTask, lag_d: float) -> pl.DataFrame:
    """Adds `judged`. A positive that came early is not judged before its as-of has matured:
    the negatives beside it are still pending, and it alone would flatter or blame."""
    key = ["vehicle_id", "component", "as_of"]
    ripe = matured(labels, task.known_until, lag_d, task.policy).select(key).with_columns(judged=pl.lit(value=True))
    return labels.join(ripe, on=key, how="left").with_columns(
        judged=pl.col("judged").fill_null(value=False) & pl.col("state").is_in(["positive", "negative"])
    )


def _train_and_score(
    kind: str,
    component: str,
    *,
    task: FoldTask,
    past: pl.DataFrame,
    training: pl.DataFrame,
    rows: pl.DataFrame,
    features: np.ndarray,
) -> tuple[Trained, pl.DataFrame]:
    """`rows` are the labels of `component` with `row`, the line of `features` they belong to."""
    policy = task.policy
    try:
        bundle = fit_bundle(
            kind,
            component,
            past,
            training,
            task.feature_set,
            policy,
            task.fold.cutoff,
            policy.backtest.seed,
            n_components=len(task.components),
        )
    except ModelError as reason:
        return Trained(component, kind, None, 0, 0, 0, 0, None, None, str(reason)), pl.DataFrame(schema=SCORE_SCHEMA)
    p = bundle.predict(features[rows["row"].to_numpy()])
    scores = rows.with_columns(
        kind=pl.lit(kind), p_failure=pl.Series(p, dtype=pl.Float64), threshold=pl.lit(bundle.threshold, pl.Float64)
    ).with_columns(alert=pl.col("p_failure") >= pl.col("threshold"))
    record = Trained(
        component,
        kind,
        bundle.model_id,
        bundle.n_rows,
        bundle.n_positives,
        bundle.n_calibration_rows,
        bundle.n_calibration_positives,
        bundle.calibration.method,
        bundle.threshold,
        None,
    )
    return record, scores.select(SCORE_SCHEMA.names())


def _hash(*frames: pl.DataFrame) -> str:
    """sha256 over the frames as NDJSON, in their row order, hex; a row's own hash adds nothing to its values."""
    digest = hashlib.sha256()
    for given in frames:
        frame = given.select(pl.exclude("inputs_hash"))
        digest.update(f"{frame.columns}{frame.height}".encode())
        digest.update(frame.write_ndjson().encode())
    return digest.hexdigest()


def _result(task: FoldTask, results: Sequence[FoldResult]) -> BacktestResult:
    """`task` is the last fold's: its vectors are all of them."""
    records = tuple(result.record for result in results)
    scores = pl.concat([result.scores for result in results]).sort("fold", "component", "as_of", "vehicle_id", "kind")
    labels = pl.concat([result.labels for result in results])
    reasons = {
        (record.number, one.component, one.kind): one.reason
        for record in records
        for one in record.trained
        if one.reason is not None
    }
    step_d = _step_d(labels)
    measures = measure(
        scores,
        labels,
        kinds=task.kinds,
        components=task.components,
        cutoffs={record.number: record.cutoff.date().isoformat() for record in records},
        reasons=reasons,
        policy=task.policy,
        step_d=step_d,
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
        {**head, "step_d": step_d, **measures},
        scores,
        records,
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
        "trained": [vars(one) for one in record.trained],
    }


def _step_d(labels: pl.DataFrame) -> int:
    """Days between neighbouring test as-ofs."""
    days = labels["as_of"].dt.epoch("d").unique().sort().to_list()
    return min((after - before for before, after in pairwise(days)), default=1)
