-- name: all
SELECT * FROM pm.policy ORDER BY policy_id;
