-- name: claim
INSERT INTO pm.log_file (sha256, vehicle_id, file_name, format, n_frames, n_decoded, rejected_json, known_at,
                         dbc_sha256, decoder_version, ingested_at)
VALUES (%(sha256)s, %(vehicle_id)s, %(file_name)s, %(format)s, 0, 0, '{}', %(known_at)s,
        %(dbc_sha256)s::text[], %(decoder_version)s, now())
ON CONFLICT (vehicle_id, sha256) DO NOTHING
RETURNING log_file_id;

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
