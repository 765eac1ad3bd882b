"""Every frame that crosses a door, declared once: type, unit, meaning, key.

What belongs here: `Table` declarations, a module a group, and the words used in their columns. The database table of
the same name stands in schema `pm` with the same columns (`sql/migrations`). Decoded telemetry is
not here: its columns come from the DBC (`pm.store.telemetry`).
"""

from typing import Final

from pm.schema import Table
from pm.tables.columns import COMPONENTS, FAILURE_KINDS, LABEL_STATES, PREDICTION_STATUSES, STAGES
from pm.tables.learning import (
    BACKTEST,
    FEATURE_SET,
    FEATURE_VECTOR,
    MODEL_VERSION,
    POLICY,
    PREDICTION,
    STAGE_TRANSITION,
)
from pm.tables.outcomes import FAILURE, LABEL, WORK_ORDER
from pm.tables.records import IMPORT_FILE, LOG_FILE, LOG_SIGNAL, POLL, QUARANTINE, REJECTED_ROW, RETENTION, VEHICLE
from pm.tables.telemetry import DAILY_FAULT, DAILY_SIGNAL, DIRTY_DAY, EVENT, FAULT, SIGNAL

__all__ = [
    "BACKTEST",
    "COMPONENTS",
    "DAILY_FAULT",
    "DAILY_SIGNAL",
    "DIRTY_DAY",
    "EVENT",
    "FAILURE",
    "FAILURE_KINDS",
    "FAULT",
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
    "VEHICLE",
    "WORK_ORDER",
]

STORED: Final[tuple[Table, ...]] = (
    VEHICLE, LOG_FILE, LOG_SIGNAL, QUARANTINE, IMPORT_FILE, REJECTED_ROW, RETENTION, POLL, SIGNAL, FAULT, EVENT,
    WORK_ORDER, FAILURE, DAILY_SIGNAL, DAILY_FAULT, DIRTY_DAY,
    FEATURE_SET, FEATURE_VECTOR, LABEL, MODEL_VERSION, STAGE_TRANSITION, PREDICTION, BACKTEST, POLICY,
)  # fmt: skip
"""Every table that stands in schema `pm`."""
