-- Two roles that people and programs are granted: pm_reader sees everything but identities, pm_identity sees those.
-- Where this login may not create roles, nothing happens: `pm db status` says so.

CREATE SCHEMA IF NOT EXISTS readable;
COMMENT ON SCHEMA readable IS 'Views for people and Grafana: readable names with units, unit numbers of vehicles, never a VIN; put views of your own elsewhere.';

DO $$
DECLARE
    role_name name;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['pm_reader', 'pm_identity']::name[] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role_name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN NULL;  -- another database of this server was faster
                WHEN insufficient_privilege THEN
                    RAISE NOTICE 'role % is missing: this login may not create roles', role_name;
            END;
        END IF;
    END LOOP;
END
$$;

-- A function, so that rights can be given later where an administrator had to make the roles: SELECT pm.grant_roles();
CREATE FUNCTION pm.grant_roles()
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'pm_reader') THEN
        GRANT USAGE ON SCHEMA pm, telemetry, readable TO pm_reader;
        GRANT SELECT ON ALL TABLES IN SCHEMA pm, telemetry, readable TO pm_reader;
        ALTER DEFAULT PRIVILEGES IN SCHEMA pm, telemetry, readable GRANT SELECT ON TABLES TO pm_reader;
        REVOKE ALL ON pm.vehicle_identity FROM pm_reader;
    END IF;
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'pm_identity') THEN
        GRANT USAGE ON SCHEMA pm TO pm_identity;
        GRANT SELECT, INSERT, UPDATE, DELETE ON pm.vehicle_identity TO pm_identity;
        GRANT SELECT ON pm.vehicle TO pm_identity;
    END IF;
END
$$;
REVOKE ALL ON FUNCTION pm.grant_roles() FROM PUBLIC;
COMMENT ON FUNCTION pm.grant_roles() IS
    'Gives pm_reader and pm_identity their rights, where these roles are there; for the owner of the schemas to run '
    'after somebody else made the roles.';
SELECT pm.grant_roles();
