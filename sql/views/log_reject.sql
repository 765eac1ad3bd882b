CREATE VIEW readable.log_reject AS
SELECT vehicle.fleet,
       vehicle.vehicle_ref AS vehicle,
       vehicle.model,
       log_file.file_name,
       log_file.part,
       log_file.known_at,
       reject.key AS reason,
       reject.value::numeric::bigint AS n_rejected,
       log_file.sha256,
       log_file.log_file_id
FROM pm.log_file
CROSS JOIN LATERAL jsonb_each(log_file.rejected_json) AS reject
LEFT JOIN pm.vehicle ON vehicle.vehicle_id = log_file.vehicle_id
-- In one expression: nothing says that a condition of its own would be asked first.
WHERE CASE WHEN jsonb_typeof(reject.value) = 'number' THEN reject.value::numeric > 0 ELSE false END;

COMMENT ON VIEW readable.log_reject IS 'What of each log file was not used: one row a file and reason.';
COMMENT ON COLUMN readable.log_reject.fleet IS 'owner of the vehicle';
COMMENT ON COLUMN readable.log_reject.vehicle IS 'unit number, unique in a fleet';
COMMENT ON COLUMN readable.log_reject.model IS 'truck model';
COMMENT ON COLUMN readable.log_reject.file_name IS 'name without folder';
COMMENT ON COLUMN readable.log_reject.part IS '0 for a log; an imported file has one part a vehicle and knowledge time';
COMMENT ON COLUMN readable.log_reject.known_at IS 'when the file could first be known here';
COMMENT ON COLUMN readable.log_reject.reason IS 'why it was not used';
COMMENT ON COLUMN readable.log_reject.n_rejected IS 'how many frames, rows or codes';
COMMENT ON COLUMN readable.log_reject.sha256 IS 'sha256 of the file''s bytes, hex';
COMMENT ON COLUMN readable.log_reject.log_file_id IS 'number of the file in pm.log_file';
