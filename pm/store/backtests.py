"""Backtests by id, and their finished folds: `pm.backtest`, `pm.backtest_fold`.

What belongs here: reading one backtest, and folds by their key. Recording a backtest is
`pm.store.registry`; scores and reports as bytes are `pm.store.artifacts`.
"""

from typing import Any

import polars as pl
import psycopg

from pm.errors import DataError
from pm.store import frames
from pm.tables import BACKTEST, BACKTEST_FOLD


def fetch_backtest(conn: psycopg.Connection, backtest_id: str) -> dict[str, Any]:
    """The backtest as a row of BACKTEST by column.

    Raises:
        DataError: there is none of that id.
    """
    found = frames.fetch(conn, BACKTEST, "by_id", backtest_id=backtest_id)
    if not found.height:
        raise DataError(f"backtest {backtest_id}: expected a stored backtest, but got none of that id")
    return found.row(0, named=True)


def put_fold(conn: psycopg.Connection, fold: pl.DataFrame) -> int:
    """Record finished folds (BACKTEST_FOLD); one of the same key is written over. Returns rows written."""
    return frames.insert(conn, BACKTEST_FOLD, fold, on_conflict="replace")


def fold_artifact(conn: psycopg.Connection, fold_key: str) -> str | None:
    """Name of the artifact that holds the fold; None where it was not finished."""
    found = frames.fetch(conn, BACKTEST_FOLD, "by_key", fold_key=fold_key)
    return str(found["result_sha256"][0]) if found.height else None


def fetch_folds(conn: psycopg.Connection) -> pl.DataFrame:
    """Every finished fold: BACKTEST_FOLD, by cutoff."""
    return frames.fetch(conn, BACKTEST_FOLD, "all")
