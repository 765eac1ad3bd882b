"""The asset `assumption` and its checks, run for one day as the daily job runs them."""

import dagster as dg
import psycopg
import pytest
from checked_days import changed, fleet, store

from dagster_project.assets.learning import assumption
from dagster_project.checks import assumptions_hold
from dagster_project.resources import Project
from pm.policy import CHECKS

DAY = "2026-03-31"


@pytest.mark.parametrize(("n_blocked", "severity"), [(1, "WARN"), (4, "ERROR")])
def test_a_blocked_truck_warns_and_a_blocked_fleet_is_an_error_that_stops_the_run(
    conn: psycopg.Connection, database_url: str, monkeypatch: pytest.MonkeyPatch, n_blocked: int, severity: str
) -> None:
    monkeypatch.setenv("PM_DATABASE_URL", database_url)
    rows = fleet(5)
    for vehicle in range(1, n_blocked + 1):
        rows = changed(rows, vehicle, "EngCoolantTemp", 26, 1.8, 32)
    store(conn, rows)

    @dg.asset(deps=[assumption], partitions_def=assumption.partitions_def)
    def downstream() -> None:
        """Stands for feature_vector."""

    job = dg.Definitions(
        assets=[assumption, downstream],
        asset_checks=[assumptions_hold],
        resources={"project": Project()},
        executor=dg.in_process_executor,
    ).resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(partition_key=DAY, raise_on_error=False)
    evaluations = {each.check_name: each for each in result.get_asset_check_evaluations()}
    assert set(evaluations) == {f"{name}_as_assumed" for name in CHECKS}
    units = evaluations["units_as_assumed"]
    assert (units.passed, units.severity.value) == (False, severity)
    assert evaluations["schema_as_assumed"].passed
    assert result.success == (severity == "WARN")
    made = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events() if event.asset_key}
    assert ("downstream" in made) == (severity == "WARN")
