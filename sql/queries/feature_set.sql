-- name: by_id
SELECT * FROM pm.feature_set WHERE feature_set_id = %(feature_set_id)s;
