"""`pm import`: exit codes, what goes where, and that the shipped mappings load."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pm.errors import ConfigError
from pm.features.featurefile import feature_set_of
from pm.labels.failures import load_rules
from pm.pipelines.imports.mapping import KINDS
from pm.pipelines.imports.mapping_file import load_mapping
from pm.policy import load_policy
from pm.settings import read_settings

PROJECT = Path(__file__).resolve().parents[2]
VEHICLES = '[vehicle]\nfleet = { constant = "north" }\nvehicle_ref = "unit"\nmodel_year = "year"\n'


def run(folder, url, *arguments):
    environment = {**os.environ, "PM_DATABASE_URL": url, "PM_HOME": str(folder / "home")}
    return subprocess.run(
        [sys.executable, "-m", "pm", "import", *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def files(tmp_path):
    (tmp_path / "map.toml").write_text(VEHICLES, encoding="utf-8")
    (tmp_path / "some.csv").write_text("unit,year\nT1,2020\nT2,new\n", encoding="utf-8")
    (tmp_path / "none.csv").write_text("unit,year\nT3,new\n", encoding="utf-8")
    return tmp_path


def test_refused_rows_are_told_on_standard_error_and_the_exit_code_is_0_when_others_are_stored(files, database_url):
    ran = run(files, database_url, "vehicles", "some.csv", "--mapping", "map.toml", "--json")
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert (report["n_rows"], report["n_stored"], report["n_rejected"]) == (2, 1, 1)
    assert report["rejected"] == [{"line": 3, "reason": "model_year (year): expected a number, but got 'new'"}]
    assert report["reasons"] == {"model_year (year): expected a number": 1}
    assert "refused: 1 of 2 rows of some.csv" in ran.stderr
    again = run(files, database_url, "vehicles", "some.csv", "--mapping", "map.toml")
    assert again.returncode == 0
    assert "was there" in again.stdout


def test_the_exit_code_is_3_where_every_row_is_refused(files, database_url):
    ran = run(files, database_url, "vehicles", "none.csv", "--mapping", "map.toml")
    assert ran.returncode == 3
    assert "refused: 1 of 1 rows" in ran.stderr
    assert "model_year (year): expected a number, but got 'new'" in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (["telemetry", "some.csv"], 2, "Missing option '--mapping'"),
        (["telemetry", "some.csv", "--mapping", "nowhere.toml"], 2, "nowhere.toml: expected a readable file"),
        (["telemetry", "some.csv", "--mapping", "map.toml"], 2, "map.toml"),
        (["vehicles", "some.csv"], 3, "some.csv: expected columns ['fleet', 'vehicle_ref'] in the header"),
        (["vehicles", "nowhere.csv"], 3, "nowhere.csv: expected a readable file"),
        (["vehicles", "map.toml", "--mapping", "map.toml"], 2, "map.toml: expected a suffix of"),
    ],
)
def test_a_file_or_mapping_that_cannot_be_used_is_one_sentence(files, database_url, arguments, exit_code, said):
    ran = run(files, database_url, *arguments)
    assert ran.returncode == exit_code
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


MAPPINGS = sorted(
    path
    for path in (PROJECT / "examples").glob("*/*.toml")
    if path.parent.name != "rfms" and path.name not in ("policy.toml", "failure_rules.toml", "features.toml")
)


def test_every_shipped_mapping_loads_as_one_kind_of_import():
    assert len(MAPPINGS) >= 12
    for path in MAPPINGS:
        assert len([kind for kind in KINDS if loads(path, kind)]) == 1, path


def loads(path, kind):
    try:
        load_mapping(path, kind)
    except ConfigError:
        return False
    return True


def test_every_shipped_mapping_has_its_command_in_the_readme():
    for path in MAPPINGS:
        assert path.name in (path.parent / "README.md").read_text(encoding="utf-8"), path


@pytest.mark.parametrize("folder", sorted({path.parent for path in MAPPINGS}), ids=lambda folder: folder.name)
def test_every_example_has_a_policy_rules_and_features_that_load(folder):
    settings = read_settings({"PM_CONFIG": str(folder)})
    assert settings.policy_file.parent == settings.failure_rules_file.parent == settings.feature_file.parent == folder
    policy = load_policy(settings.policy_file)
    assert load_rules(settings.failure_rules_file).components
    assert feature_set_of(settings, policy).features
