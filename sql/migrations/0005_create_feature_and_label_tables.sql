-- Model inputs and what they are to predict.

CREATE TABLE pm.feature_set (
    feature_set_id  text    NOT NULL,
    name            text    NOT NULL,
    version         integer NOT NULL,
    definition_json jsonb   NOT NULL,
    PRIMARY KEY (feature_set_id)
);
COMMENT ON TABLE pm.feature_set IS 'Named, versioned, hashed lists of features.';
COMMENT ON COLUMN pm.feature_set.feature_set_id IS 'name, version and hash';
COMMENT ON COLUMN pm.feature_set.name IS 'name';
COMMENT ON COLUMN pm.feature_set.version IS 'version';
COMMENT ON COLUMN pm.feature_set.definition_json IS 'features in order: name, unit, meaning, sources';

CREATE TABLE pm.feature_vector (
    feature_set_id text        NOT NULL,
    vehicle_id     integer     NOT NULL,
    as_of          timestamptz NOT NULL,
    data_until     timestamptz,
    features       real[]      NOT NULL,
    inputs_hash    text        NOT NULL,
    PRIMARY KEY (feature_set_id, vehicle_id, as_of),
    FOREIGN KEY (feature_set_id) REFERENCES pm.feature_set,
    FOREIGN KEY (vehicle_id) REFERENCES pm.vehicle
);
COMMENT ON TABLE pm.feature_vector IS 'One row of model inputs a vehicle and as-of, made only from rows known by then.';
COMMENT ON COLUMN pm.feature_vector.feature_set_id IS 'which set made it';
COMMENT ON COLUMN pm.feature_vector.vehicle_id IS 'random vehicle number; never the VIN';
COMMENT ON COLUMN pm.feature_vector.as_of IS 'the decision''s instant; only rows known by then are used';
COMMENT ON COLUMN pm.feature_vector.data_until IS 'last telemetry seen';
COMMENT ON COLUMN pm.feature_vector.features IS 'one number a feature, in the set''s order; null: not computable';
COMMENT ON COLUMN pm.feature_vector.inputs_hash IS 'hash of this row''s values';
CREATE INDEX feature_vector_as_of ON pm.feature_vector (feature_set_id, as_of);

CREATE TABLE pm.label (
    vehicle_id integer     NOT NULL,
    component  text        NOT NULL,
    as_of      timestamptz NOT NULL,
    horizon_d  smallint    NOT NULL,
    known_at   timestamptz NOT NULL,
    state      text        NOT NULL,
    failed_at  timestamptz,
    PRIMARY KEY (vehicle_id, component, as_of, horizon_d, known_at),
    FOREIGN KEY (vehicle_id) REFERENCES pm.vehicle,
    CHECK (state IN ('positive', 'negative', 'pending', 'censored')),
    CHECK (horizon_d > 0)
);
COMMENT ON TABLE pm.label IS 'History of label states: a row says that from known_at on the label was in this state.';
COMMENT ON COLUMN pm.label.vehicle_id IS 'random vehicle number; never the VIN';
COMMENT ON COLUMN pm.label.component IS 'component class, for instance cooling';
COMMENT ON COLUMN pm.label.as_of IS 'the decision''s instant; only rows known by then are used';
COMMENT ON COLUMN pm.label.horizon_d IS 'horizon [d]';
COMMENT ON COLUMN pm.label.known_at IS 'when this could first be known here';
COMMENT ON COLUMN pm.label.state IS 'positive, negative, pending or censored';
COMMENT ON COLUMN pm.label.failed_at IS 'first failure in the horizon';
