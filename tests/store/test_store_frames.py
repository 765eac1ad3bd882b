"""Frames in and out of real tables."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import psycopg
import pytest

from pm.errors import DataError, StoreError
from pm.store import frames, vehicles
from pm.store.connection import connect
from pm.tables import DAILY_SIGNAL, FEATURE_SET, FEATURE_VECTOR, LABEL, LOG_FILE, POLICY, PREDICTION, VEHICLE

T0 = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def truck(conn: psycopg.Connection) -> int:
    return vehicles.add_vehicle(conn, fleet="north", vehicle_ref="T1", known_at=T0)


def label(truck: int, **changed: object) -> dict[str, object]:
    row: dict[str, object] = {"vehicle_id": truck, "component": "cooling", "as_of": T0, "horizon_d": 14, "known_at": T0}
    return row | {"state": "pending", "failed_at": None} | changed


def everything(conn: psycopg.Connection) -> pl.DataFrame:
    return frames.fetch(conn, LABEL, "history", component=None)


def test_what_was_written_comes_back(conn: psycopg.Connection, truck: int) -> None:
    written = LABEL.frame([label(truck), label(truck, as_of=T0 + timedelta(microseconds=1), failed_at=T0)])
    assert frames.insert(conn, LABEL, written) == 2
    assert everything(conn).equals(written)


def test_numbers_arrays_and_json_come_back_exactly(conn: psycopg.Connection, truck: int) -> None:
    frames.insert(
        conn,
        FEATURE_SET,
        FEATURE_SET.frame(
            [{"feature_set_id": "s", "name": "s", "version": 1, "definition_json": '{"a": [1, null, "ü"]}'}]
        ),
    )
    row = {"feature_set_id": "s", "vehicle_id": truck, "inputs_hash": "h", "data_until": None}
    values = [[0.1, None, 1e38], [], [None], [float("nan")]]
    vectors = FEATURE_VECTOR.frame(
        [row | {"as_of": T0 + timedelta(days=day), "features": features} for day, features in enumerate(values)]
    )
    frames.insert(conn, FEATURE_VECTOR, vectors)
    params = {"feature_set_id": "s", "since": None, "until": None, "vehicle_id": None}
    assert frames.fetch(conn, FEATURE_VECTOR, "span", **params).equals(vectors)
    assert frames.fetch(conn, FEATURE_SET, "by_id", feature_set_id="s")["definition_json"][0] == '{"a": [1, null, "ü"]}'


def test_days_and_doubles_come_back_exactly(conn: psycopg.Connection) -> None:
    at = {"first_at": T0, "last_at": T0, "known_at": T0}
    row = {"vehicle_id": 1, "log_file_id": 1, "message": "EEC1", "channel": "can0", "source_address": 0, "n_values": 1}
    numbers = {
        "mean": 0.1,
        "m2": 1e-300,
        "minimum": -0.0,
        "maximum": 1 / 3,
        "first_value": 2.0**60,
        "last_value": 1e308,
    }
    days = [date(1970, 1, 1), date(1999, 12, 31), date(2026, 3, 1)]
    written = DAILY_SIGNAL.frame([row | at | numbers | {"signal": "s", "day": day} for day in days])
    frames.insert(conn, DAILY_SIGNAL, written)
    assert frames.fetch(conn, DAILY_SIGNAL, "span", start=None, end=None, known_by=None).equals(written)


def test_an_empty_frame_writes_nothing(conn: psycopg.Connection) -> None:
    assert [frames.insert(conn, LABEL, LABEL.empty(), on_conflict=rule) for rule in ("error", "ignore", "replace")] == [
        0
    ] * 3
    assert everything(conn).equals(LABEL.empty())


def test_a_stored_key_is_refused_ignored_or_replaced(conn: psycopg.Connection, truck: int) -> None:
    frames.insert(conn, LABEL, LABEL.frame([label(truck)]))
    again = LABEL.frame(
        [label(truck, state="positive", failed_at=T0), label(truck, component="brakes_air", state="censored")]
    )
    with pytest.raises(DataError, match=r"table pm\.label: .*cooling"):
        frames.insert(conn, LABEL, again)
    assert everything(conn)["state"].to_list() == ["pending"]
    assert frames.insert(conn, LABEL, again, on_conflict="ignore") == 1
    assert everything(conn).sort("component")["state"].to_list() == ["censored", "pending"]
    assert frames.insert(conn, LABEL, again, on_conflict="replace") == 2
    assert everything(conn)["state"].to_list() == ["censored", "positive"]


def test_a_key_twice_in_a_frame_is_refused(conn: psycopg.Connection, truck: int) -> None:
    twice = pl.concat([LABEL.frame([label(truck)])] * 2)
    with pytest.raises(DataError, match="expected unique"):
        frames.insert(conn, LABEL, twice)


def test_values_the_table_does_not_take_are_data_errors(conn: psycopg.Connection, truck: int) -> None:
    for row, reason in (
        (label(truck, state="maybe"), "label_state_check"),
        (label(truck + 1 if truck < 2**31 - 1 else 1), "vehicle"),
        (label(truck, component="a\0b"), "0x00"),
    ):
        with pytest.raises(DataError, match=reason):
            frames.insert(conn, LABEL, LABEL.frame([row]))
    assert everything(conn).height == 0


def test_broken_json_is_a_data_error(conn: psycopg.Connection) -> None:
    with pytest.raises(DataError, match="json"):
        frames.insert(conn, POLICY, POLICY.frame([{"policy_id": "p", "content_json": "{"}]))


def test_a_column_of_another_type_is_refused_before_the_database_is_asked(conn: psycopg.Connection) -> None:
    with pytest.raises(DataError, match="horizon_d: expected Int16"):
        frames.insert(conn, LABEL, LABEL.empty().with_columns(pl.col("horizon_d").cast(pl.Int32)))


def test_generated_columns_are_filled_by_the_database(conn: psycopg.Connection, truck: int) -> None:
    row = {"sha256": "a", "vehicle_id": truck, "file_name": "f", "format": "candump", "n_frames": 1, "n_decoded": 1}
    rest = {"rejected_json": "{}", "known_at": T0, "dbc_sha256": ["x", "y"], "decoder_version": "1", "ingested_at": T0}
    rest |= {"part": 0}
    frame = LOG_FILE.frame([row | rest | {"log_file_id": 0}]).drop("log_file_id")
    assert frames.insert(conn, LOG_FILE, frame) == 1
    found = frames.fetch(conn, LOG_FILE, "span", vehicle_id=None, known_from=None, known_to=None)
    assert found.drop("log_file_id").equals(frame)
    assert found["log_file_id"][0] > 0


@pytest.mark.parametrize("rule", ["error", "ignore", "replace"])
def test_a_write_belongs_to_the_callers_transaction(
    conn: psycopg.Connection, truck: int, rule: frames.OnConflict
) -> None:
    with conn.transaction(force_rollback=True):
        frames.insert(conn, LABEL, LABEL.frame([label(truck)]), on_conflict=rule)
        assert everything(conn).height == 1
    assert everything(conn).height == 0


@pytest.mark.parametrize("rule", ["ignore", "replace"])
def test_nothing_commits_on_a_connection_that_is_not_in_autocommit(
    conn: psycopg.Connection, database_url: str, truck: int, rule: frames.OnConflict
) -> None:
    with connect(database_url) as other:
        other.autocommit = False
        frames.insert(other, LABEL, LABEL.frame([label(truck)]), on_conflict=rule)
        other.rollback()
    assert everything(conn).height == 0


def test_a_value_in_a_query_stays_a_value(conn: psycopg.Connection) -> None:
    hostile = "x'; DROP TABLE pm.vehicle; -- %s \\ {}"
    vehicles.add_vehicle(conn, fleet=hostile, vehicle_ref=hostile, known_at=T0)
    query = "SELECT * FROM pm.vehicle WHERE fleet = %(fleet)s"
    assert frames.select(conn, query, {"fleet": hostile}, VEHICLE)["vehicle_ref"].to_list() == [hostile]
    assert frames.select(conn, query, {"fleet": "x"}, VEHICLE).height == 0


def test_a_connection_that_is_gone_is_a_store_error(conn: psycopg.Connection) -> None:
    conn.close()
    with pytest.raises(StoreError, match="table prediction"):
        frames.fetch(conn, PREDICTION, "of_vehicle", vehicle_id=1, roles=[])


def test_many_rows_with_nulls_come_back(conn: psycopg.Connection, truck: int) -> None:
    n = 100_000
    written = pl.DataFrame({"number": pl.int_range(n, eager=True)}).select(
        pl.lit(truck, pl.Int32()).alias("vehicle_id"),
        pl.format("component {}", pl.col("number") % 7).alias("component"),
        (pl.lit(T0) + pl.duration(seconds="number")).cast(LABEL.schema["as_of"]).alias("as_of"),
        pl.lit(14, pl.Int16()).alias("horizon_d"),
        pl.lit(T0).cast(LABEL.schema["known_at"]).alias("known_at"),
        pl.lit("pending").alias("state"),
        pl.when(pl.col("number") % 3 == 0).then(pl.lit(T0)).cast(LABEL.schema["failed_at"]).alias("failed_at"),
    )
    assert frames.insert(conn, LABEL, written) == n
    assert everything(conn).equals(written.sort(LABEL.key))
