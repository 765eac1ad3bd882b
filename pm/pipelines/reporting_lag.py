"""The reporting lag of the stored failures, as known at an instant."""

from datetime import datetime

from pm.labels.lag_plot import LagCurve, lag_curve
from pm.policy import Policy
from pm.store import work_orders
from pm.store.connection import Connection


def reporting_lag(conn: Connection, policy: Policy, *, known_at: datetime) -> LagCurve:
    """The lag in force at `known_at` and the distributions behind it; reads what `pm labels` has classified."""
    return lag_curve(work_orders.fetch_failures(conn, known_by=known_at), known_at, policy)
