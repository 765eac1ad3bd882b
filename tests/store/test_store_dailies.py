"""Replacing vehicle days."""

import threading
from datetime import UTC, date, datetime, timedelta

import polars as pl
import psycopg
import pytest

from pm.errors import DataError
from pm.store import dailies, logs, vehicles
from pm.store.connection import connect
from pm.tables import DAILY_FAULT, DAILY_SIGNAL, DIRTY_DAY

T0 = datetime(2026, 3, 1, tzinfo=UTC)
DAY = date(2026, 3, 1)
NEXT = DAY + timedelta(days=1)


@pytest.fixture
def truck(conn: psycopg.Connection) -> int:
    return vehicles.add_vehicle(conn, fleet="north", vehicle_ref="T1", known_at=T0)


def signals(truck: int, *days: date, mean: float = 1.0, known_at: datetime = T0) -> pl.DataFrame:
    row = {"vehicle_id": truck, "log_file_id": 1, "known_at": known_at, "message": "EEC1", "signal": "EngSpeed"}
    row |= {
        "channel": "can0",
        "source_address": 0,
        "n_values": 2,
        "mean": mean,
        "m2": 0.0,
        "minimum": 1.0,
        "maximum": 1.0,
    }
    row |= {"first_at": T0, "last_at": T0, "first_value": 1.0, "last_value": 1.0}
    return DAILY_SIGNAL.frame([row | {"day": day} for day in days])


def faults(truck: int, *days: date) -> pl.DataFrame:
    row = {"vehicle_id": truck, "log_file_id": 1, "known_at": T0, "channel": "can0", "source_address": 0, "spn": 110}
    row |= {
        "fmi": 0,
        "n_reports": 1,
        "first_at": T0,
        "last_at": T0,
        "maximum_occurrence_count": None,
        "n_red": 0,
        "n_amber": 1,
    }
    return DAILY_FAULT.frame([row | {"day": day} for day in days])


def dirty(conn: psycopg.Connection, truck: int, *days: date) -> pl.DataFrame:
    logs.mark_dirty(conn, truck, days)
    return logs.fetch_dirty(conn)


def test_days_are_replaced_and_others_stay(conn: psycopg.Connection, truck: int) -> None:
    marks = dirty(conn, truck, DAY, NEXT)
    assert dailies.replace_days(conn, marks, signals(truck, DAY, NEXT), faults(truck, DAY, NEXT)) == 2
    assert logs.fetch_dirty(conn).height == 0
    marks = dirty(conn, truck, DAY)
    assert dailies.replace_days(conn, marks, signals(truck, DAY, mean=2.0), DAILY_FAULT.empty()) == 1
    assert dailies.fetch_daily_signals(conn).equals(pl.concat([signals(truck, DAY, mean=2.0), signals(truck, NEXT)]))
    assert dailies.fetch_daily_faults(conn).equals(faults(truck, NEXT))


def test_rows_are_read_by_day_and_knowledge(conn: psycopg.Connection, truck: int) -> None:
    marks = dirty(conn, truck, DAY, NEXT)
    late = T0 + timedelta(days=9)
    both = pl.concat([signals(truck, DAY), signals(truck, NEXT, known_at=late)])
    dailies.replace_days(conn, marks, both, faults(truck, DAY, NEXT))
    assert dailies.fetch_daily_signals(conn, start=NEXT)["day"].to_list() == [NEXT]
    assert dailies.fetch_daily_signals(conn, end=NEXT)["day"].to_list() == [DAY]
    assert dailies.fetch_daily_signals(conn, known_by=late - timedelta(microseconds=1))["day"].to_list() == [DAY]
    assert dailies.fetch_daily_faults(conn, start=DAY, end=NEXT, known_by=T0)["day"].to_list() == [DAY]


def test_counts_times_and_sketches_come_back_as_they_were(conn: psycopg.Connection, truck: int) -> None:
    days = [DAY + timedelta(days=number) for number in range(4)]
    written = signals(truck, *days).with_columns(
        n_transitions=pl.Series([0, None, 7, 2**31 - 1], dtype=pl.Int32),
        n_starts=pl.Series([None, 0, 3, None], dtype=pl.Int32),
        ranges_id=pl.Series([None, 2**31 - 1, 0, 5], dtype=pl.Int32),
        range_us=pl.Series([None, [], [0, 86_400_000_000], [1]], dtype=pl.List(pl.Int64)),
        sketch=pl.Series([None, b"", b"\x00\xff\n\\", bytes(range(256)) * 12], dtype=pl.Binary),
    )
    dailies.replace_days(conn, dirty(conn, truck, *days), written, DAILY_FAULT.empty())
    assert dailies.fetch_daily_signals(conn).equals(written)


def test_a_day_marked_since_stays_marked(conn: psycopg.Connection, truck: int) -> None:
    marks = dirty(conn, truck, DAY)
    logs.mark_dirty(conn, truck, [DAY])
    assert dailies.replace_days(conn, marks, signals(truck, DAY), DAILY_FAULT.empty()) == 1
    assert dailies.fetch_daily_signals(conn).height == 1
    assert logs.fetch_dirty(conn)["day"].to_list() == [DAY]


def test_a_day_that_another_worker_rebuilt_is_left_alone(conn: psycopg.Connection, truck: int) -> None:
    old = dirty(conn, truck, DAY)
    dailies.replace_days(conn, dirty(conn, truck, DAY), signals(truck, DAY, mean=2.0), DAILY_FAULT.empty())
    assert dailies.replace_days(conn, old, signals(truck, DAY), DAILY_FAULT.empty()) == 0
    assert dailies.fetch_daily_signals(conn)["mean"].to_list() == [2.0]


def test_two_workers_on_one_day_follow_each_other(conn: psycopg.Connection, database_url: str, truck: int) -> None:
    marks, done = dirty(conn, truck, DAY), []

    def second() -> None:
        with connect(database_url) as own:
            done.append(dailies.replace_days(own, marks, signals(truck, DAY, mean=9.0), DAILY_FAULT.empty()))

    worker = threading.Thread(target=second)
    with conn.transaction():
        assert dailies.replace_days(conn, marks, signals(truck, DAY), faults(truck, DAY)) == 1
        worker.start()
        worker.join(0.3)
        assert done == []
    worker.join(10)
    assert done == [0]
    assert dailies.fetch_daily_signals(conn)["mean"].to_list() == [1.0]


def test_rows_of_other_days_are_refused_and_nothing_changes(conn: psycopg.Connection, truck: int) -> None:
    marks = dirty(conn, truck, DAY)
    with pytest.raises(DataError, match="table daily_fault: expected rows of the given days"):
        dailies.replace_days(conn, marks, signals(truck, DAY), faults(truck, NEXT))
    bad = signals(truck, DAY).with_columns(n_values=pl.lit(0, pl.Int64()))
    with pytest.raises(DataError, match="daily_signal_n_values_check"):
        dailies.replace_days(conn, marks, bad, DAILY_FAULT.empty())
    assert (dailies.fetch_daily_signals(conn).height, logs.fetch_dirty(conn).height) == (0, 1)


def test_no_days_are_no_work(conn: psycopg.Connection) -> None:
    assert dailies.replace_days(conn, DIRTY_DAY.empty(), DAILY_SIGNAL.empty(), DAILY_FAULT.empty()) == 0
