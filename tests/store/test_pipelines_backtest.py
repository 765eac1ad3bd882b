"""The backtest over a real database: killed and gone on with, verified, and its scores read again."""

import signal
import subprocess
import sys
from pathlib import Path

import backtest_fleet
import polars as pl
import psycopg
import pytest
from backtest_fleet import KNOWN_UNTIL, POLICY, SET, fill_database, run_toy, shipped_rules

from pm.errors import ConfigError, DataError, StoreError
from pm.pipelines.backtest import judged_scores, verify_backtest
from pm.pipelines.backtest_files import write_backtest
from pm.pipelines.executor import open_executor
from pm.policy import Policy
from pm.store import artifacts, backtests
from pm.tables import BACKTEST_FOLD

PROJECT = Path(__file__).resolve().parents[2]


def killed(url: str, folder: Path, n_folds: int) -> int:
    """Exit code of a backtest that dies when it has stored `n_folds`."""
    command = [sys.executable, backtest_fleet.__file__, url, str(folder), str(n_folds)]
    done = subprocess.run(command, cwd=PROJECT, env={"PYTHONPATH": str(PROJECT)}, check=False, capture_output=True)
    return done.returncode


def test_a_killed_run_goes_on_and_gives_the_same_bytes(
    conn: psycopg.Connection, database_url: str, tmp_path: Path
) -> None:
    fill_database(conn)
    assert killed(database_url, tmp_path / "killed", 2) == -signal.SIGKILL
    assert backtests.fetch_folds(conn).height == 2
    with pytest.raises(DataError, match="none of that id"):
        backtests.fetch_backtest(conn, "nothing")
    went_on = run_toy(conn, tmp_path / "killed")
    assert (went_on.n_folds_kept, went_on.n_folds) == (2, 5)
    whole = run_toy(conn, tmp_path / "whole", again=True)
    assert whole.n_folds_kept == 0
    assert (whole.report_sha256, whole.scores_sha256) == (went_on.report_sha256, went_on.scores_sha256)
    assert whole.measures == went_on.measures


def test_a_fold_is_taken_only_with_the_same_inputs_and_whole(conn: psycopg.Connection, tmp_path: Path) -> None:
    fill_database(conn)
    first = run_toy(conn, tmp_path)
    assert run_toy(conn, tmp_path).n_folds_kept == 5
    damaged = artifacts.path(tmp_path, backtests.fetch_folds(conn)["result_sha256"][0])
    damaged.write_bytes(b"PAR1")
    again = run_toy(conn, tmp_path)
    assert (again.n_folds_kept, again.report_sha256) == (4, first.report_sha256)
    assert run_toy(conn, tmp_path, kinds=("base_rate",)).n_folds_kept == 0
    folds = BACKTEST_FOLD.check(backtests.fetch_folds(conn))
    assert folds["inputs_hash"].n_unique() == 5
    conn.execute("UPDATE pm.feature_vector SET features = array_replace(features, NULL, 1) WHERE vehicle_id = 3")
    assert run_toy(conn, tmp_path).n_folds_kept == 0


def test_processes_give_the_same_bytes_and_leave_no_scratch(conn: psycopg.Connection, tmp_path: Path) -> None:
    fill_database(conn)
    alone = run_toy(conn, tmp_path / "alone")
    with open_executor(2) as executor:
        apart = run_toy(conn, tmp_path / "apart", again=True, executor=executor)
    assert (apart.report_sha256, apart.scores_sha256) == (alone.report_sha256, alone.scores_sha256)
    assert not [path for path in (tmp_path / "apart" / "scratch").iterdir() if path.is_dir()]


def test_a_stored_backtest_is_verified(conn: psycopg.Connection, tmp_path: Path) -> None:
    fill_database(conn)
    made = run_toy(conn, tmp_path)
    place = {"artifact_folder": tmp_path, "configured": SET}
    assert verify_backtest(conn, shipped_rules(), POLICY, made.backtest_id, **place).same
    with pytest.raises(ConfigError, match="expected policy_id"):
        verify_backtest(conn, shipped_rules(), Policy(), made.backtest_id, **place)
    conn.execute("DELETE FROM pm.failure WHERE work_order_id = '3-1'")
    found = verify_backtest(conn, shipped_rules(), POLICY, made.backtest_id, **place)
    assert "the measures differ" in found.differences
    assert any(said.endswith("other inputs") for said in found.differences)
    assert "report: other bytes" in found.differences


def test_judged_scores_name_vehicles_and_what_became_of_them(conn: psycopg.Connection, tmp_path: Path) -> None:
    fill_database(conn)
    made = run_toy(conn, tmp_path)
    scores = judged_scores(conn, made.backtest_id, artifact_folder=tmp_path)
    assert scores["state"].unique().sort().to_list() == ["negative", "positive"]
    assert scores.select(pl.col("as_of").max() <= KNOWN_UNTIL).item()
    assert scores["vehicle_ref"].to_list() == [f"T{number:02}" for number in scores["vehicle_id"]]
    cooling = made.measures["components"]["cooling"]["rows"]
    mine = scores.filter(pl.col("component") == "cooling", pl.col("kind") == "fault_count")
    assert (mine.height, mine.filter(pl.col("state") == "positive").height) == (
        cooling["n_rows"],
        cooling["n_positives"],
    )


def test_files_hold_every_figure(conn: psycopg.Connection, tmp_path: Path) -> None:
    fill_database(conn)
    made = run_toy(conn, tmp_path)
    written = write_backtest(conn, made.backtest_id, tmp_path / "out", artifact_folder=tmp_path)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(written.names)
    table = pl.read_csv(tmp_path / "out" / "measures.csv")
    one = table.filter(
        pl.col("part") == "component", pl.col("component") == "cooling", pl.col("fold").is_null(),
        pl.col("kind") == "fault_count", pl.col("measure") == "pr_auc",
    )  # fmt: skip
    figure = made.measures["components"]["cooling"]["kinds"]["fault_count"]["figures"]["pr_auc"]
    assert one["value"].to_list() == [figure["value"]]
    assert set(table.filter(pl.col("part") == "truck_model")["model"]) == {"M0", "M1"}
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StoreError, match="expected a folder to write to"):
        write_backtest(conn, made.backtest_id, blocked, artifact_folder=tmp_path)
