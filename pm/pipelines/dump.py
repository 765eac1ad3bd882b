"""`pm db dump`: the database into one file."""

import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pm
from pm.asof import require_instant
from pm.errors import StoreError
from pm.policy import Policy
from pm.progress import Track, silent
from pm.store.connection import Connection
from pm.store.dump import write_dump
from pm.store.dump_file import create_dump
from pm.store.migrate import applied_migrations


@dataclass(frozen=True)
class DumpReport:
    """What a dump holds."""

    path: Path
    n_tables: int
    n_rows: int
    n_bytes: int
    """Of the tables as binary COPY."""
    file_bytes: int
    n_migrations: int
    seconds: float


def dump_database(
    conn: Connection, path: Path, *, created_at: datetime, policy: Policy, replace: bool = False, track: Track = silent
) -> DumpReport:
    """Write the whole database into `path`, as it is at one instant; the file appears whole or not at all.

    Raises:
        DataError: `path` is there already and `replace` is false.
        StoreError: the database was never migrated or cannot do it, or the folder cannot be written.
    """
    began = time.perf_counter()
    require_instant(created_at, "created_at")
    if not applied_migrations(conn):
        raise StoreError("expected a database of this product to dump, but got one that was never migrated")
    with create_dump(path, replace=replace) as writer:
        manifest = write_dump(
            conn, writer, created_at=created_at, pm_version=pm.__version__, policy_id=policy.policy_id, track=track
        )
    return DumpReport(
        path,
        len(manifest.tables),
        manifest.n_rows,
        manifest.n_bytes,
        path.stat().st_size,
        len(manifest.migrations),
        time.perf_counter() - began,
    )
