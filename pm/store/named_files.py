"""Files beside the database that it names by their sha256, and which of them are missing.

What belongs here: the question. Raw files are in `pm.store.archive`, bundles and reports in
`pm.store.artifacts`; neither is in a dump.
"""

from dataclasses import dataclass
from pathlib import Path

import psycopg

from pm.progress import Track, silent
from pm.store import archive, artifacts
from pm.store.queries import run


@dataclass(frozen=True)
class MissingFiles:
    """sha256 of what is named and not there, and how many are named."""

    raw: tuple[str, ...]
    n_raw: int
    artifacts: tuple[str, ...]
    n_artifacts: int


def missing_files(
    conn: psycopg.Connection, *, archive_address: str, artifact_folder: Path, track: Track = silent
) -> MissingFiles:
    """Which raw files and artifacts that the database names are not there; looks, and reads none.

    Raises:
        StoreError: the database or the archive cannot be reached.
    """
    raw = [str(row[0]) for row in run(conn, "named_file", "raw").fetchall()]
    named = [str(row[0]) for row in run(conn, "named_file", "artifacts").fetchall()]
    return MissingFiles(
        tuple(sha256 for sha256 in track(raw, "raw files", len(raw)) if not archive.has(archive_address, sha256)),
        len(raw),
        tuple(sha256 for sha256 in named if not artifacts.path(artifact_folder, sha256).is_file()),
        len(named),
    )
