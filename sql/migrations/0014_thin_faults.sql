-- Trouble codes reported again unchanged are kept once in a while only (policy, [telemetry] fault_period_s).

COMMENT ON TABLE pm.fault IS 'Diagnostic trouble codes as the truck sent them (J1939-73 DM1 and DM2), repeats thinned out.';
COMMENT ON COLUMN pm.daily_fault.n_reports IS 'reports that were kept';
