-- name: all
SELECT * FROM pm.retention ORDER BY what;

-- name: dropped_before
SELECT dropped_before FROM pm.retention WHERE what = %(what)s;

-- name: of_archive
SELECT dropped_before, dropped_at FROM pm.retention WHERE what = 'archive';

-- name: note
-- Never back: what is gone stays gone when more is to be kept later.
INSERT INTO pm.retention (what, dropped_before, dropped_at)
VALUES (%(what)s, %(dropped_before)s, now())
ON CONFLICT (what) DO UPDATE
SET dropped_before = greatest(EXCLUDED.dropped_before, retention.dropped_before), dropped_at = EXCLUDED.dropped_at;

-- name: first_dirty_day
-- The earliest day from `since` on whose daily aggregates are still to be made.
SELECT min(day) FROM pm.dirty_day
WHERE %(since)s::timestamptz IS NULL OR day >= (%(since)s::timestamptz AT TIME ZONE 'UTC')::date;

-- name: tables
-- Tables whose rows go by age: those of decoded telemetry, trouble codes, events.
SELECT namespace.nspname, class.relname
FROM pg_catalog.pg_class AS class
JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
JOIN pg_catalog.pg_attribute AS attribute
  ON attribute.attrelid = class.oid AND attribute.attname = 'time' AND attribute.atttypid = 'timestamptz'::regtype
WHERE class.relkind IN ('r', 'p')
  AND (namespace.nspname = 'telemetry' OR (namespace.nspname = 'pm' AND class.relname IN ('fault', 'event')))
ORDER BY namespace.nspname, class.relname;

-- name: database_now
SELECT now();

-- name: pages
SELECT pg_relation_size(%(table)s::regclass) / current_setting('block_size')::bigint, current_setting('block_size')::bigint;

-- name: old_files
-- Archived files whose last row is older than `before`; of those, only what the run at `dropped_at` could not see.
-- A file that waits in quarantine is still needed.
SELECT file.sha256
FROM pm.log_file AS file
WHERE NOT EXISTS (SELECT FROM pm.quarantine AS refused WHERE refused.sha256 = file.sha256)
GROUP BY file.sha256
HAVING max(coalesce(file.last_at, file.known_at)) < %(before)s::timestamptz
   AND (
       %(dropped_before)s::timestamptz IS NULL
       OR max(coalesce(file.last_at, file.known_at)) >= %(dropped_before)s::timestamptz
       OR max(file.ingested_at) >= %(dropped_at)s::timestamptz - INTERVAL '2 days'
   )
ORDER BY file.sha256;

-- name: lock_timeout
SELECT set_config('lock_timeout', %(timeout)s, true);

-- name: read_only
SET TRANSACTION READ ONLY;
