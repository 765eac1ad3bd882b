-- name: fix_text_forms
-- For this transaction: how values are written as text follows no setting of the server or the role.
SELECT set_config('DateStyle', 'ISO, YMD', true), set_config('TimeZone', 'UTC', true),
       set_config('IntervalStyle', 'postgres', true), set_config('extra_float_digits', '1', true),
       set_config('bytea_output', 'hex', true);

-- name: signal_places
-- In which table and column each signal stands.
SELECT table_name, column_name, message, signal FROM pm.signal;

-- name: vehicle_key
-- A vehicle by what it is called outside.
SELECT vehicle_id, hashtextextended(ROW(fleet, vehicle_ref)::text COLLATE "C", 0) AS key FROM pm.vehicle

-- name: log_file_key
-- A log file by its bytes and its vehicle.
SELECT f.log_file_id,
       hashtextextended(ROW(v.fleet, v.vehicle_ref, f.sha256, f.part)::text COLLATE "C", 0) AS key
FROM pm.log_file AS f JOIN pm.vehicle AS v USING (vehicle_id)

-- name: rows_that_count
-- Of the dictionary, the content is what stored files have: a file that failed may have named more.
SELECT s.* FROM pm.signal AS s
WHERE EXISTS (SELECT FROM pm.log_signal AS l WHERE l.message = s.message)
