"""Matured labels -> model versions; the backtest decides which one serves."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from pm.asof import known
from pm.errors import DataError, ModelError
from pm.features.featureset import FeatureSet
from pm.labels.failures import FailureRules, require_classified
from pm.labels.horizon import label_rows
from pm.labels.maturation import estimate_lag_d, matured
from pm.lifecycle.audited import not_audited, require_audited
from pm.lifecycle.gates import Decision, decide
from pm.lifecycle.stages import promotion
from pm.models.bundle import Bundle
from pm.models.train import fit_bundle
from pm.pipelines.assumptions import freeze_profile
from pm.pipelines.feature_sets import set_in_use
from pm.pipelines.numbering import Numbering, number_vehicles
from pm.policy import Policy
from pm.progress import Track, silent
from pm.store import artifacts, audits, feature_vectors, registry, work_orders
from pm.store.connection import Connection, transaction
from pm.tables import MODEL_VERSION


@dataclass(frozen=True)
class TrainedComponent:
    """What serves for a component now, and why."""

    component: str
    model_id: str | None
    kind: str | None
    reason: str


@dataclass(frozen=True)
class TrainReport:
    """One entry a component."""

    cutoff: datetime
    n_rows: int
    n_positives: dict[str, int]
    components: tuple[TrainedComponent, ...]


def train_models(
    conn: Connection,
    rules: FailureRules,
    policy: Policy,
    *,
    cutoff: datetime,
    artifact_folder: Path,
    created_at: datetime,
    configured: FeatureSet | None = None,
    track: Track = silent,
) -> TrainReport:
    """Fit the kind the latest backtest chose, register it and move it to champion.

    The daily aggregates it was trained on are summed up beside it (`pm.features.assumptions`): later days are
    checked against that. The best simple rule is registered beside it: it answers when the champion cannot. A bundle
    that is already there (same inputs, same bytes) is not registered twice.

    Raises:
        DataError: there is no backtest yet whose evidence could decide, or no matured label.
        LifecycleError: the policy requires a leak audit (`[audit] required`), and the backtest's failed or
            is missing: nothing is registered.
    """
    backtest = registry.latest_backtest(conn)
    if backtest is None:
        raise DataError("expected a backtest to decide which kind serves, but got none: run `pm backtest` first")
    audit = audits.latest_audit(conn, backtest["backtest_id"])
    require_audited(audit, backtest["backtest_id"], policy)
    measures: Mapping[str, Any] = json.loads(backtest["measures_json"])
    feature_set = set_in_use(conn, policy, configured)
    fleet = number_vehicles(conn)
    vectors = fleet.renumber(feature_vectors.fetch_vectors(conn, feature_set.feature_set_id, until=cutoff))
    labels = _matured_labels(conn, fleet, vectors, rules, policy, cutoff=cutoff)
    task = _Task(conn, vectors, labels, feature_set, policy, cutoff, artifact_folder, created_at)
    made = [
        _train_component(
            task, component, decide(measures, component, policy), measures, not_audited(audit, component, policy)
        )
        for component in track(rules.components, "train", len(rules.components))
    ]
    freeze_profile(conn, cutoff, policy, feature_set=feature_set, created_at=created_at)
    positives = labels.filter(labels["state"] == "positive")["component"].value_counts()
    return TrainReport(cutoff, labels.height, dict(sorted(positives.iter_rows())), tuple(made))


@dataclass(frozen=True)
class _Task:
    conn: Connection
    vectors: pl.DataFrame
    labels: pl.DataFrame
    feature_set: FeatureSet
    policy: Policy
    cutoff: datetime
    artifact_folder: Path
    created_at: datetime

    def fit(self, component: str, kind: str) -> Bundle:
        rows = self.labels.filter(pl.col("component") == component)
        return fit_bundle(
            kind,
            component,
            self.vectors,
            rows,
            self.feature_set,
            self.policy,
            self.cutoff,
            self.policy.backtest.seed,
            n_components=self.labels["component"].n_unique(),
        )


def _matured_labels(
    conn: Connection,
    fleet: Numbering,
    vectors: pl.DataFrame,
    rules: FailureRules,
    policy: Policy,
    *,
    cutoff: datetime,
) -> pl.DataFrame:
    failures = require_classified(fleet.renumber(known(work_orders.fetch_failures(conn), cutoff)), rules)
    lag = estimate_lag_d(failures, cutoff, policy)
    rows = label_rows(
        vectors["as_of"].unique().sort().to_list(),
        vehicles=fleet.vehicles,
        failures=failures,
        components=rules.components,
        known_at=cutoff,
        observed_until=cutoff,
        lag_d=lag.lag_d,
        policy=policy,
        booking=lag.booking,
    )
    ripe = matured(rows, cutoff, lag.lag_d, policy, booking=lag.booking)
    if ripe.is_empty():
        raise DataError(f"expected labels matured by {cutoff.isoformat()}, but got none of {rows.height}")
    return ripe


def _train_component(
    task: _Task, component: str, decision: Decision, measures: Mapping[str, Any], refusal: str | None
) -> TrainedComponent:
    """Register the fallback rule and the kind that was judged; move the one that serves to champion.

    `refusal` says why the kind that was judged may not be registered.
    """
    fallback = task.fit(component, decision.fallback_kind)
    _register(task, fallback, "candidate", "stands in when the champion cannot answer", measures)
    reason = decision.reason
    serving = fallback
    try:
        if refusal is not None:
            raise ModelError(refusal)
        judged = task.fit(component, decision.model_kind)
    except ModelError as refused:
        reason = f"{reason}; {decision.model_kind} was not trained: {refused}"
    else:
        _register(task, judged, decision.to_stage, reason, measures)
        serving = judged if decision.serves else fallback
    if serving is fallback:
        _register(task, fallback, "champion", reason, measures)
    return TrainedComponent(component, serving.model_id, serving.kind, reason)


def _register(task: _Task, bundle: Bundle, stage: str, reason: str, measures: Mapping[str, Any]) -> None:
    """Store the bundle and its row, then make the moves that bring it to `stage`."""
    section = measures.get("components", {}).get(bundle.component, {})
    row = {
        "model_id": bundle.model_id,
        "component": bundle.component,
        "kind": bundle.kind,
        "cutoff": task.cutoff,
        "feature_set_id": bundle.feature_set_id,
        "policy_id": bundle.policy_id,
        "inputs_hash": bundle.inputs_hash,
        "metrics_json": json.dumps(section, sort_keys=True),
        "bundle_sha256": artifacts.put(task.artifact_folder, bundle.to_bytes()),
        "created_at": task.created_at,
    }
    with transaction(task.conn):
        registry.put_policy(task.conn, task.policy)
        registry.put_model(task.conn, MODEL_VERSION.frame([row]))
        here = registry.stage_of(task.conn, bundle.model_id)
        if stage == "candidate" and here is not None:
            return
        moves = registry.fetch_moves(task.conn, component=bundle.component)
        for model_id, from_stage, to_stage in promotion(bundle.component, bundle.model_id, stage, moves):
            registry.move(
                task.conn,
                bundle.component,
                model_id,
                from_stage=from_stage,
                to_stage=to_stage,
                reason=reason if model_id == bundle.model_id else f"replaced by {bundle.model_id}: {reason}",
                moved_at=task.created_at,
                expected_move_no=registry.last_move_no(task.conn, bundle.component),
            )
