"""The database that the migrations make has the tables that `pm.tables` declares."""

import psycopg
import pytest

from pm.store.copy_binary import postgres_type
from pm.tables import ASSUMPTION_STATUSES, FAILURE_KINDS, LABEL_STATES, PREDICTION_STATUSES, STAGES, STORED

_COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod), NOT attnotnull, attidentity <> '',
       coalesce(col_description(attrelid, attnum), '')
FROM pg_catalog.pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
ORDER BY attnum
"""
_KEY = """
SELECT array_agg(a.attname::text ORDER BY k.position)
FROM pg_catalog.pg_constraint AS c
CROSS JOIN unnest(c.conkey) WITH ORDINALITY AS k (attnum, position)
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = k.attnum
WHERE c.conrelid = %s::regclass AND c.contype = 'p'
"""


def sql_type(dtype: object, *, json: bool) -> str:
    text = postgres_type(dtype, json=json).sql  # type: ignore[arg-type]
    return {"timestamptz": "timestamp with time zone"}.get(text, text)


def test_every_table_has_the_declared_columns(conn: psycopg.Connection) -> None:
    for table in STORED:
        found = conn.execute(_COLUMNS, (f"pm.{table.name}",)).fetchall()
        declared = [
            (
                column.name,
                sql_type(column.dtype, json=column.json),
                column.nullable,
                column.name in table.generated,
                column.meaning + (f" [{column.unit}]" if column.unit else ""),
            )
            for column in table.columns
        ]
        assert found == declared, table.name


def test_every_table_has_the_declared_key_and_meaning(conn: psycopg.Connection) -> None:
    for table in STORED:
        assert conn.execute(_KEY, (f"pm.{table.name}",)).fetchone() == (list(table.key),), table.name
        said = conn.execute("SELECT obj_description(%s::regclass)", (f"pm.{table.name}",)).fetchone()
        assert said == (table.meaning,)


def test_schema_pm_holds_nothing_else(conn: psycopg.Connection) -> None:
    found = {str(row[0]) for row in conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'pm'")}
    assert found == {table.name for table in STORED} | {"schema_migration", "vehicle_identity"}


def test_only_vehicle_identity_has_vins(conn: psycopg.Connection) -> None:
    query = "SELECT table_name FROM information_schema.columns WHERE column_name LIKE '%vin%' AND table_schema = 'pm'"
    assert conn.execute(query).fetchall() == [("vehicle_identity",)]


@pytest.mark.parametrize(
    ("table", "column", "words"),
    [
        ("label", "state", LABEL_STATES),
        ("failure", "kind", FAILURE_KINDS),
        ("stage_transition", "from_stage", STAGES),
        ("stage_transition", "to_stage", STAGES),
        ("prediction", "status", PREDICTION_STATUSES),
        ("assumption", "status", ASSUMPTION_STATUSES),
    ],
)
def test_checked_words_are_the_declared_ones(
    conn: psycopg.Connection, table: str, column: str, words: tuple[str, ...]
) -> None:
    query = (
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = %s::regclass AND contype = 'c' AND pg_get_constraintdef(oid) LIKE %s"
    )
    rows = conn.execute(query, (f"pm.{table}", f"%{column} = ANY%")).fetchall()
    assert len(rows) == 1
    assert [part.split("'")[1] for part in str(rows[0][0]).split("ARRAY[")[1].split(",")] == list(words)


def test_faults_and_events_are_hypertables_where_there_is_timescaledb(conn: psycopg.Connection) -> None:
    if conn.execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'").fetchone() is None:
        assert conn.execute("SELECT to_regclass('timescaledb_information.hypertables')").fetchone() == (None,)
        return
    query = "SELECT hypertable_name::text FROM timescaledb_information.hypertables WHERE hypertable_schema = 'pm'"
    assert sorted(conn.execute(query).fetchall()) == [("event",), ("fault",)]
