"""`pm import vehicles`: a CSV file of vehicles into `vehicle` and `vehicle_identity`."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import polars as pl
import psycopg

from pm.pipelines.tabular import RejectedRow, read_rows
from pm.schema import Column
from pm.store import vehicles
from pm.tables import VEHICLE

_FILLED_HERE: Final = frozenset({"vehicle_id", "known_at"})
COLUMNS: Final = (
    *(column for column in VEHICLE.columns if column.name not in _FILLED_HERE),
    Column("vin", pl.String(), "vehicle identification number", nullable=True),
)


@dataclass(frozen=True)
class VehicleImport:
    """How many vehicles the file named, and the rows that were refused."""

    n_vehicles: int
    rejected: tuple[RejectedRow, ...]


def import_vehicles(conn: psycopg.Connection, path: Path, *, known_at: datetime) -> VehicleImport:
    """Add the vehicles of a CSV file; those already there by fleet and reference are kept.

    Raises:
        DataError: the file or its header cannot be used.
    """
    rows = read_rows(path, COLUMNS)
    with conn.transaction():
        for row in rows.frame.drop("line").iter_rows(named=True):
            vehicles.add_vehicle(conn, known_at=known_at, **row)
    return VehicleImport(rows.frame.height, rows.rejected)
