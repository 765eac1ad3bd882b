-- name: newest
-- The newest profile that a decision at this instant may use.
SELECT * FROM pm.training_profile
WHERE feature_set_id = %(feature_set_id)s AND as_of <= %(as_of)s::timestamptz
ORDER BY as_of DESC, created_at DESC, profile_id
LIMIT 1;
