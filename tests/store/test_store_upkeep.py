"""Chunks, columnstore and retention on real databases: the same rows stay on every engine."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import psycopg
import pytest
from psycopg import sql

from pm.canbus.dbc import MessagePlan, SignalPlan
from pm.errors import StoreError
from pm.pipelines.upkeep import UpkeepReport, run_upkeep
from pm.schema import UTC_INSTANT
from pm.store import archive, dailies, frames, logs, telemetry, upkeep, vehicles
from pm.store.connection import connect
from pm.store.timescale_hypertables import fetch_hypertables
from pm.tables import DAILY_SIGNAL
from pm.upkeep import Archive, Telemetry, Upkeep, Work

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
"""A bound of chunks of 7 days; those of 28 days begin at 2025-12-18 and 2026-01-15."""
NOW = datetime(2026, 2, 15, 4, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
KEEP_20 = Upkeep(Telemetry(keep_d=20), Archive(), Work(rows_a_transaction=1000, lock_timeout_s=0.3))
CUTOFF = datetime(2026, 1, 22, tzinfo=UTC)
"""20 days before NOW is 2026-01-26; the step before it."""


def message(name: str) -> MessagePlan:
    speed = SignalPlan("Speed", 0, 16, "little_endian", False, False, 0.1, 0.0, 0.0, 6553.5, "rpm", 190, "speed")
    return MessagePlan(name, 0x0CF00400, True, 61444, 8, (speed,), "Engine controller", "ab" * 32)


def rows(*times: datetime) -> pl.DataFrame:
    return pl.DataFrame({"time": list(times)}, schema={"time": UTC_INSTANT}).with_columns(
        channel=pl.lit("can0"),
        source_address=pl.lit(0, pl.Int16),
        destination_address=pl.lit(255, pl.Int16),
        Speed=pl.lit(600.0),
    )


def every_hour(days: int) -> list[datetime]:
    return [FIRST + HOUR * number for number in range(24 * days)]


def times_of(conn: psycopg.Connection, table: str) -> list[datetime]:
    schema, name = table.split(".")
    query = sql.SQL("SELECT time FROM {} ORDER BY time").format(sql.Identifier(schema, name))
    return [row[0].astimezone(UTC) for row in conn.execute(query).fetchall()]


def keep_up(
    conn: psycopg.Connection, decided: Upkeep = KEEP_20, *, now: datetime = NOW, dry_run: bool = False,
    address: str = "nowhere",
) -> UpkeepReport:  # fmt: skip
    return run_upkeep(conn, decided, archive_address=address, now=now, dry_run=dry_run)


@pytest.fixture
def truck(conn: psycopg.Connection) -> int:
    return vehicles.add_vehicle(conn, fleet="north", vehicle_ref="T1", known_at=FIRST)


def log_file(conn: psycopg.Connection, truck: int, sha256: str, last_at: datetime | None = None) -> int:
    found = logs.claim(
        conn, sha256=sha256, vehicle_id=truck, file_name="a.log", format="candump", known_at=NOW, dbc_sha256=[],
        decoder_version="1",
    )  # fmt: skip
    assert found is not None
    logs.finish(conn, found, first_at=last_at, last_at=last_at, n_frames=1, n_decoded=1, rejected_json="{}")
    return found


@pytest.fixture
def stored(conn: psycopg.Connection, truck: int) -> list[datetime]:
    """Times of 40 days, every hour, in two telemetry tables, the faults and the events."""
    times = every_hour(40)
    file = log_file(conn, truck, "ab" * 32)
    for name in ("EEC1", "ET1"):
        telemetry.insert_signals(conn, message(name), rows(*times), vehicle_id=truck, log_file_id=file)
    conn.execute(
        "INSERT INTO pm.fault (vehicle_id, time, channel, source_address, spn, fmi, dm, conversion_method, lamp_mil,"
        " lamp_red, lamp_amber, lamp_protect, log_file_id)"
        " SELECT %s, time, 'can0', 0, 100, 1, 1, 4, 0, 0, 0, 0, %s FROM unnest(%s::timestamptz[]) AS time",
        (truck, file, times),
    )
    conn.execute(
        "INSERT INTO pm.event SELECT %s, time, 'error', '7', NULL, NULL, %s FROM unnest(%s::timestamptz[]) AS time",
        (truck, file, times),
    )
    return times


TABLES = ("telemetry.eec1", "telemetry.et1", "pm.fault", "pm.event")


def test_what_is_older_goes_from_every_table_and_nothing_else(conn, stored):
    report = keep_up(conn)
    kept = [time for time in stored if time >= CUTOFF]
    assert kept
    for table in TABLES:
        assert times_of(conn, table) == kept
    assert report.telemetry_before == report.wanted_before == CUTOFF == logs.dropped_before(conn)
    assert report.postponed == ()


def test_whole_chunks_are_dropped_and_only_the_rest_is_deleted(conn, stored):
    is_hypertable = bool(fetch_hypertables(conn))
    report = keep_up(conn)
    # Telemetry stands in chunks of 7 days that end at the cutoff; the other two in chunks of 28 days, of
    # which the second holds a week from before it.
    assert (report.n_chunks, report.n_rows) == ((8, 2 * 7 * 24) if is_hypertable else (0, 4 * 21 * 24))


def test_a_second_run_finds_nothing_to_do_and_a_later_one_goes_on(conn, stored):
    keep_up(conn)
    again = keep_up(conn)
    assert (again.n_chunks, again.n_rows, again.telemetry_before) == (0, 0, CUTOFF)
    later = keep_up(conn, now=NOW + 7 * DAY)
    assert later.telemetry_before == CUTOFF + 7 * DAY
    assert times_of(conn, "telemetry.eec1") == [time for time in stored if time >= CUTOFF + 7 * DAY]


def test_a_dry_run_says_what_would_be_done_and_changes_nothing(conn, stored):
    looked = keep_up(conn, replace(KEEP_20, telemetry=Telemetry(chunk_d=1, keep_d=20)), dry_run=True)
    assert looked.dry_run
    assert logs.dropped_before(conn) is None
    assert all(times_of(conn, table) == stored for table in TABLES)
    assert all(table.chunk in (7 * DAY, 28 * DAY) for table in fetch_hypertables(conn))
    same = keep_up(conn, dry_run=True)
    done = keep_up(conn)
    assert (same.n_chunks, same.n_rows, same.telemetry_before) == (done.n_chunks, done.n_rows, done.telemetry_before)


def test_nothing_is_dropped_by_default(conn, stored):
    report = keep_up(conn, Upkeep())
    assert (report.telemetry_before, report.archive_before, report.n_chunks, report.n_rows) == (None, None, 0, 0)
    assert times_of(conn, "pm.event") == stored
    assert logs.dropped_before(conn) is None


def test_no_day_goes_before_its_daily_aggregates_were_made(conn, truck, stored):
    logs.mark_dirty(conn, truck, [date(2026, 1, 15), date(2026, 1, 30)])
    report = keep_up(conn)
    assert report.telemetry_before == datetime(2026, 1, 15, tzinfo=UTC)
    assert report.wanted_before == CUTOFF
    assert times_of(conn, "telemetry.eec1")[0] == datetime(2026, 1, 15, tzinfo=UTC)
    logs.clear_dirty(conn, logs.fetch_dirty(conn).filter(pl.col("day") == date(2026, 1, 15)))
    assert keep_up(conn).telemetry_before == CUTOFF


def test_a_mark_from_before_what_is_gone_holds_nothing_back(conn, truck, stored):
    keep_up(conn)
    logs.mark_dirty(conn, truck, [date(2026, 1, 2)])
    assert keep_up(conn, now=NOW + 7 * DAY).telemetry_before == CUTOFF + 7 * DAY


def test_daily_aggregates_and_the_manifest_stay(conn, truck, stored):
    daily = DAILY_SIGNAL.frame(
        [
            {
                "vehicle_id": truck, "day": date(2026, 1, 2), "log_file_id": 1, "known_at": NOW, "message": "EEC1",
                "signal": "Speed", "channel": "can0", "source_address": 0, "n_values": 24, "mean": 600.0, "m2": 0.0,
                "minimum": 600.0, "maximum": 600.0, "first_at": FIRST + DAY, "last_at": FIRST + DAY + 23 * HOUR,
                "first_value": 600.0, "last_value": 600.0,
            }
        ]
    )  # fmt: skip
    frames.insert(conn, DAILY_SIGNAL, daily)
    files = logs.fetch_log_files(conn)
    keep_up(conn)
    assert dailies.fetch_daily_signals(conn).equals(daily)
    assert logs.fetch_log_files(conn).equals(files)
    assert logs.fetch_dirty(conn).is_empty()


def test_a_longer_span_later_does_not_bring_back_what_is_gone(conn, stored):
    keep_up(conn)
    longer = keep_up(conn, replace(KEEP_20, telemetry=Telemetry(keep_d=30)))
    assert longer.telemetry_before == CUTOFF == logs.dropped_before(conn)


def test_a_run_that_was_cut_off_is_completed(conn, stored):
    upkeep.refuse_older(conn, CUTOFF, 7)  # and then the power went
    assert times_of(conn, "pm.fault") == stored
    report = keep_up(conn)
    assert report.telemetry_before == CUTOFF
    assert all(times_of(conn, table)[0] == CUTOFF for table in TABLES)


def test_the_clock_of_the_database_holds_where_the_given_one_is_ahead(conn, truck):
    report = keep_up(conn, now=datetime(2999, 1, 1, tzinfo=UTC))
    assert report.telemetry_before < upkeep.database_now(conn) - 20 * DAY


def test_deletes_are_cut_into_bounded_transactions(conn, truck):
    table = next(table for table in upkeep.aged_tables(conn) if str(table) == "pm.event")
    conn.execute(
        "INSERT INTO pm.event SELECT %s, %s::timestamptz + n * INTERVAL '1 second', 'error', '7', NULL, NULL, 1"
        " FROM generate_series(1, 20000) AS n",
        (truck, FIRST),
    )
    batches = list(upkeep.delete_older(conn, table, FIRST + 15_000 * timedelta(seconds=1), KEEP_20.work))
    assert sum(batches) == 14_999
    assert max(batches) <= KEEP_20.work.rows_a_transaction
    assert times_of(conn, "pm.event")[0] == FIRST + 15_000 * timedelta(seconds=1)
    assert len(times_of(conn, "pm.event")) == 5001


@contextmanager
def in_use(url: str, statement: str) -> Iterator[None]:
    with connect(url) as other, other.transaction():
        other.execute(statement)
        yield


@pytest.mark.parametrize(
    ("statement", "left"),
    [
        ("LOCK TABLE telemetry.eec1 IN SHARE MODE", "telemetry.eec1"),
        ("SELECT time FROM pm.fault FOR UPDATE", "pm.fault"),
    ],
)
def test_a_table_in_use_is_left_for_the_next_run(conn, database_url, stored, statement, left):
    with in_use(database_url, statement):
        report = keep_up(conn)
        assert report.postponed == (left,)
        others = [table for table in TABLES if table != left]
        assert all(times_of(conn, table)[0] == CUTOFF for table in others)
    assert keep_up(conn).postponed == ()
    assert times_of(conn, left) == [time for time in stored if time >= CUTOFF]


def test_files_that_are_being_written_are_waited_for_or_the_run_is_postponed(conn, database_url, stored, monkeypatch):
    monkeypatch.setattr(upkeep, "_WRITERS_TIMEOUT", "200ms")
    with connect(database_url) as other, other.transaction():
        logs.hold_vehicle(other, 1)
        report = keep_up(conn)
        assert report.postponed == ("pm.retention",)
        assert logs.dropped_before(conn) is None
    assert times_of(conn, "pm.event") == stored


def test_what_is_not_a_lock_is_told_as_it_is(conn):
    with pytest.raises(StoreError, match="no_such_table") as refused, upkeep.busy("figures"):
        conn.execute("SELECT FROM no_such_table")
    assert not isinstance(refused.value, upkeep.BusyError)


def test_new_chunks_get_the_decided_length(conn, truck, stored):
    telemetry_tables = {"telemetry.eec1", "telemetry.et1"} if fetch_hypertables(conn) else set()
    daily = replace(KEEP_20, telemetry=Telemetry(chunk_d=1, keep_d=20))
    assert set(keep_up(conn, daily).chunk_interval_set) == telemetry_tables
    assert keep_up(conn, daily).chunk_interval_set == ()
    for table in fetch_hypertables(conn):
        assert table.chunk == (DAY if table.schema == "telemetry" else 28 * DAY)
    # The cutoff now lies inside a chunk of seven days: its older rows are gone all the same.
    assert times_of(conn, "telemetry.eec1")[0] == datetime(2026, 1, 26, tzinfo=UTC)


def test_rows_of_new_chunks_after_retention_are_stored(conn, truck, stored):
    keep_up(conn)
    late = CUTOFF + 50 * DAY
    telemetry.insert_signals(conn, message("EEC1"), rows(late), vehicle_id=truck, log_file_id=1)
    assert times_of(conn, "telemetry.eec1")[-1] == late


def test_raw_files_go_by_their_last_frame(conn, truck, tmp_path: Path):
    address = str(tmp_path / "archive")
    names = {"old": NOW - 40 * DAY, "new": NOW - 5 * DAY, "refused": NOW - 40 * DAY}
    shas = {}
    for name, last_at in names.items():
        path = tmp_path / f"{name}.log"
        path.write_bytes(name.encode())
        shas[name] = hashlib.sha256(name.encode()).hexdigest()
        archive.put(address, path, sha256=shas[name])
        log_file(conn, truck, shas[name], last_at)
    conn.execute(
        "INSERT INTO pm.quarantine VALUES (%s, %s, 'r.log', 7, now(), NULL, 'why', 1, now(), now(), '1')",
        (truck, shas["refused"]),
    )
    decided = Upkeep(archive=Archive(keep_d=30))
    assert keep_up(conn, decided, dry_run=True, address=address).n_files == 1
    assert archive.has(address, shas["old"])
    report = keep_up(conn, decided, address=address)
    assert report.n_files == 1
    assert report.archive_before == datetime(2026, 1, 16, tzinfo=UTC)
    assert {name: archive.has(address, sha256) for name, sha256 in shas.items()} == {
        "old": False, "new": True, "refused": True,
    }  # fmt: skip
    assert logs.fetch_log_files(conn).height == 3
    assert keep_up(conn, decided, address=address).n_files == 0


def test_a_raw_file_that_came_late_goes_with_the_next_run(conn, truck, tmp_path: Path):
    address = str(tmp_path / "archive")
    decided = Upkeep(archive=Archive(keep_d=30))
    keep_up(conn, decided, address=address)
    path = tmp_path / "late.log"
    path.write_bytes(b"late")
    sha256 = hashlib.sha256(b"late").hexdigest()
    archive.put(address, path, sha256=sha256)
    log_file(conn, truck, sha256, NOW - 60 * DAY)
    assert keep_up(conn, decided, address=address).n_files == 1
