"""The leak audit of a stored backtest, kept beside it."""

import json
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl

from pm.asof import midnight
from pm.backtest.audit import run_audit
from pm.backtest.audit_arrivals import Rebuilt, Sources, rebuild
from pm.backtest.audit_report import audit_page
from pm.backtest.audit_result import AuditResult
from pm.errors import ConfigError, DataError
from pm.features.definition import METER_KINDS, FeatureSet
from pm.features.meters import AFTER_D
from pm.features.windows import build_vectors
from pm.labels.failures import FailureRules, require_classified
from pm.pipelines.feature_sets import set_in_use
from pm.pipelines.numbering import number_vehicles
from pm.policy import Policy
from pm.progress import Track, silent
from pm.store import (
    artifacts,
    audits,
    backtests,
    dailies,
    events,
    feature_sets,
    feature_vectors,
    labels,
    registry,
    vehicles,
    work_orders,
)
from pm.store.connection import Connection, transaction
from pm.tables import AUDIT, DAILY_SIGNAL

_TITLE: Final = "Leak audit of a backtest"
_LATER_D: Final = 3
"""Days after an as-of whose values are there, so that a feature that looks ahead finds some."""


@dataclass(frozen=True)
class AuditReport:
    """What was found, and where the page is."""

    audit_id: str
    backtest_id: str
    status: str
    verdicts: tuple[str, ...]
    report_sha256: str
    result: AuditResult


def audit_backtest(
    conn: Connection,
    rules: FailureRules,
    policy: Policy,
    *,
    artifact_folder: Path,
    created_at: datetime,
    backtest_id: str | None = None,
    configured: FeatureSet | None = None,
    executor: Executor | None = None,
    track: Track = silent,
    quick: bool = False,
) -> AuditReport:
    """Run the audit on the inputs of a stored backtest (None: the newest) and store what it found.

    Raises:
        ConfigError: policy or feature set are not those of the backtest.
        DataError: there is no such backtest, or nothing to audit it with.
    """
    backtest = _backtest(conn, backtest_id)
    feature_set = set_in_use(conn, policy, configured)
    _require_same(backtest, policy, feature_set)
    known_until = backtest["known_until"]
    fleet = number_vehicles(conn)
    vectors = feature_vectors.fetch_vectors(conn, feature_set.feature_set_id, until=known_until)
    rebuilt, why_not = _rebuilt(
        conn, feature_set, vectors, policy, n_as_ofs=1 if quick else policy.audit.n_rebuilt_as_ofs
    )
    positive = labels.fetch_history(conn).filter(pl.col("state") == "positive")
    result = run_audit(
        vectors=fleet.renumber(vectors),
        feature_set=feature_set,
        vehicles=fleet.vehicles,
        failures=require_classified(fleet.renumber(work_orders.fetch_failures(conn)), rules),
        components=rules.components,
        policy=policy,
        known_until=known_until,
        observed_until=known_until,
        seed=policy.backtest.seed,
        rebuilt=rebuilt,
        not_rebuilt=why_not,
        work_orders=work_orders.fetch_work_orders(conn),
        stored_labels=fleet.renumber(positive),
        executor=executor,
        track=track,
        quick=quick,
    )
    return _store(conn, result, backtest["backtest_id"], policy, artifact_folder=artifact_folder, created_at=created_at)


def _backtest(conn: Connection, backtest_id: str | None) -> dict[str, Any]:
    if backtest_id is not None:
        return dict(backtests.fetch_backtest(conn, backtest_id))
    latest = registry.latest_backtest(conn)
    if latest is None:
        raise DataError("expected a backtest to audit, but got none: run `pm backtest` first")
    return latest


def _require_same(backtest: dict[str, Any], policy: Policy, feature_set: FeatureSet) -> None:
    here = {"policy_id": policy.policy_id, "feature_set_id": feature_set.feature_set_id}
    for name, value in here.items():
        if backtest[name] != value:
            raise ConfigError(
                f"backtest {backtest['backtest_id']}: expected {name} {backtest[name]} to audit it, but got {value}: "
                "run `pm backtest` again"
            )


def _rebuilt(
    conn: Connection, feature_set: FeatureSet, vectors: pl.DataFrame, policy: Policy, *, n_as_ofs: int
) -> tuple[list[Rebuilt], str]:
    """Sampled as-ofs made again, evenly over those stored; or why they cannot be."""
    given = [feature.name for feature in feature_set.features if feature.recipe.kind == "given"]
    if given:
        return [], f"{given[0]} and {len(given) - 1} more features were handed over, not made here"
    as_ofs = vectors["as_of"].unique().sort().to_list()
    if not as_ofs:
        return [], "there are no vectors"

    def build(as_of: datetime, sources: Sources) -> pl.DataFrame:
        return build_vectors(feature_set, [as_of], policy=policy, **sources)

    return [
        rebuild(as_of, vectors, _sources(conn, feature_set, as_of), build) for as_of in _sampled(as_ofs, n_as_ofs)
    ], ""


def _sampled(as_ofs: Sequence[datetime], wanted: int) -> list[datetime]:
    """So many as-ofs, evenly spread, with history before and arrivals after."""
    return [as_ofs[len(as_ofs) * (number + 1) // (wanted + 1)] for number in range(wanted)]


def _sources(conn: Connection, feature_set: FeatureSet, as_of: datetime) -> Sources:
    """Everything that vectors of an as-of may be made from, and what came after it."""
    start = (as_of - timedelta(days=feature_set.lookback_d)).date()
    end = (as_of + timedelta(days=_LATER_D)).date()
    first_event = midnight(as_of.date() - timedelta(days=feature_set.event_lookback_d))
    return {
        "vehicles": vehicles.fetch_vehicles(conn),
        "daily_signals": dailies.fetch_daily_signals(conn, start=start, end=end),
        "daily_faults": dailies.fetch_daily_faults(conn, start=start, end=end),
        "failures": work_orders.fetch_failures(conn),
        "events": events.fetch_events(conn, start=first_event, end=midnight(end)),
        "readings": _readings(conn, feature_set, midnight(end)),
    }


def _readings(conn: Connection, feature_set: FeatureSet, until: datetime) -> pl.DataFrame:
    """What counters said after repairs, of those that a feature asks for."""
    asked = [feature.recipe for feature in feature_set.features if feature.recipe.kind in METER_KINDS]
    quantities = {name for recipe in asked for name in feature_set.quantities_of(recipe)}
    known = feature_set.quantity_by_name
    sources = sorted({source for name in quantities if name in known for source in known[name].sources})
    if not sources:
        return DAILY_SIGNAL.empty()
    return feature_sets.fetch_readings(conn, sources, after_d=AFTER_D, known_by=until)


def _store(
    conn: Connection,
    result: AuditResult,
    backtest_id: str,
    policy: Policy,
    *,
    artifact_folder: Path,
    created_at: datetime,
) -> AuditReport:
    document = result.as_document()
    report_sha256 = artifacts.put(artifact_folder, audit_page(result, title=_TITLE).encode())
    audit_id = f"{document['audit_id']}-{backtest_id[:8]}"
    row = {
        "audit_id": audit_id,
        "backtest_id": backtest_id,
        "policy_id": policy.policy_id,
        "feature_set_id": result.feature_set_id,
        "known_until": result.known_until,
        "status": result.status,
        "audit_json": json.dumps(document, sort_keys=True, allow_nan=False),
        "report_sha256": report_sha256,
        "created_at": created_at,
    }
    with transaction(conn):
        registry.put_policy(conn, policy)
        audits.put_audit(conn, AUDIT.frame([row]))
    return AuditReport(audit_id, backtest_id, result.status, result.verdicts, report_sha256, result)
