-- name: latest_of_backtest
SELECT * FROM pm.audit WHERE backtest_id = %(backtest_id)s ORDER BY created_at DESC, audit_id LIMIT 1;

-- name: all
SELECT * FROM pm.audit ORDER BY created_at DESC, audit_id;
