"""What the trucks said: signals, trouble codes, events, and their dailies.

What belongs here: `Table` declarations of this group; see `pm.tables`.
"""

from typing import Final

from pm.schema import UTC_INSTANT, Column, Table
from pm.tables.columns import (
    AS_OF,
    BYTES,
    CHANNEL,
    DAY,
    F64,
    FMI,
    I16,
    I32,
    I64,
    I64_LIST,
    KNOWN_AT,
    LOG_FILE_ID,
    SOURCE_ADDRESS,
    SPN,
    TEXT,
    VEHICLE_ID,
)

EVENT: Final = Table(
    "event",
    "Events of vehicles that are no J1939 trouble codes, as an import gave them.",
    ("vehicle_id", "time", "kind", "code"),
    (
        VEHICLE_ID,
        Column("time", UTC_INSTANT, "when it happened"),
        Column("kind", TEXT, "what sort of event, for instance tell_tale or error"),
        Column("code", TEXT, "which one, as the source names it"),
        Column("severity", TEXT, "as the source names it, for instance RED", nullable=True),
        Column("value", F64, "a number that came with it", nullable=True),
        LOG_FILE_ID,
    ),
)

SIGNAL: Final = Table(
    "signal",
    "Dictionary of decoded signals: one row a message and signal.",
    ("message", "signal"),
    (
        Column("message", TEXT, "message name in the DBC"),
        Column("signal", TEXT, "signal name in the DBC"),
        Column("table_name", TEXT, "table in schema telemetry"),
        Column("column_name", TEXT, "column in that table"),
        Column("pgn", I32, "parameter group number", nullable=True),
        Column("spn", I32, "suspect parameter number", nullable=True),
        Column("unit", TEXT, "physical unit as in the DBC"),
        Column("minimum", F64, "lower end of the DBC's range", nullable=True),
        Column("maximum", F64, "upper end of the DBC's range", nullable=True),
        Column("description", TEXT, "comment in the DBC"),
        Column("dbc_sha256", TEXT, "the DBC file that last declared it"),
    ),
)

FAULT: Final = Table(
    "fault",
    "Diagnostic trouble codes as the truck sent them (J1939-73 DM1 and DM2), repeats thinned out.",
    ("vehicle_id", "time", "channel", "source_address", "dm", "spn", "fmi"),
    (
        VEHICLE_ID,
        Column("time", UTC_INSTANT, "time of the message's last frame"),
        CHANNEL,
        SOURCE_ADDRESS,
        SPN,
        FMI,
        Column("occurrence_count", I16, "0 to 126; null when 127, not available", nullable=True),
        Column("conversion_method", I16, "SPN conversion method that the SPN was read by, 1 to 4"),
        Column("lamp_mil", I16, "malfunction lamp: 0 off, 1 on, 2 error, 3 not available"),
        Column("lamp_red", I16, "red stop lamp, same codes"),
        Column("lamp_amber", I16, "amber warning lamp, same codes"),
        Column("lamp_protect", I16, "protect lamp, same codes"),
        LOG_FILE_ID,
        Column("dm", I16, "1 active (DM1), 2 previously active (DM2)"),
        Column(
            "flash_mil",
            I16,
            "malfunction lamp: 0 flashes slowly, 1 fast, 2 reserved, 3 not or not available; "
            "null in rows stored before it was read",
            nullable=True,
        ),
        Column("flash_red", I16, "red stop lamp, same codes", nullable=True),
        Column("flash_amber", I16, "amber warning lamp, same codes", nullable=True),
        Column("flash_protect", I16, "protect lamp, same codes", nullable=True),
    ),
)

DAILY_SIGNAL: Final = Table(
    "daily_signal",
    "Partial aggregates of a signal over one UTC day, one row a log file, so that a day can be "
    "merged from the files known at any instant.",
    ("vehicle_id", "day", "log_file_id", "message", "signal", "channel", "source_address"),
    (
        VEHICLE_ID,
        Column("day", DAY, "UTC day"),
        LOG_FILE_ID,
        KNOWN_AT,
        Column("message", TEXT, "message name in the DBC"),
        Column("signal", TEXT, "signal name in the DBC"),
        CHANNEL,
        SOURCE_ADDRESS,
        Column("n_values", I64, "values that are not null"),
        Column("mean", F64, "mean of the values"),
        Column("m2", F64, "sum of squared differences from the mean"),
        Column("minimum", F64, "least value"),
        Column("maximum", F64, "greatest value"),
        Column("first_at", UTC_INSTANT, "time of the first value"),
        Column("last_at", UTC_INSTANT, "time of the last value"),
        Column("first_value", F64, "value at first_at"),
        Column("last_value", F64, "value at last_at"),
        Column(
            "n_transitions",
            I32,
            "values that differ from the one before; null in rows made before it was counted",
            nullable=True,
        ),
        Column("n_starts", I32, "changes from standing to running; null where no start is declared", nullable=True),
        Column("ranges_id", I32, "which edges range_us was counted by; null where none are declared", nullable=True),
        Column("range_us", I64_LIST, "time in each range, in order of the edges", "µs", nullable=True),
        Column("sketch", BYTES, "packed histogram of the values (pm/features/sketch.py)", nullable=True),
    ),
)

DAILY_FAULT: Final = Table(
    "daily_fault",
    "Partial counts of one DTC over one UTC day, one row a log file.",
    ("vehicle_id", "day", "log_file_id", "channel", "source_address", "spn", "fmi"),
    (
        VEHICLE_ID,
        Column("day", DAY, "UTC day"),
        LOG_FILE_ID,
        KNOWN_AT,
        CHANNEL,
        SOURCE_ADDRESS,
        SPN,
        FMI,
        Column("n_reports", I64, "reports that were kept"),
        Column("first_at", UTC_INSTANT, "first report"),
        Column("last_at", UTC_INSTANT, "last report"),
        Column("maximum_occurrence_count", I16, "greatest occurrence count", nullable=True),
        Column("n_red", I64, "reports with the red stop lamp on"),
        Column("n_amber", I64, "reports with the amber warning lamp on"),
    ),
)

DIRTY_DAY: Final = Table(
    "dirty_day",
    "Vehicle days whose daily aggregates must be made again.",
    ("vehicle_id", "day"),
    (VEHICLE_ID, Column("day", DAY, "UTC day"), Column("marked_at", UTC_INSTANT, "when it was marked")),
)

ASSUMPTION: Final = Table(
    "assumption",
    "What was checked of the daily aggregates at an as-of: one row a check for the fleet, and one a vehicle and "
    "signal of which it does not hold.",
    ("as_of", "check_name", "vehicle_id", "message", "signal", "source_address"),
    (
        AS_OF,
        Column("check_name", TEXT, "schema, units, range, counters, sampling, stuck, silent or nulls"),
        Column("vehicle_id", I32, "random vehicle number; never the VIN; 0: the whole fleet"),
        Column("message", TEXT, "message name in the DBC; empty: all of them"),
        Column("signal", TEXT, "signal name in the DBC; empty: all of the message"),
        Column("source_address", I16, "J1939 source address, 0 to 255; -1 on an 11-bit id, or all of them"),
        Column("status", TEXT, "pass, mark, block or not_checked"),
        Column("value", F64, "what was found; for the fleet, how many subjects do not hold", nullable=True),
        Column("expected_low", F64, "lower end of what was expected", nullable=True),
        Column("expected_high", F64, "upper end of what was expected", nullable=True),
        Column("unit", TEXT, "unit of value and of what was expected; empty: none"),
        Column("conversion", TEXT, "the mistaken unit that explains the values best", nullable=True),
        Column("n_rows", I64, "daily values looked at"),
        Column("reason", TEXT, "what was expected and what was found, in a sentence"),
        Column("known_at", UTC_INSTANT, "when the last of the rows looked at became known"),
        Column("checked_at", UTC_INSTANT, "when it was computed"),
        Column("policy_id", TEXT, "policy in force"),
    ),
)
