"""The truth lies in its own folder, and nothing but the oracle's command opens it."""

import ast
import shutil
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from pm.pipelines.uploads import list_uploads
from pm.settings import read_settings
from pm.simulate import FleetConfig, simulate

PROJECT = Path(__file__).parents[2]
MAY_KNOW = {"pm/simulate/output.py", "pm/simulate/truth.py"}


def test_the_inbox_lists_the_uploads_and_nothing_of_the_truth(tmp_path) -> None:
    simulate(FleetConfig(n_vehicles=2, n_days=15, seed=4), tmp_path / "fleet", dbc=read_settings({}).dbc_files)
    inbox = tmp_path / "fleet"
    told = pl.read_csv(inbox / "uploads.csv")
    a_log = inbox / told["file"][0]
    # Even a log that somebody put there by mistake.
    shutil.copy(a_log, inbox / "truth" / a_log.name)
    (inbox / "truth" / "T-001").mkdir()
    shutil.copy(a_log, inbox / "truth" / "T-001" / a_log.name)
    found = list_uploads(inbox, seen_at=datetime(2027, 1, 1, tzinfo=UTC))
    assert sorted(upload.path.relative_to(inbox).as_posix() for upload in found) == sorted(told["file"])
    assert all(upload.is_listed for upload in found)


def _names_truth(path: Path) -> bool:
    """Whether a string in the module's code, docstrings aside, names the folder."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return any(
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in said
        and (node.value == "truth" or "truth/" in node.value)
        for node in ast.walk(tree)
    )


def test_no_module_of_the_pipeline_names_the_folder() -> None:
    modules = [path for folder in ("pm", "dagster_project") for path in (PROJECT / folder).rglob("*.py")]
    naming = {path.relative_to(PROJECT).as_posix() for path in modules if _names_truth(path)}
    assert naming == MAY_KNOW
