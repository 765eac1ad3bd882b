-- name: next_start
SELECT next_start FROM pm.poll WHERE source = %(source)s;

-- name: move
INSERT INTO pm.poll (source, next_start, polled_at)
VALUES (%(source)s, %(next_start)s, %(polled_at)s)
ON CONFLICT (source) DO UPDATE SET next_start = EXCLUDED.next_start, polled_at = EXCLUDED.polled_at;

-- name: vehicles_of_vins
SELECT identity.vin, identity.vehicle_id, vehicle.fleet
FROM pm.vehicle_identity AS identity
JOIN pm.vehicle USING (vehicle_id)
WHERE identity.vin = ANY (%(vins)s::text[])
ORDER BY identity.vin, identity.vehicle_id;

-- name: stored_events
SELECT event.vehicle_id, event.time, event.code
FROM unnest(%(vehicle_ids)s::integer[], %(times)s::timestamptz[], %(codes)s::text[]) AS key (vehicle_id, time, code)
JOIN pm.event ON (event.vehicle_id, event.time, event.code) = (key.vehicle_id, key.time, key.code)
WHERE event.kind = %(kind)s;
