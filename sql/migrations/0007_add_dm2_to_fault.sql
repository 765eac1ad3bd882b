-- Previously active trouble codes (DM2) beside the active ones, how the lamps flash, and by which method an SPN was read.
-- All rows until now came from DM1, and with the conversion method bit set they were read as method 3 is.

ALTER TABLE pm.fault ADD COLUMN dm smallint NOT NULL DEFAULT 1;
ALTER TABLE pm.fault ALTER COLUMN dm DROP DEFAULT;
ALTER TABLE pm.fault ADD COLUMN flash_mil smallint;
ALTER TABLE pm.fault ADD COLUMN flash_red smallint;
ALTER TABLE pm.fault ADD COLUMN flash_amber smallint;
ALTER TABLE pm.fault ADD COLUMN flash_protect smallint;

UPDATE pm.fault SET conversion_method = CASE conversion_method WHEN 0 THEN 4 ELSE 3 END;

ALTER TABLE pm.fault DROP CONSTRAINT fault_pkey;
ALTER TABLE pm.fault ADD PRIMARY KEY (vehicle_id, time, channel, source_address, dm, spn, fmi);
ALTER TABLE pm.fault ADD CHECK (dm BETWEEN 1 AND 2);
ALTER TABLE pm.fault ADD CHECK (conversion_method BETWEEN 1 AND 4);
ALTER TABLE pm.fault ADD CHECK (flash_mil BETWEEN 0 AND 3 AND flash_red BETWEEN 0 AND 3);
ALTER TABLE pm.fault ADD CHECK (flash_amber BETWEEN 0 AND 3 AND flash_protect BETWEEN 0 AND 3);

COMMENT ON TABLE pm.fault IS 'Diagnostic trouble codes as the truck sent them (J1939-73 DM1 and DM2).';
COMMENT ON COLUMN pm.fault.conversion_method IS 'SPN conversion method that the SPN was read by, 1 to 4';
COMMENT ON COLUMN pm.fault.dm IS '1 active (DM1), 2 previously active (DM2)';
COMMENT ON COLUMN pm.fault.flash_mil IS 'malfunction lamp: 0 flashes slowly, 1 fast, 2 reserved, 3 not or not available; null in rows stored before it was read';
COMMENT ON COLUMN pm.fault.flash_red IS 'red stop lamp, same codes';
COMMENT ON COLUMN pm.fault.flash_amber IS 'amber warning lamp, same codes';
COMMENT ON COLUMN pm.fault.flash_protect IS 'protect lamp, same codes';
