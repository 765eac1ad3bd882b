"""Work orders -> failures -> the history of label states."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from pm.asof import known
from pm.labels.failures import FailureRules, classify, require_classified
from pm.labels.horizon import changed_labels, label_rows
from pm.labels.lag_plot import describe_days
from pm.labels.maturation import estimate_lag_d
from pm.policy import Policy
from pm.store import labels, vehicles, work_orders
from pm.store.connection import Connection
from pm.tables import FAILURE, LABEL


@dataclass(frozen=True)
class FailuresReport:
    """Versions of work order lines by what the rules say they are."""

    n_by_kind: dict[str, int]
    n_failures_by_component: dict[str, int]


@dataclass(frozen=True)
class LabelsReport:
    """Labels at a knowledge time, and how many changed since the last look."""

    n_by_state: dict[str, int]
    n_changed: int
    lag_d: float
    lag_source: str
    recorded: str = "on any day"
    """The days on which failures are recorded, in words."""
    dated: str = "on any day"
    """The days that failures are dated on, in words."""


def classify_work_orders(conn: Connection, rules: FailureRules) -> FailuresReport:
    """Read every version of every work order line through the rules into `failure`."""
    failures = FAILURE.check(classify(work_orders.fetch_work_orders(conn), rules))
    work_orders.replace_failures(conn, failures)
    broken = failures.filter(failures["kind"] == "failure")
    return FailuresReport(_counts(failures, "kind"), _counts(broken, "component"))


def update_labels(
    conn: Connection,
    as_ofs: Sequence[datetime],
    rules: FailureRules,
    policy: Policy,
    *,
    known_at: datetime,
) -> LabelsReport:
    """Bring the label history up to what is known at `known_at`; only changes are appended.

    Raises:
        DataError: the stored failures are of other rules: classify the work orders first.
    """
    failures = require_classified(known(work_orders.fetch_failures(conn), known_at), rules)
    lag = estimate_lag_d(failures, known_at, policy)
    rows = label_rows(
        as_ofs,
        vehicles=vehicles.fetch_vehicles(conn),
        failures=failures,
        components=rules.components,
        known_at=known_at,
        observed_until=known_at,
        lag_d=lag.lag_d,
        policy=policy,
        booking=lag.booking,
    )
    changed = LABEL.check(changed_labels(labels.fetch_labels(conn, known_by=known_at), rows))
    labels.append_labels(conn, changed)
    recorded, dated = describe_days(lag.booking.recorded), describe_days(lag.booking.dated)
    return LabelsReport(_counts(rows, "state"), changed.height, lag.lag_d, lag.source, recorded, dated)


def _counts(frame: pl.DataFrame, column: str) -> dict[str, int]:
    return dict(sorted(frame[column].value_counts().iter_rows()))
