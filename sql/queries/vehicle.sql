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
ON CONFLICT (vehicle_id) DO UPDATE
SET vin = EXCLUDED.vin, is_stated = true,
    known_at = CASE WHEN vehicle_identity.vin = EXCLUDED.vin THEN least(vehicle_identity.known_at, EXCLUDED.known_at)
               ELSE EXCLUDED.known_at END;

-- name: note_vin
-- What somebody stated stands; of VINs that logs carry, that known first, then the lower.
WITH noted AS (
    INSERT INTO pm.vehicle_identity (vehicle_id, vin, known_at, is_stated)
    VALUES (%(vehicle_id)s, %(vin)s, %(known_at)s, false)
    ON CONFLICT (vehicle_id) DO UPDATE SET vin = EXCLUDED.vin, known_at = EXCLUDED.known_at
    WHERE CASE
        WHEN vehicle_identity.vin = EXCLUDED.vin THEN vehicle_identity.known_at > EXCLUDED.known_at
        WHEN vehicle_identity.is_stated THEN false
        ELSE (vehicle_identity.known_at, vehicle_identity.vin COLLATE "C") > (EXCLUDED.known_at, EXCLUDED.vin COLLATE "C")
    END
    RETURNING vin
)
SELECT vin = %(vin)s FROM noted
UNION ALL
SELECT vin = %(vin)s FROM pm.vehicle_identity WHERE vehicle_id = %(vehicle_id)s
LIMIT 1;

-- name: stated_vin
SELECT vin FROM pm.vehicle_identity WHERE vehicle_id = %(vehicle_id)s AND is_stated;

-- name: by_ref
SELECT vehicle_id, fleet
FROM pm.vehicle
WHERE vehicle_ref = %(vehicle_ref)s AND (%(fleet)s::text IS NULL OR fleet = %(fleet)s)
ORDER BY fleet;

-- name: lock
-- Two imports would each draw numbers beside what they saw before the other.
LOCK TABLE pm.vehicle IN SHARE ROW EXCLUSIVE MODE;

-- name: update_staged
-- As update, for many.
UPDATE pm.vehicle AS vehicle
SET model         = coalesce(given.model, vehicle.model),
    model_year    = coalesce(given.model_year, vehicle.model_year),
    duty          = coalesce(given.duty, vehicle.duty),
    in_service_at = coalesce(given.in_service_at, vehicle.in_service_at),
    left_at       = coalesce(given.left_at, vehicle.left_at),
    known_at      = least(vehicle.known_at, given.known_at)
FROM pg_temp.pm_stage AS given
WHERE (vehicle.fleet, vehicle.vehicle_ref) = (given.fleet, given.vehicle_ref)
  AND (coalesce(given.model, vehicle.model), coalesce(given.model_year, vehicle.model_year),
       coalesce(given.duty, vehicle.duty), coalesce(given.in_service_at, vehicle.in_service_at),
       coalesce(given.left_at, vehicle.left_at), least(vehicle.known_at, given.known_at))
      IS DISTINCT FROM
      (vehicle.model, vehicle.model_year, vehicle.duty, vehicle.in_service_at, vehicle.left_at, vehicle.known_at)
RETURNING vehicle.vehicle_id;

-- name: set_staged_vins
INSERT INTO pm.vehicle_identity (vehicle_id, vin, known_at)
SELECT vehicle_id, vin, known_at FROM pg_temp.pm_stage
ON CONFLICT (vehicle_id) DO UPDATE
SET vin = EXCLUDED.vin, is_stated = true,
    known_at = CASE WHEN vehicle_identity.vin = EXCLUDED.vin THEN least(vehicle_identity.known_at, EXCLUDED.known_at)
               ELSE EXCLUDED.known_at END
WHERE vehicle_identity.vin <> EXCLUDED.vin OR NOT vehicle_identity.is_stated
RETURNING vehicle_id;

-- name: note_staged_known_at
UPDATE pm.vehicle AS vehicle
SET known_at = given.known_at
FROM pg_temp.pm_stage AS given
WHERE vehicle.vehicle_id = given.vehicle_id AND given.known_at < vehicle.known_at;

-- name: ids_of_vins
SELECT vin, min(vehicle_id)
FROM pm.vehicle_identity
WHERE vin = ANY(%(vins)s::text[])
GROUP BY vin
HAVING count(*) = 1;
