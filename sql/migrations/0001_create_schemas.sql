-- The two schemas, and hypertables where they can be had.
-- The extension timescaledb is created before migrations run, where the server offers it (pm.store.connection).

CREATE SCHEMA IF NOT EXISTS pm;
COMMENT ON SCHEMA pm IS 'Declared tables: pm/tables.py has each column with unit and meaning.';

CREATE SCHEMA IF NOT EXISTS telemetry;
COMMENT ON SCHEMA telemetry IS 'Decoded signals: one table a DBC message, one column a signal.';

-- Dynamic SQL throughout: the body must also compile where the extension's functions do not exist.
CREATE FUNCTION pm.make_hypertable(table_name regclass, time_column text, chunk interval)
RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    extension_schema name;
BEGIN
    SELECT n.nspname INTO extension_schema
    FROM pg_catalog.pg_extension e
    JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname = 'timescaledb';
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    EXECUTE format(
        'SELECT %1$I.create_hypertable($1, %1$I.by_range($2, $3), create_default_indexes => false,'
        ' if_not_exists => true, migrate_data => true)',
        extension_schema
    ) USING table_name, time_column::name, chunk;
    RETURN true;
END
$$;
COMMENT ON FUNCTION pm.make_hypertable(regclass, text, interval) IS
    'Makes the table a hypertable cut into chunks by time_column and returns true; '
    'without the extension timescaledb it does nothing and returns false.';
