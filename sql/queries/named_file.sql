-- name: raw
-- Raw files that the database names: those that were ingested or imported, and those refused.
SELECT sha256 FROM pm.log_file UNION SELECT sha256 FROM pm.quarantine ORDER BY sha256;

-- name: artifacts
-- Artifacts that the database names: model bundles and backtest reports.
SELECT bundle_sha256 FROM pm.model_version UNION SELECT report_sha256 FROM pm.backtest ORDER BY 1;
