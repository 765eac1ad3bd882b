"""`pm vehicle forget`: a vehicle -> nothing of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from pm.pipelines.forget_inbox import forget_inbox, inbox_files
from pm.progress import Track, silent
from pm.settings import Settings
from pm.store import archive, forget, logs
from pm.store.connection import Connection, transaction


@dataclass(frozen=True)
class ForgetReport:
    """What was erased, or (`is_dry_run`) would be."""

    fleet: str
    vehicle_ref: str
    is_dry_run: bool
    n_rows: Mapping[str, int]
    """By table; those without a row of the vehicle are left out."""
    n_raw_files: int
    """In the archive."""
    n_raw_kept: int
    """In the archive, kept because rows of another vehicle name the same bytes."""
    n_inbox_files: int
    is_inbox_kept: bool
    """Whether its inbox folder stays, because a vehicle of another fleet has the same unit number."""


def forget_vehicle(
    conn: Connection, settings: Settings, vehicle_id: int, *, dry_run: bool = False, track: Track = silent
) -> ForgetReport:
    """Erase everything of a vehicle: its rows in every table, its raw files, its files in the inbox.

    One transaction, in which nobody else writes. The files go after its last statement and before its
    commit: where it stops in between, the vehicle is still there and the same can be done again.

    Raises:
        DataError: there is no such vehicle.
        StoreError: the database, the archive or the inbox could not do it.
    """
    with transaction(conn):
        if not dry_run:
            logs.hold_all(conn)
        names = forget.fetch_names(conn, vehicle_id)
        raw = forget.fetch_raw_files(conn, vehicle_id)
        own = [file.sha256 for file in raw if not file.is_shared]
        n_rows = forget.count_rows(conn, vehicle_id) if dry_run else forget.delete_rows(conn, names)
        there = [sha256 for sha256 in track(own, "raw files", len(own)) if archive.has(settings.archive, sha256)]
        if dry_run:
            n_inbox = 0 if names.is_shared_ref else len(inbox_files(settings.inbox, names.vehicle_ref))
        else:
            n_inbox = 0 if names.is_shared_ref else forget_inbox(settings.inbox, names.vehicle_ref)
            for sha256 in there:
                archive.delete(settings.archive, sha256)
    return ForgetReport(
        names.fleet,
        names.vehicle_ref,
        dry_run,
        n_rows,
        len(there),
        sum(file.is_shared for file in raw),
        n_inbox,
        names.is_shared_ref,
    )
