"""`pm simulate` and `pm simulate oracle` as a shell calls them: figures, JSON, exit codes."""

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from pm.cli.app import main
from pm.simulate.oracle import true_rows


@dataclass(frozen=True)
class Ran:
    """What a call left: exit code and both outputs."""

    returncode: int
    stdout: str
    stderr: str


def pm(*arguments: str, cwd: Path) -> Ran:
    """`pm` with these arguments in folder `cwd`."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["pm", *arguments])
        patch.chdir(cwd)
        try:
            main()
        except SystemExit as left:
            code = int(left.code or 0)
    return Ran(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def fleet(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("simulate")
    size = ("--vehicles", "10", "--days", "60", "--seed", "8", "--workers", "1")
    change = ("--change", "warm_summer@2026-02-01:celsius=3")
    ran = pm("simulate", "--out", "fleet", *size, "--formats", "blf,mf4", *change, "--json", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert (said["n_vehicles"], said["n_days"], said["reused"]) == (10, 60, False)
    return folder / "fleet"


def test_formats_and_changes_are_those_that_were_named(fleet) -> None:
    made = json.loads((fleet / "manifest.json").read_text())["made_from"]["config"]
    assert (made["formats"], made["changes"]) == (["blf", "mf4"], ["warm_summer@27:celsius=3.0"])
    assert {path.suffix for path in (fleet / "logs").rglob("*") if path.is_file()} == {".blf", ".mf4"}


def test_the_oracle_prints_a_table_and_the_same_as_json(fleet) -> None:
    ran = pm("simulate", "oracle", str(fleet), "--json", cwd=fleet)
    together = json.loads(ran.stdout)["scores"][-1]
    assert together["component"] is None
    assert 0 < together["base_rate"] < together["pr_auc"] < 1
    table = pm("simulate", "oracle", str(fleet), cwd=fleet).stdout
    assert f"{together['pr_auc']:.3f}" in table
    assert "all together" in table


def test_the_oracle_judges_the_rows_it_is_given(fleet, tmp_path) -> None:
    rows = true_rows(fleet).filter(pl.col("as_of").dt.weekday() == 1)
    judged = rows.with_columns(judged=pl.col("vehicle_ref") != "T-001")
    judged.write_parquet(tmp_path / "rows.parquet")
    ran = pm("simulate", "oracle", str(fleet), "--rows", "rows.parquet", "--json", cwd=tmp_path)
    n_rows = judged.filter("judged", pl.col("state").is_in(["positive", "negative"])).height
    assert json.loads(ran.stdout)["scores"][-1]["n_rows"] == n_rows > 0


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (["simulate"], 2, "Missing option --out"),
        (["simulate", "--out", "x", "--change", "earthquake@3"], 2, "expected a kind of firmware_rescale"),
        (["simulate", "--out", "x", "--formats", "asc"], 2, "expected formats of candump, blf, mf4"),
        (["simulate", "--out", "x", "oracle", "y"], 2, "expected --out or oracle, but got both"),
        (["simulate", "oracle", "nowhere"], 3, "expected the truth of a simulated fleet"),
    ],
)
def test_an_error_is_one_sentence_and_nothing_is_left(tmp_path, arguments, exit_code, said) -> None:
    ran = pm(*arguments, cwd=tmp_path)
    assert ran.returncode == exit_code
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert list(tmp_path.iterdir()) == []
