-- name: columns
-- Every column of every table of the two schemas. Chunks of hypertables stand elsewhere, views are no tables.
SELECT n.nspname::text, c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod),
       a.attgenerated <> ''
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname = ANY (ARRAY['pm', 'telemetry']) AND c.relkind = ANY (ARRAY['r', 'p']::"char"[])
  AND NOT c.relispartition
ORDER BY n.nspname, c.relname, a.attnum;

-- name: foreign_keys
-- Which table refers to which.
SELECT child_n.nspname::text, child.relname::text, parent_n.nspname::text, parent.relname::text
FROM pg_catalog.pg_constraint AS k
JOIN pg_catalog.pg_class AS child ON child.oid = k.conrelid
JOIN pg_catalog.pg_namespace AS child_n ON child_n.oid = child.relnamespace
JOIN pg_catalog.pg_class AS parent ON parent.oid = k.confrelid
JOIN pg_catalog.pg_namespace AS parent_n ON parent_n.oid = parent.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0
  AND child_n.nspname = ANY (ARRAY['pm', 'telemetry'])
ORDER BY 1, 2, 3, 4;

-- name: sequences
-- Sequences behind columns of the two schemas, with the last number given out.
SELECT n.nspname::text, c.relname::text, a.attname::text, pg_sequence_last_value(s.seqrelid::regclass)
FROM pg_catalog.pg_sequence AS s
JOIN pg_catalog.pg_depend AS d
  ON d.objid = s.seqrelid AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
 AND d.deptype = ANY (ARRAY['a', 'i']::"char"[])
JOIN pg_catalog.pg_class AS c ON c.oid = d.refobjid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
WHERE n.nspname = ANY (ARRAY['pm', 'telemetry'])
ORDER BY 1, 2, 3;

-- name: comments
-- What is said of the tables and columns of telemetry; the column is null for the table itself.
SELECT c.relname::text, a.attname::text,
       CASE WHEN a.attnum IS NULL THEN obj_description(c.oid, 'pg_class') ELSE col_description(c.oid, a.attnum) END
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT NULL::name AS attname, NULL::smallint AS attnum
    UNION ALL
    SELECT attname, attnum FROM pg_catalog.pg_attribute
    WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
) AS a
WHERE n.nspname = 'telemetry' AND c.relkind = 'r';

-- name: set_sequence
SELECT setval(pg_get_serial_sequence(%(table)s, %(column)s), %(last_value)s::bigint);

-- name: mark_unfinished
INSERT INTO pm.schema_migration (version, name, sha256) VALUES (%(version)s, %(file_name)s, %(sha256)s);

-- name: unmark_unfinished
DELETE FROM pm.schema_migration WHERE version = %(version)s;
