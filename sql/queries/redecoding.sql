-- name: logs
-- Logs of the vehicles, or of all: files that were decoded here, no parts of imports.
SELECT log_file.*
FROM pm.log_file
WHERE part = 0 AND format = ANY(%(formats)s::text[]) AND first_at IS NOT NULL AND last_at IS NOT NULL
  AND (%(vehicle_ids)s::integer[] IS NULL OR vehicle_id = ANY(%(vehicle_ids)s::integer[]))
  AND NOT EXISTS (SELECT FROM pm.import_file WHERE import_file.sha256 = log_file.sha256)
ORDER BY known_at, sha256 COLLATE "C", vehicle_id;

-- name: tables
-- Where rows of logs stand: telemetry tables with the message's name.
SELECT DISTINCT message, table_name FROM pm.signal ORDER BY message;

-- name: has_rows
SELECT EXISTS (
    SELECT FROM {table}
    WHERE vehicle_id = %(vehicle_id)s AND time >= %(first_at)s AND time <= %(last_at)s
      AND log_file_id = ANY(%(log_file_ids)s::bigint[])
);

-- name: delete_rows
-- The rows of some files of one vehicle; how many they were, by UTC day.
WITH gone AS (
    DELETE FROM {table}
    WHERE vehicle_id = %(vehicle_id)s AND time >= %(first_at)s AND time <= %(last_at)s
      AND log_file_id = ANY(%(log_file_ids)s::bigint[])
    RETURNING time
)
SELECT (time AT TIME ZONE 'UTC')::date, count(*) FROM gone GROUP BY 1;

-- name: delete_log_signals
DELETE FROM pm.log_signal WHERE log_file_id = ANY(%(log_file_ids)s::bigint[]);

-- name: note
-- known_at stays: what the file says was known when it came.
UPDATE pm.log_file
SET dbc_sha256 = %(dbc_sha256)s::text[], decoder_version = %(decoder_version)s,
    sample_period_s = %(sample_period_s)s, redecoded_at = %(redecoded_at)s
WHERE log_file_id = %(log_file_id)s;
