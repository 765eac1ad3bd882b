-- What a file said of each signal: the dictionary's first and last seen, and its share of null.
-- One row a file and signal, so that files written at the same time do not wait for each other.

CREATE TABLE pm.log_signal (
    log_file_id bigint NOT NULL,
    message     text   NOT NULL,
    signal      text   NOT NULL,
    n_rows      bigint NOT NULL,
    n_values    bigint NOT NULL,
    first_at    timestamptz,
    last_at     timestamptz,
    PRIMARY KEY (log_file_id, message, signal),
    CHECK (n_values BETWEEN 0 AND n_rows)
);
COMMENT ON TABLE pm.log_signal IS 'One row a log file and signal: how much of it the file holds. Of an imported file, its first part has the rows of all.';
COMMENT ON COLUMN pm.log_signal.log_file_id IS 'the log file it came from';
COMMENT ON COLUMN pm.log_signal.message IS 'message name in the DBC';
COMMENT ON COLUMN pm.log_signal.signal IS 'signal name in the DBC';
COMMENT ON COLUMN pm.log_signal.n_rows IS 'rows of the message that the file holds';
COMMENT ON COLUMN pm.log_signal.n_values IS 'values among them that are not null';
COMMENT ON COLUMN pm.log_signal.first_at IS 'time of the first value; null: no value';
COMMENT ON COLUMN pm.log_signal.last_at IS 'time of the last value';
