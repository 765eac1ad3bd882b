-- What was refused and why: whole files, and rows of imported files.

CREATE TABLE pm.quarantine (
    vehicle_id       integer     NOT NULL,
    sha256           text        NOT NULL,
    file_name        text        NOT NULL,
    size_bytes       bigint      NOT NULL,
    known_at         timestamptz NOT NULL,
    starts_at        timestamptz,
    reason           text        NOT NULL,
    n_attempts       integer     NOT NULL,
    first_refused_at timestamptz NOT NULL,
    last_refused_at  timestamptz NOT NULL,
    decoder_version  text        NOT NULL,
    PRIMARY KEY (vehicle_id, sha256),
    FOREIGN KEY (vehicle_id) REFERENCES pm.vehicle,
    CHECK (n_attempts > 0)
);
COMMENT ON TABLE pm.quarantine IS 'Log files that were refused; their bytes are in the archive.';
COMMENT ON COLUMN pm.quarantine.vehicle_id IS 'random vehicle number; never the VIN';
COMMENT ON COLUMN pm.quarantine.sha256 IS 'sha256 of the file''s bytes, hex';
COMMENT ON COLUMN pm.quarantine.file_name IS 'name without folder';
COMMENT ON COLUMN pm.quarantine.size_bytes IS 'bytes of the whole file';
COMMENT ON COLUMN pm.quarantine.known_at IS 'when this could first be known here';
COMMENT ON COLUMN pm.quarantine.starts_at IS 'the instant of time zero that was given for a log without absolute times';
COMMENT ON COLUMN pm.quarantine.reason IS 'what was expected, what was there instead, and where';
COMMENT ON COLUMN pm.quarantine.n_attempts IS 'how often it was refused';
COMMENT ON COLUMN pm.quarantine.first_refused_at IS 'when it was first refused';
COMMENT ON COLUMN pm.quarantine.last_refused_at IS 'when it was last refused';
COMMENT ON COLUMN pm.quarantine.decoder_version IS 'version of the decoder that last refused it';

CREATE TABLE pm.import_file (
    sha256         text        NOT NULL,
    kind           text        NOT NULL,
    mapping_sha256 text        NOT NULL,
    file_name      text        NOT NULL,
    format         text        NOT NULL,
    n_rows         bigint      NOT NULL,
    n_stored       bigint      NOT NULL,
    n_rejected     bigint      NOT NULL,
    imported_at    timestamptz NOT NULL,
    PRIMARY KEY (sha256, kind, mapping_sha256),
    CHECK (n_rows >= 0 AND n_stored >= 0 AND n_rejected >= 0)
);
COMMENT ON TABLE pm.import_file IS 'The manifest of imports: one row a file, kind and mapping that was committed whole.';
COMMENT ON COLUMN pm.import_file.sha256 IS 'sha256 of the file''s bytes, hex';
COMMENT ON COLUMN pm.import_file.kind IS 'telemetry, events, work-orders or vehicles';
COMMENT ON COLUMN pm.import_file.mapping_sha256 IS 'sha256 of the mapping file''s bytes, hex; empty: no mapping';
COMMENT ON COLUMN pm.import_file.file_name IS 'name without folder';
COMMENT ON COLUMN pm.import_file.format IS 'csv, parquet, jsonl or rfms';
COMMENT ON COLUMN pm.import_file.n_rows IS 'rows in the file';
COMMENT ON COLUMN pm.import_file.n_stored IS 'rows that were new and are stored';
COMMENT ON COLUMN pm.import_file.n_rejected IS 'rows that were refused';
COMMENT ON COLUMN pm.import_file.imported_at IS 'when the transaction ran';

CREATE TABLE pm.rejected_row (
    sha256         text   NOT NULL,
    kind           text   NOT NULL,
    mapping_sha256 text   NOT NULL,
    row_no         bigint NOT NULL,
    reason         text   NOT NULL,
    PRIMARY KEY (sha256, kind, mapping_sha256, row_no),
    FOREIGN KEY (sha256, kind, mapping_sha256) REFERENCES pm.import_file ON DELETE CASCADE
);
COMMENT ON TABLE pm.rejected_row IS 'Rows of an imported file that were refused, the first of them; the reason never holds a VIN.';
COMMENT ON COLUMN pm.rejected_row.sha256 IS 'sha256 of the file''s bytes, hex';
COMMENT ON COLUMN pm.rejected_row.kind IS 'telemetry, events, work-orders or vehicles';
COMMENT ON COLUMN pm.rejected_row.mapping_sha256 IS 'sha256 of the mapping file''s bytes, hex; empty: no mapping';
COMMENT ON COLUMN pm.rejected_row.row_no IS 'line of a text file (the header is line 1), else the row, from 1';
COMMENT ON COLUMN pm.rejected_row.reason IS 'what was expected, and what was there instead';
