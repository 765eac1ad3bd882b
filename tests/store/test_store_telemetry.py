"""Telemetry tables and rows on real databases."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import psycopg
import pytest

from pm.canbus.dbc import MessagePlan, SignalDatabase, SignalPlan
from pm.errors import ConfigError, DataError
from pm.schema import UTC_INSTANT
from pm.store import logs, telemetry, vehicles
from pm.store.connection import connect
from pm.store.telemetry_tables import ensure_table, ensure_tables, fetch_dictionary, stored_messages

T0 = datetime(2026, 3, 1, tzinfo=UTC)
END = T0 + timedelta(days=40)
SECOND = timedelta(seconds=1)


def signal(name: str, *, length: int = 16, is_text: bool = False, spn: int | None = None) -> SignalPlan:
    return SignalPlan(
        name, 0, length, "little_endian", False, False, 0.125, 0.0, 0.0, 8031.875, "rpm", spn, "100 % speed",
        is_text=is_text,
    )  # fmt: skip


def message(*signals: SignalPlan, name: str = "EEC1") -> MessagePlan:
    return MessagePlan(name, 0x0CF00400, True, 61444, 8, signals, "Engine controller", "ab" * 32)


EEC1 = message(signal("EngSpeed", spn=190), signal("EngHours", length=32), signal("EngModel", length=64, is_text=True))


def rows(*values: tuple[datetime, float | None, float | None, str | None], source: int = 0) -> pl.DataFrame:
    return pl.DataFrame(
        [(at, "can0", source, 255, speed, hours, model) for at, speed, hours, model in values],
        schema={
            "time": UTC_INSTANT,
            "channel": pl.String(),
            "source_address": pl.Int16(),
            "destination_address": pl.Int16(),
            "EngSpeed": pl.Float64(),
            "EngHours": pl.Float64(),
            "EngModel": pl.String(),
        },
        orient="row",
    )


@pytest.fixture
def truck(conn: psycopg.Connection) -> int:
    return vehicles.add_vehicle(conn, fleet="north", vehicle_ref="T1", known_at=T0)


def log_file(conn: psycopg.Connection, truck: int, name: str, known_at: datetime = END) -> int:
    found = logs.claim(
        conn, sha256=name, vehicle_id=truck, file_name=name, format="candump", known_at=known_at, dbc_sha256=[],
        decoder_version="1",
    )  # fmt: skip
    assert found is not None
    return found


def fetch(conn: psycopg.Connection, truck: int, name: str = "EEC1") -> pl.DataFrame:
    return telemetry.fetch_signals(conn, name, vehicle_id=truck, start=T0, end=END)


def test_rows_come_back_with_their_file(conn: psycopg.Connection, truck: int) -> None:
    file = log_file(conn, truck, "one")
    given = rows((T0, 1200.125, 12345678.35, "X15"), (T0 + SECOND, None, float("nan"), None))
    assert telemetry.insert_signals(conn, EEC1, given, vehicle_id=truck, log_file_id=file) == 2
    found = fetch(conn, truck)
    assert found.columns == ["vehicle_id", "log_file_id", "known_at", *given.columns]
    assert found.select(given.columns).equals(given.with_columns(pl.col("EngHours").fill_nan(None)))
    assert found.select("vehicle_id", "log_file_id", "known_at").unique().row(0) == (truck, file, END)


def test_a_table_is_as_its_message_says(conn: psycopg.Connection) -> None:
    ensure_table(conn, EEC1)
    columns = conn.execute(
        "SELECT attname, format_type(atttypid, NULL), col_description(attrelid, attnum) FROM pg_attribute "
        "WHERE attrelid = 'telemetry.eec1'::regclass AND attnum > 6 ORDER BY attnum"
    ).fetchall()
    assert [row[:2] for row in columns] == [
        ("engspeed", "real"),
        ("enghours", "double precision"),
        ("engmodel", "text"),
    ]
    assert columns[0][2] == "EngSpeed [rpm], SPN 190, 0.0 to 8031.875. 100 % speed"
    said = conn.execute("SELECT obj_description('telemetry.eec1'::regclass)").fetchone()
    assert said == ("EEC1 (PGN 61444). Engine controller",)


def test_a_table_is_a_hypertable_of_seven_days_where_there_is_timescaledb(conn: psycopg.Connection, truck: int) -> None:
    file = log_file(conn, truck, "one")
    given = rows((T0, 1.0, 1.0, ""), (T0 + timedelta(days=30), 1.0, 1.0, ""))
    telemetry.insert_signals(conn, EEC1, given, vehicle_id=truck, log_file_id=file)
    assert fetch(conn, truck).height == 2
    indexes = conn.execute("SELECT count(*) FROM pg_indexes WHERE schemaname = 'telemetry'").fetchone()
    assert indexes == (1,)
    if conn.execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'").fetchone():
        chunks = conn.execute(
            "SELECT d.time_interval, count(c.chunk_name) FROM timescaledb_information.dimensions AS d "
            "JOIN timescaledb_information.chunks AS c USING (hypertable_schema, hypertable_name) "
            "WHERE hypertable_name = 'eec1' GROUP BY 1"
        ).fetchall()
        assert chunks == [(timedelta(days=7), 2)]


def test_the_dictionary_says_where_a_signal_stands(conn: psycopg.Connection) -> None:
    ensure_table(conn, EEC1)
    found = fetch_dictionary(conn).filter(pl.col("signal") == "EngSpeed").row(0, named=True)
    assert found == {
        "message": "EEC1", "signal": "EngSpeed", "table_name": "eec1", "column_name": "engspeed", "pgn": 61444,
        "spn": 190, "unit": "rpm", "minimum": 0.0, "maximum": 8031.875, "description": "100 % speed",
        "dbc_sha256": "ab" * 32,
    }  # fmt: skip
    assert stored_messages(conn) == ("EEC1",)


def test_names_that_fall_together_are_kept_apart(conn: psycopg.Connection, truck: int) -> None:
    long = "S" * 70
    clashing = message(
        signal("Time"), signal("TIME"), signal("xmin"), signal(long + "1"), signal(long + "2"), name="eec1"
    )
    database = SignalDatabase((EEC1, clashing, message(name="NOTHING")), ("ab" * 32,))
    tables = ensure_tables(conn, database)
    assert [table.name for table in tables] == ["eec1", "eec1_2"]
    assert list(tables[1].columns.values()) == ["time_2", "time_3", "xmin_2", "s" * 63, "s" * 61 + "_2"]
    file = log_file(conn, truck, "one")
    given = (
        rows((T0, 1.0, 2.0, ""))
        .drop("EngSpeed", "EngHours", "EngModel")
        .with_columns(pl.lit(float(number)).alias(each.name) for number, each in enumerate(clashing.signals))
    )
    telemetry.insert_signals(conn, clashing, given, vehicle_id=truck, log_file_id=file)
    assert fetch(conn, truck, "eec1").select(given.columns).equals(given)


def test_a_later_dbc_adds_and_widens_columns(conn: psycopg.Connection, truck: int) -> None:
    file = log_file(conn, truck, "one")
    first = message(signal("EngSpeed"))
    old = rows((T0, 0.125, None, None))
    telemetry.insert_signals(conn, first, old.drop("EngHours", "EngModel"), vehicle_id=truck, log_file_id=file)
    wider = message(*EEC1.signals[1:], signal("EngSpeed", length=32))
    new = rows((T0 + SECOND, 16777217.0, 2.0, "X"))
    telemetry.insert_signals(conn, wider, new, vehicle_id=truck, log_file_id=file)
    found = fetch(conn, truck).select(old.columns)
    assert found.equals(pl.concat([old, new]))
    telemetry.insert_signals(conn, first, rows((T0 + 2 * SECOND, 3.0, None, None)), vehicle_id=truck, log_file_id=file)
    assert fetch(conn, truck)["EngSpeed"].to_list() == [0.125, 16777217.0, 3.0]


def test_a_number_that_became_a_text_is_refused(conn: psycopg.Connection) -> None:
    ensure_table(conn, message(signal("EngModel")))
    with pytest.raises(ConfigError, match="EngModel: expected Float32 as stored, but got String"):
        ensure_table(conn, EEC1)


def test_a_signal_named_as_a_column_of_every_row_is_refused(conn: psycopg.Connection) -> None:
    with pytest.raises(ConfigError, match="known_at"):
        ensure_table(conn, message(signal("known_at")))


def test_the_first_row_of_a_key_stays(conn: psycopg.Connection, truck: int) -> None:
    one, two = log_file(conn, truck, "one"), log_file(conn, truck, "two")
    given = rows((T0, 1.0, None, None), (T0, 2.0, None, None), (T0 + SECOND, 3.0, None, None))
    assert telemetry.insert_signals(conn, EEC1, given, vehicle_id=truck, log_file_id=one) == 2
    later = rows((T0 + SECOND, 4.0, None, None), (T0 + 2 * SECOND, 5.0, None, None))
    assert telemetry.insert_signals(conn, EEC1, later, vehicle_id=truck, log_file_id=two) == 1
    other = rows((T0, 6.0, None, None), source=3)
    assert telemetry.insert_signals(conn, EEC1, other, vehicle_id=truck, log_file_id=two) == 1
    found = fetch(conn, truck).select("source_address", "log_file_id", "EngSpeed").rows()
    assert found == [(0, one, 1.0), (0, one, 3.0), (0, two, 5.0), (3, two, 6.0)]


def test_rows_belong_to_the_callers_transaction_and_the_table_does_not(conn: psycopg.Connection, truck: int) -> None:
    given = rows((T0, 1.0, None, None))
    for _ in range(2):
        with conn.transaction(force_rollback=True):
            file = log_file(conn, truck, "one")
            telemetry.insert_signals(conn, EEC1, given, vehicle_id=truck, log_file_id=file)
            telemetry.insert_signals(conn, EEC1, given, vehicle_id=truck, log_file_id=file)
            assert fetch(conn, truck).height == 1
        assert fetch(conn, truck).height == 0


def test_a_span_takes_its_start_and_leaves_its_end(conn: psycopg.Connection, truck: int) -> None:
    file = log_file(conn, truck, "one")
    given = rows(*((T0 + number * SECOND, float(number), None, None) for number in range(5)))
    telemetry.insert_signals(conn, EEC1, given, vehicle_id=truck, log_file_id=file)
    found = telemetry.fetch_signals(conn, "EEC1", vehicle_id=truck, start=T0 + SECOND, end=T0 + 3 * SECOND)
    assert found["EngSpeed"].to_list() == [1.0, 2.0]
    nobody = telemetry.fetch_signals(conn, "EEC1", vehicle_id=truck ^ 1, start=T0, end=END)
    assert (nobody.height, nobody.schema) == (0, found.schema)


def test_rows_of_files_not_known_yet_are_left_out(conn: psycopg.Connection, truck: int) -> None:
    for number, name in enumerate(("early", "late")):
        file = log_file(conn, truck, name, known_at=T0 + timedelta(days=number))
        given = rows((T0 + number * SECOND, float(number), None, None))
        telemetry.insert_signals(conn, EEC1, given, vehicle_id=truck, log_file_id=file)
    found = telemetry.fetch_signals(conn, "EEC1", vehicle_id=truck, start=T0, end=END, log_file_known=T0)
    assert found["EngSpeed"].to_list() == [0.0]


def test_a_frame_of_another_form_is_refused(conn: psycopg.Connection, truck: int) -> None:
    good = rows((T0, 1.0, None, None))
    for frame, reason in (
        (good.drop("EngHours"), r"expected columns \['EngHours'\]"),
        (good.with_columns(pl.col("EngSpeed").cast(pl.String())), "EngSpeed: expected Float64, but got String"),
        (good.with_columns(channel=pl.lit(None, pl.String())), "channel: expected no nulls"),
    ):
        with pytest.raises(DataError, match=reason):
            telemetry.insert_signals(conn, EEC1, frame, vehicle_id=truck, log_file_id=1)


def test_a_message_that_was_never_stored_is_named(conn: psycopg.Connection, truck: int) -> None:
    with pytest.raises(DataError, match="message EEC9: expected a stored message"):
        fetch(conn, truck, "EEC9")


def test_workers_may_make_one_table_at_once(conn: psycopg.Connection, database_url: str, truck: int) -> None:
    file = log_file(conn, truck, "one")
    start, failures = threading.Barrier(4), []

    def work(number: int) -> None:
        try:
            with connect(database_url) as own:
                start.wait()
                given = rows((T0 + number * SECOND, float(number), None, None))
                plan = replace(EEC1, comment=f"version {number}")
                telemetry.insert_signals(own, plan, given, vehicle_id=truck, log_file_id=file)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert fetch(conn, truck)["EngSpeed"].to_list() == [0.0, 1.0, 2.0, 3.0]


def test_a_long_file_does_not_hold_up_another_that_needs_a_new_table(
    conn: psycopg.Connection, database_url: str, truck: int
) -> None:
    given = rows((T0, 1.0, None, None))
    with conn.transaction():
        file = log_file(conn, truck, "one")
        telemetry.insert_signals(conn, EEC1, given, vehicle_id=truck, log_file_id=file)
        with connect(database_url) as other:
            other.execute("SET statement_timeout = '5s'")
            plan = replace(EEC1, name="EEC2")
            telemetry.insert_signals(other, plan, given, vehicle_id=truck, log_file_id=file)
            again = given.with_columns(pl.col("time") + SECOND)
            telemetry.insert_signals(other, EEC1, again, vehicle_id=truck, log_file_id=file)
    assert fetch(conn, truck).height == 2


def test_files_taken_side_by_side_do_not_deadlock_over_new_chunks(
    conn: psycopg.Connection, database_url: str, truck: int
) -> None:
    plans = (EEC1, replace(EEC1, name="EEC2"))
    for plan in plans:
        ensure_table(conn, plan)
    both_have_begun, failures = threading.Barrier(2), []

    def work(number: int) -> None:
        order = plans if number == 0 else plans[::-1]
        given = rows((T0 + number * SECOND, 1.0, None, None))
        try:
            with connect(database_url) as own, own.transaction():
                file = log_file(own, truck, f"file {number}")
                telemetry.insert_signals(own, order[0], given, vehicle_id=truck, log_file_id=file)
                both_have_begun.wait(10)
                telemetry.insert_signals(own, order[1], given, vehicle_id=truck, log_file_id=file)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert fetch(conn, truck).height == fetch(conn, truck, "EEC2").height == 2
