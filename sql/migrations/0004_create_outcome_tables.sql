-- What the workshop said, every version, and what it means under the failure rules.

CREATE TABLE pm.work_order (
    source_system          text             NOT NULL,
    work_order_id          text             NOT NULL,
    line_no                integer          NOT NULL,
    known_at               timestamptz      NOT NULL,
    vehicle_id             integer          NOT NULL,
    opened_at              timestamptz      NOT NULL,
    completed_at           timestamptz,
    reported_at            timestamptz,
    out_of_service_at      timestamptz,
    returned_to_service_at timestamptz,
    planned                boolean,
    roadside               boolean,
    odometer_km            double precision,
    engine_h               double precision,
    reason_for_repair      text,
    work_accomplished      text,
    failure_code           text,
    vmrs                   text,
    description            text             NOT NULL,
    withdrawn              boolean          NOT NULL,
    PRIMARY KEY (source_system, work_order_id, line_no, known_at),
    FOREIGN KEY (vehicle_id) REFERENCES pm.vehicle
);
COMMENT ON TABLE pm.work_order IS 'Work order lines; every version is kept by the instant it became known.';
COMMENT ON COLUMN pm.work_order.source_system IS 'the shop system';
COMMENT ON COLUMN pm.work_order.work_order_id IS 'order number there';
COMMENT ON COLUMN pm.work_order.line_no IS 'line of the order';
COMMENT ON COLUMN pm.work_order.known_at IS 'when this could first be known here';
COMMENT ON COLUMN pm.work_order.vehicle_id IS 'random vehicle number; never the VIN';
COMMENT ON COLUMN pm.work_order.opened_at IS 'order opened';
COMMENT ON COLUMN pm.work_order.completed_at IS 'work completed';
COMMENT ON COLUMN pm.work_order.reported_at IS 'symptom first seen';
COMMENT ON COLUMN pm.work_order.out_of_service_at IS 'vehicle stopped';
COMMENT ON COLUMN pm.work_order.returned_to_service_at IS 'vehicle back on the road';
COMMENT ON COLUMN pm.work_order.planned IS 'scheduled beforehand';
COMMENT ON COLUMN pm.work_order.roadside IS 'breakdown on the road';
COMMENT ON COLUMN pm.work_order.odometer_km IS 'odometer at the visit [km]';
COMMENT ON COLUMN pm.work_order.engine_h IS 'engine hours at the visit [h]';
COMMENT ON COLUMN pm.work_order.reason_for_repair IS 'opaque code';
COMMENT ON COLUMN pm.work_order.work_accomplished IS 'opaque code';
COMMENT ON COLUMN pm.work_order.failure_code IS 'opaque code';
COMMENT ON COLUMN pm.work_order.vmrs IS 'opaque NNN-NNN-NNN code';
COMMENT ON COLUMN pm.work_order.description IS 'what was done, in the shop''s words';
COMMENT ON COLUMN pm.work_order.withdrawn IS 'this version takes the line back';

CREATE TABLE pm.failure (
    source_system text        NOT NULL,
    work_order_id text        NOT NULL,
    line_no       integer     NOT NULL,
    known_at      timestamptz NOT NULL,
    vehicle_id    integer     NOT NULL,
    component     text        NOT NULL,
    kind          text        NOT NULL,
    failed_at     timestamptz NOT NULL,
    restored_at   timestamptz,
    rule          text        NOT NULL,
    PRIMARY KEY (source_system, work_order_id, line_no, known_at),
    FOREIGN KEY (vehicle_id) REFERENCES pm.vehicle,
    CHECK (kind IN ('failure', 'planned', 'no_trouble_found', 'other', 'withdrawn'))
);
COMMENT ON TABLE pm.failure IS 'What each version of a work order line means under the failure rules.';
COMMENT ON COLUMN pm.failure.source_system IS 'the shop system';
COMMENT ON COLUMN pm.failure.work_order_id IS 'order number there';
COMMENT ON COLUMN pm.failure.line_no IS 'line of the order';
COMMENT ON COLUMN pm.failure.known_at IS 'when this could first be known here';
COMMENT ON COLUMN pm.failure.vehicle_id IS 'random vehicle number; never the VIN';
COMMENT ON COLUMN pm.failure.component IS 'component class, for instance cooling';
COMMENT ON COLUMN pm.failure.kind IS 'failure, planned, no_trouble_found, other or withdrawn';
COMMENT ON COLUMN pm.failure.failed_at IS 'when it failed, or the visit began';
COMMENT ON COLUMN pm.failure.restored_at IS 'when the vehicle was back in service';
COMMENT ON COLUMN pm.failure.rule IS 'name of the rule that decided';
