-- name: lock
-- Two imports of one order would each compare with what they saw before the other.
LOCK TABLE pm.work_order IN SHARE ROW EXCLUSIVE MODE;

-- name: of_orders
SELECT * FROM pm.work_order WHERE work_order_id = ANY(%(orders)s::text[]);

-- name: all
SELECT * FROM pm.work_order
WHERE %(known_by)s::timestamptz IS NULL OR known_at <= %(known_by)s
ORDER BY source_system, work_order_id, line_no, known_at;
