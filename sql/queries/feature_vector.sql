-- name: span
SELECT * FROM pm.feature_vector
WHERE feature_set_id = %(feature_set_id)s
  AND (%(since)s::timestamptz IS NULL OR as_of >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR as_of <= %(until)s)
  AND (%(vehicle_id)s::integer IS NULL OR vehicle_id = %(vehicle_id)s)
ORDER BY as_of, vehicle_id;

-- name: as_ofs
SELECT DISTINCT as_of FROM pm.feature_vector
WHERE (%(feature_set_id)s::text IS NULL OR feature_set_id = %(feature_set_id)s)
  AND (%(until)s::timestamptz IS NULL OR as_of <= %(until)s)
ORDER BY as_of;
