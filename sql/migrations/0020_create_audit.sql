-- Leak audits: is a backtest's result too good, and what carries it?

CREATE TABLE pm.audit (
    audit_id       text        NOT NULL,
    backtest_id    text        NOT NULL,
    policy_id      text        NOT NULL,
    feature_set_id text        NOT NULL,
    known_until    timestamptz NOT NULL,
    status         text        NOT NULL,
    audit_json     jsonb       NOT NULL,
    report_sha256  text        NOT NULL,
    created_at     timestamptz NOT NULL,
    PRIMARY KEY (audit_id),
    FOREIGN KEY (backtest_id) REFERENCES pm.backtest,
    CHECK (status IN ('pass', 'warn', 'fail', 'not_possible'))
);
COMMENT ON TABLE pm.audit IS 'Leak audits of backtests.';
COMMENT ON COLUMN pm.audit.audit_id IS 'hash of content and backtest';
COMMENT ON COLUMN pm.audit.backtest_id IS 'the backtest that was audited';
COMMENT ON COLUMN pm.audit.policy_id IS 'policy in force';
COMMENT ON COLUMN pm.audit.feature_set_id IS 'inputs';
COMMENT ON COLUMN pm.audit.known_until IS 'judged by labels known then';
COMMENT ON COLUMN pm.audit.status IS 'pass, warn, fail or not_possible: the worst of its checks';
COMMENT ON COLUMN pm.audit.audit_json IS 'checks with their figures and sentences';
COMMENT ON COLUMN pm.audit.report_sha256 IS 'artifact that holds the HTML report';
COMMENT ON COLUMN pm.audit.created_at IS 'when it was stored';
CREATE INDEX audit_backtest ON pm.audit (backtest_id, created_at);
