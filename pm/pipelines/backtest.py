"""Replay history with only what was known then, and keep the report."""

import json
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pm.asof import known
from pm.backtest.report import render_report
from pm.backtest.run import run_backtest
from pm.features.featureset import default_feature_set
from pm.labels.failures import FailureRules
from pm.pipelines.numbering import number_vehicles
from pm.policy import Policy
from pm.progress import Track, silent
from pm.store import artifacts, feature_vectors, registry, work_orders
from pm.store.connection import Connection, transaction
from pm.tables import BACKTEST


@dataclass(frozen=True)
class BacktestReport:
    """Where the report is, and the measures."""

    backtest_id: str
    report_sha256: str
    measures: dict[str, Any]
    n_folds: int


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
) -> BacktestReport:
    """Run the delayed-label backtest over the stored vectors and store its measures and report.

    Raises:
        DataError: there are no vectors, or too little history for one cutoff.
    """
    feature_set = default_feature_set(policy)
    fleet = number_vehicles(conn)
    vectors = feature_vectors.fetch_vectors(conn, feature_set.feature_set_id, until=known_until)
    result = run_backtest(
        vectors=fleet.renumber(vectors),
        feature_set=feature_set,
        vehicles=fleet.vehicles,
        failures=fleet.renumber(known(work_orders.fetch_failures(conn), known_until)),
        components=rules.components,
        policy=policy,
        known_until=known_until,
        observed_until=known_until,
        track=track,
        executor=executor,
    )
    page = render_report(result, title="Backtest of the fleet's failure predictions", vehicle_names=fleet.names)
    report_sha256 = artifacts.put(artifact_folder, page.encode())
    row = {
        "backtest_id": result.backtest_id,
        "policy_id": policy.policy_id,
        "feature_set_id": feature_set.feature_set_id,
        "known_until": known_until,
        "measures_json": json.dumps(result.measures, sort_keys=True),
        "report_sha256": report_sha256,
        "created_at": created_at,
    }
    with transaction(conn):
        registry.put_policy(conn, policy)
        registry.put_backtest(conn, BACKTEST.frame([row]))
    return BacktestReport(result.backtest_id, report_sha256, result.measures, len(result.folds))
