"""What tests of imports share: mappings, files in each format, and a look at everything stored."""

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import psycopg
from psycopg import sql

IMPORTED_AT = datetime(2026, 6, 1, tzinfo=UTC)

TELEMETRY = """
[source]
name = "portal"
time_zone = "UTC"
[vehicle]
fleet = { constant = "north" }
vehicle_ref = "unit"
[time]
column = "at"
[known_at]
column = "received"
[signals.ET1]
EngCoolantTemp = { column = "coolant_f", unit = "degF" }
[signals.PORTAL]
Odometer = { column = "odometer_mi", unit = "mi", stored_unit = "km", double_precision = true }
Level = { column = "level", missing = [255], description = "tank", spn = 96, unit = "%" }
"""
EVENTS = """
[source]
time_zone = "UTC"
[vehicle]
fleet = { constant = "north" }
vehicle_ref = "unit"
[time]
column = "at"
[known_at]
column = "received"
[event]
kind = { constant = "alarm" }
code = "code"
value = "level"
"""


def write_table(frame: pl.DataFrame, path: Path) -> Path:
    """`frame` as the file that the suffix says; CSV and JSON as plain programs write them."""
    plain = frame.with_columns(pl.selectors.datetime().dt.to_string("%Y-%m-%dT%H:%M:%S%.f"))
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    elif path.suffix == ".csv":
        plain.write_csv(path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in plain.iter_rows(named=True)), encoding="utf-8")
    return path


def contents(conn: psycopg.Connection) -> dict[str, list[str]]:
    """Every row of every table of the product, as sorted text, without what the database's own clock wrote."""
    found = {}
    for schema, name in tables(conn):
        columns = [
            str(row[0])
            for row in conn.execute(
                "SELECT column_name FROM information_schema.columns WHERE (table_schema, table_name) = (%s, %s)",
                (schema, name),
            )
        ]
        kept = [name for name in columns if name not in ("ingested_at", "marked_at", "applied_at")]
        if kept:
            listed = sql.SQL(", ").join(map(sql.Identifier, kept))
            query = sql.SQL("SELECT ROW({})::text FROM {} ORDER BY 1").format(listed, sql.Identifier(schema, name))
            found[f"{schema}.{name}"] = [str(row[0]) for row in conn.execute(query)]
    return found


def tables(conn: psycopg.Connection) -> list[tuple[str, str]]:
    """The tables of the product: schema and name."""
    return conn.execute(
        "SELECT schemaname, tablename FROM pg_catalog.pg_tables WHERE schemaname IN ('pm', 'telemetry') ORDER BY 1, 2"
    ).fetchall()
