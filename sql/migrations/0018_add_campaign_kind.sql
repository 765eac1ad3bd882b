-- Warranty campaigns (recalls) are told apart from planned work of the fleet's own.

ALTER TABLE pm.failure DROP CONSTRAINT failure_kind_check;
ALTER TABLE pm.failure ADD CONSTRAINT failure_kind_check
    CHECK (kind IN ('failure', 'planned', 'campaign', 'no_trouble_found', 'other', 'withdrawn'));
COMMENT ON COLUMN pm.failure.kind IS 'failure, planned, campaign, no_trouble_found, other or withdrawn';
