"""`pm import vehicles`: a CSV file of vehicles into `vehicle` and `vehicle_identity`."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import polars as pl

from pm.pipelines.tabular import RejectedRow, read_rows
from pm.schema import Column
from pm.store import vehicles
from pm.store.connection import Connection
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


def import_vehicles(conn: Connection, path: Path, *, known_at: datetime) -> VehicleImport:
    """Add the vehicles of a CSV file; those already there by fleet and reference are kept.

    A vehicle is known from its first day in the fleet, or from `known_at` where the file does not
    say it: a history that is imported later can be replayed.

    Raises:
        DataError: the file or its header cannot be used.
    """
    rows = read_rows(path, COLUMNS)
    with conn.transaction():
        for row in rows.frame.drop("line").iter_rows(named=True):
            began = row["in_service_at"] or known_at
            vehicles.add_vehicle(conn, known_at=min(began, known_at), **row)
    return VehicleImport(rows.frame.height, rows.rejected)
