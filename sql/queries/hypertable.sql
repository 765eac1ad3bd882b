-- What needs the extension timescaledb; {extension} is the schema it was created in.

-- name: extension_schema
SELECT namespace.nspname
FROM pg_catalog.pg_extension AS extension
JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = extension.extnamespace
WHERE extension.extname = 'timescaledb';

-- name: all
-- The product's hypertables: how long their chunks are, and whether and when chunks go into the columnstore.
SELECT hypertable.hypertable_schema, hypertable.hypertable_name, dimension.time_interval,
       hypertable.compression_enabled, job.after, job.job_id IS NOT NULL
FROM timescaledb_information.hypertables AS hypertable
JOIN timescaledb_information.dimensions AS dimension
  USING (hypertable_schema, hypertable_name)
LEFT JOIN LATERAL (
    SELECT job_id, (config ->> 'compress_after')::interval AS after
    FROM timescaledb_information.jobs AS job
    WHERE job.hypertable_schema = hypertable.hypertable_schema
      AND job.hypertable_name = hypertable.hypertable_name
      AND job.proc_name = 'policy_compression'
    LIMIT 1
) AS job ON true
WHERE hypertable.hypertable_schema IN ('pm', 'telemetry') AND dimension.dimension_number = 1
ORDER BY hypertable.hypertable_schema, hypertable.hypertable_name;

-- name: chunks_from_before
-- Chunks that hold, or may hold, rows from before the cutoff; the oldest first.
SELECT chunk_schema, chunk_name, range_start, range_end, is_compressed
FROM timescaledb_information.chunks
WHERE hypertable_schema = %(schema)s AND hypertable_name = %(relation)s AND range_start < %(cutoff)s
ORDER BY range_start, chunk_name;

-- name: set_chunk_interval
SELECT {extension}.set_chunk_time_interval(%(table)s::regclass, %(interval)s::interval);

-- name: drop_chunks
SELECT {extension}.drop_chunks(%(table)s::regclass, older_than => %(older_than)s::timestamptz);

-- name: remove_columnstore_policy
CALL {extension}.remove_columnstore_policy(%(table)s::regclass, if_exists => true);

-- name: add_columnstore_policy
CALL {extension}.add_columnstore_policy(%(table)s::regclass, after => %(after)s::interval, if_not_exists => true);

-- name: enable_columnstore
-- By the whole key: a late row is then compared with the few batches that may hold its key, not with all.
ALTER TABLE {table} SET (
    timescaledb.enable_columnstore = true,
    timescaledb.segmentby = 'vehicle_id',
    timescaledb.orderby = 'source_address, destination_address, channel, time'
);

-- name: lift_decompression_limit
-- A late file may touch more rows of the columnstore in one transaction than the server's default allows.
ALTER DATABASE {database} SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0;
