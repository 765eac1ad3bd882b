CREATE VIEW readable.event AS
SELECT event.time,
       vehicle.fleet,
       vehicle.vehicle_ref AS vehicle,
       vehicle.model,
       event.kind,
       event.code,
       event.severity,
       event.value,
       log_file.known_at
FROM pm.event
LEFT JOIN pm.vehicle ON vehicle.vehicle_id = event.vehicle_id
LEFT JOIN pm.log_file ON log_file.log_file_id = event.log_file_id;

COMMENT ON VIEW readable.event IS 'Events of vehicles that are no J1939 trouble codes, as an import gave them.';
COMMENT ON COLUMN readable.event.time IS 'when it happened';
COMMENT ON COLUMN readable.event.fleet IS 'owner of the vehicle';
COMMENT ON COLUMN readable.event.vehicle IS 'unit number, unique in a fleet';
COMMENT ON COLUMN readable.event.model IS 'truck model';
COMMENT ON COLUMN readable.event.kind IS 'what sort of event, for instance tell_tale or error';
COMMENT ON COLUMN readable.event.code IS 'which one, as the source names it';
COMMENT ON COLUMN readable.event.severity IS 'as the source names it, for instance RED';
COMMENT ON COLUMN readable.event.value IS 'a number that came with it';
COMMENT ON COLUMN readable.event.known_at IS 'when this could first be known here';
