-- What was assumed of the daily aggregates and held or not, and the frozen summaries it is compared with.

CREATE TABLE pm.assumption (
    as_of          timestamptz NOT NULL,
    check_name     text        NOT NULL,
    vehicle_id     integer     NOT NULL,
    message        text        NOT NULL,
    signal         text        NOT NULL,
    source_address smallint    NOT NULL,
    status         text        NOT NULL,
    value          double precision,
    expected_low   double precision,
    expected_high  double precision,
    unit           text        NOT NULL,
    conversion     text,
    n_rows         bigint      NOT NULL,
    reason         text        NOT NULL,
    known_at       timestamptz NOT NULL,
    checked_at     timestamptz NOT NULL,
    policy_id      text        NOT NULL,
    PRIMARY KEY (as_of, check_name, vehicle_id, message, signal, source_address),
    CHECK (status IN ('pass', 'mark', 'block', 'not_checked')),
    CHECK (vehicle_id >= 0 AND n_rows >= 0)
);
COMMENT ON TABLE pm.assumption IS 'What was checked of the daily aggregates at an as-of: one row a check for the fleet, and one a vehicle and signal of which it does not hold.';
COMMENT ON COLUMN pm.assumption.as_of IS 'the decision''s instant; only rows known by then are used';
COMMENT ON COLUMN pm.assumption.check_name IS 'schema, units, range, counters, sampling, stuck, silent or nulls';
COMMENT ON COLUMN pm.assumption.vehicle_id IS 'random vehicle number; never the VIN; 0: the whole fleet';
COMMENT ON COLUMN pm.assumption.message IS 'message name in the DBC; empty: all of them';
COMMENT ON COLUMN pm.assumption.signal IS 'signal name in the DBC; empty: all of the message';
COMMENT ON COLUMN pm.assumption.source_address IS 'J1939 source address, 0 to 255; -1 on an 11-bit id, or all of them';
COMMENT ON COLUMN pm.assumption.status IS 'pass, mark, block or not_checked';
COMMENT ON COLUMN pm.assumption.value IS 'what was found; for the fleet, how many subjects do not hold';
COMMENT ON COLUMN pm.assumption.expected_low IS 'lower end of what was expected';
COMMENT ON COLUMN pm.assumption.expected_high IS 'upper end of what was expected';
COMMENT ON COLUMN pm.assumption.unit IS 'unit of value and of what was expected; empty: none';
COMMENT ON COLUMN pm.assumption.conversion IS 'the mistaken unit that explains the values best';
COMMENT ON COLUMN pm.assumption.n_rows IS 'daily values looked at';
COMMENT ON COLUMN pm.assumption.reason IS 'what was expected and what was found, in a sentence';
COMMENT ON COLUMN pm.assumption.known_at IS 'when the last of the rows looked at became known';
COMMENT ON COLUMN pm.assumption.checked_at IS 'when it was computed';
COMMENT ON COLUMN pm.assumption.policy_id IS 'policy in force';

CREATE TABLE pm.training_profile (
    profile_id     text        NOT NULL,
    feature_set_id text        NOT NULL,
    as_of          timestamptz NOT NULL,
    content_json   jsonb       NOT NULL,
    created_at     timestamptz NOT NULL,
    PRIMARY KEY (profile_id)
);
COMMENT ON TABLE pm.training_profile IS 'Frozen summaries of the daily aggregates that models were trained on.';
COMMENT ON COLUMN pm.training_profile.profile_id IS 'hash of the content, shortened';
COMMENT ON COLUMN pm.training_profile.feature_set_id IS 'the feature set whose models were trained';
COMMENT ON COLUMN pm.training_profile.as_of IS 'made from rows known by then; no earlier decision may use it';
COMMENT ON COLUMN pm.training_profile.content_json IS 'one entry a truck model and signal';
COMMENT ON COLUMN pm.training_profile.created_at IS 'when it was stored';
