-- name: delete_staged_days
DELETE FROM pm.daily_fault AS daily
USING pg_temp.pm_stage AS staged
WHERE (daily.vehicle_id, daily.day) = (staged.vehicle_id, staged.day);

-- name: span
SELECT * FROM pm.daily_fault
WHERE (%(start)s::date IS NULL OR day >= %(start)s)
  AND (%(end)s::date IS NULL OR day < %(end)s)
  AND (%(known_by)s::timestamptz IS NULL OR known_at <= %(known_by)s)
ORDER BY vehicle_id, day, log_file_id, channel, source_address, spn, fmi;

-- name: reports
-- What the counts of some vehicles are made from.
SELECT fault.*, log_file.known_at
FROM pm.fault
JOIN pm.log_file USING (log_file_id)
WHERE fault.vehicle_id = ANY(%(vehicle_ids)s::integer[]) AND fault.time >= %(start)s AND fault.time < %(end)s;
