"""`pm quarantine` and `pm redecode`: what they print, and how they leave."""

import json
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from redecoded_fleet import GOOD, KNOWN_AT, MIDNIGHT, logs_of, wrong_dbc

from pm.canbus.dbc import load_dbc
from pm.cli.app import main
from pm.pipelines.ingest import IngestJob, Keeping, ingest_log
from pm.policy import Policy
from pm.settings import Settings
from pm.store import archive, vehicles

Pm = Callable[..., tuple[int, str, str]]
SPAN = ("--from", (MIDNIGHT - timedelta(days=2)).isoformat(), "--to", KNOWN_AT.isoformat())


@pytest.fixture
def pm(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pm:
    """Runs a command on this test's database; its exit code, and what it printed on each stream."""
    monkeypatch.setenv("PM_DATABASE_URL", str(settings.database_url))
    monkeypatch.setenv("PM_HOME", str(settings.home))
    monkeypatch.delenv("PM_ARCHIVE", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pm", *arguments])
        code = 0
        try:
            main()
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def ingested(settings: Settings, conn: psycopg.Connection, tmp_path: Path) -> Any:
    """A log that was ingested with the wrong DBC file."""
    vehicle_id = vehicles.add_vehicle(conn, fleet="north", vehicle_ref="T-1", known_at=KNOWN_AT)
    path, known_at = logs_of(tmp_path)["over_midnight"]
    job = IngestJob(path, vehicle_id, known_at)
    ingest_log(conn, job, load_dbc((wrong_dbc(tmp_path),)), Policy(), keeping=Keeping(settings.archive))
    return job


def test_redecode_tells_what_it_would_do_and_what_it_did(
    pm: Pm, conn: psycopg.Connection, ingested: Any, settings: Settings
) -> None:
    command = ("redecode", *SPAN, "--dbc", str(GOOD), "--vehicle", "T-1", "--workers", "1", "--json")
    code, printed, _ = pm(*command, "--dry-run")
    plan = json.loads(printed)
    assert code == 0
    assert (plan["n_files"], plan["n_frames"], plan["size_bytes"], plan["n_missing"]) == (
        1, 21, ingested.path.stat().st_size, 0
    )  # fmt: skip
    assert (plan["messages"], plan["lost_messages"]) == (["DM1", "EEC1", "ET1"], [])
    assert conn.execute("SELECT redecoded_at FROM pm.log_file").fetchall() == [(None,)]
    code, printed, said = pm(*command)
    report = json.loads(printed)
    assert code == 0
    assert report["replaced"]["n_files"] == 1
    assert report["replaced"]["n_days"] == 2
    assert f"GB free in {settings.home / 'spool'}" in said
    values = conn.execute("SELECT engcoolanttemp FROM telemetry.et1 ORDER BY time").fetchall()
    assert [value for (value,) in values] == [80.0 + at for at in range(8)]
    code, printed, _ = pm(*command[:-1])
    assert code == 0
    assert "Decoded again" in printed


def test_redecode_prints_tables_for_people(pm: Pm, ingested: Any) -> None:
    code, printed, _ = pm("redecode", *SPAN, "--dry-run")
    assert code == 0
    assert "Would be decoded again" in printed
    assert "ET1" in printed


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (("--from", "2026-03-02", "--to", "2026-03-02"), 2, "expected --from before --to"),
        (("--from", "2026-03-02"), 2, "Missing option '--to'"),
        (("--from", "noon", "--to", "2026-03-02"), 2, "expected an ISO 8601 instant"),
        ((*SPAN, "--dbc", "nowhere.dbc"), 2, "nowhere.dbc"),
        ((*SPAN, "--vehicle", "T-9"), 3, "vehicle T-9: expected a known vehicle"),
        ((*SPAN, "--spool-gb", "0.0000001"), 4, "spool"),
    ],
)
def test_redecode_refuses_in_one_sentence(
    pm: Pm, ingested: Any, arguments: tuple[str, ...], exit_code: int, said: str
) -> None:
    code, _, told = pm("redecode", *arguments, "--workers", "1")
    assert code == exit_code
    assert said in told
    assert "Traceback" not in told


def test_redecode_needs_the_archive(pm: Pm, conn: psycopg.Connection, ingested: Any, settings: Settings) -> None:
    (sha256,) = conn.execute("SELECT sha256 FROM pm.log_file").fetchone() or ("",)
    archive.delete(settings.archive, sha256)
    code, _, said = pm("redecode", *SPAN, "--workers", "1")
    assert code == 3
    assert "expected 1 files in the archive, but got 1 that are missing" in said
    code, _, said = pm("redecode", *SPAN, "--workers", "1", "--skip-missing")
    assert code == 0
    assert "1 files were left as they are: missing in the archive" in said


@pytest.fixture
def refused(pm: Pm, conn: psycopg.Connection, tmp_path: Path) -> tuple[Path, str]:
    """A log in quarantine, and its sha256."""
    vehicles.add_vehicle(conn, fleet="north", vehicle_ref="T-1", known_at=KNOWN_AT)
    path = tmp_path / "screen.txt"
    path.write_text(" (000.000000)  can0  18FEEE00   [8]  50 FF FF FF FF FF FF FF\n", encoding="ascii")
    code, _, said = pm("ingest", str(path), "--vehicle", "T-1", "--known-at", KNOWN_AT.isoformat())
    assert code == 3
    assert "error: log screen.txt: expected the instant of time zero" in said
    (sha256,) = conn.execute("SELECT sha256 FROM pm.quarantine").fetchone() or ("",)
    return path, sha256


def test_quarantine_lists_retries_and_drops(
    pm: Pm, conn: psycopg.Connection, refused: tuple[Path, str], settings: Settings
) -> None:
    _, sha256 = refused
    code, printed, _ = pm("quarantine", "list", "--json")
    assert code == 0
    (file,) = json.loads(printed)["files"]
    assert (file["sha256"], file["vehicle_ref"], file["n_attempts"]) == (sha256, "T-1", 1)
    code, printed, _ = pm("quarantine", "list")
    assert code == 0
    assert sha256[:12] in printed
    code, printed, said = pm("quarantine", "retry", sha256[:6], "--workers", "1", "--json")
    assert code == 3
    assert "error: log screen.txt: expected the instant of time zero" in said
    assert json.loads(printed)[0]["exit_code"] == 3
    assert conn.execute("SELECT n_attempts FROM pm.quarantine").fetchone() == (2,)
    conn.execute("UPDATE pm.quarantine SET starts_at = %s", (MIDNIGHT,))
    code, printed, _ = pm("quarantine", "retry", "--all", "--workers", "1")
    assert code == 0
    assert "committed" in printed
    assert conn.execute("SELECT starts_at FROM pm.log_file").fetchone() == (MIDNIGHT,)
    assert conn.execute("SELECT count(*) FROM pm.quarantine").fetchone() == (0,)


def test_quarantine_drop_takes_the_bytes_too(
    pm: Pm, conn: psycopg.Connection, refused: tuple[Path, str], settings: Settings
) -> None:
    _, sha256 = refused
    assert archive.has(settings.archive, sha256)
    code, printed, _ = pm("quarantine", "drop", sha256, "--json")
    assert code == 0
    assert json.loads(printed) == [
        {"vehicle_id": json.loads(printed)[0]["vehicle_id"], "sha256": sha256, "file_name": "screen.txt",
         "bytes_removed": True}
    ]  # fmt: skip
    assert not archive.has(settings.archive, sha256)
    assert pm("quarantine", "drop", "--all")[0] == 0


@pytest.mark.parametrize("action", ["retry", "drop"])
@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        ((), 2, "expected the first digits of a SHA256, or --all"),
        (("abcd", "--all"), 2, "expected the first digits of a SHA256, or --all"),
        (("abc",), 2, "expected at least 4 hex digits"),
        (("%%%%",), 2, "expected at least 4 hex digits"),
        (("00000000",), 3, "expected one file whose sha256 begins with 00000000, but got none"),
    ],
)
def test_quarantine_refuses_in_one_sentence(
    pm: Pm, refused: tuple[Path, str], action: str, arguments: tuple[str, ...], exit_code: int, said: str
) -> None:
    code, _, told = pm("quarantine", action, *arguments)
    assert code == exit_code
    assert said in told


def test_quarantine_lists_rows_that_imports_refused(pm: Pm, conn: psycopg.Connection) -> None:
    key = ("ab" * 32, "telemetry", "")
    conn.execute("INSERT INTO pm.import_file VALUES (%s, %s, %s, 'rows.csv', 'csv', 3, 2, 1, %s)", (*key, KNOWN_AT))
    conn.execute("INSERT INTO pm.rejected_row VALUES (%s, %s, %s, 2, 'time: expected an instant')", key)
    code, printed, _ = pm("quarantine", "list", "--rows", "--json")
    assert code == 0
    document = json.loads(printed)
    assert [row["reason"] for row in document["rows"]] == ["time: expected an instant"]
    assert document["imports"][0]["n_rejected"] == 1
    code, printed, _ = pm("quarantine", "list", "--rows")
    assert code == 0
    assert "rows.csv" in printed
    assert "time: expected an instant" in printed
