CREATE VIEW readable.fault AS
SELECT fault.time,
       vehicle.fleet,
       vehicle.vehicle_ref AS vehicle,
       vehicle.model,
       fault.source_address,
       fault.channel,
       fault.spn,
       fault.fmi,
       CASE fault.dm WHEN 1 THEN 'active' WHEN 2 THEN 'previously active' END AS state,
       fault.occurrence_count,
       (ARRAY ['off', 'on', 'error', 'not available'])[fault.lamp_mil + 1] AS malfunction_lamp,
       (ARRAY ['off', 'on', 'error', 'not available'])[fault.lamp_red + 1] AS red_stop_lamp,
       (ARRAY ['off', 'on', 'error', 'not available'])[fault.lamp_amber + 1] AS amber_warning_lamp,
       (ARRAY ['off', 'on', 'error', 'not available'])[fault.lamp_protect + 1] AS protect_lamp,
       (ARRAY ['slow', 'fast', 'reserved', 'none'])[fault.flash_mil + 1] AS malfunction_flash,
       (ARRAY ['slow', 'fast', 'reserved', 'none'])[fault.flash_red + 1] AS red_stop_flash,
       (ARRAY ['slow', 'fast', 'reserved', 'none'])[fault.flash_amber + 1] AS amber_warning_flash,
       (ARRAY ['slow', 'fast', 'reserved', 'none'])[fault.flash_protect + 1] AS protect_flash,
       fault.conversion_method,
       log_file.known_at
FROM pm.fault
LEFT JOIN pm.vehicle ON vehicle.vehicle_id = fault.vehicle_id
LEFT JOIN pm.log_file ON log_file.log_file_id = fault.log_file_id;

COMMENT ON VIEW readable.fault IS 'Diagnostic trouble codes as the truck sent them (J1939-73 DM1 and DM2), with lamps in words.';
COMMENT ON COLUMN readable.fault.time IS 'time of the message''s last frame';
COMMENT ON COLUMN readable.fault.fleet IS 'owner of the vehicle';
COMMENT ON COLUMN readable.fault.vehicle IS 'unit number, unique in a fleet';
COMMENT ON COLUMN readable.fault.model IS 'truck model';
COMMENT ON COLUMN readable.fault.source_address IS 'J1939 source address, 0 to 255; -1 on an 11-bit id';
COMMENT ON COLUMN readable.fault.channel IS 'bus channel as the log names it';
COMMENT ON COLUMN readable.fault.spn IS 'suspect parameter number, 19 bits';
COMMENT ON COLUMN readable.fault.fmi IS 'failure mode identifier, 0 to 31';
COMMENT ON COLUMN readable.fault.state IS 'active (DM1) or previously active (DM2)';
COMMENT ON COLUMN readable.fault.occurrence_count IS '0 to 126; null when 127, not available';
COMMENT ON COLUMN readable.fault.malfunction_lamp IS 'off, on, error or not available';
COMMENT ON COLUMN readable.fault.red_stop_lamp IS 'off, on, error or not available';
COMMENT ON COLUMN readable.fault.amber_warning_lamp IS 'off, on, error or not available';
COMMENT ON COLUMN readable.fault.protect_lamp IS 'off, on, error or not available';
COMMENT ON COLUMN readable.fault.malfunction_flash IS 'slow, fast, reserved or none (also: not available); null in rows stored before it was read';
COMMENT ON COLUMN readable.fault.red_stop_flash IS 'slow, fast, reserved or none (also: not available)';
COMMENT ON COLUMN readable.fault.amber_warning_flash IS 'slow, fast, reserved or none (also: not available)';
COMMENT ON COLUMN readable.fault.protect_flash IS 'slow, fast, reserved or none (also: not available)';
COMMENT ON COLUMN readable.fault.conversion_method IS 'SPN conversion method that the SPN was read by, 1 to 4';
COMMENT ON COLUMN readable.fault.known_at IS 'when this could first be known here';
