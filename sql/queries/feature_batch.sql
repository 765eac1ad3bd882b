-- name: at
SELECT * FROM pm.feature_batch WHERE as_of = ANY (%(as_ofs)s) ORDER BY feature_set_id, as_of;

-- name: daily_digests
-- hash_record_extended is the server's own hash of a row, as hash joins use it: equal rows, equal numbers.
SELECT day, known_at, bit_xor(hash) AS digest
FROM (
    SELECT day, known_at, hash_record_extended(s, 1) AS hash FROM pm.daily_signal AS s
    WHERE day >= %(start)s AND day < %(end)s
    UNION ALL
    SELECT day, known_at, hash_record_extended(f, 2) FROM pm.daily_fault AS f
    WHERE day >= %(start)s AND day < %(end)s
) AS hashed
GROUP BY day, known_at;

-- name: event_digests
SELECT (e.time AT TIME ZONE 'UTC')::date AS day, l.known_at, bit_xor(hash_record_extended(e, 3)) AS digest
FROM pm.event AS e
JOIN pm.log_file AS l USING (log_file_id)
WHERE e.time >= %(start)s AND e.time < %(end)s
GROUP BY 1, 2;

-- name: fixed_digests
SELECT known_at, bit_xor(hash) AS digest
FROM (
    SELECT known_at, hash_record_extended(v, 4) AS hash FROM pm.vehicle AS v
    UNION ALL
    SELECT known_at, hash_record_extended(f, 5) FROM pm.failure AS f
) AS hashed
GROUP BY known_at;

-- name: presence
SELECT vehicle_id, day, known_at, max(last_at) AS last_at
FROM pm.daily_signal
WHERE day >= %(start)s AND day < %(end)s AND known_at <= %(known_by)s
GROUP BY vehicle_id, day, known_at;

-- name: signals
SELECT vehicle_id, day, log_file_id, known_at, message, signal, channel, source_address, n_values, mean, m2, minimum,
       maximum, first_at, last_at, first_value, last_value, n_transitions, n_starts, ranges_id, range_us,
       CASE WHEN %(sketches)s THEN sketch END AS sketch
FROM pm.daily_signal
WHERE day >= %(start)s AND day < %(end)s AND known_at <= %(known_by)s
  AND (message, signal) IN (SELECT * FROM unnest(%(messages)s::text[], %(signals)s::text[]));

-- name: readings
SELECT d.* FROM pm.daily_signal AS d
WHERE (d.vehicle_id, d.day) IN (
    SELECT f.vehicle_id, (f.restored_at AT TIME ZONE 'UTC')::date + later
    FROM pm.failure AS f, generate_series(1, %(after_d)s) AS later
    WHERE f.restored_at <= %(known_by)s AND f.known_at <= %(known_by)s AND f.kind IN ('failure', 'planned')
)
  AND (d.message, d.signal) IN (SELECT * FROM unnest(%(messages)s::text[], %(signals)s::text[]))
  AND d.known_at <= %(known_by)s;
