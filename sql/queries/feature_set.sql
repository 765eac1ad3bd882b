-- name: by_id
SELECT * FROM pm.feature_set WHERE feature_set_id = %(feature_set_id)s;

-- name: all
SELECT * FROM pm.feature_set ORDER BY name, version, feature_set_id;

-- name: summaries
SELECT s.feature_set_id, s.name, s.version, CASE jsonb_typeof(s.definition_json) WHEN 'array' THEN jsonb_array_length(s.definition_json) ELSE 0 END AS n_features,
       count(b.as_of) AS n_as_ofs, min(b.as_of) AS first_as_of, max(b.as_of) AS last_as_of,
       coalesce(sum(b.n_vectors), 0)::bigint AS n_vectors
FROM pm.feature_set AS s
LEFT JOIN pm.feature_batch AS b USING (feature_set_id)
GROUP BY s.feature_set_id
ORDER BY s.name, s.version, s.feature_set_id;
