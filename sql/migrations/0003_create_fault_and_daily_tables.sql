-- Trouble codes and daily aggregates.
-- No foreign keys: rows come by the hundred thousand, in the transaction that wrote their log file.

CREATE TABLE pm.fault (
    vehicle_id        integer     NOT NULL,
    time              timestamptz NOT NULL,
    channel           text        NOT NULL,
    source_address    smallint    NOT NULL,
    spn               integer     NOT NULL,
    fmi               smallint    NOT NULL,
    occurrence_count  smallint,
    conversion_method smallint    NOT NULL,
    lamp_mil          smallint    NOT NULL,
    lamp_red          smallint    NOT NULL,
    lamp_amber        smallint    NOT NULL,
    lamp_protect      smallint    NOT NULL,
    log_file_id       bigint      NOT NULL,
    PRIMARY KEY (vehicle_id, time, channel, source_address, spn, fmi),
    CHECK (spn BETWEEN 0 AND 524287 AND fmi BETWEEN 0 AND 31),
    CHECK (lamp_mil BETWEEN 0 AND 3 AND lamp_red BETWEEN 0 AND 3),
    CHECK (lamp_amber BETWEEN 0 AND 3 AND lamp_protect BETWEEN 0 AND 3)
);
COMMENT ON TABLE pm.fault IS 'Diagnostic trouble codes as the truck sent them (J1939-73 DM1).';
COMMENT ON COLUMN pm.fault.vehicle_id IS 'random vehicle number; never the VIN';
COMMENT ON COLUMN pm.fault.time IS 'time of the message''s last frame';
COMMENT ON COLUMN pm.fault.channel IS 'bus channel as the log names it';
COMMENT ON COLUMN pm.fault.source_address IS 'J1939 source address, 0 to 255; -1 on an 11-bit id';
COMMENT ON COLUMN pm.fault.spn IS 'suspect parameter number, 19 bits';
COMMENT ON COLUMN pm.fault.fmi IS 'failure mode identifier, 0 to 31';
COMMENT ON COLUMN pm.fault.occurrence_count IS '0 to 126; null when 127, not available';
COMMENT ON COLUMN pm.fault.conversion_method IS 'SPN conversion method bit';
COMMENT ON COLUMN pm.fault.lamp_mil IS 'malfunction lamp: 0 off, 1 on, 2 error, 3 not available';
COMMENT ON COLUMN pm.fault.lamp_red IS 'red stop lamp, same codes';
COMMENT ON COLUMN pm.fault.lamp_amber IS 'amber warning lamp, same codes';
COMMENT ON COLUMN pm.fault.lamp_protect IS 'protect lamp, same codes';
COMMENT ON COLUMN pm.fault.log_file_id IS 'the log file it came from';
SELECT pm.make_hypertable('pm.fault', 'time', INTERVAL '28 days');

CREATE TABLE pm.daily_signal (
    vehicle_id     integer          NOT NULL,
    day            date             NOT NULL,
    log_file_id    bigint           NOT NULL,
    known_at       timestamptz      NOT NULL,
    message        text             NOT NULL,
    signal         text             NOT NULL,
    channel        text             NOT NULL,
    source_address smallint         NOT NULL,
    n_values       bigint           NOT NULL,
    mean           double precision NOT NULL,
    m2             double precision NOT NULL,
    minimum        double precision NOT NULL,
    maximum        double precision NOT NULL,
    first_at       timestamptz      NOT NULL,
    last_at        timestamptz      NOT NULL,
    first_value    double precision NOT NULL,
    last_value     double precision NOT NULL,
    PRIMARY KEY (vehicle_id, day, log_file_id, message, signal, channel, source_address),
    CHECK (n_values > 0)
);
COMMENT ON TABLE pm.daily_signal IS 'Partial aggregates of a signal over one UTC day, one row a log file, so that a day can be merged from the files known at any instant.';
COMMENT ON COLUMN pm.daily_signal.vehicle_id IS 'random vehicle number; never the VIN';
COMMENT ON COLUMN pm.daily_signal.day IS 'UTC day';
COMMENT ON COLUMN pm.daily_signal.log_file_id IS 'the log file it came from';
COMMENT ON COLUMN pm.daily_signal.known_at IS 'when this could first be known here';
COMMENT ON COLUMN pm.daily_signal.message IS 'message name in the DBC';
COMMENT ON COLUMN pm.daily_signal.signal IS 'signal name in the DBC';
COMMENT ON COLUMN pm.daily_signal.channel IS 'bus channel as the log names it';
COMMENT ON COLUMN pm.daily_signal.source_address IS 'J1939 source address, 0 to 255; -1 on an 11-bit id';
COMMENT ON COLUMN pm.daily_signal.n_values IS 'values that are not null';
COMMENT ON COLUMN pm.daily_signal.mean IS 'mean of the values';
COMMENT ON COLUMN pm.daily_signal.m2 IS 'sum of squared differences from the mean';
COMMENT ON COLUMN pm.daily_signal.minimum IS 'least value';
COMMENT ON COLUMN pm.daily_signal.maximum IS 'greatest value';
COMMENT ON COLUMN pm.daily_signal.first_at IS 'time of the first value';
COMMENT ON COLUMN pm.daily_signal.last_at IS 'time of the last value';
COMMENT ON COLUMN pm.daily_signal.first_value IS 'value at first_at';
COMMENT ON COLUMN pm.daily_signal.last_value IS 'value at last_at';
CREATE INDEX daily_signal_day ON pm.daily_signal (day);

CREATE TABLE pm.daily_fault (
    vehicle_id               integer     NOT NULL,
    day                      date        NOT NULL,
    log_file_id              bigint      NOT NULL,
    known_at                 timestamptz NOT NULL,
    channel                  text        NOT NULL,
    source_address           smallint    NOT NULL,
    spn                      integer     NOT NULL,
    fmi                      smallint    NOT NULL,
    n_reports                bigint      NOT NULL,
    first_at                 timestamptz NOT NULL,
    last_at                  timestamptz NOT NULL,
    maximum_occurrence_count smallint,
    n_red                    bigint      NOT NULL,
    n_amber                  bigint      NOT NULL,
    PRIMARY KEY (vehicle_id, day, log_file_id, channel, source_address, spn, fmi),
    CHECK (n_reports > 0)
);
COMMENT ON TABLE pm.daily_fault IS 'Partial counts of one DTC over one UTC day, one row a log file.';
COMMENT ON COLUMN pm.daily_fault.vehicle_id IS 'random vehicle number; never the VIN';
COMMENT ON COLUMN pm.daily_fault.day IS 'UTC day';
COMMENT ON COLUMN pm.daily_fault.log_file_id IS 'the log file it came from';
COMMENT ON COLUMN pm.daily_fault.known_at IS 'when this could first be known here';
COMMENT ON COLUMN pm.daily_fault.channel IS 'bus channel as the log names it';
COMMENT ON COLUMN pm.daily_fault.source_address IS 'J1939 source address, 0 to 255; -1 on an 11-bit id';
COMMENT ON COLUMN pm.daily_fault.spn IS 'suspect parameter number, 19 bits';
COMMENT ON COLUMN pm.daily_fault.fmi IS 'failure mode identifier, 0 to 31';
COMMENT ON COLUMN pm.daily_fault.n_reports IS 'messages that carried it';
COMMENT ON COLUMN pm.daily_fault.first_at IS 'first report';
COMMENT ON COLUMN pm.daily_fault.last_at IS 'last report';
COMMENT ON COLUMN pm.daily_fault.maximum_occurrence_count IS 'greatest occurrence count';
COMMENT ON COLUMN pm.daily_fault.n_red IS 'reports with the red stop lamp on';
COMMENT ON COLUMN pm.daily_fault.n_amber IS 'reports with the amber warning lamp on';
CREATE INDEX daily_fault_day ON pm.daily_fault (day);
