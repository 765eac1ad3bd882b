"""The dictionary of signals on real databases."""

from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from readable_fleet import ET1, SECOND, T0, VI, add_file, add_truck, message, saw, signal

from pm.store import views
from pm.store.dictionary import DICTIONARY, count_dictionary, fetch_dictionary
from pm.store.telemetry_tables import ensure_table

EEC1 = replace(message("EEC1", signal("EngSpeed", "rpm", spn=190), signal("TEMP"), signal("Temp")), pgn=61444)


@pytest.fixture
def known(conn: psycopg.Connection) -> psycopg.Connection:
    """Three messages, and two files that hold one of them."""
    for plan in (ET1, EEC1, VI):
        ensure_table(conn, plan)
    truck = add_truck(conn, "T-1")
    one, two = add_file(conn, truck, "one"), add_file(conn, truck, "two")
    saw(conn, one, "EngCoolantTemp", T0, n_rows=10, n_values=10)
    saw(conn, two, "EngCoolantTemp", T0 + timedelta(days=3), n_rows=30, n_values=20)
    saw(conn, one, "EngOilTemp1", None, n_rows=10, n_values=0)
    views.refresh_views(conn)
    return conn


def test_a_signal_says_what_it_is_where_it_stands_and_what_was_seen(known: psycopg.Connection) -> None:
    assert fetch_dictionary(known, text="coolant").row(0, named=True) == {
        "message": "ET1", "signal": "EngCoolantTemp", "table_name": "et1", "column_name": "engcoolanttemp",
        "pgn": 65262, "spn": 110, "unit": "degC", "minimum": 0.0, "maximum": 250.0,
        "description": "what EngCoolantTemp is", "dbc_sha256": "ab" * 32, "readable_view": "et1",
        "readable_column": "eng_coolant_temp_c", "first_seen_at": T0,
        "last_seen_at": T0 + timedelta(days=3) + SECOND, "n_files": 2, "n_rows": 40, "n_values": 30, "null_share": 0.25,
    }  # fmt: skip


def test_a_signal_without_a_value_and_one_never_seen(known: psycopg.Connection) -> None:
    seen = ["first_seen_at", "last_seen_at", "n_files", "n_rows", "n_values", "null_share"]
    assert fetch_dictionary(known, text="oil").select(seen).row(0) == (None, None, 1, 10, 0, 1.0)
    assert fetch_dictionary(known, text="EngSpeed").select(seen).row(0) == (None,) * 6


def test_every_readable_column_is_the_one_in_the_view(known: psycopg.Connection) -> None:
    # Columns made in two steps, and a signal that the view leaves out.
    ensure_table(known, replace(EEC1, signals=(signal("Time"), *EEC1.signals), dbc_sha256="cd" * 32))
    views.refresh_views(known)
    found = fetch_dictionary(known)
    assert found.schema == DICTIONARY.schema
    for row in found.filter(found["readable_column"].is_not_null()).iter_rows(named=True):
        said = known.execute(
            "SELECT col_description(attrelid, attnum) FROM pg_attribute "
            "WHERE attrelid = to_regclass(%s) AND attname = %s",
            (f"readable.{row['readable_view']}", row["readable_column"]),
        ).fetchone()
        assert said is not None
        assert str(said[0]).split()[0].rstrip(",") == row["signal"]
    assert dict(found.filter(found["message"] == "EEC1").select("signal", "readable_column").rows()) == {
        "EngSpeed": "eng_speed_rpm", "TEMP": "temp", "Temp": "temp_2", "Time": "time_2",
    }  # fmt: skip
    assert found.filter(found["spn"] == 237)["readable_column"].to_list() == [None]


def test_every_word_must_stand_somewhere(known: psycopg.Connection) -> None:
    matching = {
        "": 7, "ENGSPEED": 1, "eng_speed_rpm": 1, "et1.eng": 2, "coolant degC": 1, "coolant rpm": 0, "SPN 190": 1,
        "pgn 61444": 3, "what engoiltemp1": 1, "%": 1, "_": 5, "'; DROP VIEW readable.signal; --": 0, "nul\0": 0,
    }  # fmt: skip
    for text, n_matching in matching.items():
        assert fetch_dictionary(known, text=text).height == n_matching, text
        assert count_dictionary(known, text=text) == n_matching, text


def test_one_message_and_a_limit(known: psycopg.Connection) -> None:
    assert fetch_dictionary(known, message="et1")["signal"].to_list() == ["EngCoolantTemp", "EngOilTemp1"]
    assert fetch_dictionary(known, message="ET1", text="oil")["signal"].to_list() == ["EngOilTemp1"]
    assert fetch_dictionary(known, message="ET9").is_empty()
    assert fetch_dictionary(known, limit=2)["signal"].to_list() == ["EngSpeed", "TEMP"]
    assert count_dictionary(known, message="eec1") == 3


def test_an_empty_database_has_an_empty_dictionary(conn: psycopg.Connection) -> None:
    views.refresh_views(conn)
    assert fetch_dictionary(conn).is_empty()
    assert count_dictionary(conn) == 0
