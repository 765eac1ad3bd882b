CREATE VIEW readable.signal AS
WITH seen AS (
    SELECT message, signal, count(*) AS n_files, sum(n_rows)::bigint AS n_rows, sum(n_values)::bigint AS n_values,
           min(first_at) AS first_seen_at, max(last_at) AS last_seen_at
    FROM pm.log_signal
    GROUP BY message, signal
), stored AS (
    -- As pm.store.views: signals in the order of their columns, without the VIN; a name of a fixed view is taken.
    SELECT signal.message, signal.signal,
           row_number() OVER (PARTITION BY signal.table_name ORDER BY attribute.attnum) AS place,
           CASE WHEN signal.table_name IN ('event', 'fault', 'log_file', 'log_reject', 'prediction', 'signal', 'work_order')
                THEN signal.table_name || '_message' ELSE signal.table_name END AS view_name
    FROM pm.signal
    JOIN pg_catalog.pg_attribute AS attribute
      ON attribute.attrelid = to_regclass(format('telemetry.%I', signal.table_name))
     AND attribute.attname = signal.column_name
     AND NOT attribute.attisdropped
    WHERE signal.spn IS DISTINCT FROM 237
), shown AS (
    SELECT stored.message, stored.signal, stored.view_name, view_column.attname::text AS view_column
    FROM stored
    JOIN pg_catalog.pg_attribute AS last_of_every_view
      ON last_of_every_view.attrelid = to_regclass(format('readable.%I', stored.view_name))
     AND last_of_every_view.attname = 'known_at'
    JOIN pg_catalog.pg_attribute AS view_column
      ON view_column.attrelid = last_of_every_view.attrelid
     AND view_column.attnum = last_of_every_view.attnum + stored.place
)
SELECT signal.message,
       signal.signal,
       signal.table_name,
       signal.column_name,
       shown.view_name AS readable_view,
       shown.view_column AS readable_column,
       signal.pgn,
       signal.spn,
       signal.unit,
       signal.minimum,
       signal.maximum,
       signal.description,
       signal.dbc_sha256,
       seen.first_seen_at,
       seen.last_seen_at,
       seen.n_files,
       seen.n_rows,
       seen.n_values,
       1 - seen.n_values / nullif(seen.n_rows, 0)::double precision AS null_share
FROM pm.signal
LEFT JOIN shown USING (message, signal)
LEFT JOIN seen USING (message, signal);

COMMENT ON VIEW readable.signal IS 'Dictionary of decoded signals: what each is, where it stands, and how much of it was seen.';
COMMENT ON COLUMN readable.signal.message IS 'message name in the DBC';
COMMENT ON COLUMN readable.signal.signal IS 'signal name in the DBC';
COMMENT ON COLUMN readable.signal.table_name IS 'table in schema telemetry';
COMMENT ON COLUMN readable.signal.column_name IS 'column in that table';
COMMENT ON COLUMN readable.signal.readable_view IS 'view in schema readable; null for a VIN';
COMMENT ON COLUMN readable.signal.readable_column IS 'column in that view';
COMMENT ON COLUMN readable.signal.pgn IS 'parameter group number';
COMMENT ON COLUMN readable.signal.spn IS 'suspect parameter number';
COMMENT ON COLUMN readable.signal.unit IS 'physical unit as in the DBC';
COMMENT ON COLUMN readable.signal.minimum IS 'lower end of the DBC''s range';
COMMENT ON COLUMN readable.signal.maximum IS 'upper end of the DBC''s range';
COMMENT ON COLUMN readable.signal.description IS 'comment in the DBC';
COMMENT ON COLUMN readable.signal.dbc_sha256 IS 'the DBC file that last declared it';
COMMENT ON COLUMN readable.signal.first_seen_at IS 'time of the first value; null: never seen';
COMMENT ON COLUMN readable.signal.last_seen_at IS 'time of the last value; null: never seen';
COMMENT ON COLUMN readable.signal.n_files IS 'files that hold its message; null: never seen';
COMMENT ON COLUMN readable.signal.n_rows IS 'rows of its message in those files, also those that overlap';
COMMENT ON COLUMN readable.signal.n_values IS 'values among them that are not null';
COMMENT ON COLUMN readable.signal.null_share IS 'share of those rows without a value, 0 to 1; null: never seen';
