-- How the values of a day were spread and for how long they stood where, so that windows can be asked for quantiles,
-- time in ranges, transitions and starts.

ALTER TABLE pm.daily_signal
    ADD COLUMN n_transitions integer,
    ADD COLUMN n_starts      integer,
    ADD COLUMN ranges_id     integer,
    ADD COLUMN range_us      bigint[],
    ADD COLUMN sketch        bytea;
-- A sketch has been packed already: trying to compress it again costs and gains nothing.
ALTER TABLE pm.daily_signal ALTER COLUMN sketch SET STORAGE EXTERNAL;
COMMENT ON COLUMN pm.daily_signal.n_transitions IS 'values that differ from the one before; null in rows made before it was counted';
COMMENT ON COLUMN pm.daily_signal.n_starts IS 'changes from standing to running; null where no start is declared';
COMMENT ON COLUMN pm.daily_signal.ranges_id IS 'which edges range_us was counted by; null where none are declared';
COMMENT ON COLUMN pm.daily_signal.range_us IS 'time in each range, in order of the edges [µs]';
COMMENT ON COLUMN pm.daily_signal.sketch IS 'packed histogram of the values (pm/features/sketch.py)';

-- Days whose telemetry is still there get the new columns with the next refresh; the marks of others are taken back by it.
INSERT INTO pm.dirty_day (vehicle_id, day, marked_at)
SELECT vehicle_id, day, clock_timestamp() FROM pm.daily_signal GROUP BY vehicle_id, day ORDER BY vehicle_id, day
ON CONFLICT (vehicle_id, day) DO NOTHING;
