-- name: known_as
-- What the vehicle is called outside.
SELECT v.fleet, v.vehicle_ref, i.vin,
       EXISTS (SELECT FROM pm.vehicle AS o WHERE o.vehicle_ref = v.vehicle_ref AND o.vehicle_id <> v.vehicle_id)
FROM pm.vehicle AS v LEFT JOIN pm.vehicle_identity AS i USING (vehicle_id)
WHERE v.vehicle_id = %(vehicle_id)s;

-- name: raw_files
-- Raw files of the vehicle; whether another vehicle's row has the same bytes.
WITH mine AS (
    SELECT sha256 FROM pm.log_file WHERE vehicle_id = %(vehicle_id)s
    UNION
    SELECT sha256 FROM pm.quarantine WHERE vehicle_id = %(vehicle_id)s
)
SELECT sha256,
       EXISTS (SELECT FROM pm.log_file AS f WHERE f.sha256 = mine.sha256 AND f.vehicle_id <> %(vehicle_id)s)
    OR EXISTS (SELECT FROM pm.quarantine AS q WHERE q.sha256 = mine.sha256 AND q.vehicle_id <> %(vehicle_id)s)
FROM mine ORDER BY sha256;

-- name: hand_on_signals
-- An imported file's first part has the counts of all its vehicles: where that part goes, the lowest
-- part that stays takes them over.
INSERT INTO pm.log_signal (log_file_id, message, signal, n_rows, n_values, first_at, last_at)
SELECT heir.log_file_id, s.message, s.signal, sum(s.n_rows), sum(s.n_values), min(s.first_at), max(s.last_at)
FROM pm.log_signal AS s
JOIN pm.log_file AS mine ON mine.log_file_id = s.log_file_id AND mine.vehicle_id = %(vehicle_id)s AND mine.part > 0
JOIN LATERAL (
    SELECT f.log_file_id FROM pm.log_file AS f
    WHERE f.sha256 = mine.sha256 AND f.vehicle_id <> %(vehicle_id)s AND f.part > 0
    ORDER BY f.part LIMIT 1
) AS heir ON true
GROUP BY heir.log_file_id, s.message, s.signal
ON CONFLICT (log_file_id, message, signal) DO UPDATE
SET n_rows = log_signal.n_rows + EXCLUDED.n_rows, n_values = log_signal.n_values + EXCLUDED.n_values,
    first_at = least(log_signal.first_at, EXCLUDED.first_at), last_at = greatest(log_signal.last_at, EXCLUDED.last_at);
