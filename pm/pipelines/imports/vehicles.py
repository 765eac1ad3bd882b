"""`pm import vehicles`: vehicles of a file into `vehicle` and `vehicle_identity`."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import polars as pl

from pm.pipelines.imports.clocks import knowledge_time
from pm.pipelines.imports.mapping import FileMapping, plain_mapping
from pm.pipelines.imports.mapping_cells import RowValues
from pm.pipelines.imports.reading import ImportReport, Tally, identify, notes_on, open_rows, read_rows, report_stored
from pm.pipelines.imports.vehicle_refs import refuse_vins
from pm.progress import Track, silent
from pm.store import imports, logs, vehicles
from pm.store.connection import Connection, transaction
from pm.store.imports import RejectedRow
from pm.tables import VEHICLE

_NAME: Final = ["fleet", "vehicle_ref"]
_GIVEN: Final = {column.name: column.dtype for column in VEHICLE.columns if column.name != "vehicle_id"} | {
    "vin": pl.String()
}
"""Columns of a vehicle as the store takes it."""


@dataclass(frozen=True)
class VehicleImport:
    """How many vehicles the file named, and the rows that were refused."""

    n_vehicles: int
    rejected: tuple[RejectedRow, ...]


def import_vehicles(conn: Connection, path: Path, *, known_at: datetime) -> VehicleImport:
    """Add the vehicles of a file whose columns have the names of VEHICLE's.

    A vehicle is known from its first day in the fleet, or from `known_at` where the file does not
    say it: a history that is imported later can be replayed.

    Raises:
        DataError: the file or its header cannot be used.
    """
    report = import_mapped_vehicles(conn, path, plain_mapping("vehicles"), imported_at=known_at)
    return VehicleImport(report.n_stored + report.n_repeated, report.rejected)


def import_mapped_vehicles(
    conn: Connection, path: Path, mapping: FileMapping, *, imported_at: datetime, track: Track = silent
) -> ImportReport:
    """Add the vehicles of a file by its mapping, each once; one transaction.

    Rows of one vehicle are put together: the earliest in_service_at, the latest left_at, of everything else
    the last value. Of a vehicle that is there, what the file says is written over what is stored.
    `n_stored` of the report are vehicles that were new or said something new.

    Raises:
        DataError: the file cannot be read, or lacks a column.
        StoreError: the database could not do it.
    """
    tally, file = Tally(), identify(path, mapping)
    table = open_rows(path, file, mapping)
    with transaction(conn):
        logs.hold_all(conn)
        before = imports.find(conn, file)
        if before is not None and before.n_rejected == 0:
            return report_stored(path, mapping, before, tally)
        found: list[pl.DataFrame] = []
        for rows in read_rows(path, table, mapping, tally, track):
            found = [_merged([*found, _rows_of(rows, mapping, imported_at)])]
            tally.refuse(rows.refused())
        given = found[0] if found else _merged([])
        n_changed = int(vehicles.add_vehicles(conn, given)["is_changed"].sum()) if given.height else 0
        imports.record(
            conn,
            file,
            imported_at=imported_at,
            n_rows=tally.n_rows,
            n_stored=n_changed,
            n_rejected=tally.n_rejected,
            rejected=tally.kept,
        )
        notes = notes_on(conn, file, tally, 0)
    return tally.report(
        path,
        mapping.kind,
        n_stored=n_changed,
        n_repeated=given.height - n_changed,
        was_there=before is not None,
        notes=notes,
    )


def _rows_of(rows: RowValues, mapping: FileMapping, imported_at: datetime) -> pl.DataFrame:
    """VEHICLE without vehicle_id, and vin, of the rows that can be taken."""
    choice = mapping.vehicle
    named = {"fleet": choice.fleet, "vehicle_ref": choice.vehicle_ref, "vin": choice.vin}
    texts = {name: rows.text(cell) for name, cell in named.items() if cell is not None}
    for name in _NAME:
        rows.refuse(texts[name].is_null(), f"{name}: expected a value, but got none")
    refuse_vins(rows, texts["vehicle_ref"])
    values = texts | {name: rows.value(cell) for name, cell in mapping.cells.items()}
    values["known_at"] = _known_at(rows, mapping, values, imported_at)
    rows.refuse(
        values["known_at"] > imported_at, "known_at: expected an instant before the import, but got a later one"
    )
    empty = pl.Series([None]).new_from_index(0, rows.n_rows)
    frame = pl.DataFrame([values.get(name, empty).cast(dtype).alias(name) for name, dtype in _GIVEN.items()])
    return frame.filter(rows.is_good())


def _known_at(rows: RowValues, mapping: FileMapping, values: dict[str, pl.Series], imported_at: datetime) -> pl.Series:
    began = values.get("in_service_at")
    happened = [] if began is None else [began]
    if mapping.knowledge.cell is not None or (mapping.knowledge.after is not None and happened):
        return knowledge_time(rows, mapping.knowledge, happened, imported_at)
    default = knowledge_time(rows, type(mapping.knowledge)(), happened, imported_at)
    if began is None:
        return default
    # Known from its first day: a history that is imported later can be replayed.
    return pl.select(pl.min_horizontal(pl.lit(began), pl.lit(default))).to_series()


def _merged(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """One row a vehicle, in the order of the file."""
    rows = pl.concat([pl.DataFrame(schema=_GIVEN), *frames])
    others = [name for name in _GIVEN if name not in {*_NAME, "in_service_at", "left_at", "known_at"}]
    merged = rows.group_by(_NAME, maintain_order=True).agg(
        pl.col("in_service_at", "known_at").min(),
        pl.col("left_at").max(),
        pl.col(others).drop_nulls().last(),
    )
    return merged.select(list(_GIVEN))
