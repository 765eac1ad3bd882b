"""The audit of a stored backtest, kept beside it, and the models that it lets be registered."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import psycopg
import pytest
from audit_fleet import COMPONENT, END, POLICY, START, Fleet, feature_set, make_fleet, vectors_of

from pm.errors import ConfigError, DataError, LifecycleError
from pm.labels.failures import FailureRules, Rule
from pm.pipelines.audit import AuditReport, audit_backtest
from pm.pipelines.train import train_models
from pm.policy import Policy
from pm.store import artifacts, audits, feature_vectors, registry, vehicles, work_orders
from pm.tables import AUDIT, BACKTEST

REQUIRED = replace(POLICY, audit=replace(POLICY.audit, required=True))
NOT_REQUIRED = replace(POLICY, audit=replace(POLICY.audit, required=False))
LATER = END + timedelta(days=1)
SET = feature_set()
RULES = FailureRules((Rule("all", COMPONENT, pl.lit(value=True)),), (), (), ())


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return make_fleet(1)


@pytest.fixture
def places(conn: psycopg.Connection, fleet: Fleet) -> Mapping[int, int]:
    """The fleet's history in the database, with numbers of the database for its vehicles."""
    ids = {
        vehicle: vehicles.add_vehicle(
            conn, fleet="f", vehicle_ref=f"T{vehicle:03}", known_at=START - timedelta(days=90),
            in_service_at=START - timedelta(days=90),
        )
        for vehicle in fleet.vehicles["vehicle_id"].to_list()
    }  # fmt: skip
    number = pl.col("vehicle_id").replace_strict(ids, return_dtype=pl.Int32())
    work_orders.insert_versions(conn, fleet.work_orders.with_columns(number))
    work_orders.replace_failures(conn, fleet.failures.with_columns(number))
    feature_vectors.put_feature_set(conn, SET)
    feature_vectors.put_vectors(conn, vectors_of(fleet).with_columns(number))
    return ids


def put_backtest(conn: psycopg.Connection, policy: Policy, backtest_id: str = "b1") -> None:
    row: dict[str, object] = {
        "backtest_id": backtest_id, "policy_id": policy.policy_id, "feature_set_id": SET.feature_set_id,
        "known_until": END, "measures_json": json.dumps({"components": {}}), "report_sha256": "r", "created_at": END,
    }  # fmt: skip
    registry.put_backtest(conn, BACKTEST.frame([row]))


def audit(conn: psycopg.Connection, folder: Path, policy: Policy = REQUIRED, **given: object) -> AuditReport:
    return audit_backtest(
        conn, RULES, policy, artifact_folder=folder, created_at=LATER, configured=SET, quick=True, **given,  # type: ignore[arg-type]
    )  # fmt: skip


def train(conn: psycopg.Connection, folder: Path, policy: Policy = REQUIRED) -> None:
    train_models(conn, RULES, policy, cutoff=END, artifact_folder=folder, created_at=LATER, configured=SET)


def test_an_audit_is_kept_with_its_page_and_lets_models_be_registered(
    conn: psycopg.Connection, places: Mapping[int, int], tmp_path: Path
) -> None:
    put_backtest(conn, REQUIRED)
    with pytest.raises(LifecycleError, match="expected a leak audit before a model is registered"):
        train(conn, tmp_path)
    assert registry.fetch_models(conn).is_empty()
    report = audit(conn, tmp_path)
    assert report.status == "pass", report.verdicts
    arrivals = next(check for check in report.result.checks if check.name == "arrivals")
    assert arrivals.status == "not_possible"
    assert "were handed over" in arrivals.sentence
    stored = audits.latest_audit(conn, "b1")
    assert stored is not None
    assert (stored["audit_id"], stored["status"]) == (report.audit_id, "pass")
    assert json.loads(stored["audit_json"]) == report.result.as_document()
    assert b"Leak audit" in artifacts.get(tmp_path, report.report_sha256)
    assert audit(conn, tmp_path).audit_id == report.audit_id
    assert audits.fetch_audits(conn).height == 1
    train(conn, tmp_path)
    assert set(registry.fetch_models(conn)["kind"]) == {"gbm", "base_rate"}


def test_a_backtest_whose_audit_failed_registers_nothing(
    conn: psycopg.Connection, places: Mapping[int, int], fleet: Fleet, tmp_path: Path
) -> None:
    early = fleet.failures.with_columns(
        pl.col("vehicle_id").replace_strict(places, return_dtype=pl.Int32()), known_at=pl.col("failed_at")
    )
    work_orders.replace_failures(conn, early)
    put_backtest(conn, REQUIRED)
    assert audit(conn, tmp_path).status == "fail"
    with pytest.raises(LifecycleError, match="failures known before their work order was") as refused:
        train(conn, tmp_path)
    assert refused.value.exit_code == 6
    assert registry.fetch_models(conn).is_empty()
    assert registry.fetch_moves(conn).is_empty()


def test_an_audit_needs_the_policy_and_the_set_of_its_backtest(
    conn: psycopg.Connection, places: Mapping[int, int], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="run `pm backtest` first"):
        audit(conn, tmp_path)
    put_backtest(conn, REQUIRED)
    with pytest.raises(ConfigError, match="expected policy_id"):
        audit(conn, tmp_path, NOT_REQUIRED)
    with pytest.raises(DataError, match="nothing"):
        audit(conn, tmp_path, backtest_id="nothing")


def test_the_audit_stored_last_counts_and_one_without_its_backtest_is_refused(conn: psycopg.Connection) -> None:
    put_backtest(conn, POLICY)
    row: dict[str, object] = {
        "backtest_id": "b1", "policy_id": "p", "feature_set_id": "f", "known_until": END, "audit_json": "{}",
        "report_sha256": "r",
    }  # fmt: skip
    audits.put_audit(conn, AUDIT.frame([row | {"audit_id": "new", "status": "fail", "created_at": LATER}]))
    audits.put_audit(conn, AUDIT.frame([row | {"audit_id": "old", "status": "pass", "created_at": END}]))
    found = audits.latest_audit(conn, "b1")
    assert found is not None
    assert (found["audit_id"], found["status"]) == ("new", "fail")
    assert audits.latest_audit(conn, "b2") is None
    with pytest.raises(DataError):
        audits.put_audit(
            conn, AUDIT.frame([row | {"audit_id": "x", "backtest_id": "b9", "status": "pass", "created_at": END}])
        )
