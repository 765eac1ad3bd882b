"""Every frame that crosses a door, declared once: type, unit, meaning, key.

What belongs here: `Table` declarations and the words used in their columns. The database table of
the same name stands in schema `pm` with the same columns (`sql/migrations`). Decoded telemetry is
not here: its columns come from the DBC (`pm.store.telemetry`).
"""

from typing import Final

import polars as pl

from pm.schema import UTC_INSTANT, Column, Table

I16, I32, I64 = pl.Int16(), pl.Int32(), pl.Int64()
F64, TEXT, BOOL, DAY = pl.Float64(), pl.String(), pl.Boolean(), pl.Date()

COMPONENTS: Final = ("cooling", "brakes_air", "charging_starting")
"""Component classes that the shipped failure rules know."""

LABEL_STATES: Final = ("positive", "negative", "pending", "censored")
FAILURE_KINDS: Final = ("failure", "planned", "no_trouble_found", "other", "withdrawn")
STAGES: Final = ("candidate", "shadow", "canary", "champion", "retired")
PREDICTION_STATUSES: Final = ("ok", "insufficient_data", "stale", "fallback")

_VEHICLE_ID = Column("vehicle_id", I32, "random vehicle number; never the VIN")
_KNOWN_AT = Column("known_at", UTC_INSTANT, "when this could first be known here")
_COMPONENT = Column("component", TEXT, "component class, for instance cooling")
_AS_OF = Column("as_of", UTC_INSTANT, "the decision's instant; only rows known by then are used")
_CHANNEL = Column("channel", TEXT, "bus channel as the log names it")
_SOURCE_ADDRESS = Column("source_address", I16, "J1939 source address, 0 to 255; -1 on an 11-bit id")
_SPN = Column("spn", I32, "suspect parameter number, 19 bits")
_FMI = Column("fmi", I16, "failure mode identifier, 0 to 31")
_LOG_FILE_ID = Column("log_file_id", I64, "the log file it came from")

VEHICLE: Final = Table(
    "vehicle",
    "One row a vehicle.",
    ("vehicle_id",),
    (
        _VEHICLE_ID,
        Column("fleet", TEXT, "owner of the vehicle"),
        Column("vehicle_ref", TEXT, "unit number, unique in a fleet"),
        Column("model", TEXT, "truck model", nullable=True),
        Column("model_year", I16, "year of the model", "a", nullable=True),
        Column("duty", TEXT, "long_haul, regional or urban", nullable=True),
        Column("in_service_at", UTC_INSTANT, "first day in the fleet", nullable=True),
        Column("left_at", UTC_INSTANT, "when it left the fleet", nullable=True),
        _KNOWN_AT,
    ),
)

LOG_FILE: Final = Table(
    "log_file",
    "The manifest: one row a log file that was committed whole.",
    ("log_file_id",),
    (
        _LOG_FILE_ID,
        Column("sha256", TEXT, "sha256 of the file's bytes, hex"),
        _VEHICLE_ID,
        Column("file_name", TEXT, "name without folder"),
        Column("format", TEXT, "detected format, for instance candump"),
        Column("first_at", UTC_INSTANT, "time of the first frame", nullable=True),
        Column("last_at", UTC_INSTANT, "time of the last frame", nullable=True),
        Column("n_frames", I64, "CAN frames in the file"),
        Column("n_decoded", I64, "frames that matched a message of the DBC files"),
        Column("rejected_json", TEXT, "counts of what was not used, by reason", json=True),
        _KNOWN_AT,
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
        _LOG_FILE_ID,
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
        _VEHICLE_ID,
        Column("sha256", TEXT, "sha256 of the file's bytes, hex"),
        Column("file_name", TEXT, "name without folder"),
        Column("size_bytes", I64, "bytes of the whole file"),
        _KNOWN_AT,
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

EVENT: Final = Table(
    "event",
    "Events of vehicles that are no J1939 trouble codes, as an import gave them.",
    ("vehicle_id", "time", "kind", "code"),
    (
        _VEHICLE_ID,
        Column("time", UTC_INSTANT, "when it happened"),
        Column("kind", TEXT, "what sort of event, for instance tell_tale or error"),
        Column("code", TEXT, "which one, as the source names it"),
        Column("severity", TEXT, "as the source names it, for instance RED", nullable=True),
        Column("value", F64, "a number that came with it", nullable=True),
        _LOG_FILE_ID,
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
        _VEHICLE_ID,
        Column("time", UTC_INSTANT, "time of the message's last frame"),
        _CHANNEL,
        _SOURCE_ADDRESS,
        _SPN,
        _FMI,
        Column("occurrence_count", I16, "0 to 126; null when 127, not available", nullable=True),
        Column("conversion_method", I16, "SPN conversion method that the SPN was read by, 1 to 4"),
        Column("lamp_mil", I16, "malfunction lamp: 0 off, 1 on, 2 error, 3 not available"),
        Column("lamp_red", I16, "red stop lamp, same codes"),
        Column("lamp_amber", I16, "amber warning lamp, same codes"),
        Column("lamp_protect", I16, "protect lamp, same codes"),
        _LOG_FILE_ID,
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

WORK_ORDER: Final = Table(
    "work_order",
    "Work order lines; every version is kept by the instant it became known.",
    ("source_system", "work_order_id", "line_no", "known_at"),
    (
        Column("source_system", TEXT, "the shop system"),
        Column("work_order_id", TEXT, "order number there"),
        Column("line_no", I32, "line of the order"),
        _KNOWN_AT,
        _VEHICLE_ID,
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
        _KNOWN_AT,
        _VEHICLE_ID,
        _COMPONENT,
        Column("kind", TEXT, "failure, planned, no_trouble_found, other or withdrawn"),
        Column("failed_at", UTC_INSTANT, "when it failed, or the visit began"),
        Column("restored_at", UTC_INSTANT, "when the vehicle was back in service", nullable=True),
        Column("rule", TEXT, "name of the rule that decided"),
    ),
)

DAILY_SIGNAL: Final = Table(
    "daily_signal",
    "Partial aggregates of a signal over one UTC day, one row a log file, so that a day can be "
    "merged from the files known at any instant.",
    ("vehicle_id", "day", "log_file_id", "message", "signal", "channel", "source_address"),
    (
        _VEHICLE_ID,
        Column("day", DAY, "UTC day"),
        _LOG_FILE_ID,
        _KNOWN_AT,
        Column("message", TEXT, "message name in the DBC"),
        Column("signal", TEXT, "signal name in the DBC"),
        _CHANNEL,
        _SOURCE_ADDRESS,
        Column("n_values", I64, "values that are not null"),
        Column("mean", F64, "mean of the values"),
        Column("m2", F64, "sum of squared differences from the mean"),
        Column("minimum", F64, "least value"),
        Column("maximum", F64, "greatest value"),
        Column("first_at", UTC_INSTANT, "time of the first value"),
        Column("last_at", UTC_INSTANT, "time of the last value"),
        Column("first_value", F64, "value at first_at"),
        Column("last_value", F64, "value at last_at"),
    ),
)

DAILY_FAULT: Final = Table(
    "daily_fault",
    "Partial counts of one DTC over one UTC day, one row a log file.",
    ("vehicle_id", "day", "log_file_id", "channel", "source_address", "spn", "fmi"),
    (
        _VEHICLE_ID,
        Column("day", DAY, "UTC day"),
        _LOG_FILE_ID,
        _KNOWN_AT,
        _CHANNEL,
        _SOURCE_ADDRESS,
        _SPN,
        _FMI,
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
    (_VEHICLE_ID, Column("day", DAY, "UTC day"), Column("marked_at", UTC_INSTANT, "when it was marked")),
)

FEATURE_SET: Final = Table(
    "feature_set",
    "Named, versioned, hashed lists of features.",
    ("feature_set_id",),
    (
        Column("feature_set_id", TEXT, "name, version and hash"),
        Column("name", TEXT, "name"),
        Column("version", I32, "version"),
        Column("definition_json", TEXT, "features in order: name, unit, meaning, sources", json=True),
    ),
)

FEATURE_VECTOR: Final = Table(
    "feature_vector",
    "One row of model inputs a vehicle and as-of, made only from rows known by then.",
    ("feature_set_id", "vehicle_id", "as_of"),
    (
        Column("feature_set_id", TEXT, "which set made it"),
        _VEHICLE_ID,
        _AS_OF,
        Column("data_until", UTC_INSTANT, "last telemetry seen", nullable=True),
        Column("features", pl.List(pl.Float32()), "one number a feature, in the set's order; null: not computable"),
        Column("inputs_hash", TEXT, "hash of this row's values"),
    ),
)

LABEL: Final = Table(
    "label",
    "History of label states: a row says that from known_at on the label was in this state.",
    ("vehicle_id", "component", "as_of", "horizon_d", "known_at"),
    (
        _VEHICLE_ID,
        _COMPONENT,
        _AS_OF,
        Column("horizon_d", I16, "horizon", "d"),
        _KNOWN_AT,
        Column("state", TEXT, "positive, negative, pending or censored"),
        Column("failed_at", UTC_INSTANT, "first failure in the horizon", nullable=True),
    ),
)

MODEL_VERSION: Final = Table(
    "model_version",
    "Registry of trained models.",
    ("model_id",),
    (
        Column("model_id", TEXT, "hash of the bundle, shortened"),
        _COMPONENT,
        Column("kind", TEXT, "gbm, panel or the name of a simple rule"),
        Column("cutoff", UTC_INSTANT, "trained on labels matured by then"),
        Column("feature_set_id", TEXT, "inputs"),
        Column("policy_id", TEXT, "policy in force"),
        Column("inputs_hash", TEXT, "hash of training features and labels"),
        Column("metrics_json", TEXT, "measured, with baselines on the same rows", json=True),
        Column("bundle_sha256", TEXT, "artifact that holds the model"),
        Column("created_at", UTC_INSTANT, "when it was registered"),
    ),
)

STAGE_TRANSITION: Final = Table(
    "stage_transition",
    "Every move of a model between stages, with its reason.",
    ("component", "move_no"),
    (
        _COMPONENT,
        Column("move_no", I32, "1, 2, … in a component; claims are compare-and-set on it"),
        Column("model_id", TEXT, "the model moved"),
        Column("from_stage", TEXT, "stage before", nullable=True),
        Column("to_stage", TEXT, "stage after"),
        Column("moved_at", UTC_INSTANT, "when"),
        Column("reason", TEXT, "evidence in a sentence"),
    ),
)

PREDICTION: Final = Table(
    "prediction",
    "What a model said about a vehicle's component at an as-of.",
    ("vehicle_id", "component", "as_of", "model_id"),
    (
        _VEHICLE_ID,
        _COMPONENT,
        _AS_OF,
        Column("model_id", TEXT, "the model that answered"),
        Column("role", TEXT, "champion, canary, shadow or fallback"),
        Column("scored_at", UTC_INSTANT, "when it was computed"),
        Column("data_until", UTC_INSTANT, "last telemetry seen", nullable=True),
        Column("horizon_d", I16, "horizon", "d"),
        Column("status", TEXT, "ok, insufficient_data, stale or fallback"),
        Column("p_failure", F64, "calibrated probability of failure within the horizon", nullable=True),
        Column("position", I32, "1 = most likely to fail, over the fleet and all components", nullable=True),
        Column("threshold", F64, "alert threshold of the batch", nullable=True),
        Column("alert", BOOL, "above the threshold, within the alert budget"),
        Column(
            "reasons_json",
            TEXT,
            "list: feature, meaning, unit, value, usual_low, usual_high, contribution, sentence",
            json=True,
        ),
        Column("inputs_hash", TEXT, "hash of the feature vector used"),
    ),
)

BACKTEST: Final = Table(
    "backtest",
    "Backtests run, with their measures and the artifact that holds the report.",
    ("backtest_id",),
    (
        Column("backtest_id", TEXT, "hash of inputs and policy"),
        Column("policy_id", TEXT, "policy in force"),
        Column("feature_set_id", TEXT, "inputs"),
        Column("known_until", UTC_INSTANT, "judged by labels known then"),
        Column("measures_json", TEXT, "pooled and a fold, model and baselines", json=True),
        Column("report_sha256", TEXT, "artifact that holds the HTML report"),
        Column("created_at", UTC_INSTANT, "when it was stored"),
    ),
)

POLICY: Final = Table(
    "policy",
    "Policies in force at some time, by hash.",
    ("policy_id",),
    (
        Column("policy_id", TEXT, "hash of the canonical content"),
        Column("content_json", TEXT, "the whole policy", json=True),
    ),
)

STORED: Final = (
    VEHICLE, LOG_FILE, LOG_SIGNAL, QUARANTINE, IMPORT_FILE, REJECTED_ROW, RETENTION, POLL, SIGNAL, FAULT, EVENT,
    WORK_ORDER, FAILURE, DAILY_SIGNAL, DAILY_FAULT, DIRTY_DAY,
    FEATURE_SET, FEATURE_VECTOR, LABEL, MODEL_VERSION, STAGE_TRANSITION, PREDICTION, BACKTEST, POLICY,
)  # fmt: skip
"""Every table that stands in schema `pm`."""
