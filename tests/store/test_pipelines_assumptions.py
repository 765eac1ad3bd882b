"""Checks of stored aggregates: written once, honoured where vectors and scores are made."""

from dataclasses import replace
from datetime import timedelta

import polars as pl
import psycopg
import pytest
from checked_days import AS_OF, CHECKED_AT, at, changed, fleet, insert, store

from pm.errors import DataError
from pm.features.featureset import default_feature_set
from pm.pipelines.assumptions import check_daily, freeze_profile, require_fleet_unblocked, withheld_vehicles
from pm.pipelines.features import build_features
from pm.pipelines.inspection import inspect_assumptions
from pm.pipelines.score import score_fleet
from pm.policy import Assumptions, Policy
from pm.store import assumptions
from pm.tables import ASSUMPTION

FAHRENHEIT = changed(fleet(4), 2, "EngCoolantTemp", 26, 1.8, 32)


def run(conn: psycopg.Connection, *as_ofs, policy: Policy | None = None, checked_at=CHECKED_AT):
    return check_daily(conn, as_ofs or (AS_OF,), policy or Policy(), checked_at=checked_at)


def test_what_was_found_is_stored_once(conn: psycopg.Connection) -> None:
    numbers = store(conn, FAHRENHEIT)
    (report,) = run(conn)
    assert report.n_written == assumptions.fetch_assumptions(conn, AS_OF).height == 8 + 2
    assert list(report.blocked_vehicles) == [numbers[2]]
    assert (report.n_blocked, report.n_marked, report.fleet_blocked) == (1, 1, None)
    assert report.status_by_check["units"] == "mark"
    before = assumptions.fetch_assumptions(conn, AS_OF)
    (again,) = run(conn, checked_at=CHECKED_AT + timedelta(days=1))
    assert again.n_written == 0
    assert assumptions.fetch_assumptions(conn, AS_OF).equals(before)


def test_another_policy_replaces_what_was_found(conn: psycopg.Connection) -> None:
    store(conn, FAHRENHEIT)
    run(conn)
    off = replace(Policy(), assumptions=replace(Assumptions(), units="off"))
    (report,) = run(conn, policy=off)
    assert report.n_written == 8 + 1
    found = assumptions.fetch_assumptions(conn, AS_OF)
    assert found["policy_id"].unique().to_list() == [off.policy_id]
    assert withheld_vehicles(conn, AS_OF) == {}


def test_rows_that_arrive_later_change_no_earlier_result(conn: psycopg.Connection) -> None:
    numbers = store(conn, FAHRENHEIT)
    early = AS_OF - timedelta(days=5)
    run(conn, early)
    before = assumptions.fetch_assumptions(conn, early)
    late = [r | {"known_at": at(35), "log_file_id": 77, "mean": r["minimum"]} for r in fleet(4)]
    insert(conn, late, numbers)
    (report,) = run(conn, early)
    assert report.n_written == 0
    assert assumptions.fetch_assumptions(conn, early).equals(before)


def test_rows_of_another_as_of_are_refused(conn: psycopg.Connection) -> None:
    store(conn, FAHRENHEIT)
    run(conn)
    found = assumptions.fetch_assumptions(conn, AS_OF)
    with pytest.raises(DataError, match="expected as_of"):
        assumptions.replace_assumptions(conn, AS_OF + timedelta(days=1), found)


def test_a_profile_serves_decisions_after_it_and_none_before(conn: psycopg.Connection) -> None:
    store(conn, FAHRENHEIT)
    in_use = default_feature_set(Policy())
    cutoff = AS_OF - timedelta(days=10)
    made = freeze_profile(conn, cutoff, Policy(), feature_set=in_use, created_at=CHECKED_AT)
    assert freeze_profile(conn, cutoff, Policy(), feature_set=in_use, created_at=AS_OF).profile_id == made.profile_id
    assert conn.execute("SELECT count(*) FROM pm.training_profile").fetchone() == (1,)
    before, after = run(conn, cutoff - timedelta(days=1), AS_OF)
    assert (before.profile_id, after.profile_id) == (None, made.profile_id)
    assert (before.status_by_check["nulls"], after.status_by_check["nulls"]) == ("not_checked", "pass")
    found = assumptions.newest_profile(conn, in_use.feature_set_id, AS_OF)
    assert found is not None
    assert found.rows.equals(made.rows)
    assert assumptions.newest_profile(conn, "another-set", AS_OF) is None


def block_fleet(conn: psycopg.Connection) -> None:
    run(conn)
    found = assumptions.fetch_assumptions(conn, AS_OF)
    is_it = (pl.col("check_name") == "schema") & (pl.col("vehicle_id") == 0)
    status = pl.when(is_it).then(pl.lit("block")).otherwise("status").alias("status")
    assumptions.replace_assumptions(conn, AS_OF, ASSUMPTION.check(found.with_columns(status)))


def test_a_blocked_fleet_stops_vectors_and_scores_of_that_as_of_alone(conn: psycopg.Connection, tmp_path) -> None:
    store(conn, fleet(4))
    block_fleet(conn)
    with pytest.raises(DataError, match="the whole fleet is blocked: schema"):
        build_features(conn, [AS_OF], Policy())
    with pytest.raises(DataError, match="the whole fleet is blocked: schema"):
        score_fleet(conn, AS_OF, Policy(), artifact_folder=tmp_path, scored_at=CHECKED_AT)
    assert conn.execute("SELECT count(*) FROM pm.feature_vector").fetchone() == (0,)
    require_fleet_unblocked(conn, [AS_OF - timedelta(days=1), AS_OF + timedelta(days=1)])


def test_a_blocked_vehicle_keeps_its_vector_and_is_withheld_with_the_reason(conn: psycopg.Connection) -> None:
    numbers = store(conn, FAHRENHEIT)
    run(conn)
    assert build_features(conn, [AS_OF], Policy()).n_vectors == 4
    withheld = withheld_vehicles(conn, AS_OF)
    assert list(withheld) == [numbers[2]]
    assert withheld[numbers[2]].startswith("units: ET1.EngCoolantTemp: mean 180 degC; its own days before: 82")


def test_an_inspection_says_each_check_and_refuses_what_was_not_checked(conn: psycopg.Connection) -> None:
    with pytest.raises(DataError, match="run `pm check` first"):
        inspect_assumptions(conn, AS_OF)
    store(conn, FAHRENHEIT)
    run(conn)
    found = inspect_assumptions(conn, AS_OF)
    assert not found["units"].passed
    assert (found["units"].figures["status"], found["units"].figures["blocked"]) == ("mark", 1)
    assert "Fahrenheit" in str(found["units"].figures["examples"])
    assert found["nulls"].passed
    assert found["nulls"].figures["status"] == "not_checked"
