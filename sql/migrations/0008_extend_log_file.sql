-- What is needed to decode a file again, and files that hold rows known at several instants.
-- A log is one part. An import whose rows became known at different times is cut into parts, so that
-- each row's known_at is that of its part.

ALTER TABLE pm.log_file
    ADD COLUMN part            integer NOT NULL DEFAULT 0,
    ADD COLUMN size_bytes      bigint,
    ADD COLUMN starts_at       timestamptz,
    ADD COLUMN sample_period_s double precision,
    ADD COLUMN redecoded_at    timestamptz,
    ADD CHECK (part >= 0);
COMMENT ON COLUMN pm.log_file.part IS '0 for a log; an imported file has one part a vehicle and knowledge time';
COMMENT ON COLUMN pm.log_file.size_bytes IS 'bytes of the whole file; null in rows stored before it was kept';
COMMENT ON COLUMN pm.log_file.starts_at IS 'the instant of time zero that was given for a log without absolute times';
COMMENT ON COLUMN pm.log_file.sample_period_s IS 'period of which the last value was kept [s]; 0: every frame; null where not kept';
COMMENT ON COLUMN pm.log_file.redecoded_at IS 'when it was last decoded again; null: never';

ALTER TABLE pm.log_file ADD UNIQUE (vehicle_id, sha256, part);
ALTER TABLE pm.log_file DROP CONSTRAINT log_file_vehicle_id_sha256_key;

CREATE INDEX log_file_span ON pm.log_file (vehicle_id, first_at);
-- A VIN that somebody stated stands; of those that logs carry, that of the log known first.
ALTER TABLE pm.vehicle_identity ADD COLUMN is_stated boolean NOT NULL DEFAULT true;
COMMENT ON COLUMN pm.vehicle_identity.is_stated IS 'a person or an import gave it; else a log carried it';
CREATE INDEX vehicle_identity_vin ON pm.vehicle_identity (vin);
