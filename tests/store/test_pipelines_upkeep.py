"""Retention together with ingest: what is gone is not taken again, and nothing slips in between."""

import hashlib
import json
import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from pm.canbus.dbc import load_dbc
from pm.pipelines.dailies import refresh_dailies
from pm.pipelines.ingest import IngestJob, ingest_log
from pm.pipelines.upkeep import run_upkeep
from pm.policy import Policy
from pm.store import dailies, logs, telemetry, vehicles
from pm.store.connection import connect
from pm.upkeep import Telemetry, Upkeep

DBC = load_dbc([Path(__file__).resolve().parents[2] / "dbc" / "j1939_open_subset.dbc"])
KNOWN_AT = datetime(2026, 3, 10, tzinfo=UTC)
CUTOFF = datetime(2026, 3, 5, tzinfo=UTC)
"""A multiple of 7 days since 1970, and the last one at least 10 days before NOW."""
NOW = datetime(2026, 3, 16, tzinfo=UTC)
KEEP_10 = Upkeep(Telemetry(keep_d=10))


def coolant(time: datetime) -> str:
    """ET1 (PGN 65262), coolant at 40 degrees."""
    return f"({int(time.timestamp())}.000000) can0 18FEEE00#50FFFFFFFFFFFFFF\n"


def red_lamp(time: datetime) -> str:
    """DM1: red lamp on, SPN 110 FMI 0, count 1."""
    return f"({int(time.timestamp())}.500000) can0 18FECA00#10FF6E000001FFFF\n"


@pytest.fixture
def vehicle_id(conn):
    return vehicles.add_vehicle(conn, fleet="north", vehicle_ref="T-1", known_at=KNOWN_AT)


def ingest(conn, vehicle_id, path, *lines):
    path.write_text("".join(lines), encoding="ascii")
    return ingest_log(conn, IngestJob(path, vehicle_id, KNOWN_AT), DBC, Policy())


def keep_up(conn):
    return run_upkeep(conn, KEEP_10, archive_address="nowhere", now=NOW)


def stored_times(conn, vehicle_id):
    found = telemetry.fetch_signals(conn, "ET1", vehicle_id=vehicle_id, start=CUTOFF - timedelta(days=60), end=KNOWN_AT)
    return found["time"].to_list()


def test_an_old_file_that_comes_after_retention_brings_only_its_newer_rows(conn, database_url, vehicle_id, tmp_path):
    old, new = CUTOFF - timedelta(seconds=1), CUTOFF
    ingest(conn, vehicle_id, tmp_path / "a.log", coolant(old - timedelta(hours=1)), red_lamp(old - timedelta(hours=1)))
    refresh_dailies(database_url)
    assert keep_up(conn).telemetry_before == CUTOFF
    aggregated = dailies.fetch_daily_signals(conn)
    assert aggregated["day"].unique().to_list() == [date(2026, 3, 4)]
    late = ingest(conn, vehicle_id, tmp_path / "b.log", coolant(old), red_lamp(old), coolant(new))
    assert stored_times(conn, vehicle_id) == [new]
    assert late.days == (date(2026, 3, 5),)
    (reasons,) = logs.fetch_log_files(conn).filter(sha256=_sha(tmp_path / "b.log"))["rejected_json"].to_list()
    # The row of ET1, and of the DM1 both the row and the trouble code.
    assert json.loads(reasons)["time_before_retention"] == 3
    refresh_dailies(database_url)
    assert dailies.fetch_daily_signals(conn, end=date(2026, 3, 5)).equals(aggregated)


def _sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_committed_while_retention_waits_holds_it_back(conn, database_url, vehicle_id, tmp_path):
    """Its day is older than the cutoff and not aggregated yet: it stays until it is."""
    old = CUTOFF - timedelta(days=9)
    reports = []

    def retain():
        with connect(database_url) as own:
            reports.append(keep_up(own))

    with conn.transaction():
        ingest(conn, vehicle_id, tmp_path / "a.log", coolant(old))
        waiting = threading.Thread(target=retain)
        waiting.start()
        _wait_until_blocked(database_url)
    waiting.join(30)
    assert reports[0].telemetry_before == CUTOFF - timedelta(days=14)
    assert stored_times(conn, vehicle_id) == [old]
    refresh_dailies(database_url)
    assert keep_up(conn).telemetry_before == CUTOFF
    assert stored_times(conn, vehicle_id) == []
    assert dailies.fetch_daily_signals(conn).height == 1


def _wait_until_blocked(database_url):
    waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with connect(database_url) as look:
        for _ in range(200):
            if look.execute(waits).fetchone():
                return
            threading.Event().wait(0.05)
    pytest.fail("expected retention to wait for the file that is being written")
