-- name: set_aside
-- Not where the bytes are stored for the vehicle: another worker, with other DBC files, took them meanwhile.
-- What the first attempt was told stays: a retry uses it. A time zero given later is kept, because it was missing.
INSERT INTO pm.quarantine (vehicle_id, sha256, file_name, size_bytes, known_at, starts_at, reason, n_attempts,
                           first_refused_at, last_refused_at, decoder_version)
SELECT %(vehicle_id)s, %(sha256)s, %(file_name)s, %(size_bytes)s, %(known_at)s, %(starts_at)s, %(reason)s, 1,
       now(), now(), %(decoder_version)s
WHERE NOT EXISTS (SELECT FROM pm.log_file WHERE vehicle_id = %(vehicle_id)s AND sha256 = %(sha256)s AND part = 0)
ON CONFLICT (vehicle_id, sha256) DO UPDATE
SET reason          = EXCLUDED.reason,
    starts_at       = coalesce(EXCLUDED.starts_at, quarantine.starts_at),
    known_at        = least(EXCLUDED.known_at, quarantine.known_at),
    n_attempts      = quarantine.n_attempts + 1,
    last_refused_at = greatest(EXCLUDED.last_refused_at, quarantine.last_refused_at),
    decoder_version = EXCLUDED.decoder_version;

-- name: release
DELETE FROM pm.quarantine WHERE vehicle_id = %(vehicle_id)s AND sha256 = %(sha256)s;

-- name: matching
SELECT * FROM pm.quarantine
WHERE (%(vehicle_ids)s::integer[] IS NULL OR vehicle_id = ANY(%(vehicle_ids)s::integer[]))
  AND (%(prefix)s::text IS NULL OR starts_with(sha256, %(prefix)s))
ORDER BY known_at, sha256, vehicle_id;

-- name: is_named
-- Whether a stored file or a quarantined one has these bytes.
SELECT EXISTS (SELECT FROM pm.log_file WHERE sha256 = %(sha256)s)
    OR EXISTS (SELECT FROM pm.quarantine WHERE sha256 = %(sha256)s);

-- name: imports
SELECT * FROM pm.import_file WHERE n_rejected > 0 ORDER BY imported_at, sha256, kind, mapping_sha256;

-- name: rejected_rows
SELECT * FROM pm.rejected_row ORDER BY sha256, kind, mapping_sha256, row_no;
