"""What came in: vehicles, files, what was refused of them, and how far the fetching is.

What belongs here: `Table` declarations of this group; see `pm.tables`.
"""

from typing import Final

import polars as pl

from pm.schema import UTC_INSTANT, Column, Table
from pm.tables.columns import F64, I16, I32, I64, KNOWN_AT, LOG_FILE_ID, TEXT, VEHICLE_ID

VEHICLE: Final = Table(
    "vehicle",
    "One row a vehicle.",
    ("vehicle_id",),
    (
        VEHICLE_ID,
        Column("fleet", TEXT, "owner of the vehicle"),
        Column("vehicle_ref", TEXT, "unit number, unique in a fleet"),
        Column("model", TEXT, "truck model", nullable=True),
        Column("model_year", I16, "year of the model", "a", nullable=True),
        Column("duty", TEXT, "long_haul, regional or urban", nullable=True),
        Column("in_service_at", UTC_INSTANT, "first day in the fleet", nullable=True),
        Column("left_at", UTC_INSTANT, "when it left the fleet", nullable=True),
        KNOWN_AT,
    ),
)

LOG_FILE: Final = Table(
    "log_file",
    "The manifest: one row a log file that was committed whole.",
    ("log_file_id",),
    (
        LOG_FILE_ID,
        Column("sha256", TEXT, "sha256 of the file's bytes, hex"),
        VEHICLE_ID,
        Column("file_name", TEXT, "name without folder"),
        Column("format", TEXT, "detected format, for instance candump"),
        Column("first_at", UTC_INSTANT, "time of the first frame", nullable=True),
        Column("last_at", UTC_INSTANT, "time of the last frame", nullable=True),
        Column("n_frames", I64, "CAN frames in the file"),
        Column("n_decoded", I64, "frames that matched a message of the DBC files"),
        Column("rejected_json", TEXT, "counts of what was not used, by reason", json=True),
        KNOWN_AT,
        Column("dbc_sha256", pl.List(pl.String()), "sha256 of each DBC file used, in order"),
        Column("decoder_version", TEXT, "version of the decoder"),
        Column("ingested_at", UTC_INSTANT, "when the transaction ran"),
        Column("part", I32, "0 for a log; an imported file has one part a vehicle and knowledge time"),
        Column("size_bytes", I64, "bytes of the whole file; null in rows stored before it was kept", nullable=True),
        Column(
            "starts_at",
            UTC_INSTANT,
            "the instant of time zero that was given for a log without absolute times",
            nullable=True,
        ),
        Column(
            "sample_period_s",
            F64,
            "period of which the last value was kept [s]; 0: every frame; null where not kept",
            nullable=True,
        ),
        Column("redecoded_at", UTC_INSTANT, "when it was last decoded again; null: never", nullable=True),
    ),
    frozenset({"log_file_id"}),
)

LOG_SIGNAL: Final = Table(
    "log_signal",
    "One row a log file and signal: how much of it the file holds. Of an imported file, its first part has the rows "
    "of all.",
    ("log_file_id", "message", "signal"),
    (
        LOG_FILE_ID,
        Column("message", TEXT, "message name in the DBC"),
        Column("signal", TEXT, "signal name in the DBC"),
        Column("n_rows", I64, "rows of the message that the file holds"),
        Column("n_values", I64, "values among them that are not null"),
        Column("first_at", UTC_INSTANT, "time of the first value; null: no value", nullable=True),
        Column("last_at", UTC_INSTANT, "time of the last value", nullable=True),
    ),
)

QUARANTINE: Final = Table(
    "quarantine",
    "Log files that were refused; their bytes are in the archive.",
    ("vehicle_id", "sha256"),
    (
        VEHICLE_ID,
        Column("sha256", TEXT, "sha256 of the file's bytes, hex"),
        Column("file_name", TEXT, "name without folder"),
        Column("size_bytes", I64, "bytes of the whole file"),
        KNOWN_AT,
        Column(
            "starts_at",
            UTC_INSTANT,
            "the instant of time zero that was given for a log without absolute times",
            nullable=True,
        ),
        Column("reason", TEXT, "what was expected, what was there instead, and where"),
        Column("n_attempts", I32, "how often it was refused"),
        Column("first_refused_at", UTC_INSTANT, "when it was first refused"),
        Column("last_refused_at", UTC_INSTANT, "when it was last refused"),
        Column("decoder_version", TEXT, "version of the decoder that last refused it"),
    ),
)

_IMPORT_KEY: Final = (
    Column("sha256", TEXT, "sha256 of the file's bytes, hex"),
    Column("kind", TEXT, "telemetry, events, work-orders or vehicles"),
    Column("mapping_sha256", TEXT, "sha256 of the mapping file's bytes, hex; empty: no mapping"),
)

IMPORT_FILE: Final = Table(
    "import_file",
    "The manifest of imports: one row a file, kind and mapping that was committed whole.",
    ("sha256", "kind", "mapping_sha256"),
    (
        *_IMPORT_KEY,
        Column("file_name", TEXT, "name without folder"),
        Column("format", TEXT, "csv, parquet, jsonl or rfms"),
        Column("n_rows", I64, "rows in the file"),
        Column("n_stored", I64, "rows that were new and are stored"),
        Column("n_rejected", I64, "rows that were refused"),
        Column("imported_at", UTC_INSTANT, "when the transaction ran"),
    ),
)

REJECTED_ROW: Final = Table(
    "rejected_row",
    "Rows of an imported file that were refused, the first of them; the reason never holds a VIN.",
    ("sha256", "kind", "mapping_sha256", "row_no"),
    (
        *_IMPORT_KEY,
        Column("row_no", I64, "line of a text file (the header is line 1), else the row, from 1"),
        Column("reason", TEXT, "what was expected, and what was there instead"),
    ),
)

RETENTION: Final = Table(
    "retention",
    "What was dropped for its age: rows from before dropped_before are gone and are not taken again.",
    ("what",),
    (
        Column("what", TEXT, "telemetry (signals, trouble codes, events) or archive (raw files)"),
        Column("dropped_before", UTC_INSTANT, "what happened before this is gone"),
        Column("dropped_at", UTC_INSTANT, "when it was dropped"),
    ),
)

POLL: Final = Table(
    "poll",
    "How far each remote source has been read.",
    ("source",),
    (
        Column("source", TEXT, "address and what was asked of it, without secrets"),
        Column("next_start", UTC_INSTANT, "where the next poll begins, by the source's clock"),
        Column("polled_at", UTC_INSTANT, "when it was last read to its end"),
    ),
)
