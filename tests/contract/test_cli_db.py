"""`pm db status` and `pm db upkeep` from the outside, on each engine."""

import json
import sys
from urllib.parse import urlsplit

import pytest

from pm.cli import main
from pm.store.connection import connect

STATUS_KEYS = [
    "kind", "url", "running", "reason", "server_version", "timescaledb_version", "edition", "migrations",
    "size_bytes", "folder", "engine", "n_hypertables", "n_chunks", "chunk_d", "n_columnstore_tables",
    "columnstore_share", "policies", "dropped_before", "roles", "schema_bytes",
]  # fmt: skip
UPKEEP_KEYS = [
    "dry_run", "chunk_interval_set", "columnstore_set", "columnstore_hindrance", "telemetry_before",
    "wanted_before", "n_chunks", "n_rows", "archive_before", "n_files", "postponed",
]  # fmt: skip


@pytest.fixture
def pm(monkeypatch, capsys, tmp_path):
    """Exit code, standard output and standard error of one command."""
    monkeypatch.setenv("PM_HOME", str(tmp_path / "home"))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["pm", *arguments])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_status_names_what_is_on_also_of_a_server_elsewhere(monkeypatch, pm, database_url, running_server):
    monkeypatch.setenv("PM_DATABASE_URL", database_url)
    code, printed, _ = pm("db", "status", "--json")
    facts = json.loads(printed)
    assert code == 0
    assert list(facts) == STATUS_KEYS
    assert facts["kind"] == "external"
    is_timescaledb = running_server.engine == "timescaledb"
    assert facts["engine"] == ("timescaledb" if is_timescaledb else "postgresql")
    assert (facts["edition"] in ("Apache", "Community")) == is_timescaledb
    assert facts["n_hypertables"] == (2 if is_timescaledb else 0)
    assert facts["roles"] == {"pm_reader": True, "pm_identity": True}
    assert set(facts["schema_bytes"]) >= {"pm"}
    assert (urlsplit(database_url).password or "none at all") not in printed


def test_status_says_the_same_to_people(monkeypatch, pm, database_url):
    monkeypatch.setenv("PM_DATABASE_URL", database_url)
    code, printed, _ = pm("db", "status")
    lines = dict(line.split(maxsplit=1) for line in printed.splitlines())
    assert code == 0
    assert lines["roles"] == "pm_reader yes, pm_identity yes"
    assert lines["migrations"].endswith(".sql")


def test_status_of_a_server_that_does_not_answer_is_no_error(monkeypatch, pm):
    monkeypatch.setenv("PM_DATABASE_URL", "postgresql://pm:secret@127.0.0.1:1/pm")
    code, printed, _ = pm("db", "status", "--json")
    facts = json.loads(printed)
    assert (code, facts["running"], facts["engine"]) == (0, False, None)
    assert list(facts) == STATUS_KEYS
    assert "secret" not in printed


def test_status_changes_nothing(monkeypatch, pm, empty_database_url):
    monkeypatch.setenv("PM_DATABASE_URL", empty_database_url)
    code, printed, _ = pm("db", "status", "--json")
    assert (code, json.loads(printed)["migrations"]) == (0, [])
    with connect(empty_database_url) as conn:
        assert conn.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'pm'").fetchone() == (0,)


def test_upkeep_as_shipped_drops_nothing(monkeypatch, pm, database_url):
    monkeypatch.setenv("PM_DATABASE_URL", database_url)
    for arguments in (["--dry-run", "--json"], ["--json"]):
        code, printed, _ = pm("db", "upkeep", *arguments)
        report = json.loads(printed)
        assert code == 0
        assert list(report) == UPKEEP_KEYS
        assert report["dry_run"] == ("--dry-run" in arguments)
        assert (report["telemetry_before"], report["archive_before"], report["n_rows"]) == (None, None, 0)


def test_upkeep_tells_people_what_it_would_do(monkeypatch, pm, database_url, tmp_path):
    config = tmp_path / "project" / "config"
    config.mkdir(parents=True)
    (config / "upkeep.toml").write_text("[telemetry]\nkeep_d = 30\n", encoding="utf-8")
    monkeypatch.setenv("PM_PROJECT", str(config.parent))
    monkeypatch.setenv("PM_DATABASE_URL", database_url)
    code, printed, _ = pm("db", "upkeep", "--dry-run")
    assert code == 0
    assert "would be dropped" in printed
    assert "archive             kept for ever" in printed


def test_a_dry_run_applies_no_migration(monkeypatch, pm, empty_database_url):
    monkeypatch.setenv("PM_DATABASE_URL", empty_database_url)
    code, printed, _ = pm("db", "upkeep", "--dry-run")
    assert (code, "kept for ever" in printed) == (0, True)
    with connect(empty_database_url) as conn:
        assert conn.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'pm'").fetchone() == (0,)


def test_a_file_of_decisions_that_cannot_hold_is_exit_2_and_changes_nothing(monkeypatch, pm, tmp_path):
    config = tmp_path / "project" / "config"
    config.mkdir(parents=True)
    (config / "upkeep.toml").write_text("[telemetry]\nkeep_d = 2\n", encoding="utf-8")
    monkeypatch.setenv("PM_PROJECT", str(config.parent))
    code, printed, said = pm("db", "upkeep")
    assert (code, printed) == (2, "")
    assert "upkeep.toml" in said
    assert "keep_d: expected 0, or a span from chunk_d" in said
