-- name: mark
-- A mark made anew always differs from the one before, or a reader of the older one would take it back.
INSERT INTO pm.dirty_day (vehicle_id, day, marked_at)
SELECT %(vehicle_id)s, day, clock_timestamp() FROM unnest(%(days)s::date[]) AS day ORDER BY day
ON CONFLICT (vehicle_id, day) DO UPDATE
SET marked_at = greatest(EXCLUDED.marked_at, dirty_day.marked_at + INTERVAL '1 microsecond');

-- name: all
SELECT * FROM pm.dirty_day ORDER BY vehicle_id, day;

-- name: clear_staged
DELETE FROM pm.dirty_day AS mark
USING pg_temp.pm_stage AS seen
WHERE (mark.vehicle_id, mark.day, mark.marked_at) = (seen.vehicle_id, seen.day, seen.marked_at);

-- name: lock_staged
-- Of the days read as dirty, those still marked, locked against another rebuild until the transaction ends.
SELECT mark.vehicle_id, mark.day
FROM pm.dirty_day AS mark
JOIN pg_temp.pm_stage AS seen ON (mark.vehicle_id, mark.day) = (seen.vehicle_id, seen.day)
ORDER BY mark.vehicle_id, mark.day
FOR UPDATE OF mark;

-- name: frames_a_day
-- How dense the logs of vehicles with dirty days are.
SELECT vehicle_id, sum(n_frames)::float8 / (extract(day FROM max(last_at) - min(first_at)) + 1)::float8
FROM pm.log_file
WHERE vehicle_id IN (SELECT vehicle_id FROM pm.dirty_day) AND n_frames > 0 AND first_at IS NOT NULL
GROUP BY vehicle_id;
