-- What the database has, and how much room it takes. {extension} is the schema of TimescaleDB's functions.

-- name: plain_sizes
-- Bytes by table: the rows with their free space maps, the indexes, and what stands out of line.
SELECT namespace.nspname, class.relname,
       pg_table_size(class.oid) - coalesce(pg_total_relation_size(nullif(class.reltoastrelid, 0)), 0),
       pg_indexes_size(class.oid),
       coalesce(pg_total_relation_size(nullif(class.reltoastrelid, 0)), 0)
FROM pg_catalog.pg_class AS class
JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
WHERE class.relkind IN ('r', 'p', 'm') AND namespace.nspname = ANY(%(schemas)s)
ORDER BY namespace.nspname, class.relname;

-- name: hypertable_sizes
-- The same of hypertables, with all their chunks and the columnstore.
SELECT hypertable.hypertable_schema, hypertable.hypertable_name,
       sum(size.table_bytes)::bigint, sum(size.index_bytes)::bigint, sum(size.toast_bytes)::bigint
FROM timescaledb_information.hypertables AS hypertable
CROSS JOIN LATERAL {extension}.hypertable_detailed_size(
    format('%%I.%%I', hypertable.hypertable_schema, hypertable.hypertable_name)::regclass
) AS size
WHERE hypertable.hypertable_schema = ANY(%(schemas)s)
GROUP BY hypertable.hypertable_schema, hypertable.hypertable_name;

-- name: chunks
SELECT count(*), count(*) FILTER (WHERE is_compressed)
FROM timescaledb_information.chunks
WHERE hypertable_schema IN ('pm', 'telemetry');

-- name: policies
-- Jobs of the server on this product's tables, by what they do.
SELECT replace(proc_name, 'policy_', ''), count(*)
FROM timescaledb_information.jobs
WHERE hypertable_schema IN ('pm', 'telemetry') AND scheduled
GROUP BY proc_name
ORDER BY proc_name;

-- name: has_retention
SELECT to_regclass('pm.retention') IS NOT NULL;

-- name: roles
SELECT name, EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = name)
FROM unnest(%(names)s::text[]) AS name;
