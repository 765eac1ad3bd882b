-- name: hold_vehicle
-- Beside other vehicles; not beside whoever holds all.
SELECT pg_advisory_xact_lock_shared(hashtext('pm.log_file'), 0),
       pg_advisory_xact_lock(hashtext('pm.vehicle'), %(vehicle_id)s);

-- name: hold_all
SELECT pg_advisory_xact_lock(hashtext('pm.log_file'), 0);

-- name: reserve
SELECT nextval(pg_get_serial_sequence('pm.log_file', 'log_file_id'));

-- name: claim
INSERT INTO pm.log_file (log_file_id, sha256, vehicle_id, file_name, format, n_frames, n_decoded, rejected_json, known_at,
                         dbc_sha256, decoder_version, ingested_at, size_bytes, starts_at, sample_period_s)
VALUES (coalesce(%(log_file_id)s::bigint, nextval(pg_get_serial_sequence('pm.log_file', 'log_file_id'))), %(sha256)s, %(vehicle_id)s, %(file_name)s, %(format)s, 0, 0, '{}', %(known_at)s,
        %(dbc_sha256)s::text[], %(decoder_version)s, now(), %(size_bytes)s, %(starts_at)s, %(sample_period_s)s)
ON CONFLICT (vehicle_id, sha256, part) DO NOTHING
RETURNING log_file_id;

-- name: claim_staged
INSERT INTO pm.log_file (sha256, vehicle_id, part, file_name, format, first_at, last_at, n_frames, n_decoded,
                         rejected_json, known_at, dbc_sha256, decoder_version, ingested_at, size_bytes, starts_at,
                         sample_period_s)
SELECT sha256, vehicle_id, part, file_name, format, first_at, last_at, n_frames, n_decoded,
       rejected_json, known_at, dbc_sha256, decoder_version, now(), size_bytes, starts_at, sample_period_s
FROM pg_temp.pm_stage
ORDER BY vehicle_id, part
ON CONFLICT (vehicle_id, sha256, part) DO NOTHING
RETURNING log_file_id, vehicle_id, sha256, part;

-- name: finish
UPDATE pm.log_file
SET first_at = %(first_at)s, last_at = %(last_at)s, n_frames = %(n_frames)s, n_decoded = %(n_decoded)s,
    rejected_json = %(rejected_json)s::jsonb
WHERE log_file_id = %(log_file_id)s;

-- name: span
SELECT * FROM pm.log_file
WHERE (%(vehicle_id)s::integer IS NULL OR vehicle_id = %(vehicle_id)s)
  AND (%(known_from)s::timestamptz IS NULL OR known_at >= %(known_from)s)
  AND (%(known_to)s::timestamptz IS NULL OR known_at < %(known_to)s)
ORDER BY log_file_id;

-- name: known_at_of
SELECT log_file_id, known_at FROM pm.log_file WHERE log_file_id = ANY(%(log_file_ids)s::bigint[]);
