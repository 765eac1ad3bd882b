"""What became of the trucks: work orders, failures, labels.

What belongs here: `Table` declarations of this group; see `pm.tables`.
"""

from typing import Final

from pm.schema import UTC_INSTANT, Column, Table
from pm.tables.columns import AS_OF, BOOL, COMPONENT, F64, I16, I32, KNOWN_AT, TEXT, VEHICLE_ID

WORK_ORDER: Final = Table(
    "work_order",
    "Work order lines; every version is kept by the instant it became known.",
    ("source_system", "work_order_id", "line_no", "known_at"),
    (
        Column("source_system", TEXT, "the shop system"),
        Column("work_order_id", TEXT, "order number there"),
        Column("line_no", I32, "line of the order"),
        KNOWN_AT,
        VEHICLE_ID,
        Column("opened_at", UTC_INSTANT, "order opened"),
        Column("completed_at", UTC_INSTANT, "work completed", nullable=True),
        Column("reported_at", UTC_INSTANT, "symptom first seen", nullable=True),
        Column("out_of_service_at", UTC_INSTANT, "vehicle stopped", nullable=True),
        Column("returned_to_service_at", UTC_INSTANT, "vehicle back on the road", nullable=True),
        Column("planned", BOOL, "scheduled beforehand", nullable=True),
        Column("roadside", BOOL, "breakdown on the road", nullable=True),
        Column("odometer_km", F64, "odometer at the visit", "km", nullable=True),
        Column("engine_h", F64, "engine hours at the visit", "h", nullable=True),
        Column("reason_for_repair", TEXT, "opaque code", nullable=True),
        Column("work_accomplished", TEXT, "opaque code", nullable=True),
        Column("failure_code", TEXT, "opaque code", nullable=True),
        Column("vmrs", TEXT, "opaque NNN-NNN-NNN code", nullable=True),
        Column("description", TEXT, "what was done, in the shop's words"),
        Column("withdrawn", BOOL, "this version takes the line back"),
    ),
)

FAILURE: Final = Table(
    "failure",
    "What each version of a work order line means under the failure rules.",
    ("source_system", "work_order_id", "line_no", "known_at"),
    (
        Column("source_system", TEXT, "the shop system"),
        Column("work_order_id", TEXT, "order number there"),
        Column("line_no", I32, "line of the order"),
        KNOWN_AT,
        VEHICLE_ID,
        COMPONENT,
        Column("kind", TEXT, "failure, planned, campaign, no_trouble_found, other or withdrawn"),
        Column("failed_at", UTC_INSTANT, "when it failed, or the visit began"),
        Column("restored_at", UTC_INSTANT, "when the vehicle was back in service", nullable=True),
        Column("rule", TEXT, "name of the rule that decided"),
    ),
)

LABEL: Final = Table(
    "label",
    "History of label states: a row says that from known_at on the label was in this state.",
    ("vehicle_id", "component", "as_of", "horizon_d", "known_at"),
    (
        VEHICLE_ID,
        COMPONENT,
        AS_OF,
        Column("horizon_d", I16, "horizon", "d"),
        KNOWN_AT,
        Column("state", TEXT, "positive, negative, pending or censored"),
        Column("failed_at", UTC_INSTANT, "first failure in the horizon", nullable=True),
    ),
)
