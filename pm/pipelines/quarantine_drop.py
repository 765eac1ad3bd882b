"""Files in quarantine -> given up."""

from dataclasses import dataclass

import polars as pl

from pm.progress import Track, silent
from pm.store import archive, logs, quarantine
from pm.store.connection import Connection, connect, transaction
from pm.tables import QUARANTINE


@dataclass(frozen=True)
class DropReport:
    """What was given up."""

    vehicle_id: int
    sha256: str
    file_name: str
    bytes_removed: bool
    """False: a stored file or another one in quarantine has the same bytes, so that the archive keeps them."""


def drop_quarantined(
    url: str, files: pl.DataFrame, *, archive_address: str, track: Track = silent
) -> tuple[DropReport, ...]:
    """Take files (QUARANTINE) out of quarantine, and their bytes out of the archive.

    Bytes that anything else in the database names stay. One that is gone already is passed over.

    Raises:
        StoreError: the archive or the database could not do it; what was dropped before stays dropped.
    """
    rows = list(QUARANTINE.check(files).select("vehicle_id", "sha256", "file_name").iter_rows())
    with connect(url) as conn:
        reports = [_drop(conn, *row, archive_address=archive_address) for row in track(rows, "drop", len(rows))]
    return tuple(report for report in reports if report is not None)


def _drop(conn: Connection, vehicle_id: int, sha256: str, file_name: str, *, archive_address: str) -> DropReport | None:
    with transaction(conn):
        # Nobody may find the bytes in the archive now and count on them.
        logs.hold_all(conn)
        if not quarantine.release(conn, vehicle_id=vehicle_id, sha256=sha256):
            return None
        is_needed = quarantine.is_named(conn, sha256)
        if not is_needed:
            archive.delete(archive_address, sha256)
    return DropReport(vehicle_id, sha256, file_name, bytes_removed=not is_needed)
