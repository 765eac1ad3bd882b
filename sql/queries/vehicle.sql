-- name: all
SELECT * FROM pm.vehicle ORDER BY fleet, vehicle_ref;

-- name: add
INSERT INTO pm.vehicle (vehicle_id, fleet, vehicle_ref, model, model_year, duty, in_service_at, left_at, known_at)
VALUES (%(vehicle_id)s, %(fleet)s, %(vehicle_ref)s, %(model)s, %(model_year)s, %(duty)s, %(in_service_at)s,
        %(left_at)s, %(known_at)s)
ON CONFLICT DO NOTHING;

-- name: update
UPDATE pm.vehicle
SET model         = coalesce(%(model)s, model),
    model_year    = coalesce(%(model_year)s, model_year),
    duty          = coalesce(%(duty)s, duty),
    in_service_at = coalesce(%(in_service_at)s, in_service_at),
    left_at       = coalesce(%(left_at)s, left_at),
    known_at      = least(known_at, %(known_at)s)
WHERE fleet = %(fleet)s AND vehicle_ref = %(vehicle_ref)s
RETURNING vehicle_id;

-- name: set_vin
INSERT INTO pm.vehicle_identity (vehicle_id, vin, known_at)
VALUES (%(vehicle_id)s, %(vin)s, %(known_at)s)
ON CONFLICT (vehicle_id) DO UPDATE SET vin = EXCLUDED.vin, known_at = EXCLUDED.known_at
WHERE vehicle_identity.vin <> EXCLUDED.vin;

-- name: note_vin
WITH noted AS (
    INSERT INTO pm.vehicle_identity (vehicle_id, vin, known_at)
    VALUES (%(vehicle_id)s, %(vin)s, %(known_at)s)
    ON CONFLICT (vehicle_id) DO NOTHING
    RETURNING vin
)
SELECT vin = %(vin)s FROM noted
UNION ALL
SELECT vin = %(vin)s FROM pm.vehicle_identity WHERE vehicle_id = %(vehicle_id)s;

-- name: by_ref
SELECT vehicle_id, fleet
FROM pm.vehicle
WHERE vehicle_ref = %(vehicle_ref)s AND (%(fleet)s::text IS NULL OR fleet = %(fleet)s)
ORDER BY fleet;
