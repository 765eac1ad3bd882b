"""A table's checksum follows its rows and nothing else."""

import math
import random
import struct
from datetime import UTC, datetime

import hypothesis.strategies as st
import psycopg
import pytest
from hypothesis import HealthCheck, assume, example, given, settings

from pm.store.checksums import TableChecksum, table_checksum
from pm.store.snapshot import snapshot

REAL = st.floats(width=32, allow_nan=True, allow_infinity=True)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=8)
INSTANT = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
CELLS = (
    st.integers(-(2**31), 2**31 - 1),
    st.none() | REAL,
    st.none() | st.floats(),
    st.none() | TEXT,
    st.none() | INSTANT,
    st.none() | st.binary(max_size=4),
    st.none() | st.lists(st.none() | REAL, max_size=3),
)
ROWS = st.lists(st.tuples(*CELLS), min_size=1, max_size=6)
EDGES = [
    (1, math.nan, -0.0, "", None, b"", []),
    (1, math.inf, 0.0, None, None, None, None),
    (1, -math.inf, math.nan, ",()\"\\ '", None, b"\\", [None]),
    (1, -0.0, math.inf, "ü\n\t𝛂", None, b"\x00\xff", [math.nan, -0.0]),
]


@pytest.fixture
def table(conn: psycopg.Connection) -> psycopg.Connection:
    conn.execute(
        "CREATE TABLE telemetry.t (i integer, r real, d double precision, s text, at timestamptz, b bytea, a real[])"
    )
    return conn


def checksum_of(conn: psycopg.Connection, rows: list[tuple[object, ...]]) -> TableChecksum:
    conn.execute("TRUNCATE telemetry.t")
    with conn.cursor() as cursor, cursor.copy("COPY telemetry.t FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["int4", "float4", "float8", "text", "timestamptz", "bytea", "float4[]"])
        for row in rows:
            copy.write_row(row)
    with snapshot(conn) as tables:
        return table_checksum(conn, next(one for one in tables if one.name == "t"))


def same(one: object, other: object) -> bool:
    """As stored: NaN is NaN, -0.0 is not 0.0."""
    if isinstance(one, float) and isinstance(other, float):
        return (math.isnan(one) and math.isnan(other)) or struct.pack("d", one) == struct.pack("d", other)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, seed=st.integers(0, 2**32))
@example(rows=EDGES, seed=1)
def test_the_order_of_rows_is_nothing(table, rows, seed):
    shuffled = random.Random(seed).sample(rows, len(rows))
    assert checksum_of(table, shuffled) == checksum_of(table, rows)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, data=st.data())
def test_one_other_cell_is_another_checksum(table, rows, data):
    row = data.draw(st.integers(0, len(rows) - 1))
    column = data.draw(st.integers(0, len(CELLS) - 1))
    cell = data.draw(CELLS[column])
    assume(not same(cell, rows[row][column]))
    changed = [*rows]
    changed[row] = (*rows[row][:column], cell, *rows[row][column + 1 :])
    assert checksum_of(table, changed).checksum != checksum_of(table, rows).checksum


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1, 0.0, 0.0, "", None, None, None), (1, -0.0, 0.0, "", None, None, None)),
        ((1, None, 0.0, "", None, None, None), (1, math.nan, 0.0, "", None, None, None)),
        ((1, None, None, "", None, None, None), (1, None, None, None, None, None, None)),
        ((1, None, None, "a,b", None, None, None), (1, None, None, "a", None, None, None)),
        ((1, None, None, "é", None, None, None), (1, None, None, "e\u0301", None, None, None)),
        ((1, None, None, "null", None, None, None), (1, None, None, None, None, None, None)),
        ((1, None, None, None, None, b"", None), (1, None, None, None, None, None, None)),
        ((1, None, None, None, None, None, []), (1, None, None, None, None, None, [None])),
        ((1, None, 0.1, None, None, None, None), (1, None, math.nextafter(0.1, 1), None, None, None, None)),
    ],
)
def test_what_looks_alike_is_not_the_same(table, one, other):
    assert checksum_of(table, [one]).checksum != checksum_of(table, [other]).checksum


def test_values_that_change_places_between_rows_are_seen(table):
    """A sum of column hashes would not see it."""
    a, b = (1, 1.0, 2.0, "x", None, None, None), (2, 3.0, 4.0, "y", None, None, None)
    swapped = [(1, 3.0, 2.0, "x", None, None, None), (2, 1.0, 4.0, "y", None, None, None)]
    assert checksum_of(table, [a, b]).checksum != checksum_of(table, swapped).checksum


def test_a_row_that_stands_twice_counts_twice(table):
    row = EDGES[0]
    once, twice = checksum_of(table, [row]), checksum_of(table, [row, row])
    assert (twice.n_rows, twice.checksum != once.checksum) == (2, True)
    assert twice.checksum != checksum_of(table, [row, row, row, row]).checksum
