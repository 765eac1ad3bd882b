-- name: latest
SELECT * FROM pm.backtest ORDER BY created_at DESC, backtest_id LIMIT 1;
