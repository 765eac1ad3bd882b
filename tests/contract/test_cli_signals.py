"""`pm signals`: a table for people, a document for programs."""

import json

import psycopg
import pytest
from click.testing import CliRunner
from readable_fleet import ET1, SECOND, T0, VI, add_file, add_truck, saw

from pm.cli.signals import signals
from pm.store import views
from pm.store.telemetry_tables import ensure_table


@pytest.fixture
def told(conn: psycopg.Connection, database_url: str, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Two messages are known, one signal was seen; commands read this database."""
    for plan in (ET1, VI):
        ensure_table(conn, plan)
    saw(conn, add_file(conn, add_truck(conn, "T-1"), "one"), "EngCoolantTemp", T0, n_rows=40, n_values=30)
    views.refresh_views(conn)
    monkeypatch.setenv("PM_DATABASE_URL", database_url)
    return CliRunner()


def test_a_table_for_people(told: CliRunner) -> None:
    ran = told.invoke(signals, catch_exceptions=False)
    assert ran.exit_code == 0
    assert ran.stdout.startswith("4 signals")
    (line,) = (line for line in ran.stdout.splitlines() if "EngCoolantTemp " in line)
    for said in ("ET1", "et1.eng_coolant_temp_c", "110", "0 to 250 degC", "2026-03-01", "30", "25.0%"):
        assert said in line, said
    assert "never" in ran.stdout
    assert "not shown: a VIN" in ran.stdout


def test_a_document_for_programs(told: CliRunner) -> None:
    ran = told.invoke(signals, ["coolant", "DEGC", "--json"], catch_exceptions=False)
    (row,) = json.loads(ran.stdout)
    assert (row["signal"], row["readable_view"], row["readable_column"]) == (
        "EngCoolantTemp",
        "et1",
        "eng_coolant_temp_c",
    )
    assert (row["n_files"], row["n_values"], row["null_share"]) == (1, 30, 0.25)
    assert row["last_seen_at"] == (T0 + SECOND).isoformat()


def test_words_and_a_message_narrow_it(told: CliRunner) -> None:
    for arguments, n_signals in ((["--message", "vi"], 2), (["SPN", "175"], 1), (["oil", "--message", "VI"], 0)):
        assert len(json.loads(told.invoke(signals, [*arguments, "--json"]).stdout)) == n_signals, arguments
    assert told.invoke(signals, ["oil"]).stdout.split("\n")[0].strip() == "1 signal"
