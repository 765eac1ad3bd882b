CREATE VIEW readable.log_file AS
SELECT vehicle.fleet,
       vehicle.vehicle_ref AS vehicle,
       vehicle.model,
       log_file.file_name,
       log_file.part,
       log_file.format,
       log_file.first_at,
       log_file.last_at,
       log_file.known_at,
       log_file.ingested_at,
       log_file.redecoded_at,
       log_file.size_bytes,
       log_file.n_frames,
       log_file.n_decoded,
       (
           SELECT coalesce(sum(reject.value::numeric), 0)::bigint
           FROM jsonb_each(log_file.rejected_json) AS reject
           WHERE jsonb_typeof(reject.value) = 'number'
       ) AS n_rejected,
       log_file.sample_period_s,
       log_file.starts_at,
       log_file.decoder_version,
       log_file.sha256,
       log_file.dbc_sha256,
       log_file.log_file_id
FROM pm.log_file
LEFT JOIN pm.vehicle ON vehicle.vehicle_id = log_file.vehicle_id;

COMMENT ON VIEW readable.log_file IS 'Log files that were committed whole; what of each was not used stands in readable.log_reject.';
COMMENT ON COLUMN readable.log_file.fleet IS 'owner of the vehicle';
COMMENT ON COLUMN readable.log_file.vehicle IS 'unit number, unique in a fleet';
COMMENT ON COLUMN readable.log_file.model IS 'truck model';
COMMENT ON COLUMN readable.log_file.file_name IS 'name without folder';
COMMENT ON COLUMN readable.log_file.part IS '0 for a log; an imported file has one part a vehicle and knowledge time';
COMMENT ON COLUMN readable.log_file.format IS 'detected format, for instance candump';
COMMENT ON COLUMN readable.log_file.first_at IS 'time of the first frame';
COMMENT ON COLUMN readable.log_file.last_at IS 'time of the last frame';
COMMENT ON COLUMN readable.log_file.known_at IS 'when this could first be known here';
COMMENT ON COLUMN readable.log_file.ingested_at IS 'when the transaction ran';
COMMENT ON COLUMN readable.log_file.redecoded_at IS 'when it was last decoded again; null: never';
COMMENT ON COLUMN readable.log_file.size_bytes IS 'bytes of the whole file; null in rows stored before it was kept';
COMMENT ON COLUMN readable.log_file.n_frames IS 'CAN frames in the file';
COMMENT ON COLUMN readable.log_file.n_decoded IS 'frames that matched a message of the DBC files';
COMMENT ON COLUMN readable.log_file.n_rejected IS 'sum of the counts of what was not used, over all reasons';
COMMENT ON COLUMN readable.log_file.sample_period_s IS 'period of which the last value was kept [s]; 0: every frame; null where not kept';
COMMENT ON COLUMN readable.log_file.starts_at IS 'the instant of time zero that was given for a log without absolute times';
COMMENT ON COLUMN readable.log_file.decoder_version IS 'version of the decoder';
COMMENT ON COLUMN readable.log_file.sha256 IS 'sha256 of the file''s bytes, hex';
COMMENT ON COLUMN readable.log_file.dbc_sha256 IS 'sha256 of each DBC file used, in order';
COMMENT ON COLUMN readable.log_file.log_file_id IS 'number of the file in pm.log_file';
