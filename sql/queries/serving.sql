-- What the API and its pages read. Filters that are null do not filter.

-- name: matching
SELECT * FROM pm.prediction
WHERE as_of = %(as_of)s AND role = ANY(%(roles)s::text[])
  AND (%(component)s::text IS NULL OR component = %(component)s)
  AND (%(vehicle_id)s::integer IS NULL OR vehicle_id = %(vehicle_id)s)
  AND (%(alert)s::boolean IS NULL OR alert = %(alert)s)
ORDER BY position NULLS LAST, vehicle_id, component, model_id
LIMIT %(limit)s;

-- name: count_matching
SELECT count(*) FROM pm.prediction
WHERE as_of = %(as_of)s AND role = ANY(%(roles)s::text[])
  AND (%(component)s::text IS NULL OR component = %(component)s)
  AND (%(vehicle_id)s::integer IS NULL OR vehicle_id = %(vehicle_id)s)
  AND (%(alert)s::boolean IS NULL OR alert = %(alert)s);

-- name: one_a_vehicle
-- The likeliest failure of each vehicle.
SELECT * FROM (
    SELECT DISTINCT ON (vehicle_id) * FROM pm.prediction
    WHERE as_of = %(as_of)s AND role = ANY(%(roles)s::text[])
      AND (%(component)s::text IS NULL OR component = %(component)s)
    ORDER BY vehicle_id, position NULLS LAST, component, model_id
) AS likeliest
ORDER BY position NULLS LAST, vehicle_id
LIMIT %(limit)s;

-- name: batch_state
SELECT count(*), count(*) FILTER (WHERE alerted), count(*) FILTER (WHERE without_score), count(*) FILTER (WHERE stale),
       (SELECT array_agg(DISTINCT component ORDER BY component) FROM pm.prediction
        WHERE as_of = %(as_of)s AND role = ANY(%(roles)s::text[]))
FROM (
    SELECT bool_or(alert) AS alerted, bool_and(p_failure IS NULL) AS without_score, bool_or(status = 'stale') AS stale
    FROM pm.prediction
    WHERE as_of = %(as_of)s AND role = ANY(%(roles)s::text[])
    GROUP BY vehicle_id
) AS vehicles;

-- name: alert_history
-- The alerts, and for each batch a row of vehicle 0 without alert: a batch may have no alert at all.
SELECT vehicle_id, component, as_of, alert FROM pm.prediction
WHERE as_of > %(since)s AND as_of <= %(until)s AND alert AND role = ANY(%(roles)s::text[])
UNION ALL
SELECT DISTINCT 0, '', as_of, false FROM pm.prediction
WHERE as_of > %(since)s AND as_of <= %(until)s AND role = ANY(%(roles)s::text[])
ORDER BY as_of, vehicle_id, component;

-- name: vehicle
SELECT * FROM pm.vehicle WHERE vehicle_id = %(vehicle_id)s;

-- name: refs
SELECT vehicle_id, vehicle_ref FROM pm.vehicle WHERE vehicle_id = ANY(%(vehicle_ids)s::integer[]);

-- name: work_orders_of
-- Every version of the vehicle's newest order lines.
SELECT * FROM pm.work_order
WHERE vehicle_id = %(vehicle_id)s
ORDER BY opened_at DESC, source_system, work_order_id, line_no, known_at DESC
LIMIT %(limit)s;
