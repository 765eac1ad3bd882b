-- name: latest
SELECT * FROM pm.backtest ORDER BY created_at DESC, backtest_id LIMIT 1;

-- name: by_id
SELECT * FROM pm.backtest WHERE backtest_id = %(backtest_id)s;
