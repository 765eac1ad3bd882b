"""Every frame that crosses a door, declared once: type, unit, meaning, key.

What belongs here: `Table` declarations, a module a group, and the words used in their columns. The database table of
the same name stands in schema `pm` with the same columns (`sql/migrations`). Decoded telemetry is
not here: its columns come from the DBC (`pm.store.telemetry`).
"""

from typing import Final

from pm.schema import Table
from pm.tables.columns import (
    ASSUMPTION_STATUSES,
    AUDIT_STATUSES,
    COMPONENTS,
    FAILURE_KINDS,
    LABEL_STATES,
    PREDICTION_STATUSES,
    STAGES,
)
from pm.tables.learning import (
    AUDIT,
    BACKTEST,
    BACKTEST_FOLD,
    FEATURE_BATCH,
    FEATURE_CHOICE,
    FEATURE_SET,
    FEATURE_VECTOR,
    MODEL_VERSION,
    POLICY,
    PREDICTION,
    STAGE_TRANSITION,
    TRAINING_PROFILE,
)
from pm.tables.outcomes import FAILURE, LABEL, WORK_ORDER
from pm.tables.records import IMPORT_FILE, LOG_FILE, LOG_SIGNAL, POLL, QUARANTINE, REJECTED_ROW, RETENTION, VEHICLE
from pm.tables.telemetry import ASSUMPTION, DAILY_FAULT, DAILY_SIGNAL, DIRTY_DAY, EVENT, FAULT, SIGNAL

__all__ = [
    "ASSUMPTION",
    "ASSUMPTION_STATUSES",
    "AUDIT",
    "AUDIT_STATUSES",
    "BACKTEST",
    "BACKTEST_FOLD",
    "COMPONENTS",
    "DAILY_FAULT",
    "DAILY_SIGNAL",
    "DIRTY_DAY",
    "EVENT",
    "FAILURE",
    "FAILURE_KINDS",
    "FAULT",
    "FEATURE_BATCH",
    "FEATURE_CHOICE",
    "FEATURE_SET",
    "FEATURE_VECTOR",
    "IMPORT_FILE",
    "LABEL",
    "LABEL_STATES",
    "LOG_FILE",
    "LOG_SIGNAL",
    "MODEL_VERSION",
    "POLICY",
    "POLL",
    "PREDICTION",
    "PREDICTION_STATUSES",
    "QUARANTINE",
    "REJECTED_ROW",
    "RETENTION",
    "SIGNAL",
    "STAGES",
    "STAGE_TRANSITION",
    "STORED",
    "TRAINING_PROFILE",
    "VEHICLE",
    "WORK_ORDER",
]

STORED: Final[tuple[Table, ...]] = (
    VEHICLE, LOG_FILE, LOG_SIGNAL, QUARANTINE, IMPORT_FILE, REJECTED_ROW, RETENTION, POLL, SIGNAL, FAULT, EVENT,
    WORK_ORDER, FAILURE, DAILY_SIGNAL, DAILY_FAULT, DIRTY_DAY, FEATURE_SET, FEATURE_VECTOR, FEATURE_BATCH,
    FEATURE_CHOICE, LABEL, MODEL_VERSION, STAGE_TRANSITION, PREDICTION, BACKTEST, BACKTEST_FOLD, AUDIT, POLICY,
    ASSUMPTION, TRAINING_PROFILE,
)  # fmt: skip
"""Every table that stands in schema `pm`."""
