-- name: of_file
SELECT * FROM pm.log_signal WHERE log_file_id = %(log_file_id)s ORDER BY message, signal;
