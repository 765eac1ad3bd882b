-- name: wanted
-- Each telemetry table, or the one asked for, with a digest of all that its view is made from.
SELECT signal.table_name,
       left(encode(sha256(convert_to(
           %(rules)s || coalesce(obj_description(attribute.attrelid, 'pg_class'), '') || string_agg(
               format('%%s|%%s|%%s|%%s|%%s|%%s', attribute.attnum, signal.column_name, signal.signal, signal.unit, signal.spn,
                      col_description(attribute.attrelid, attribute.attnum)),
               E'\n' ORDER BY attribute.attnum),
           'UTF8')), 'hex'), 12)
FROM pm.signal
JOIN pg_catalog.pg_attribute AS attribute
  ON attribute.attrelid = to_regclass(format('telemetry.%%I', signal.table_name))
 AND attribute.attname = signal.column_name
 AND NOT attribute.attisdropped
WHERE %(table)s::text IS NULL OR signal.table_name = %(table)s
GROUP BY signal.table_name, attribute.attrelid
ORDER BY signal.table_name;

-- name: columns
-- What the view of one telemetry table shows of its signals, in the table's column order. The VIN is not shown.
SELECT signal.signal, signal.unit, signal.column_name, coalesce(col_description(attribute.attrelid, attribute.attnum), '')
FROM pm.signal
JOIN pg_catalog.pg_attribute AS attribute
  ON attribute.attrelid = to_regclass(format('telemetry.%%I', signal.table_name))
 AND attribute.attname = signal.column_name
 AND NOT attribute.attisdropped
WHERE signal.table_name = %(table)s AND signal.spn IS DISTINCT FROM %(vin_spn)s::integer
ORDER BY attribute.attnum;

-- name: table_comment
SELECT coalesce(obj_description(to_regclass(format('telemetry.%%I', %(table)s::text)), 'pg_class'), '');

-- name: made
-- The views of schema readable: name, the digest in its comment (null: not made here), columns in order.
SELECT view.relname::text,
       substring(obj_description(view.oid, 'pg_class') FROM '\[definition ([0-9a-f]{12})\]$'),
       array_agg(attribute.attname::text ORDER BY attribute.attnum)
FROM pg_catalog.pg_class AS view
JOIN pg_catalog.pg_namespace AS schema ON schema.oid = view.relnamespace
JOIN pg_catalog.pg_attribute AS attribute ON attribute.attrelid = view.oid AND attribute.attnum > 0
WHERE schema.nspname = 'readable' AND view.relkind = 'v'
GROUP BY view.oid, view.relname
ORDER BY view.relname;

-- name: has_schema
SELECT to_regnamespace('readable') IS NOT NULL;

-- name: view_comment
SELECT coalesce(obj_description(to_regclass(format('readable.%%I', %(view)s::text)), 'pg_class'), '');
