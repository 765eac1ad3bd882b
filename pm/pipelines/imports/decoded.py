"""A file of decoded rows -> the store, exactly once: what telemetry and events share.

What belongs here: one file's transaction. What a row is, say `telemetry` and `events`; how parts, statistics
and dirty days are written, `rows`.
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import polars as pl

from pm.pipelines.imports.clocks import read_clocks
from pm.pipelines.imports.mapping import FileMapping
from pm.pipelines.imports.mapping_cells import RowValues
from pm.pipelines.imports.reading import (
    ROUNDED,
    ImportReport,
    Tally,
    identify,
    notes_on,
    open_rows,
    read_rows,
    report_stored,
)
from pm.pipelines.imports.rows import DecodedRows, import_decoded
from pm.pipelines.imports.spool import Spool
from pm.pipelines.imports.times import time_limits
from pm.pipelines.imports.vehicle_refs import VehicleFinder
from pm.policy import Policy
from pm.progress import Track
from pm.store import imports, logs
from pm.store.connection import Connection, transaction

Clocks = tuple[pl.Series, pl.Series]
"""Event time and knowledge time of each row."""
Decode = Callable[[RowValues, Clocks, VehicleFinder, Tally], DecodedRows]


def store_decoded_rows(
    conn: Connection,
    path: Path,
    mapping: FileMapping,
    *,
    decoder: Callable[[Connection], Decode],
    policy: Policy,
    imported_at: datetime,
    track: Track,
) -> ImportReport:
    """Store the rows of a file that `decoder(conn)` makes of each batch; one transaction, and once.

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
            return report_stored(path, mapping, before, tally)
        decode = decoder(conn)
        finder, limits = VehicleFinder(conn, mapping.vehicle), time_limits(conn, policy, imported_at=imported_at)
        for rows in read_rows(path, table, mapping, tally, track):
            spool.add(decode(rows, read_clocks(rows, mapping, limits), finder, tally))
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
            counts={name: count for name, count in tally.counts.items() if not name.startswith(ROUNDED)},
            track=track,
            n_batches=len(spool),
        )
        notes = notes_on(conn, file, tally, finder.n_added)
    repeated = stored.n_offered - stored.n_stored
    return tally.report(
        path, mapping.kind, n_stored=stored.n_stored, n_repeated=repeated, was_there=before is not None, notes=notes
    )
