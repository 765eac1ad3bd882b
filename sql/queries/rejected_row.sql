-- name: of_file
SELECT * FROM pm.rejected_row
WHERE (sha256, kind, mapping_sha256) = (%(sha256)s, %(kind)s, %(mapping_sha256)s)
ORDER BY row_no;
