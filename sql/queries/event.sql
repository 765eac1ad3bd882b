-- name: span
SELECT event.*, log_file.known_at
FROM pm.event
JOIN pm.log_file USING (log_file_id)
WHERE event.time >= %(start)s AND event.time < %(end)s
  AND (%(vehicle_id)s::integer IS NULL OR event.vehicle_id = %(vehicle_id)s)
  AND (%(known_by)s::timestamptz IS NULL OR log_file.known_at <= %(known_by)s)
ORDER BY event.vehicle_id, event.time, event.kind, event.code;
