"""`pm import events`: events or trouble codes of a file by its mapping, one transaction a file."""

from datetime import datetime
from pathlib import Path

import polars as pl

from pm.pipelines.imports.clocks import read_clocks
from pm.pipelines.imports.mapping import FileMapping
from pm.pipelines.imports.mapping_cells import RowValues
from pm.pipelines.imports.reading import ImportReport, Tally, identify, notes_on, open_rows, read_rows
from pm.pipelines.imports.rows import DecodedRows, import_decoded
from pm.pipelines.imports.spool import Spool
from pm.pipelines.imports.times import time_limits
from pm.pipelines.imports.vehicle_refs import VehicleFinder
from pm.policy import Policy
from pm.progress import Track, silent
from pm.schema import Table
from pm.store import imports, logs
from pm.store.connection import Connection, transaction
from pm.tables import EVENT, FAULT


def import_events(
    conn: Connection,
    path: Path,
    mapping: FileMapping,
    *,
    policy: Policy,
    imported_at: datetime,
    track: Track = silent,
) -> ImportReport:
    """Store the events of a file in `pm.event`, or with a section [fault] in `pm.fault`, exactly once.

    What is said of refused rows and of importing again in `import_telemetry` holds here too.

    Raises:
        DataError: the file cannot be read, or lacks a column.
        StoreError: the database could not do it.
    """
    tally, file = Tally(), identify(path, mapping)
    table = open_rows(path, file, mapping)
    with transaction(conn), Spool() as spool:
        logs.hold_all(conn)
        before = imports.find(conn, file)
        if before is not None and before.n_rejected == 0:
            tally.n_rows = before.n_rows
            return tally.report(path, mapping.kind, n_stored=0, n_repeated=before.n_rows, was_there=True)
        finder, limits = VehicleFinder(conn, mapping.vehicle), time_limits(conn, policy, imported_at=imported_at)
        for rows in read_rows(path, table, mapping, tally, track):
            time, known_at = read_clocks(rows, mapping, limits)
            spool.add(_decode(rows, mapping, finder, time, known_at))
            tally.refuse(rows.refused())
        finder.finish()
        stored = import_decoded(
            conn,
            file,
            spool,
            imported_at=imported_at,
            n_rows=tally.n_rows,
            n_rejected=tally.n_rejected,
            rejected=tally.kept,
            track=track,
            n_batches=len(spool),
        )
        notes = notes_on(conn, file, tally, finder.n_added)
    repeated = stored.n_offered - stored.n_stored
    return tally.report(
        path, mapping.kind, n_stored=stored.n_stored, n_repeated=repeated, was_there=before is not None, notes=notes
    )


def _decode(
    rows: RowValues, mapping: FileMapping, finder: VehicleFinder, time: pl.Series, known_at: pl.Series
) -> DecodedRows:
    table = FAULT if mapping.is_fault else EVENT
    values = {name: rows.value(cell) for name, cell in mapping.cells.items()}
    values |= {"vehicle_id": finder.find(rows, known_at), "time": time}
    frame = _frame(table, values, rows.n_rows).with_columns(known_at=known_at).filter(rows.is_good())
    return DecodedRows(faults=frame) if mapping.is_fault else DecodedRows(events=frame)


def _frame(table: Table, values: dict[str, pl.Series], n_rows: int) -> pl.DataFrame:
    """The table's columns but log_file_id; a value nobody mapped is null."""
    return pl.DataFrame(
        [
            values.get(column.name, pl.Series([None], dtype=column.dtype).new_from_index(0, n_rows))
            .cast(column.dtype)
            .alias(column.name)
            for column in table.columns
            if column.name != "log_file_id"
        ]
    )
