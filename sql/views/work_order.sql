CREATE VIEW readable.work_order AS
SELECT work_order.opened_at,
       vehicle.fleet,
       vehicle.vehicle_ref AS vehicle,
       vehicle.model,
       work_order.source_system,
       work_order.work_order_id,
       work_order.line_no,
       work_order.completed_at,
       work_order.reported_at,
       work_order.out_of_service_at,
       work_order.returned_to_service_at,
       work_order.planned,
       work_order.roadside,
       work_order.odometer_km,
       work_order.engine_h,
       work_order.reason_for_repair,
       work_order.work_accomplished,
       work_order.failure_code,
       work_order.vmrs,
       work_order.description,
       work_order.withdrawn,
       NOT EXISTS (
           SELECT FROM pm.work_order AS later
           WHERE later.source_system = work_order.source_system
             AND later.work_order_id = work_order.work_order_id
             AND later.line_no = work_order.line_no
             AND later.known_at > work_order.known_at
       ) AS is_newest,
       work_order.known_at
FROM pm.work_order
LEFT JOIN pm.vehicle ON vehicle.vehicle_id = work_order.vehicle_id;

COMMENT ON VIEW readable.work_order IS 'Work order lines, one row a version; those that hold now are WHERE is_newest AND NOT withdrawn.';
COMMENT ON COLUMN readable.work_order.opened_at IS 'order opened';
COMMENT ON COLUMN readable.work_order.fleet IS 'owner of the vehicle';
COMMENT ON COLUMN readable.work_order.vehicle IS 'unit number, unique in a fleet';
COMMENT ON COLUMN readable.work_order.model IS 'truck model';
COMMENT ON COLUMN readable.work_order.source_system IS 'the shop system';
COMMENT ON COLUMN readable.work_order.work_order_id IS 'order number there';
COMMENT ON COLUMN readable.work_order.line_no IS 'line of the order';
COMMENT ON COLUMN readable.work_order.completed_at IS 'work completed';
COMMENT ON COLUMN readable.work_order.reported_at IS 'symptom first seen';
COMMENT ON COLUMN readable.work_order.out_of_service_at IS 'vehicle stopped';
COMMENT ON COLUMN readable.work_order.returned_to_service_at IS 'vehicle back on the road';
COMMENT ON COLUMN readable.work_order.planned IS 'scheduled beforehand';
COMMENT ON COLUMN readable.work_order.roadside IS 'breakdown on the road';
COMMENT ON COLUMN readable.work_order.odometer_km IS 'odometer at the visit [km]';
COMMENT ON COLUMN readable.work_order.engine_h IS 'engine hours at the visit [h]';
COMMENT ON COLUMN readable.work_order.reason_for_repair IS 'opaque code';
COMMENT ON COLUMN readable.work_order.work_accomplished IS 'opaque code';
COMMENT ON COLUMN readable.work_order.failure_code IS 'opaque code';
COMMENT ON COLUMN readable.work_order.vmrs IS 'opaque NNN-NNN-NNN code';
COMMENT ON COLUMN readable.work_order.description IS 'what was done, in the shop''s words';
COMMENT ON COLUMN readable.work_order.withdrawn IS 'this version takes the line back';
COMMENT ON COLUMN readable.work_order.is_newest IS 'no later version of the line is known';
COMMENT ON COLUMN readable.work_order.known_at IS 'when this version could first be known here';
