"""`pm import work-orders`: work order lines of a file into `work_order`, every version kept."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from pm.pipelines.imports.clocks import knowledge_time
from pm.pipelines.imports.mapping import FileMapping, plain_mapping
from pm.pipelines.imports.mapping_cells import RowValues
from pm.pipelines.imports.reading import ImportReport, Tally, identify, notes_on, open_rows, read_rows, report_stored
from pm.pipelines.imports.vehicle_refs import VehicleFinder
from pm.progress import Track, silent
from pm.store import imports, logs, work_orders
from pm.store.connection import Connection, transaction
from pm.store.imports import RejectedRow
from pm.tables import WORK_ORDER

_LINE: Final = "line in the file"
"""With spaces, which no column of the table has."""
_PAST: Final = ("opened_at", "completed_at", "reported_at", "out_of_service_at", "returned_to_service_at")
_TOLERANCE: Final = timedelta(minutes=5)
"""Clocks differ."""
CLASH: Final = "expected one content of a work order line known at one instant, but got another"


@dataclass(frozen=True)
class WorkOrderImport:
    """Versions in the file, versions that were new, and the rows that were refused."""

    n_versions: int
    n_new: int
    rejected: tuple[RejectedRow, ...]


def import_work_orders(conn: Connection, path: Path, *, imported_at: datetime) -> WorkOrderImport:
    """Store each version of each line of a file whose columns have the names of WORK_ORDER's, once.

    `recorded_at` is the knowledge time; a row without it was known when it was imported, never
    when the work was completed. A row of an unknown vehicle, or recorded after the import, is
    refused with its reason.

    Raises:
        DataError: the file or its header cannot be used.
    """
    report = import_mapped_work_orders(conn, path, plain_mapping("work-orders"), imported_at=imported_at)
    return WorkOrderImport(report.n_stored + report.n_repeated, report.n_stored, report.rejected)


def import_mapped_work_orders(
    conn: Connection, path: Path, mapping: FileMapping, *, imported_at: datetime, track: Track = silent
) -> ImportReport:
    """Store each version of each line of a file by its mapping, once; one transaction.

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
        finder = VehicleFinder(conn, mapping.vehicle)
        found = [WORK_ORDER.empty().with_columns(pl.lit(0, pl.Int64()).alias(_LINE))]
        for rows in read_rows(path, table, mapping, tally, track):
            found.append(_versions(rows, mapping, finder, imported_at))
            tally.refuse(rows.refused())
        finder.finish()
        given = pl.concat(found)
        versions = _without_clashes(conn, given, tally)
        n_new = work_orders.insert_versions(conn, WORK_ORDER.check(versions.drop(_LINE)))
        imports.record(
            conn,
            file,
            imported_at=imported_at,
            n_rows=tally.n_rows,
            n_stored=n_new,
            n_rejected=tally.n_rejected,
            rejected=tally.kept,
        )
        notes = notes_on(conn, file, tally, finder.n_added)
    n_repeated = tally.n_rows - tally.n_left_out - tally.n_rejected - n_new
    return tally.report(
        path, mapping.kind, n_stored=n_new, n_repeated=n_repeated, was_there=before is not None, notes=notes
    )


def _versions(rows: RowValues, mapping: FileMapping, finder: VehicleFinder, imported_at: datetime) -> pl.DataFrame:
    """WORK_ORDER with the line of each row, of the rows that can be taken."""
    values = {name: rows.value(cell) for name, cell in mapping.cells.items()}
    happened = [values[name] for name in _PAST if name in values]
    known_at = knowledge_time(rows, mapping.knowledge, happened, imported_at)
    _refuse_early(rows, values, known_at, imported_at)
    values |= {"known_at": known_at, "vehicle_id": finder.find(rows, known_at), _LINE: rows.lines}
    columns = [
        values.get(column.name, pl.Series([None], dtype=column.dtype).new_from_index(0, rows.n_rows))
        .cast(column.dtype)
        .alias(column.name)
        for column in WORK_ORDER.columns
    ]
    frame = pl.DataFrame([*columns, rows.lines.alias(_LINE)])
    return frame.with_columns(pl.col("withdrawn").fill_null(value=False)).filter(rows.is_good())


def _refuse_early(rows: RowValues, values: dict[str, pl.Series], known_at: pl.Series, imported_at: datetime) -> None:
    """Refuse versions known after the import, or before what they tell had happened.

    Such a version was edited after its recorded_at: with that instant it would bring later knowledge into
    earlier decisions.
    """
    rows.refuse(known_at > imported_at, "recorded_at: expected an instant before the import, but got a later one")
    for name in _PAST:
        if name in values:
            said = f"recorded_at: expected an instant at or after {name}, but got an earlier one"
            rows.refuse(values[name] > known_at + _TOLERANCE, said)


def _without_clashes(conn: Connection, given: pl.DataFrame, tally: Tally) -> pl.DataFrame:
    """One row a version; a row that says something else of one than an earlier row or than is stored is refused."""
    key = list(WORK_ORDER.key)
    content = [name for name in WORK_ORDER.column_names if name not in key]
    distinct = given.unique([*key, *content], keep="first", maintain_order=True)
    first = distinct.unique(key, keep="first", maintain_order=True)
    stored = work_orders.fetch_orders(conn, first["work_order_id"].unique())
    others = distinct.join(first.select(*key, _LINE), on=[*key, _LINE], how="anti")
    differs = first.join(stored, on=WORK_ORDER.column_names, how="anti", nulls_equal=True).join(
        stored, on=key, how="semi"
    )
    tally.refuse(RejectedRow(line, CLASH) for line in pl.concat([others, differs])[_LINE].sort().to_list())
    return first.join(differs, on=_LINE, how="anti")
