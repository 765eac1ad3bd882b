"""`pm db restore`: a dump into an empty database, compared table by table."""

import time
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pm.progress import Track, silent
from pm.settings import Settings
from pm.store import views
from pm.store.connection import connect
from pm.store.dump_file import open_dump
from pm.store.dump_restore import restore_dump
from pm.store.named_files import MissingFiles, missing_files
from pm.store.new_database import new_database
from pm.store.server_session import enable_timescaledb, without_password


@dataclass(frozen=True)
class RestoreReport:
    """What was restored where; every table's checksum was that of the dump."""

    path: Path
    database: str
    """Address without the password."""
    created_at: datetime
    """When it was dumped."""
    policy_id: str
    """The policy in force where it was dumped."""
    n_tables: int
    n_rows: int
    n_bytes: int
    file_bytes: int
    migrated: tuple[str, ...]
    """Migrations newer than the dump, applied after it."""
    missing: MissingFiles | None
    """Files that the database names and that are not there; None: not looked for."""
    seconds: float


def restore_database(
    settings: Settings,
    url: str,
    path: Path,
    *,
    into: str | None = None,
    check_files: bool = False,
    keep: bool = True,
    track: Track = silent,
) -> RestoreReport:
    """Restore `path` into the empty database at `url`, or into a new one named `into` on the same server.

    Args:
        keep: whether a new one stays; not, for a drill.

    Of a restore that fails nothing stays: a new database is dropped, the one at `url` is empty again.

    Raises:
        DataError: the dump is damaged, foreign or of newer software, or a table is not the same afterwards.
        StoreError: the database has rows, `into` is there already, or the server could not do it.
    """
    began = time.perf_counter()
    with open_dump(path) as reader:
        with nullcontext(url) if into is None else new_database(url, into, keep=keep) as target:
            if into is None:
                enable_timescaledb(target)
            with connect(target) as conn:
                migrated = restore_dump(conn, reader, settings.project / "sql" / "migrations", track=track)
                views.refresh_views(conn)
                missing = (
                    missing_files(
                        conn, archive_address=settings.archive, artifact_folder=settings.artifacts, track=track
                    )
                    if check_files
                    else None
                )
        manifest = reader.manifest
    return RestoreReport(
        path,
        without_password(target),
        manifest.created_at,
        manifest.policy_id,
        len(manifest.tables),
        manifest.n_rows,
        manifest.n_bytes,
        path.stat().st_size,
        migrated,
        missing,
        time.perf_counter() - began,
    )
