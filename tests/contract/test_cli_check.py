"""`pm check`: tables for people, one document for programs, and exit code 3 where something blocks."""

import json

import psycopg
import pytest
from checked_days import AS_OF, changed, fleet, store
from click.testing import CliRunner, Result

from pm.cli.check import check
from pm.errors import ConfigError


@pytest.fixture
def run(conn: psycopg.Connection, database_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PM_DATABASE_URL", database_url)

    def with_rows(rows: list[dict[str, object]], *arguments: str) -> Result:
        store(conn, rows)
        return CliRunner().invoke(check, ["--as-of", AS_OF.isoformat(), *arguments])

    return with_rows


def test_nothing_blocks(run) -> None:
    ran = run(fleet(4))
    assert ran.exit_code == 0
    assert "Daily aggregates at 2026-04-01; there is no training profile yet" in ran.stdout
    assert "not_checked" in ran.stdout


def test_a_mark_is_told_and_is_no_failure(run) -> None:
    ran = run(changed(fleet(4), 2, "CabInteriorTemp", 26, 1.8, 32), "--json")
    assert ran.exit_code == 0
    (line,) = (row for row in json.loads(ran.stdout)["rows"] if row["vehicle_id"])
    assert (line["vehicle_ref"], line["check_name"], line["status"]) == ("T-2", "units", "mark")
    assert line["conversion"] == "degrees Fahrenheit in place of degrees Celsius"


def test_a_blocked_vehicle_is_exit_3_and_one_sentence(run) -> None:
    ran = run(changed(fleet(4), 2, "EngCoolantTemp", 26, 1.8, 32))
    assert ran.exit_code == 3
    (said,) = (text for text in ran.stderr.splitlines() if text.startswith("error:"))
    assert "but 1 vehicle is blocked: units: ET1.EngCoolantTemp: mean 180 degC" in said
    assert "T-2" in ran.stdout
    assert "Traceback" not in ran.output


def test_every_day_since_is_checked(run) -> None:
    ran = run(changed(fleet(4), 2, "EngCoolantTemp", 26, 1.8, 32), "--since", "2026-03-20", "--json")
    assert ran.exit_code == 3
    reports = json.loads(ran.stdout)["reports"]
    assert len(reports) == 13
    # Two of the last three days are in Fahrenheit from the 30th on: days 26 and 27 are the 28th and 29th.
    assert [report["as_of"][:10] for report in reports if report["blocked_vehicles"]] == [
        "2026-03-30", "2026-03-31", "2026-04-01",
    ]  # fmt: skip


def test_a_first_day_after_the_last_is_refused(run) -> None:
    ran = run(fleet(1), "--since", "2026-05-01")
    assert isinstance(ran.exception, ConfigError)
    assert "expected one up to the last, 2026-04-01T00:00:00+00:00, but got 2026-05-01" in str(ran.exception)
