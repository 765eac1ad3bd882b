-- name: lock
-- Sessions that make or widen telemetry tables follow each other; those that write rows are not held up.
SELECT pg_advisory_xact_lock(hashtextextended('pm.signal', 0));

-- name: all
SELECT * FROM pm.signal ORDER BY message, signal;

-- name: of_message
SELECT * FROM pm.signal WHERE message = %(message)s;

-- name: messages
SELECT DISTINCT message FROM pm.signal ORDER BY message;

-- name: table_names
SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = 'telemetry';

-- name: columns_of_message
-- In the table's column order, with each column's type.
SELECT signal.table_name, signal.signal, signal.column_name, format_type(attribute.atttypid, NULL)
FROM pm.signal
JOIN pg_catalog.pg_attribute AS attribute
  ON attribute.attrelid = to_regclass(format('telemetry.%%I', signal.table_name))
 AND attribute.attname = signal.column_name
 AND NOT attribute.attisdropped
WHERE signal.message = %(message)s
ORDER BY attribute.attnum;

-- name: make_hypertable
SELECT pm.make_hypertable(%(table)s::regclass, 'time', %(chunk)s::interval);

-- name: has_hypertables
SELECT 1 FROM pg_catalog.pg_extension WHERE extname = 'timescaledb';
