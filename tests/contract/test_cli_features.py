"""`pm features`: build, list, show and choose, over a database with machines of a feature file."""

import json
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner
from feature_fleet import START, sources, vehicles, write_file

from pm.cli.features import features
from pm.errors import ConfigError
from pm.store import frames, work_orders
from pm.tables import DAILY_FAULT, DAILY_SIGNAL, FAILURE, VEHICLE, WORK_ORDER

AS_OF = (START + timedelta(days=40)).date().isoformat()


@pytest.fixture
def told(conn: psycopg.Connection, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    rows = sources(0, vehicles(2))
    frames.insert(conn, VEHICLE, rows.vehicles)
    frames.insert(conn, DAILY_SIGNAL, rows.daily_signals)
    frames.insert(conn, DAILY_FAULT, rows.daily_faults)
    frames.insert(conn, FAILURE, rows.failures)
    monkeypatch.setenv("PM_DATABASE_URL", database_url)
    monkeypatch.setenv("PM_FEATURE_FILE", str(write_file(tmp_path)))
    return CliRunner()


def document(told: CliRunner, *words: str) -> dict[str, object]:
    ran = told.invoke(features, [*words, "--json"], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    assert isinstance(found, dict)
    return found


def test_the_configured_set_is_built_and_shown(told: CliRunner) -> None:
    built = document(told, "--as-of", AS_OF, "--workers", "1")["features"]
    assert (built["n_vectors"], built["n_taken"]) == (2, 0)
    assert document(told, "--as-of", AS_OF, "--workers", "1")["features"]["n_computed"] == 0
    listed = document(told, "list")
    assert listed["in_use"] == listed["configured"] == built["feature_set_id"]
    assert [row["n_vectors"] for row in listed["sets"]] == [2]
    shown = document(told, "show", "hot_c_mean_7d")
    assert shown["sources"] == [{"message": "A", "signal": "hot", "spn": None}]
    assert shown["null_share"] == 0.0
    people = told.invoke(features, ["show", "hot_c_mean_7d"], catch_exceptions=False).stdout
    for said in ("mean temperature over the last 7 days", "A.hot", "°C", "0.0% of 2 vectors"):
        assert said in people, said
    everything = told.invoke(features, ["show"], catch_exceptions=False).stdout
    assert everything.startswith(f"{built['n_features']} features of {built['feature_set_id']}")


def test_work_orders_are_read_before_their_failures_are_counted(told: CliRunner, conn: psycopg.Connection) -> None:
    """Without it a fleet known through its orders alone had no failure in any feature, and no error either."""
    row = {
        "source_system": "shop", "work_order_id": "W1", "line_no": 1, "vehicle_id": vehicles(2)["vehicle_id"][0],
        "known_at": START, "opened_at": START, "completed_at": START, "planned": False, "withdrawn": False,
        "description": "water pump replaced",
    }  # fmt: skip
    work_orders.insert_versions(conn, WORK_ORDER.frame([dict.fromkeys(WORK_ORDER.column_names) | row]))
    document(told, "--as-of", AS_OF, "--workers", "1")
    read = work_orders.fetch_failures(conn).filter(work_order_id="W1")
    assert read.select("component", "kind").rows() == [("cooling", "failure")]


def test_a_choice_is_listed_with_its_reason(told: CliRunner) -> None:
    report = document(told, "use", "truck", "--reason", "trial")
    assert report["feature_set_id"].startswith("truck-2-")
    listed = document(told, "list")
    assert listed["in_use"] == report["feature_set_id"]
    assert [choice["reason"] for choice in listed["choices"]] == ["trial"]
    people = told.invoke(features, ["list"], catch_exceptions=False).stdout
    assert "in use" in people
    assert "trial" in people
    assert document(told, "use", "configured")["before"] == report["feature_set_id"]


def test_what_is_not_there_is_refused(told: CliRunner) -> None:
    for words in (["use", "nothing"], ["show", "nothing"], ["show", "--set", "nothing"]):
        with pytest.raises(ConfigError, match="but got 'nothing'"):
            told.invoke(features, words, catch_exceptions=False)
