"""The words that tables share: column types, columns that mean the same everywhere, and their values.

What belongs here: what two tables have in common. The tables themselves are its neighbours.
"""

from typing import Final

import polars as pl

from pm.schema import UTC_INSTANT, Column

I16, I32, I64 = pl.Int16(), pl.Int32(), pl.Int64()
F64, TEXT, BOOL, DAY = pl.Float64(), pl.String(), pl.Boolean(), pl.Date()
BYTES, I64_LIST = pl.Binary(), pl.List(pl.Int64())

COMPONENTS: Final = (
    "cooling", "brakes_air", "charging_starting", "aftertreatment", "turbo", "fuel_injection",
)  # fmt: skip
"""Component classes that the shipped failure rules know."""

LABEL_STATES: Final = ("positive", "negative", "pending", "censored")
FAILURE_KINDS: Final = ("failure", "planned", "campaign", "no_trouble_found", "other", "withdrawn")
STAGES: Final = ("candidate", "shadow", "canary", "champion", "retired")
AUDIT_STATUSES: Final = ("pass", "warn", "fail", "not_possible")
PREDICTION_STATUSES: Final = ("ok", "insufficient_data", "stale", "fallback")
ASSUMPTION_STATUSES: Final = ("pass", "mark", "block", "not_checked")

VEHICLE_ID: Final = Column("vehicle_id", I32, "random vehicle number; never the VIN")
KNOWN_AT: Final = Column("known_at", UTC_INSTANT, "when this could first be known here")
COMPONENT: Final = Column("component", TEXT, "component class, for instance cooling")
AS_OF: Final = Column("as_of", UTC_INSTANT, "the decision's instant; only rows known by then are used")
CHANNEL: Final = Column("channel", TEXT, "bus channel as the log names it")
SOURCE_ADDRESS: Final = Column("source_address", I16, "J1939 source address, 0 to 255; -1 on an 11-bit id")
SPN: Final = Column("spn", I32, "suspect parameter number, 19 bits")
FMI: Final = Column("fmi", I16, "failure mode identifier, 0 to 31")
LOG_FILE_ID: Final = Column("log_file_id", I64, "the log file it came from")
