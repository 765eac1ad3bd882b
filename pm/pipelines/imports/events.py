"""`pm import events`: events or trouble codes of a file by its mapping, one transaction a file."""

from datetime import datetime
from functools import partial
from pathlib import Path

import polars as pl

from pm.pipelines.imports.decoded import Clocks, store_decoded_rows
from pm.pipelines.imports.mapping import FileMapping
from pm.pipelines.imports.mapping_cells import RowValues
from pm.pipelines.imports.reading import ImportReport, Tally
from pm.pipelines.imports.rows import DecodedRows
from pm.pipelines.imports.vehicle_refs import VehicleFinder
from pm.policy import Policy
from pm.progress import Track, silent
from pm.schema import Table
from pm.store.connection import Connection
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
    return store_decoded_rows(
        conn,
        path,
        mapping,
        decoder=lambda _: partial(_decode, mapping=mapping),
        policy=policy,
        imported_at=imported_at,
        track=track,
    )


def _decode(
    rows: RowValues, clocks: Clocks, finder: VehicleFinder, _tally: Tally, *, mapping: FileMapping
) -> DecodedRows:
    time, known_at = clocks
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
