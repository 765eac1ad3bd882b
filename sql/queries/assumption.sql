-- name: daily
-- What is checked of the daily aggregates, in no order: the checks bring their own.
SELECT vehicle_id, day, log_file_id, known_at, message, signal, channel, source_address, n_values, mean, m2, minimum,
       maximum, first_at, last_at, first_value, last_value
FROM pm.daily_signal
WHERE day >= %(start)s::date AND day < %(end)s::date AND known_at <= %(known_by)s::timestamptz;

-- name: of
SELECT * FROM pm.assumption WHERE as_of = %(as_of)s
ORDER BY as_of, check_name, vehicle_id, message, signal, source_address;

-- name: lock
-- Two writers of one as-of follow each other; readers are not held up.
LOCK TABLE pm.assumption IN SHARE ROW EXCLUSIVE MODE;

-- name: delete_as_of
DELETE FROM pm.assumption WHERE as_of = %(as_of)s;

-- name: latest_as_of
SELECT max(as_of) FROM pm.assumption;

-- name: blocked
-- The rows that block, of any of these as-ofs.
SELECT * FROM pm.assumption
WHERE as_of = ANY(%(as_ofs)s::timestamptz[]) AND status = 'block'
ORDER BY as_of, check_name, vehicle_id, message, signal, source_address;
