"""The Dagster project loads, and is wired as the design says."""

from datetime import UTC, datetime

import dagster as dg
import pytest

from dagster_project.definitions import defs
from dagster_project.resources import Project
from dagster_project.sensors import inbox_sensor
from pm.policy import CHECKS
from pm.tables import STORED

THE_PATH = {
    "raw_log", "log_file", "telemetry", "fault", "vehicle", "work_order", "failure", "daily_signal", "daily_fault",
    "assumption", "feature_vector", "label", "backtest", "audit", "model_version", "prediction", "retention",
}  # fmt: skip


@pytest.fixture(scope="module")
def graph():
    return defs.resolve_asset_graph()


def test_the_assets_of_the_whole_path_are_there_and_described(graph):
    keys = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert keys == THE_PATH
    assert all(graph.get(dg.AssetKey(name)).description for name in keys)


def test_an_asset_is_named_like_its_table():
    assert THE_PATH - {"raw_log", "telemetry"} <= {table.name for table in STORED}


def test_predictions_come_from_raw_logs_and_work_orders(graph):
    def upstream(name):
        parents = {key.to_user_string() for key in graph.get(dg.AssetKey(name)).parent_keys}
        return parents.union(*(upstream(parent) for parent in parents)) if parents else parents

    assert {"raw_log", "telemetry", "work_order", "failure", "backtest", "model_version"} <= upstream("prediction")


def test_days_are_partitions_with_all_vehicles_inside(graph):
    daily = {"raw_log", "log_file", "telemetry", "fault", "feature_vector", "label", "prediction"}
    for name in daily:
        assert isinstance(graph.get(dg.AssetKey(name)).partitions_def, dg.DailyPartitionsDefinition)


def test_checks_block_what_is_downstream(graph):
    checks = {key.name: graph.get(key) for key in graph.asset_check_keys}
    of_assumptions = {f"{name}_as_assumed" for name in CHECKS}
    assert set(checks) == {"frames_were_decoded", "vectors_are_complete", "predictions_are_complete"} | of_assumptions
    assert all(check.blocking for check in checks.values())


def test_the_schedule_asks_for_yesterday():
    schedule = defs.resolve_schedule_def("daily_schedule")
    context = dg.build_schedule_context(
        scheduled_execution_time=datetime(2026, 3, 2, 3, tzinfo=UTC), repository_def=defs.get_repository_def()
    )
    (request,) = schedule.evaluate_tick(context).run_requests
    assert request.partition_key == "2026-03-01"


def test_old_rows_go_once_a_night_and_after_the_aggregates_of_their_days(graph):
    parents = {key.to_user_string() for key in graph.get(dg.AssetKey("retention")).parent_keys}
    assert parents == {"daily_signal", "daily_fault"}
    schedule = defs.resolve_schedule_def("upkeep_schedule")
    at = datetime(2026, 3, 2, 5, tzinfo=UTC)
    ticks = [
        schedule.evaluate_tick(
            dg.build_schedule_context(scheduled_execution_time=at, repository_def=defs.get_repository_def())
        )
        for _ in range(2)
    ]
    assert [tick.run_requests[0].run_key for tick in ticks] == ["2026-03-02", "2026-03-02"]


def test_the_sensor_asks_once_for_each_day_on_which_files_arrived(tmp_path, monkeypatch):
    log = tmp_path / "logs" / "T-1" / "a.log"
    log.parent.mkdir(parents=True)
    log.write_text("x", encoding="utf-8")
    (tmp_path / "uploads.csv").write_text(
        "file,vehicle_ref,uploaded_at\nlogs/T-1/a.log,T-1,2026-03-01T10:00:00Z\n", encoding="utf-8"
    )
    monkeypatch.setenv("PM_INBOX", str(tmp_path))
    first = tick(None)
    assert [request.partition_key for request in first.run_requests] == ["2026-03-01"]
    assert tick(first.cursor).run_requests == []
    (log.parent / "b.log").write_text("y", encoding="utf-8")
    again = tick(first.cursor)
    assert [request.partition_key for request in again.run_requests] == [datetime.now(UTC).date().isoformat()]
    assert tick(again.cursor).run_requests == []


def tick(cursor):
    repository = defs.get_repository_def()
    resources = {"project": Project()}
    with dg.build_sensor_context(cursor=cursor, repository_def=repository, resources=resources) as context:
        return inbox_sensor.evaluate_tick(context)
