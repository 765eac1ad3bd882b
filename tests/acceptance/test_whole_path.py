"""The main job on a small simulated fleet: logs and orders in, a ranked fleet out, twice the same."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import polars as pl
import pytest
from click.testing import CliRunner

from dagster_project.definitions import defs
from pm.cli.app import group
from pm.labels.failures import load_rules
from pm.pipelines.executor import open_executor
from pm.pipelines.ingest import Keeping
from pm.pipelines.whole_path import Places, run_whole_path
from pm.policy import CHECKS, Backtest, Policy
from pm.settings import Settings, read_settings
from pm.simulate import FleetConfig, simulate
from pm.store import artifacts, connection, dailies, labels, logs, predictions, registry
from pm.tables import COMPONENTS

FIRST = datetime(2026, 1, 5, tzinfo=UTC)
N_DAYS = 126
LAST = FIRST + timedelta(days=N_DAYS)
POLICY = replace(Policy(), backtest=Backtest(first_cutoff_after_d=77, bootstrap_samples=50))


@pytest.fixture(scope="module")
def settings(timescaledb_server, tmp_path_factory) -> Settings:
    url = connection.ensure_database(timescaledb_server.admin_url, "acceptance")
    home = tmp_path_factory.mktemp("home")
    found = replace(read_settings({}), home=home, database_url=url, inbox_folder=home / "fleet")
    with connection.open_database(found):
        pass
    return found


@pytest.fixture(scope="module")
def run(settings):
    """A call of the whole path over the simulated fleet; call it again to see what changes."""
    config = FleetConfig(n_vehicles=14, n_days=N_DAYS, start=date(2026, 1, 5), seed=3)
    simulate(config, settings.inbox, dbc=settings.dbc_files)
    places = Places(
        settings.database_url, settings.inbox, settings.artifacts, settings.dbc_files, Keeping(settings.archive)
    )

    def again():
        with open_executor(2) as executor, connection.open_database(settings) as conn:
            return run_whole_path(
                conn,
                places,
                load_rules(settings.failure_rules_file),
                POLICY,
                first_as_of=FIRST + timedelta(days=14),
                last_as_of=LAST,
                now=datetime(2026, 9, 1, tzinfo=UTC),
                executor=executor,
            )

    return again


@pytest.fixture(scope="module")
def first(run):
    return run()


@pytest.fixture
def conn(settings):
    with connection.open_database(settings) as opened:
        yield opened


def test_every_log_file_that_had_arrived_is_committed_and_nothing_is_left_dirty(first, conn, settings):
    arrived = pl.read_csv(settings.inbox / "uploads.csv", try_parse_dates=True)
    in_time = arrived.filter(pl.col("uploaded_at") <= LAST)
    # A file that was sent again under another name is one file.
    contents = {hashlib.sha256((settings.inbox / name).read_bytes()).hexdigest() for name in in_time["file"]}
    assert [report.refused for report in first.files if report.refused] == []
    assert len(first.files) == in_time.height
    assert logs.fetch_log_files(conn).height == len(contents) < in_time.height < arrived.height
    assert logs.fetch_dirty(conn).is_empty()


def test_telemetry_stands_in_hypertables(first, conn):
    names = conn.execute(
        "SELECT hypertable_name FROM timescaledb_information.hypertables WHERE hypertable_schema = 'telemetry'"
    ).fetchall()
    assert {"et1", "air1", "vep1", "eec1"} <= {name for (name,) in names}


def test_no_table_but_one_holds_a_vin(first, conn):
    vins = conn.execute("SELECT vin FROM pm.vehicle_identity").fetchall()
    assert len(vins) == 14
    columns = conn.execute(
        """
        SELECT format('%I.%I', table_schema, table_name), column_name FROM information_schema.columns
        WHERE table_schema IN ('pm', 'telemetry') AND data_type IN ('text', 'jsonb')
          AND table_name <> 'vehicle_identity'
        """
    ).fetchall()
    vin = vins[0][0]
    for table, column in columns:
        found = conn.execute(f'SELECT count(*) FROM {table} WHERE "{column}"::text LIKE %s', [f"%{vin}%"])  # noqa: S608
        assert found.fetchone() == (0,), f"{table}.{column}"


def test_labels_have_every_state_and_pending_ones_are_the_newest(first, conn):
    assert {"positive", "negative", "pending"} <= set(first.labels.n_by_state)
    found = labels.fetch_labels(conn, known_by=LAST)
    newest = found.group_by("state").agg(pl.col("as_of").max())
    latest = dict(newest.iter_rows())
    assert latest["negative"] <= LAST - timedelta(days=14)
    assert latest["pending"] >= LAST - timedelta(days=1)


def test_the_oracle_sets_the_ceiling_on_the_rows_that_the_backtest_judged(first, settings):
    environment = {"PM_DATABASE_URL": settings.database_url, "PM_HOME": str(settings.home)}
    call = ["simulate", "oracle", str(settings.inbox), "--backtest", "latest", "--json"]
    ran = CliRunner().invoke(group, call, env=environment)
    assert ran.exit_code == 0, ran.output
    report = json.loads(ran.stdout)
    assert first.backtest.backtest_id in report["rows"]
    *components, together = report["scores"]
    for score in components:
        figures = first.backtest.measures["components"][score["component"]]["kinds"]["base_rate"]["figures"]
        assert score["n_rows"] + score["n_without_truth"] == figures["pr_auc"]["n_rows"]
    assert together["n_without_truth"] < 0.05 * together["n_rows"]
    assert together["pr_auc"] > 2 * together["base_rate"]
    pooled = {model["kind"]: model for model in report["models"] if model["component"] is None}
    assert {"gbm", "panel", "base_rate"} <= set(pooled)
    assert {model["n_rows"] for model in pooled.values()} == {together["n_rows"]}
    assert all(model["share"] < 1.0 for model in pooled.values())


def test_the_backtest_puts_every_model_beside_its_baselines_on_the_same_rows(first):
    for section in first.backtest.measures["components"].values():
        rows = {kind: found["figures"]["pr_auc"]["n_rows"] for kind, found in section["kinds"].items()}
        assert {"gbm", "panel", "base_rate", "fault_count", "days_since_repair", "last_score"} == set(rows)
        assert len(set(rows.values())) == 1


def test_the_report_is_one_page_without_outside_help(first, settings):
    page = artifacts.get(settings.artifacts, first.backtest.report_sha256).decode()
    assert page.startswith("<!doctype html>") or page.startswith("<!DOCTYPE html>")
    assert "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_every_truck_has_an_answer_for_every_component_and_no_score_lacks_a_status(first, conn):
    found = predictions.fetch_latest(conn)
    assert found["as_of"].unique().to_list() == [LAST]
    assert found.group_by("vehicle_id").len()["len"].unique().to_list() == [len(COMPONENTS)]
    assert found.filter(pl.col("p_failure").is_null() & (pl.col("status") == "ok")).is_empty()
    ranked = found.drop_nulls("position").sort("position")
    assert ranked["position"].to_list() == list(range(1, ranked.height + 1))
    assert ranked["p_failure"].is_sorted(descending=True)
    kinds = dict(registry.fetch_models(conn).select("model_id", "kind").iter_rows())
    for row in ranked.iter_rows(named=True):
        # The base rate knows nothing of a truck, so it has no reason to give.
        assert bool(json.loads(row["reasons_json"])) == (kinds[row["model_id"]] != "base_rate")


def test_each_component_has_one_champion_with_its_reason(first, conn):
    serving = registry.serving(conn)
    assert set(serving) == set(COMPONENTS)
    assert [made.model_id for made in first.train.components] == [
        serving[made.component] for made in first.train.components
    ]
    assert all(made.reason for made in first.train.components)


def test_a_second_run_reuses_what_is_there_and_changes_nothing(first, run, conn):
    before = (
        dailies.fetch_daily_signals(conn),
        predictions.fetch_latest(conn).drop("scored_at"),
        registry.fetch_moves(conn),
    )
    second = run()
    assert all(report.log_file_id is None for report in second.files)
    assert (second.dailies.n_vehicle_days, second.n_vectors, second.labels.n_changed) == (0, 0, 0)
    assert second.backtest.report_sha256 == first.backtest.report_sha256
    after = (
        dailies.fetch_daily_signals(conn),
        predictions.fetch_latest(conn).drop("scored_at"),
        registry.fetch_moves(conn),
    )
    assert all(left.equals(right) for left, right in zip(before, after, strict=True))


def test_one_day_materialises_through_dagster(first, settings, monkeypatch, conn):
    monkeypatch.setenv("PM_HOME", str(settings.home))
    monkeypatch.setenv("PM_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("PM_INBOX", str(settings.inbox))
    day = (LAST - timedelta(days=1)).date().isoformat()
    with dg.DagsterInstance.ephemeral() as instance:
        result = defs.resolve_job_def("daily_job").execute_in_process(partition_key=day, instance=instance)
    assert result.success
    checks = result.get_asset_check_evaluations()
    assumed = {check.check_name: check for check in checks if check.check_name.endswith("_as_assumed")}
    assert len(assumed) == len(CHECKS)
    assert all(check.passed or check.severity == dg.AssetCheckSeverity.WARN for check in assumed.values())
    assert {check.check_name: check.passed for check in checks if check.check_name not in assumed} == {
        "frames_were_decoded": True,
        "vectors_are_complete": True,
        "predictions_are_complete": True,
    }
    assert predictions.latest_as_of(conn) == LAST
