-- name: by_key
SELECT * FROM pm.backtest_fold WHERE fold_key = %(fold_key)s;

-- name: all
SELECT * FROM pm.backtest_fold ORDER BY cutoff, fold_no, fold_key;
