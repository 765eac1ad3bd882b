-- name: find
SELECT n_rows, n_stored, n_rejected, imported_at
FROM pm.import_file
WHERE (sha256, kind, mapping_sha256) = (%(sha256)s, %(kind)s, %(mapping_sha256)s);

-- name: other_mappings
SELECT count(*)
FROM pm.import_file
WHERE sha256 = %(sha256)s AND kind = %(kind)s AND mapping_sha256 <> %(mapping_sha256)s;

-- name: record
INSERT INTO pm.import_file (sha256, kind, mapping_sha256, file_name, format, n_rows, n_stored, n_rejected, imported_at)
VALUES (%(sha256)s, %(kind)s, %(mapping_sha256)s, %(file_name)s, %(format)s, %(n_rows)s, %(n_stored)s,
        %(n_rejected)s, %(imported_at)s)
ON CONFLICT (sha256, kind, mapping_sha256) DO UPDATE
SET n_stored    = import_file.n_stored + EXCLUDED.n_stored,
    n_rejected  = EXCLUDED.n_rejected,
    imported_at = EXCLUDED.imported_at;

-- name: forget_rejected
DELETE FROM pm.rejected_row
WHERE (sha256, kind, mapping_sha256) = (%(sha256)s, %(kind)s, %(mapping_sha256)s);

-- name: vehicles_with_parts
SELECT DISTINCT vehicle_id
FROM pm.log_file
WHERE sha256 = %(sha256)s AND dbc_sha256 = %(mapping)s::text[] AND part > 0;

-- name: last_part
SELECT max(part) FROM pm.log_file WHERE sha256 = %(sha256)s;

-- name: mark_staged_days
-- As dirty_day.mark, for days of many vehicles.
INSERT INTO pm.dirty_day (vehicle_id, day, marked_at)
SELECT vehicle_id, day, clock_timestamp() FROM pg_temp.pm_stage ORDER BY vehicle_id, day
ON CONFLICT (vehicle_id, day) DO UPDATE
SET marked_at = greatest(EXCLUDED.marked_at, dirty_day.marked_at + INTERVAL '1 microsecond');
