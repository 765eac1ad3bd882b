"""Daily aggregates out of real databases: in batches, after a stop half-way, in any order of arrival."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from itertools import permutations

import numpy as np
import polars as pl
import pytest
from j1939_lines import SMALL_DBC, coolant, engine_speed, trouble_code, written

from pm.canbus.dbc import load_dbc
from pm.errors import StoreError
from pm.features.ranges import BY_QUANTITY
from pm.features.sketch import sketch_of
from pm.pipelines import dailies as pipeline
from pm.pipelines.dailies import refresh_dailies
from pm.pipelines.ingest import IngestJob, ingest_log
from pm.policy import Policy
from pm.store import dailies, logs, vehicles
from pm.store.connection import connect

KNOWN_AT = datetime(2026, 3, 20, tzinfo=UTC)
NOON = int(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp())
DAY_S = 86_400


def truck(conn, number=1):
    return vehicles.add_vehicle(conn, fleet="north", vehicle_ref=f"T-{number}", known_at=KNOWN_AT)


def ingest(conn, vehicle_id, path, *lines, late_d=0):
    dbc = load_dbc([written(path.with_name("small.dbc"), SMALL_DBC)])
    job = IngestJob(written(path, *lines), vehicle_id, KNOWN_AT + timedelta(days=late_d))
    return ingest_log(conn, job, dbc, Policy())


def everything(conn):
    return dailies.fetch_daily_signals(conn), dailies.fetch_daily_faults(conn)


def same(one, other):
    return all(a.equals(b) for a, b in zip(one, other, strict=True))


def mark_all(conn):
    for vehicle_id, day in dailies.fetch_daily_signals(conn).select("vehicle_id", "day").unique().iter_rows():
        logs.mark_dirty(conn, vehicle_id, [day])


@pytest.fixture
def fleet(conn, tmp_path):
    """Five trucks; truck i has i days, two days apart, and a trouble code."""
    ids = [truck(conn, number) for number in range(1, 6)]
    for i, vehicle_id in enumerate(ids, 1):
        lines = [coolant(NOON + 2 * DAY_S * d + at, 60 + at % 60) for d in range(i) for at in range(0, 50, 10)]
        ingest(conn, vehicle_id, tmp_path / f"{i}.log", *lines, trouble_code(NOON + 0.5, 110, i))
    return ids


def test_counts_times_and_sketch_are_stored(conn, database_url, tmp_path):
    lines = [engine_speed(NOON + at, rpm) for at, rpm in ((0, 0), (1, 150), (2, 800), (3, 1200), (103, 0), (104, 700))]
    ingest(conn, truck(conn), tmp_path / "a.log", *lines)
    refresh_dailies(database_url)
    row = dailies.fetch_daily_signals(conn).row(by_predicate=pl.col("signal") == "EngSpeed", named=True)
    assert (row["n_transitions"], row["n_starts"]) == (5, 2)
    assert row["range_us"] == [3_000_000, 1_000_000, 60_000_000]
    assert row["ranges_id"] == BY_QUANTITY["engine_rpm"].ranges_id
    assert row["sketch"] == sketch_of(np.array([0.0, 150.0, 800.0, 1200.0, 0.0, 700.0]))


def test_batches_of_any_size_and_threads_make_the_same(conn, database_url, fleet, monkeypatch):
    assert refresh_dailies(database_url).n_vehicle_days == 15
    at_once = everything(conn)
    assert (at_once[0].height, at_once[1].height) == (15, 5)
    seen = []
    for size in (1, 4):
        monkeypatch.setattr(pipeline, "BATCH_DAYS", size)
        mark_all(conn)
        with ThreadPoolExecutor(2) as executor:
            report = refresh_dailies(database_url, executor=executor, track=lambda done, _, n: seen.append(n) or done)
        assert report.n_vehicle_days == 15
        assert same(everything(conn), at_once)
        assert logs.fetch_dirty(conn).is_empty()
    # A truck's days stay together; trucks are put together where their days lie close.
    assert seen == [5, 4]


def test_only_dirty_days_are_made_again(conn, database_url, fleet):
    refresh_dailies(database_url)
    conn.execute("UPDATE pm.daily_signal SET mean = -1")
    first, last = date(2026, 3, 2), date(2026, 3, 10)
    logs.mark_dirty(conn, fleet[4], [first, last])
    logs.mark_dirty(conn, fleet[0], [first])
    assert refresh_dailies(database_url).n_vehicle_days == 3
    again = dailies.fetch_daily_signals(conn).filter(pl.col("mean") != -1).select("vehicle_id", "day").rows()
    assert sorted(again) == sorted([(fleet[4], first), (fleet[4], last), (fleet[0], first)])


def test_a_stop_half_way_leaves_the_marks_of_what_was_not_done(conn, database_url, fleet, monkeypatch):
    refresh_dailies(database_url)
    whole = everything(conn)
    mark_all(conn)
    monkeypatch.setattr(pipeline, "BATCH_DAYS", 1)
    replace_days, done = dailies.replace_days, []

    def stopped(own, days, *rows):
        if len(done) == 2:
            raise StoreError("the server went away")
        done.append(days.height)
        return replace_days(own, days, *rows)

    with monkeypatch.context() as patched:
        patched.setattr(dailies, "replace_days", stopped)
        with pytest.raises(StoreError, match="went away"):
            refresh_dailies(database_url)
    assert logs.fetch_dirty(conn).height == 15 - sum(done)
    assert refresh_dailies(database_url).n_vehicle_days == 15 - sum(done)
    assert same(everything(conn), whole)


@pytest.mark.parametrize("order", list(permutations(range(3)))[1::3], ids=str)
def test_days_made_after_each_arrival_are_those_made_at_once(conn, database_url, tmp_path, order):
    """Three files that overlap, over midnight; the one known first keeps its rows, whenever it arrives."""
    vehicle_id = truck(conn)
    files = [
        [line for at in range(0, 40, 2) for line in (coolant(NOON + n * 10 + at, 50 + n * 20 + at), )]
        + [engine_speed(NOON + DAY_S // 2 - 20 + n * 7 + at, 300 * (at % 4)) for at in range(30)]
        for n in range(3)
    ]  # fmt: skip
    for n in order:
        ingest(conn, vehicle_id, tmp_path / f"{n}.log", *files[n], late_d=n)
        refresh_dailies(database_url)
    one_by_one = everything(conn)
    mark_all(conn)
    refresh_dailies(database_url)
    assert same(everything(conn), one_by_one)
    with connect(database_url) as own:
        counted = own.execute("SELECT count(engspeed) FROM telemetry.eec1").fetchone()
    found = one_by_one[0].filter(pl.col("signal") == "EngSpeed")
    assert (found["n_values"].sum(),) == counted
    assert found["day"].n_unique() == 2
