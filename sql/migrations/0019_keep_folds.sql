-- Finished folds of backtests, so that a run that was killed goes on; the judged scores of a backtest.

ALTER TABLE pm.backtest ADD COLUMN scores_sha256 text;
COMMENT ON COLUMN pm.backtest.scores_sha256 IS 'artifact that holds the judged scores; null in backtests stored before they were kept';

CREATE TABLE pm.backtest_fold (
    fold_key      text        NOT NULL,
    fold_no       integer     NOT NULL,
    cutoff        timestamptz NOT NULL,
    policy_id     text        NOT NULL,
    inputs_hash   text        NOT NULL,
    code_version  text        NOT NULL,
    result_sha256 text        NOT NULL,
    finished_at   timestamptz NOT NULL,
    PRIMARY KEY (fold_key)
);
COMMENT ON TABLE pm.backtest_fold IS 'Finished folds of backtests, by what went into them.';
COMMENT ON COLUMN pm.backtest_fold.fold_key IS 'hash of inputs, parameters and code';
COMMENT ON COLUMN pm.backtest_fold.fold_no IS '1, 2, … in its backtest';
COMMENT ON COLUMN pm.backtest_fold.cutoff IS 'trained on what was known then';
COMMENT ON COLUMN pm.backtest_fold.policy_id IS 'policy in force';
COMMENT ON COLUMN pm.backtest_fold.inputs_hash IS 'hash of the vectors and labels that it used';
COMMENT ON COLUMN pm.backtest_fold.code_version IS 'hash of the sources and packages that made it';
COMMENT ON COLUMN pm.backtest_fold.result_sha256 IS 'artifact that holds its scores and record';
COMMENT ON COLUMN pm.backtest_fold.finished_at IS 'when the run that stored it began';
