-- name: lock
LOCK TABLE pm.stage_transition IN SHARE ROW EXCLUSIVE MODE;

-- name: last_move_no
SELECT coalesce(max(move_no), 0) FROM pm.stage_transition WHERE component = %(component)s;

-- name: stage_of
SELECT to_stage FROM pm.stage_transition WHERE model_id = %(model_id)s ORDER BY move_no DESC LIMIT 1;

-- name: serving
SELECT component, model_id
FROM (
    SELECT DISTINCT ON (component, model_id) component, model_id, to_stage
    FROM pm.stage_transition
    ORDER BY component, model_id, move_no DESC
) AS current
WHERE to_stage = 'champion'
ORDER BY component;

-- name: all
SELECT * FROM pm.stage_transition
WHERE %(component)s::text IS NULL OR component = %(component)s
ORDER BY component, move_no;
