-- Policies, models and their moves, backtests, predictions.

CREATE TABLE pm.policy (
    policy_id    text  NOT NULL,
    content_json jsonb NOT NULL,
    PRIMARY KEY (policy_id)
);
COMMENT ON TABLE pm.policy IS 'Policies in force at some time, by hash.';
COMMENT ON COLUMN pm.policy.policy_id IS 'hash of the canonical content';
COMMENT ON COLUMN pm.policy.content_json IS 'the whole policy';

CREATE TABLE pm.model_version (
    model_id       text        NOT NULL,
    component      text        NOT NULL,
    kind           text        NOT NULL,
    cutoff         timestamptz NOT NULL,
    feature_set_id text        NOT NULL,
    policy_id      text        NOT NULL,
    inputs_hash    text        NOT NULL,
    metrics_json   jsonb       NOT NULL,
    bundle_sha256  text        NOT NULL,
    created_at     timestamptz NOT NULL,
    PRIMARY KEY (model_id),
    UNIQUE (model_id, component)
);
COMMENT ON TABLE pm.model_version IS 'Registry of trained models.';
COMMENT ON COLUMN pm.model_version.model_id IS 'hash of the bundle, shortened';
COMMENT ON COLUMN pm.model_version.component IS 'component class, for instance cooling';
COMMENT ON COLUMN pm.model_version.kind IS 'gbm, panel or the name of a simple rule';
COMMENT ON COLUMN pm.model_version.cutoff IS 'trained on labels matured by then';
COMMENT ON COLUMN pm.model_version.feature_set_id IS 'inputs';
COMMENT ON COLUMN pm.model_version.policy_id IS 'policy in force';
COMMENT ON COLUMN pm.model_version.inputs_hash IS 'hash of training features and labels';
COMMENT ON COLUMN pm.model_version.metrics_json IS 'measured, with baselines on the same rows';
COMMENT ON COLUMN pm.model_version.bundle_sha256 IS 'artifact that holds the model';
COMMENT ON COLUMN pm.model_version.created_at IS 'when it was registered';

CREATE TABLE pm.stage_transition (
    component  text        NOT NULL,
    move_no    integer     NOT NULL,
    model_id   text        NOT NULL,
    from_stage text,
    to_stage   text        NOT NULL,
    moved_at   timestamptz NOT NULL,
    reason     text        NOT NULL,
    PRIMARY KEY (component, move_no),
    FOREIGN KEY (model_id, component) REFERENCES pm.model_version (model_id, component),
    CHECK (from_stage IN ('candidate', 'shadow', 'canary', 'champion', 'retired')),
    CHECK (to_stage IN ('candidate', 'shadow', 'canary', 'champion', 'retired')),
    CHECK (move_no > 0)
);
COMMENT ON TABLE pm.stage_transition IS 'Every move of a model between stages, with its reason.';
COMMENT ON COLUMN pm.stage_transition.component IS 'component class, for instance cooling';
COMMENT ON COLUMN pm.stage_transition.move_no IS '1, 2, … in a component; claims are compare-and-set on it';
COMMENT ON COLUMN pm.stage_transition.model_id IS 'the model moved';
COMMENT ON COLUMN pm.stage_transition.from_stage IS 'stage before';
COMMENT ON COLUMN pm.stage_transition.to_stage IS 'stage after';
COMMENT ON COLUMN pm.stage_transition.moved_at IS 'when';
COMMENT ON COLUMN pm.stage_transition.reason IS 'evidence in a sentence';

CREATE TABLE pm.backtest (
    backtest_id    text        NOT NULL,
    policy_id      text        NOT NULL,
    feature_set_id text        NOT NULL,
    known_until    timestamptz NOT NULL,
    measures_json  jsonb       NOT NULL,
    report_sha256  text        NOT NULL,
    created_at     timestamptz NOT NULL,
    PRIMARY KEY (backtest_id)
);
COMMENT ON TABLE pm.backtest IS 'Backtests run, with their measures and the artifact that holds the report.';
COMMENT ON COLUMN pm.backtest.backtest_id IS 'hash of inputs and policy';
COMMENT ON COLUMN pm.backtest.policy_id IS 'policy in force';
COMMENT ON COLUMN pm.backtest.feature_set_id IS 'inputs';
COMMENT ON COLUMN pm.backtest.known_until IS 'judged by labels known then';
COMMENT ON COLUMN pm.backtest.measures_json IS 'pooled and a fold, model and baselines';
COMMENT ON COLUMN pm.backtest.report_sha256 IS 'artifact that holds the HTML report';
COMMENT ON COLUMN pm.backtest.created_at IS 'when it was stored';

CREATE TABLE pm.prediction (
    vehicle_id   integer          NOT NULL,
    component    text             NOT NULL,
    as_of        timestamptz      NOT NULL,
    model_id     text             NOT NULL,
    role         text             NOT NULL,
    scored_at    timestamptz      NOT NULL,
    data_until   timestamptz,
    horizon_d    smallint         NOT NULL,
    status       text             NOT NULL,
    p_failure    double precision,
    position     integer,
    threshold    double precision,
    alert        boolean          NOT NULL,
    reasons_json jsonb            NOT NULL,
    inputs_hash  text             NOT NULL,
    PRIMARY KEY (vehicle_id, component, as_of, model_id),
    FOREIGN KEY (vehicle_id) REFERENCES pm.vehicle,
    CHECK (role IN ('champion', 'canary', 'shadow', 'fallback')),
    CHECK (status IN ('ok', 'insufficient_data', 'stale', 'fallback')),
    CHECK (p_failure BETWEEN 0 AND 1)
);
COMMENT ON TABLE pm.prediction IS 'What a model said about a vehicle''s component at an as-of.';
COMMENT ON COLUMN pm.prediction.vehicle_id IS 'random vehicle number; never the VIN';
COMMENT ON COLUMN pm.prediction.component IS 'component class, for instance cooling';
COMMENT ON COLUMN pm.prediction.as_of IS 'the decision''s instant; only rows known by then are used';
COMMENT ON COLUMN pm.prediction.model_id IS 'the model that answered';
COMMENT ON COLUMN pm.prediction.role IS 'champion, canary, shadow or fallback';
COMMENT ON COLUMN pm.prediction.scored_at IS 'when it was computed';
COMMENT ON COLUMN pm.prediction.data_until IS 'last telemetry seen';
COMMENT ON COLUMN pm.prediction.horizon_d IS 'horizon [d]';
COMMENT ON COLUMN pm.prediction.status IS 'ok, insufficient_data, stale or fallback';
COMMENT ON COLUMN pm.prediction.p_failure IS 'calibrated probability of failure within the horizon';
COMMENT ON COLUMN pm.prediction.position IS '1 = most likely to fail, over the fleet and all components';
COMMENT ON COLUMN pm.prediction.threshold IS 'alert threshold of the batch';
COMMENT ON COLUMN pm.prediction.alert IS 'above the threshold, within the alert budget';
COMMENT ON COLUMN pm.prediction.reasons_json IS 'list: feature, meaning, unit, value, usual_low, usual_high, contribution, sentence';
COMMENT ON COLUMN pm.prediction.inputs_hash IS 'hash of the feature vector used';
CREATE INDEX prediction_as_of ON pm.prediction (as_of);
