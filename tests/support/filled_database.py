"""A database in which every table that can hold rows of a vehicle has one, whatever tables there are."""

from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg import sql

from pm.canbus.dbc import load_dbc
from pm.store.catalog import StoredTable, parents_first, stored_tables
from pm.store.telemetry_tables import ensure_table
from pm.store.vehicles import add_vehicle

PROJECT = Path(__file__).resolve().parents[2]
KNOWN_AT = datetime(2026, 3, 10, tzinfo=UTC)
VALUES = {
    "integer": "1",
    "smallint": "1",
    "bigint": "1",
    "text": "'x'",
    "timestamp with time zone": "'2026-03-02 12:00Z'",
    "date": "'2026-03-02'",
    "boolean": "false",
    "real": "0.1",
    "double precision": "0.1",
    "jsonb": "'{}'",
    "real[]": "'{0.1,NULL,NaN}'",
    "bigint[]": "'{0,86400000000}'",
    "bytea": "'\\x000a780100'",
    "text[]": "'{}'",
}
WORDS = {
    "role": "'champion'",
    "status": "'ok'",
    "state": "'positive'",
    ("failure", "kind"): "'failure'",
    ("assumption", "status"): "'mark'",
}
"""What the checks of the tables let pass."""


def fill(conn: psycopg.Connection, *refs: str) -> dict[str, int]:
    """Vehicles with these unit numbers, VIN `VIN-<ref>`, and a row of each in every table; their numbers."""
    database = load_dbc((PROJECT / "dbc" / "j1939_open_subset.dbc",))
    ensure_table(conn, next(message for message in database.messages if message.name == "ET1"))
    conn.execute("INSERT INTO pm.feature_set VALUES ('x', 'x', 1, '{}') ON CONFLICT DO NOTHING")
    conn.execute("INSERT INTO pm.policy VALUES ('x', '{}') ON CONFLICT DO NOTHING")
    found = {}
    for number, ref in enumerate(refs):
        found[ref] = add_vehicle(conn, fleet="north", vehicle_ref=ref, known_at=KNOWN_AT, vin=f"VIN-{ref}")
        for table in parents_first(conn, stored_tables(conn)):
            if table.column_names & {"vehicle_id", "log_file_id"} and table.name not in ("vehicle", "vehicle_identity"):
                _insert(conn, table, found[ref], ref, number)
    return found


def _insert(conn: psycopg.Connection, table: StoredTable, vehicle_id: int, ref: str, number: int) -> None:
    own = {
        "vehicle_id": str(vehicle_id),
        "log_file_id": str(1000 + number),
        "sha256": f"'{_sha256(number)}'",
        "file_name": f"'{ref}.log'",
        "work_order_id": f"'{number}'",
    }
    columns = [column for column in table.columns if not column.generated]
    values = [
        WORDS.get((table.name, column.name), WORDS.get(column.name, own.get(column.name, VALUES[column.type])))
        for column in columns
    ]
    conn.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            table.identifier,
            sql.SQL(", ").join(sql.Identifier(column.name) for column in columns),
            sql.SQL(", ").join(map(sql.SQL, values)),
        )
    )


def _sha256(number: int) -> str:
    return f"{number:064x}"
