-- Which inputs each batch of vectors was made from, and which feature set is in use.

CREATE TABLE pm.feature_batch (
    feature_set_id  text        NOT NULL,
    as_of           timestamptz NOT NULL,
    lookback_d      integer     NOT NULL,
    n_vectors       integer     NOT NULL,
    n_computed      integer     NOT NULL,
    n_taken         integer     NOT NULL,
    sources_digest  text        NOT NULL,
    readings_digest text,
    PRIMARY KEY (feature_set_id, as_of),
    FOREIGN KEY (feature_set_id) REFERENCES pm.feature_set,
    CHECK (lookback_d >= 0 AND n_vectors >= 0 AND n_computed >= 0 AND n_taken >= 0)
);
COMMENT ON TABLE pm.feature_batch IS 'One row a feature set and as-of whose vectors are stored: what they were made from, and how.';
COMMENT ON COLUMN pm.feature_batch.feature_set_id IS 'which set';
COMMENT ON COLUMN pm.feature_batch.as_of IS 'the decision''s instant; only rows known by then are used';
COMMENT ON COLUMN pm.feature_batch.lookback_d IS 'days of dailies before the as-of that were read [d]';
COMMENT ON COLUMN pm.feature_batch.n_vectors IS 'vectors made: vehicles in the fleet';
COMMENT ON COLUMN pm.feature_batch.n_computed IS 'features computed for it';
COMMENT ON COLUMN pm.feature_batch.n_taken IS 'features taken from vectors of another set with the same inputs';
COMMENT ON COLUMN pm.feature_batch.sources_digest IS 'hash of every row of the inputs that was known by the as-of';
COMMENT ON COLUMN pm.feature_batch.readings_digest IS 'hash of the counters'' readings after repairs; null where no feature needs them';

CREATE TABLE pm.feature_choice (
    choice_no      integer     NOT NULL,
    feature_set_id text,
    chosen_at      timestamptz NOT NULL,
    reason         text        NOT NULL,
    PRIMARY KEY (choice_no),
    FOREIGN KEY (feature_set_id) REFERENCES pm.feature_set,
    CHECK (choice_no > 0)
);
COMMENT ON TABLE pm.feature_choice IS 'Every choice of the feature set in use; the last one holds.';
COMMENT ON COLUMN pm.feature_choice.choice_no IS '1, 2, …; a claim is compare-and-set on it';
COMMENT ON COLUMN pm.feature_choice.feature_set_id IS 'the set in use from then on; null: the configured one';
COMMENT ON COLUMN pm.feature_choice.chosen_at IS 'when it was chosen';
COMMENT ON COLUMN pm.feature_choice.reason IS 'why, in a sentence';
