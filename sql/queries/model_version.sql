-- name: all
SELECT * FROM pm.model_version
WHERE %(component)s::text IS NULL OR component = %(component)s
ORDER BY created_at DESC, model_id;

-- name: by_id
SELECT * FROM pm.model_version WHERE model_id = %(model_id)s;
