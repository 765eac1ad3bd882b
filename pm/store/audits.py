"""Leak audits: `pm.audit`.

What belongs here: recording them, and reading the one that counts for a backtest. What an audit says is
`pm.backtest.audit_result`; what follows from it for a model is `pm.pipelines.train`.
"""

from typing import Any

import polars as pl
import psycopg

from pm.store import frames
from pm.tables import AUDIT


def put_audit(conn: psycopg.Connection, audit: pl.DataFrame) -> int:
    """Record audits (AUDIT); one of the same id is written over. Returns rows written."""
    return frames.insert(conn, AUDIT, audit, on_conflict="replace")


def latest_audit(conn: psycopg.Connection, backtest_id: str) -> dict[str, Any] | None:
    """The audit of the backtest stored last, as a row of AUDIT by column; None where there is none."""
    found = frames.fetch(conn, AUDIT, "latest_of_backtest", backtest_id=backtest_id)
    return found.row(0, named=True) if found.height else None


def fetch_audits(conn: psycopg.Connection) -> pl.DataFrame:
    """Every audit: AUDIT, newest first."""
    return frames.fetch(conn, AUDIT, "all")
