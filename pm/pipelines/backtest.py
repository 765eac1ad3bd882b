"""Replay history with only what was known then, and keep the report; do it again and compare."""

import io
import json
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from pm.asof import known
from pm.backtest.keeping import FoldKeeper, code_version, fold_bytes, read_fold
from pm.backtest.report import render_report
from pm.backtest.run import MEASURED_KINDS, BacktestResult, FoldResult, run_backtest
from pm.errors import ConfigError, DataError, StoreError
from pm.features.featureset import FeatureSet
from pm.labels.failures import FailureRules, require_classified
from pm.labels.lag_plot import describe, lag_chart, lag_curve
from pm.pipelines.feature_sets import set_in_use
from pm.pipelines.numbering import number_vehicles
from pm.pipelines.redecoding.spool import spool_folder
from pm.policy import Policy
from pm.progress import Track, silent
from pm.store import artifacts, backtests, feature_vectors, registry, vehicles, work_orders
from pm.store.connection import Connection, transaction
from pm.tables import BACKTEST, BACKTEST_FOLD

_LOG = logging.getLogger(__name__)
_TITLE: Final = "Backtest of the fleet's failure predictions"
_SCRATCH: Final = "scratch"
_SCORE_COLUMNS: Final = (
    "fold", "component", "vehicle_id", "as_of", "kind", "p_failure", "threshold", "alert", "state", "failed_at",
)  # fmt: skip


@dataclass(frozen=True)
class BacktestReport:
    """Where the report is, and the measures."""

    backtest_id: str
    report_sha256: str
    measures: dict[str, Any]
    n_folds: int
    scores_sha256: str = ""
    """Artifact with the judged scores, see `judged_scores`."""
    n_folds_kept: int = 0
    """Folds taken from an earlier run with the same inputs, parameters and code."""


@dataclass(frozen=True)
class VerifyReport:
    """Whether a stored backtest came out again, bit for bit."""

    backtest_id: str
    differences: tuple[str, ...]

    @property
    def same(self) -> bool:
        return not self.differences


def backtest_models(
    conn: Connection,
    rules: FailureRules,
    policy: Policy,
    *,
    known_until: datetime,
    artifact_folder: Path,
    created_at: datetime,
    executor: Executor | None = None,
    track: Track = silent,
    configured: FeatureSet | None = None,
    again: bool = False,
    kinds: Sequence[str] = MEASURED_KINDS,
) -> BacktestReport:
    """Run the delayed-label backtest over the stored vectors and store its measures, scores and report.

    Each fold is stored when it is finished; a run that was killed takes those from there.

    Args:
        configured: the feature set where none was chosen; None: the shipped truck set.
        again: run every fold, also those that are stored.
        kinds: what is measured, the model first.

    Raises:
        ConfigError: the policy leaves no embargo.
        DataError: there are no vectors, too little history for one cutoff, or no label has matured.
    """
    keeper = _StoredFolds(conn, artifact_folder, policy, created_at, again=again)
    feature_set = set_in_use(conn, policy, configured)
    made = _run(
        conn, rules, policy, feature_set, known_until=known_until, scratch=artifact_folder / _SCRATCH,
        executor=executor, track=track, keeper=keeper, kinds=kinds,
    )  # fmt: skip
    report_sha256 = artifacts.put(artifact_folder, made.page)
    scores_sha256 = artifacts.put(artifact_folder, made.scores)
    row = {
        "backtest_id": made.result.backtest_id,
        "policy_id": policy.policy_id,
        "feature_set_id": feature_set.feature_set_id,
        "known_until": known_until,
        "measures_json": json.dumps(made.result.measures, sort_keys=True),
        "report_sha256": report_sha256,
        "created_at": created_at,
        "scores_sha256": scores_sha256,
    }
    with transaction(conn):
        registry.put_policy(conn, policy)
        registry.put_backtest(conn, BACKTEST.frame([row]))
    n_folds = len(made.result.folds)
    return BacktestReport(
        made.result.backtest_id, report_sha256, made.result.measures, n_folds, scores_sha256, keeper.n_found
    )


def verify_backtest(
    conn: Connection,
    rules: FailureRules,
    policy: Policy,
    backtest_id: str,
    *,
    artifact_folder: Path,
    executor: Executor | None = None,
    track: Track = silent,
    configured: FeatureSet | None = None,
) -> VerifyReport:
    """Run a stored backtest again, every fold of it, and say what comes out otherwise.

    Compared are the inputs and models of each fold, the measures, and the bytes of scores and report.

    Raises:
        ConfigError: the policy or the feature set in use is not the one it was run with.
        DataError: there is no backtest of that id.
    """
    stored = backtests.fetch_backtest(conn, backtest_id)
    feature_set = set_in_use(conn, policy, configured)
    here = {"policy_id": policy.policy_id, "feature_set_id": feature_set.feature_set_id}
    for name, value in here.items():
        if stored[name] != value:
            raise ConfigError(
                f"backtest {backtest_id}: expected {name} {stored[name]} to run it again, but got {value}"
            )
    made = _run(
        conn, rules, policy, feature_set, known_until=stored["known_until"], scratch=artifact_folder / _SCRATCH,
        executor=executor, track=track, keeper=None, kinds=json.loads(stored["measures_json"])["kinds"],
    )  # fmt: skip
    before = json.loads(stored["measures_json"])
    differences = [*_fold_differences(before, made.result.measures)]
    if before != made.result.measures:
        differences.append("the measures differ")
    for name, content in (("report_sha256", made.page), ("scores_sha256", made.scores)):
        if stored[name] is not None and artifacts.get(artifact_folder, stored[name]) != content:
            differences.append(f"{name.removesuffix('_sha256')}: other bytes")
    return VerifyReport(backtest_id, tuple(differences))


def judged_scores(conn: Connection, backtest_id: str, *, artifact_folder: Path) -> pl.DataFrame:
    """What a backtest's kinds said of the rows that were judged, and what became of them.

    Columns: fold, component, vehicle_id, vehicle_ref (null: the vehicle was forgotten), as_of, kind,
    p_failure, threshold, alert, state (positive or negative), failed_at; sorted by all of them up to kind.

    Raises:
        DataError: there is no backtest of that id, or it kept no scores.
        StoreError: the artifact is missing or has other bytes.
    """
    stored = backtests.fetch_backtest(conn, backtest_id)
    if stored["scores_sha256"] is None:
        raise DataError(f"backtest {backtest_id}: expected kept scores, but got a backtest from before they were kept")
    rows = pl.read_parquet(io.BytesIO(artifacts.get(artifact_folder, stored["scores_sha256"])))
    refs = vehicles.fetch_vehicles(conn).select("vehicle_id", "vehicle_ref")
    named = rows.join(refs, on="vehicle_id", how="left", maintain_order="left")
    place = rows.columns.index("vehicle_id") + 1
    return named.select(*rows.columns[:place], "vehicle_ref", *rows.columns[place:])


@dataclass(frozen=True)
class _Made:
    """A run with its bytes."""

    result: BacktestResult
    page: bytes
    scores: bytes


def _run(
    conn: Connection,
    rules: FailureRules,
    policy: Policy,
    feature_set: FeatureSet,
    *,
    known_until: datetime,
    scratch: Path,
    executor: Executor | None,
    track: Track,
    keeper: FoldKeeper | None,
    kinds: Sequence[str],
) -> _Made:
    fleet = number_vehicles(conn)
    failures = require_classified(fleet.renumber(known(work_orders.fetch_failures(conn), known_until)), rules)
    with ExitStack() as stack:
        folder = None if executor is None else stack.enter_context(spool_folder(scratch))
        result = run_backtest(
            vectors=fleet.renumber(feature_vectors.fetch_vectors(conn, feature_set.feature_set_id, until=known_until)),
            feature_set=feature_set,
            vehicles=fleet.vehicles,
            failures=failures,
            components=rules.components,
            policy=policy,
            known_until=known_until,
            observed_until=known_until,
            track=track,
            executor=executor,
            keeper=keeper,
            folder=folder,
            kinds=kinds,
        )
    curve = lag_curve(failures, known_until, policy)
    page = render_report(
        result, title=_TITLE, vehicle_names=fleet.names, lag=(lag_chart(curve), describe(curve.estimate))
    )
    return _Made(result, page.encode(), _score_bytes(result.scores, fleet.places))


def _score_bytes(scores: pl.DataFrame, places: Mapping[int, int]) -> bytes:
    """The judged rows as Parquet, with the vehicles' own numbers: no name of a vehicle stands in it."""
    ids = {place: vehicle_id for vehicle_id, place in places.items()}
    judged = scores.filter("judged").select(_SCORE_COLUMNS)
    own = judged.with_columns(pl.col("vehicle_id").replace_strict(ids, return_dtype=pl.Int32()))
    file = io.BytesIO()
    own.sort("fold", "component", "as_of", "vehicle_id", "kind").write_parquet(file)
    return file.getvalue()


def _fold_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    old, new = ({fold["fold"]: fold for fold in one["folds_run"]} for one in (before, now))
    made = []
    for number in sorted(old.keys() | new.keys()):
        if number not in old or number not in new:
            made.append(f"fold {number}: run {'now' if number in new else 'then'} only")
        elif old[number]["inputs_hash"] != new[number]["inputs_hash"]:
            made.append(f"fold {number}: other inputs")
        elif old[number] != new[number]:
            made.append(f"fold {number}: other models from the same inputs")
    return made


class _StoredFolds:
    """Finished folds as artifacts, found by `pm.backtest_fold`."""

    def __init__(
        self, conn: Connection, artifact_folder: Path, policy: Policy, finished_at: datetime, *, again: bool
    ) -> None:
        self._conn = conn
        self._folder = artifact_folder
        self._policy_id = policy.policy_id
        self._finished_at = finished_at
        self._again = again
        self.n_found = 0

    def find(self, key: str) -> FoldResult | None:
        sha256 = None if self._again else backtests.fold_artifact(self._conn, key)
        if sha256 is None:
            return None
        try:
            found = read_fold(artifacts.get(self._folder, sha256))
        except (StoreError, DataError) as reason:
            _LOG.warning("fold %s is run again: %s", key[:12], reason)
            return None
        self.n_found += 1
        return found

    def keep(self, key: str, result: FoldResult) -> None:
        row = {
            "fold_key": key,
            "fold_no": result.record.number,
            "cutoff": result.record.cutoff,
            "policy_id": self._policy_id,
            "inputs_hash": result.record.inputs_hash,
            "code_version": code_version(),
            "result_sha256": artifacts.put(self._folder, fold_bytes(result)),
            "finished_at": self._finished_at,
        }
        with transaction(self._conn):
            backtests.put_fold(self._conn, BACKTEST_FOLD.frame([row]))
