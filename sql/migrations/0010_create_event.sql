-- Events that are no J1939 trouble codes: tell-tales, error codes of other machines, incidents.

CREATE TABLE pm.event (
    vehicle_id  integer     NOT NULL,
    time        timestamptz NOT NULL,
    kind        text        NOT NULL,
    code        text        NOT NULL,
    severity    text,
    value       double precision,
    log_file_id bigint      NOT NULL,
    PRIMARY KEY (vehicle_id, time, kind, code)
);
COMMENT ON TABLE pm.event IS 'Events of vehicles that are no J1939 trouble codes, as an import gave them.';
COMMENT ON COLUMN pm.event.vehicle_id IS 'random vehicle number; never the VIN';
COMMENT ON COLUMN pm.event.time IS 'when it happened';
COMMENT ON COLUMN pm.event.kind IS 'what sort of event, for instance tell_tale or error';
COMMENT ON COLUMN pm.event.code IS 'which one, as the source names it';
COMMENT ON COLUMN pm.event.severity IS 'as the source names it, for instance RED';
COMMENT ON COLUMN pm.event.value IS 'a number that came with it';
COMMENT ON COLUMN pm.event.log_file_id IS 'the log file it came from';
SELECT pm.make_hypertable('pm.event', 'time', INTERVAL '28 days');
