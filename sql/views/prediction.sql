CREATE VIEW readable.prediction AS
SELECT latest.as_of,
       vehicle.fleet,
       vehicle.vehicle_ref AS vehicle,
       vehicle.model,
       latest.component,
       latest.p_failure,
       latest.threshold,
       latest.alert,
       latest.position,
       latest.status,
       latest.role,
       latest.reasons_json -> 0 ->> 'sentence' AS reason,
       latest.horizon_d,
       latest.data_until,
       latest.scored_at,
       latest.model_id
FROM pm.vehicle
-- A vehicle at a time, so that a question about one reads the rows of one.
CROSS JOIN LATERAL (
    SELECT DISTINCT ON (prediction.component) prediction.*
    FROM pm.prediction
    WHERE prediction.vehicle_id = vehicle.vehicle_id
      AND prediction.role IN ('champion', 'canary', 'fallback')
    ORDER BY prediction.component, prediction.as_of DESC, prediction.position NULLS LAST, prediction.model_id
) AS latest;

COMMENT ON VIEW readable.prediction IS 'The latest answer about each vehicle and component; what shadow models say is left out.';
COMMENT ON COLUMN readable.prediction.as_of IS 'the decision''s instant; only rows known by then are used';
COMMENT ON COLUMN readable.prediction.fleet IS 'owner of the vehicle';
COMMENT ON COLUMN readable.prediction.vehicle IS 'unit number, unique in a fleet';
COMMENT ON COLUMN readable.prediction.model IS 'truck model';
COMMENT ON COLUMN readable.prediction.component IS 'component class, for instance cooling';
COMMENT ON COLUMN readable.prediction.p_failure IS 'calibrated probability of failure within the horizon';
COMMENT ON COLUMN readable.prediction.threshold IS 'alert threshold of the batch';
COMMENT ON COLUMN readable.prediction.alert IS 'above the threshold, within the alert budget';
COMMENT ON COLUMN readable.prediction.position IS '1 = most likely to fail, over the fleet and all components';
COMMENT ON COLUMN readable.prediction.status IS 'ok, insufficient_data, stale or fallback';
COMMENT ON COLUMN readable.prediction.role IS 'champion, canary or fallback';
COMMENT ON COLUMN readable.prediction.reason IS 'what moved the score most, in a sentence';
COMMENT ON COLUMN readable.prediction.horizon_d IS 'horizon [d]';
COMMENT ON COLUMN readable.prediction.data_until IS 'last telemetry seen';
COMMENT ON COLUMN readable.prediction.scored_at IS 'when it was computed';
COMMENT ON COLUMN readable.prediction.model_id IS 'the model that answered';
