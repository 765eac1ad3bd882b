"""What is learnt and said: feature vectors, models, predictions, backtests, policies.

What belongs here: `Table` declarations of this group; see `pm.tables`.
"""

from typing import Final

import polars as pl

from pm.schema import UTC_INSTANT, Column, Table
from pm.tables.columns import AS_OF, BOOL, COMPONENT, F64, I16, I32, TEXT, VEHICLE_ID

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
        VEHICLE_ID,
        AS_OF,
        Column("data_until", UTC_INSTANT, "last telemetry seen", nullable=True),
        Column("features", pl.List(pl.Float32()), "one number a feature, in the set's order; null: not computable"),
        Column("inputs_hash", TEXT, "hash of this row's values"),
    ),
)

FEATURE_BATCH: Final = Table(
    "feature_batch",
    "One row a feature set and as-of whose vectors are stored: what they were made from, and how.",
    ("feature_set_id", "as_of"),
    (
        Column("feature_set_id", TEXT, "which set"),
        AS_OF,
        Column("lookback_d", I32, "days of dailies before the as-of that were read", "d"),
        Column("n_vectors", I32, "vectors made: vehicles in the fleet"),
        Column("n_computed", I32, "features computed for it"),
        Column("n_taken", I32, "features taken from vectors of another set with the same inputs"),
        Column("sources_digest", TEXT, "hash of every row of the inputs that was known by the as-of"),
        Column(
            "readings_digest",
            TEXT,
            "hash of the counters' readings after repairs; null where no feature needs them",
            nullable=True,
        ),
    ),
)

FEATURE_CHOICE: Final = Table(
    "feature_choice",
    "Every choice of the feature set in use; the last one holds.",
    ("choice_no",),
    (
        Column("choice_no", I32, "1, 2, …; a claim is compare-and-set on it"),
        Column("feature_set_id", TEXT, "the set in use from then on; null: the configured one", nullable=True),
        Column("chosen_at", UTC_INSTANT, "when it was chosen"),
        Column("reason", TEXT, "why, in a sentence"),
    ),
)

MODEL_VERSION: Final = Table(
    "model_version",
    "Registry of trained models.",
    ("model_id",),
    (
        Column("model_id", TEXT, "hash of the bundle, shortened"),
        COMPONENT,
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
        COMPONENT,
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
        VEHICLE_ID,
        COMPONENT,
        AS_OF,
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
        Column(
            "scores_sha256",
            TEXT,
            "artifact that holds the judged scores; null in backtests stored before they were kept",
            nullable=True,
        ),
    ),
)

BACKTEST_FOLD: Final = Table(
    "backtest_fold",
    "Finished folds of backtests, by what went into them.",
    ("fold_key",),
    (
        Column("fold_key", TEXT, "hash of inputs, parameters and code"),
        Column("fold_no", I32, "1, 2, … in its backtest"),
        Column("cutoff", UTC_INSTANT, "trained on what was known then"),
        Column("policy_id", TEXT, "policy in force"),
        Column("inputs_hash", TEXT, "hash of the vectors and labels that it used"),
        Column("code_version", TEXT, "hash of the sources and packages that made it"),
        Column("result_sha256", TEXT, "artifact that holds its scores and record"),
        Column("finished_at", UTC_INSTANT, "when the run that stored it began"),
    ),
)

AUDIT: Final = Table(
    "audit",
    "Leak audits of backtests.",
    ("audit_id",),
    (
        Column("audit_id", TEXT, "hash of content and backtest"),
        Column("backtest_id", TEXT, "the backtest that was audited"),
        Column("policy_id", TEXT, "policy in force"),
        Column("feature_set_id", TEXT, "inputs"),
        Column("known_until", UTC_INSTANT, "judged by labels known then"),
        Column("status", TEXT, "pass, warn, fail or not_possible: the worst of its checks"),
        Column("audit_json", TEXT, "checks with their figures and sentences", json=True),
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

TRAINING_PROFILE: Final = Table(
    "training_profile",
    "Frozen summaries of the daily aggregates that models were trained on.",
    ("profile_id",),
    (
        Column("profile_id", TEXT, "hash of the content, shortened"),
        Column("feature_set_id", TEXT, "the feature set whose models were trained"),
        Column("as_of", UTC_INSTANT, "made from rows known by then; no earlier decision may use it"),
        Column("content_json", TEXT, "one entry a truck model and signal", json=True),
        Column("created_at", UTC_INSTANT, "when it was stored"),
    ),
)
