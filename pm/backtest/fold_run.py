"""One fold: train every kind at its cutoff on what had matured, score the days that followed.

What belongs here: the fold as a unit of work. What a fold may see is `pm.backtest.folds`, the run over
all folds `pm.backtest.run`.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import polars as pl

from pm.asof import latest_known
from pm.backtest.folds import grid_step_d, judging_labels, training_labels, vehicle_split
from pm.backtest.intervals import best_interval_d, with_ages
from pm.backtest.task import LABEL_COLUMNS, SCORE_SCHEMA, FoldRecord, FoldResult, FoldTask, Trained
from pm.backtest.vectors import Vectors, frame_hash, open_vectors, update_hash
from pm.errors import ModelError
from pm.labels.maturation import LagEstimate, matured
from pm.models.baselines import LAST_SCORE
from pm.models.bundle import Bundle
from pm.models.rows import Rows, labelled_keys, rows_at
from pm.models.train import fit_rows

SPLIT_GROUPS: Final = 4
"""Groups of vehicles of a split by vehicle: each is tested by models of the other three."""
_LINE: Final = ("source_system", "work_order_id", "line_no")


@dataclass(frozen=True)
class _Known:
    """What a fold works on."""

    vectors: Vectors
    past: pl.DataFrame
    """Columns row (line of `vectors`), vehicle_id, as_of: what may train."""
    test: pl.DataFrame
    """The same of the test as-ofs."""
    training: pl.DataFrame
    """LABEL rows matured at the cutoff."""
    labels: pl.DataFrame
    """LABEL rows of the test as-ofs, with judged, age_d and interval_d."""
    lag: LagEstimate
    judged_lag_d: float
    intervals_d: dict[str, float | None]
    group: dict[int, int]
    """Group of each vehicle; all in group 0 without a split by vehicle."""


@dataclass(frozen=True)
class _Fitted:
    """The models of one kind and component, and the vehicles that each is for (None: all)."""

    bundles: tuple[tuple[int | None, Bundle], ...]

    def predict(self, matrix: np.ndarray, group: np.ndarray) -> np.ndarray:
        """Probabilities of rows whose vehicles are in `group`, shape (n,)."""
        p = np.full(group.size, np.nan)
        for number, bundle in self.bundles:
            mine = _of(group, number)
            p[mine] = bundle.predict(matrix[mine])
        return p

    def each(self, group: np.ndarray, of: Callable[[Bundle], float]) -> np.ndarray:
        """A number of each row's bundle, shape (n,)."""
        made = np.full(group.size, np.nan)
        for number, bundle in self.bundles:
            made[_of(group, number)] = of(bundle)
        return made

    @property
    def model_id(self) -> str:
        ids = [bundle.model_id for _, bundle in self.bundles]
        return ids[0] if len(ids) == 1 else hashlib.sha256("+".join(ids).encode()).hexdigest()[:12]


def _of(group: np.ndarray, number: int | None) -> np.ndarray:
    return np.full(group.size, True) if number is None else np.asarray(group == number)


def run_fold(task: FoldTask) -> FoldResult:
    """Train and score one fold. Reads nothing but `task`."""
    given = _read(task)
    rows = given.test.join(given.labels, on=["vehicle_id", "as_of"])
    rows = rows.with_columns(fold=pl.lit(task.fold.number, pl.Int32))
    trained: list[Trained] = []
    scored: list[pl.DataFrame] = [pl.DataFrame(schema=SCORE_SCHEMA)]
    for component in task.components:
        mine = rows.filter(pl.col("component") == component).sort("as_of", "vehicle_id")
        for one, scores in _component(task, given, component, mine):
            trained.append(one)
            scored.append(scores)
    fold = task.fold
    record = FoldRecord(
        fold.number,
        fold.cutoff,
        fold.test_as_ofs[0],
        fold.test_as_ofs[-1],
        given.lag.lag_d,
        given.lag.source,
        _inputs_hash(given),
        tuple(trained),
        given.intervals_d,
    )
    return FoldResult(record, pl.concat(scored), rows.select(LABEL_COLUMNS), given.judged_lag_d)


def _read(task: FoldTask) -> _Known:
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
    labels = _mark_judged(labels, task, judged_lag)
    vectors = open_vectors(task.vectors, len(task.feature_set.names)).until(fold.test_as_ofs[-1])
    keys = vectors.keys.with_row_index("row")
    aged = with_ages(training, task.vehicles, latest_known(task.failures, fold.cutoff, _LINE))
    intervals = {
        component: best_interval_d(
            aged.filter(pl.col("component") == component), step_d=grid_step_d(fold.train_as_ofs), costs=policy.costs
        )
        for component in task.components
    }
    chosen = pl.DataFrame(
        {"component": list(intervals), "interval_d": list(intervals.values())},
        schema={"component": pl.String, "interval_d": pl.Float64},
    )
    labels = with_ages(labels, task.vehicles, latest_known(task.failures, task.known_until, _LINE))
    split = policy.backtest.split_by_vehicle
    return _Known(
        vectors,
        keys.filter(pl.col("as_of").is_in(fold.train_as_ofs)),
        keys.filter(pl.col("as_of").is_in(fold.test_as_ofs)),
        training,
        labels.join(chosen, on="component", how="left"),
        lag,
        judged_lag.lag_d,
        intervals,
        vehicle_split(task.vehicles, SPLIT_GROUPS if split else 1, policy.backtest.seed),
    )


def _mark_judged(labels: pl.DataFrame, task: FoldTask, lag: LagEstimate) -> pl.DataFrame:
    """Adds `judged`. A positive that came early is not judged before its as-of has matured:
    the negatives beside it are still pending, and it alone would flatter or blame."""
    key = ["vehicle_id", "component", "as_of"]
    ripe = matured(labels, task.known_until, lag.lag_d, task.policy, booking=lag.booking)
    marked = labels.join(ripe.select(key).with_columns(judged=pl.lit(value=True)), on=key, how="left")
    return marked.with_columns(
        judged=pl.col("judged").fill_null(value=False) & pl.col("state").is_in(["positive", "negative"])
    )


def training_rows(task: FoldTask) -> Iterator[tuple[str, Rows]]:
    """What every kind of the fold is trained on, component by component; one without any is left out."""
    given = _read(task)
    for component in task.components:
        try:
            yield component, _training_rows(task, given, component)
        except ModelError:
            continue


def _training_rows(task: FoldTask, given: _Known, component: str) -> Rows:
    past = given.past
    found = labelled_keys(component, past.drop("row"), given.training, policy=task.policy, cutoff=task.fold.cutoff)
    lines = past["row"].to_numpy()[found["row"].to_numpy()]
    return rows_at(found, given.vectors.matrix[lines])


def _component(
    task: FoldTask, given: _Known, component: str, rows: pl.DataFrame
) -> Iterator[tuple[Trained, pl.DataFrame]]:
    """Every kind's record and scores; `rows` are the labels with `row`, the line of the vectors."""
    try:
        training = _training_rows(task, given, component)
    except ModelError as reason:
        for kind in task.kinds:
            yield _not_trained(component, kind, str(reason)), pl.DataFrame(schema=SCORE_SCHEMA)
        return
    group = _groups(given, rows["vehicle_id"].to_numpy())
    matrix = given.vectors.matrix[rows["row"].to_numpy()]
    model: _Fitted | str = "the model is not among the kinds asked for"
    for kind in task.kinds:
        if kind == LAST_SCORE:
            continue
        fitted = _fit(kind, component, training, task, given)
        if kind == task.kinds[0]:
            model = fitted
        if isinstance(fitted, str):
            yield _not_trained(component, kind, fitted), pl.DataFrame(schema=SCORE_SCHEMA)
        else:
            yield _trained(component, kind, fitted), _scores(kind, rows, fitted.predict(matrix, group), fitted, group)
    if LAST_SCORE not in task.kinds:
        return
    if isinstance(model, str):
        yield _not_trained(component, LAST_SCORE, model), pl.DataFrame(schema=SCORE_SCHEMA)
    else:
        yield _trained(component, LAST_SCORE, model), _last_scores(task, given, model, rows, group)


def _groups(given: _Known, vehicles: np.ndarray) -> np.ndarray:
    return np.array([given.group.get(int(vehicle), 0) for vehicle in vehicles], dtype=np.int64)


def _fit(kind: str, component: str, rows: Rows, task: FoldTask, given: _Known) -> _Fitted | str:
    """The kind's models, or why there are none."""
    split = task.policy.backtest.split_by_vehicle
    numbers: list[int | None] = [*sorted(set(given.group.values()))] if split else [None]
    group = _groups(given, rows.vehicle) if split else None
    made: list[tuple[int | None, Bundle]] = []
    for number in numbers:
        try:
            bundle = fit_rows(
                kind,
                component,
                rows if group is None else rows.take(group != number),
                task.feature_set,
                task.policy,
                task.fold.cutoff,
                task.policy.backtest.seed,
                n_components=len(task.components),
            )
        except ModelError as reason:
            return str(reason)
        made.append((number, bundle))
    return _Fitted(tuple(made))


def _not_trained(component: str, kind: str, reason: str) -> Trained:
    return Trained(component, kind, None, 0, 0, 0, 0, None, None, reason)


def _trained(component: str, kind: str, fitted: _Fitted) -> Trained:
    """With several groups of vehicles the counts are those of the smallest."""
    bundles = [bundle for _, bundle in fitted.bundles]
    least = min(bundles, key=lambda bundle: bundle.n_positives)
    return Trained(
        component,
        kind,
        fitted.model_id,
        least.n_rows,
        least.n_positives,
        least.n_calibration_rows,
        least.n_calibration_positives,
        least.calibration.method,
        least.threshold,
        None,
    )


def _scores(kind: str, rows: pl.DataFrame, p: np.ndarray, model: _Fitted, group: np.ndarray) -> pl.DataFrame:
    threshold = model.each(group, lambda bundle: bundle.threshold)
    scores = rows.with_columns(
        kind=pl.lit(kind),
        p_failure=pl.Series(p, dtype=pl.Float64),
        threshold=pl.Series(threshold, dtype=pl.Float64),
    ).with_columns(alert=pl.col("p_failure") >= pl.col("threshold"))
    return scores.select(SCORE_SCHEMA.names())


def _last_scores(task: FoldTask, given: _Known, model: _Fitted, rows: pl.DataFrame, group: np.ndarray) -> pl.DataFrame:
    """The model's score of each vehicle at its last as-of before the cutoff, carried forward."""
    oldest = task.fold.cutoff - timedelta(days=task.policy.horizon.days)
    last = last_before(given.vectors, task.fold.cutoff, oldest)
    p = model.predict(given.vectors.matrix[last["row"].to_numpy()], _groups(given, last["vehicle_id"].to_numpy()))
    scored = last.select("vehicle_id", p=pl.Series(p, dtype=pl.Float64))
    carried = rows.select("vehicle_id").join(scored, on="vehicle_id", how="left", maintain_order="left")["p"].to_numpy()
    base_rate = model.each(group, lambda bundle: bundle.n_positives / bundle.n_rows)
    return _scores(LAST_SCORE, rows, np.where(np.isnan(carried), base_rate, carried), model, group)


def last_before(vectors: Vectors, cutoff: datetime, oldest: datetime) -> pl.DataFrame:
    """Each vehicle's newest vector with oldest <= as_of < cutoff: columns row, vehicle_id, as_of."""
    keys = vectors.keys.with_row_index("row").filter(pl.col("as_of") < cutoff, pl.col("as_of") >= oldest)
    return keys.sort("as_of").unique("vehicle_id", keep="last").sort("vehicle_id")


def _inputs_hash(given: _Known) -> str:
    """Hash of the vectors, training labels and judging labels."""
    digest = hashlib.sha256()
    for part in (given.past, given.test):
        lines = part["row"].to_numpy()
        update_hash(digest, Vectors(part.drop("row"), _lines(given.vectors.matrix, lines)))
    for frame in (given.training, given.labels):
        digest.update(frame_hash(frame).encode())
    return digest.hexdigest()


def _lines(matrix: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """These lines of the matrix, not copied where they stand in a row."""
    if lines.size and lines[-1] - lines[0] + 1 == lines.size:
        return matrix[lines[0] : lines[-1] + 1]
    return np.asarray(matrix[lines])
