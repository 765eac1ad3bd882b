"""Erasing everything of a vehicle from the database.

What belongs here: which rows are a vehicle's, and deleting them. Its files are `pm.pipelines.forget`.

The tables are found in the catalog: every one of schemas pm and telemetry that has a column
vehicle_id, and those that know it by log_file_id alone. So a table that comes later is not forgotten.
"""

import re
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql

from pm.errors import DataError
from pm.store.catalog import StoredTable, parents_first, stored_tables
from pm.store.queries import refusals, run

FREE_TEXT: Final = (
    ("log_file", "file_name"),
    ("import_file", "file_name"),
    ("quarantine", "file_name"),
    ("quarantine", "reason"),
    ("rejected_row", "reason"),
    ("work_order", "description"),
)
"""Where rows of others may name the vehicle: a file of several vehicles, a refusal, a shop's remark."""
FORGOTTEN: Final = "(forgotten)"
_SHORT_NUMBER: Final = re.compile(r"\d{1,3}")
"""Unit numbers that stand for anything in a text."""


@dataclass(frozen=True)
class VehicleNames:
    """What a vehicle is called."""

    vehicle_id: int
    fleet: str
    vehicle_ref: str
    vin: str | None
    is_shared_ref: bool
    """Whether a vehicle of another fleet has the same unit number."""


@dataclass(frozen=True)
class RawFile:
    """A raw file of the vehicle; shared: of another one too."""

    sha256: str
    is_shared: bool


def fetch_names(conn: psycopg.Connection, vehicle_id: int) -> VehicleNames:
    """What the vehicle is called.

    Raises:
        DataError: there is no such vehicle.
    """
    row = run(conn, "forget", "known_as", vehicle_id=vehicle_id).fetchone()
    if row is None:
        raise DataError(f"vehicle {vehicle_id}: expected a known vehicle, but got none of that number")
    return VehicleNames(vehicle_id, *row)


def fetch_raw_files(conn: psycopg.Connection, vehicle_id: int) -> tuple[RawFile, ...]:
    """The raw files that the vehicle's rows name, stored or refused, by sha256."""
    return tuple(RawFile(*row) for row in run(conn, "forget", "raw_files", vehicle_id=vehicle_id).fetchall())


def count_rows(conn: psycopg.Connection, vehicle_id: int) -> dict[str, int]:
    """Rows that `delete_rows` would delete, by table; tables without any are left out."""
    return _each(conn, vehicle_id, "SELECT count(*) FROM {}")


def delete_rows(conn: psycopg.Connection, names: VehicleNames) -> dict[str, int]:
    """Delete every row of the vehicle; how many, by table.

    Inside the caller's transaction, which holds all writers (`pm.store.logs.hold_all`). In texts of
    others its VIN and unit number become "(forgotten)"; a unit number of up to three digits alone
    stays there, since such a number may mean anything.

    Raises:
        StoreError: the database could not do it.
    """
    with refusals(f"vehicle {names.vehicle_ref}"):
        run(conn, "forget", "hand_on_signals", vehicle_id=names.vehicle_id)
        deleted = _each(conn, names.vehicle_id, "DELETE FROM {}")
        for table, column in FREE_TEXT:
            _blank(conn, table, column, names)
    return deleted


def _each(conn: psycopg.Connection, vehicle_id: int, action: str) -> dict[str, int]:
    found = {}
    # Children before the rows they refer to, the vehicle itself last. Those that know it by log_file_id
    # alone before all: they need the log files, and refer to them by no foreign key.
    tables = reversed(parents_first(conn, stored_tables(conn)))
    for table in sorted(tables, key=lambda table: "vehicle_id" in table.column_names):
        where = _of_vehicle(table)
        if where is None:
            continue
        statement = sql.SQL("{} WHERE {}").format(sql.SQL(action).format(table.identifier), where)
        with refusals(f"table {table}"):
            done = conn.execute(statement, {"vehicle_id": vehicle_id})
            row = done.fetchone() if done.description else None
        found[str(table)] = int(row[0]) if row else done.rowcount
    return {name: n_rows for name, n_rows in sorted(found.items()) if n_rows}


def _of_vehicle(table: StoredTable) -> sql.SQL | None:
    """Which rows of the table are the vehicle's; None: none can be."""
    if "vehicle_id" in table.column_names:
        return sql.SQL("vehicle_id = %(vehicle_id)s")
    if "log_file_id" in table.column_names:
        return sql.SQL("log_file_id IN (SELECT log_file_id FROM pm.log_file WHERE vehicle_id = %(vehicle_id)s)")
    return None


def _blank(conn: psycopg.Connection, table: str, column: str, names: VehicleNames) -> None:
    words = [names.vin] if names.vin else []
    if not names.is_shared_ref and not _SHORT_NUMBER.fullmatch(names.vehicle_ref):
        words.append(names.vehicle_ref)
    for word in words:
        # As a whole word only, or T-1 would be taken out of T-10.
        pattern = f"(?<![[:alnum:]]){re.escape(word)}(?![[:alnum:]])"
        conn.execute(
            sql.SQL(
                "UPDATE {table} SET {column} = regexp_replace({column}, %(pattern)s, %(new)s, 'gi') "
                "WHERE {column} ~* %(pattern)s"
            ).format(table=sql.Identifier("pm", table), column=sql.Identifier(column)),
            {"pattern": pattern, "new": FORGOTTEN},
        )
