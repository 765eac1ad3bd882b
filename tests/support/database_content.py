"""What a database holds, as plain rows: an engine of its own beside `pm.store.checksums`, for tests.

It shares no code and no query with the product: every row comes as JSON made by the server, Python
puts in what a generated number stands for, and leaves out what the clock or the order of arrival gave.
Slow, and the differences can be read.
"""

import json
from typing import Any, Final

import psycopg
from psycopg import sql

Content = dict[str, list[str]]
"""By table: its rows as JSON, sorted. Tables without rows are left out."""

SCHEMAS: Final = ("pm", "telemetry")
_CLOCK: Final = {"ingested_at", "marked_at", "first_refused_at", "last_refused_at"}
_NO_CONTENT: Final = {"schema_migration"}


def content_of(conn: psycopg.Connection, *, vehicle_id: int | None = None) -> Content:
    """Every row of schemas pm and telemetry; with `vehicle_id` those of one vehicle, without saying which it is.

    A log file stands as sha256 and part (with all vehicles: and the unit number), a vehicle as its unit number.
    """
    refs = dict(conn.execute("SELECT vehicle_id, fleet || '/' || vehicle_ref FROM pm.vehicle").fetchall())
    if vehicle_id is not None:
        refs = {vehicle_id: "the vehicle"}
    files = {
        number: f"{refs[owner]}, file {sha256[:12]}, part {part}"
        for number, owner, sha256, part in conn.execute(
            "SELECT log_file_id, vehicle_id, sha256, part FROM pm.log_file"
        ).fetchall()
        if owner in refs
    }
    content = {}
    for schema, table, columns in _tables(conn):
        rows = _rows(conn, schema, table, columns, list(refs), list(files)) if vehicle_id is not None else None
        if rows is None:
            rows = _all_rows(conn, schema, table)
        if vehicle_id is not None and table == "vehicle":
            continue
        shown = sorted(json.dumps(_shown(row, refs, files), sort_keys=True) for row in rows)
        if shown:
            content[f"{schema}.{table}"] = shown
    return content


def _tables(conn: psycopg.Connection) -> list[tuple[str, str, set[str]]]:
    found = conn.execute(
        "SELECT table_schema, table_name, array_agg(column_name::text) FROM information_schema.columns"
        " JOIN information_schema.tables USING (table_schema, table_name)"
        " WHERE table_schema = ANY(%s) AND table_type = 'BASE TABLE' GROUP BY 1, 2 ORDER BY 1, 2",
        (list(SCHEMAS),),
    ).fetchall()
    return [(schema, table, set(columns)) for schema, table, columns in found if table not in _NO_CONTENT]


def _all_rows(conn: psycopg.Connection, schema: str, table: str) -> list[dict[str, Any]]:
    query = sql.SQL("SELECT to_jsonb(t) FROM {} AS t").format(sql.Identifier(schema, table))
    return [row for (row,) in conn.execute(query).fetchall()]


def _rows(
    conn: psycopg.Connection, schema: str, table: str, columns: set[str], vehicles: list[int], files: list[int]
) -> list[dict[str, Any]]:
    """The rows of these vehicles and files; of a table that knows neither, none."""
    by = next((name for name in ("vehicle_id", "log_file_id") if name in columns), None)
    if by is None:
        return []
    query = sql.SQL("SELECT to_jsonb(t) FROM {} AS t WHERE {} = ANY(%s)").format(
        sql.Identifier(schema, table), sql.Identifier(by)
    )
    return [row for (row,) in conn.execute(query, (vehicles if by == "vehicle_id" else files,)).fetchall()]


def _shown(row: dict[str, Any], refs: dict[int, str], files: dict[int, str]) -> dict[str, Any]:
    shown = {name: value for name, value in row.items() if name not in _CLOCK and value is not None}
    # A number that stands for nothing stays, and so is seen.
    if "vehicle_id" in shown:
        shown["vehicle_id"] = refs.get(shown["vehicle_id"], shown["vehicle_id"])
    if "log_file_id" in shown:
        shown["log_file_id"] = files.get(shown["log_file_id"], shown["log_file_id"])
    return shown
