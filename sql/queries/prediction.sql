-- name: lock
-- Two writers of one as-of follow each other; readers are not held up.
LOCK TABLE pm.prediction IN SHARE ROW EXCLUSIVE MODE;

-- name: delete_as_of
DELETE FROM pm.prediction WHERE as_of = %(as_of)s;

-- name: latest_as_of
SELECT max(as_of) FROM pm.prediction;

-- name: span
SELECT * FROM pm.prediction
WHERE as_of >= %(since)s AND as_of <= %(until)s AND role = ANY(%(roles)s::text[])
ORDER BY as_of DESC, position NULLS LAST, vehicle_id, component, model_id;

-- name: of_vehicle
SELECT * FROM pm.prediction
WHERE vehicle_id = %(vehicle_id)s AND role = ANY(%(roles)s::text[])
ORDER BY as_of DESC, position NULLS LAST, component, model_id;
