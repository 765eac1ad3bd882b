-- name: all
SELECT * FROM pm.feature_choice ORDER BY choice_no;

-- name: last
SELECT choice_no, feature_set_id FROM pm.feature_choice ORDER BY choice_no DESC LIMIT 1;
