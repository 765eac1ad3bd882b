-- name: delete_staged_days
DELETE FROM pm.daily_signal AS daily
USING pg_temp.pm_stage AS staged
WHERE (daily.vehicle_id, daily.day) = (staged.vehicle_id, staged.day);

-- name: span
SELECT * FROM pm.daily_signal
WHERE (%(start)s::date IS NULL OR day >= %(start)s)
  AND (%(end)s::date IS NULL OR day < %(end)s)
  AND (%(known_by)s::timestamptz IS NULL OR known_at <= %(known_by)s)
ORDER BY vehicle_id, day, log_file_id, message, signal, channel, source_address;
