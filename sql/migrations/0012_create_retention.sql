-- How far back telemetry is kept, and how far a remote source has been read.

CREATE TABLE pm.retention (
    what           text        NOT NULL,
    dropped_before timestamptz NOT NULL,
    dropped_at     timestamptz NOT NULL,
    PRIMARY KEY (what),
    CHECK (what IN ('telemetry', 'archive'))
);
COMMENT ON TABLE pm.retention IS 'What was dropped for its age: rows from before dropped_before are gone and are not taken again.';
COMMENT ON COLUMN pm.retention.what IS 'telemetry (signals, trouble codes, events) or archive (raw files)';
COMMENT ON COLUMN pm.retention.dropped_before IS 'what happened before this is gone';
COMMENT ON COLUMN pm.retention.dropped_at IS 'when it was dropped';

CREATE TABLE pm.poll (
    source      text        NOT NULL,
    next_start  timestamptz NOT NULL,
    polled_at   timestamptz NOT NULL,
    PRIMARY KEY (source)
);
COMMENT ON TABLE pm.poll IS 'How far each remote source has been read.';
COMMENT ON COLUMN pm.poll.source IS 'address and what was asked of it, without secrets';
COMMENT ON COLUMN pm.poll.next_start IS 'where the next poll begins, by the source''s clock';
COMMENT ON COLUMN pm.poll.polled_at IS 'when it was last read to its end';
