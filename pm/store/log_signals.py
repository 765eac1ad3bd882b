"""What each file said of each signal: `pm.log_signal`.

What belongs here: writing and reading those counts. The dictionary made of them is
`pm.store.dictionary`.
"""

import polars as pl
import psycopg

from pm.store import frames
from pm.tables import LOG_SIGNAL


def insert_log_signals(conn: psycopg.Connection, log_signals: pl.DataFrame) -> int:
    """Write the counts of files just claimed (LOG_SIGNAL); returns rows written.

    Raises:
        DataError: the frame does not fit its declaration, or a file's counts are stored already.
    """
    return frames.insert(conn, LOG_SIGNAL, log_signals)


def fetch_log_signals(conn: psycopg.Connection, log_file_id: int) -> pl.DataFrame:
    """The counts of one file: LOG_SIGNAL, by message and signal."""
    return frames.fetch(conn, LOG_SIGNAL, "of_file", log_file_id=log_file_id)
