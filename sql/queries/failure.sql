-- name: lock
LOCK TABLE pm.failure IN SHARE ROW EXCLUSIVE MODE;

-- name: delete_all
DELETE FROM pm.failure;

-- name: all
SELECT * FROM pm.failure
WHERE %(known_by)s::timestamptz IS NULL OR known_at <= %(known_by)s
ORDER BY source_system, work_order_id, line_no, known_at;
