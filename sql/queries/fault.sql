-- name: span
SELECT fault.*, log_file.known_at
FROM pm.fault
JOIN pm.log_file USING (log_file_id)
WHERE fault.time >= %(start)s AND fault.time < %(end)s
  AND (%(vehicle_id)s::integer IS NULL OR fault.vehicle_id = %(vehicle_id)s)
  AND (%(known_by)s::timestamptz IS NULL OR log_file.known_at <= %(known_by)s)
ORDER BY fault.vehicle_id, fault.time, fault.channel, fault.source_address, fault.dm, fault.spn, fault.fmi;
