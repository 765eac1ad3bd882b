-- name: latest
SELECT * FROM (
    SELECT DISTINCT ON (vehicle_id, component, as_of, horizon_d) *
    FROM pm.label
    WHERE known_at <= %(known_by)s
      AND (%(component)s::text IS NULL OR component = %(component)s)
      AND (%(horizon_d)s::smallint IS NULL OR horizon_d = %(horizon_d)s)
    ORDER BY vehicle_id, component, as_of, horizon_d, known_at DESC
) AS latest
ORDER BY component, as_of, vehicle_id, horizon_d;

-- name: history
SELECT * FROM pm.label
WHERE %(component)s::text IS NULL OR component = %(component)s
ORDER BY vehicle_id, component, as_of, horizon_d, known_at;
