"""Groups features, labels, models, predictions: from decoded rows to a ranked fleet."""

from collections.abc import Iterator

import dagster as dg

from dagster_project.assets.raw import ingest, work_order
from dagster_project.partitions import daily, window
from dagster_project.resources import Project
from pm.pipelines.assumptions import check_daily
from pm.pipelines.audit import audit_backtest
from pm.pipelines.backtest import backtest_models
from pm.pipelines.dailies import refresh_dailies
from pm.pipelines.features import build_features
from pm.pipelines.labels import classify_work_orders, update_labels
from pm.pipelines.score import score_fleet
from pm.pipelines.train import train_models
from pm.store import artifacts, feature_vectors


@dg.multi_asset(
    group_name="features",
    partitions_def=daily,
    specs=[
        dg.AssetSpec("daily_signal", deps=["telemetry", "log_file"], description="Daily aggregates of every signal."),
        dg.AssetSpec("daily_fault", deps=["fault", "log_file"], description="Daily counts of every trouble code."),
    ],
)
def aggregates(project: Project) -> Iterator[dg.MaterializeResult]:
    """Make the dirty vehicle days again, whatever day they are of."""
    report = refresh_dailies(project.database_url(), ranges=project.feature_set().ranges_by_source)
    yield dg.MaterializeResult(
        "daily_signal", metadata={"vehicle_days": report.n_vehicle_days, "rows": report.n_signal_rows}
    )
    yield dg.MaterializeResult(
        "daily_fault", metadata={"vehicle_days": report.n_vehicle_days, "rows": report.n_fault_rows}
    )


@dg.asset(group_name="features", partitions_def=daily, deps=["daily_signal"], kinds={"polars"})
def assumption(context: dg.AssetExecutionContext, project: Project) -> dg.MaterializeResult:
    """What features assume of the daily aggregates, checked at the end of the day."""
    _, as_of = window(context)
    with project.database() as conn:
        (report,) = check_daily(
            conn, [as_of], project.policy(), checked_at=project.now(), configured=project.feature_set()
        )
    return dg.MaterializeResult(
        metadata={
            **report.status_by_check,
            "marked": report.n_marked,
            "blocked": report.n_blocked,
            "blocked_vehicles": len(report.blocked_vehicles),
            "training_profile": report.profile_id or "none yet",
        }
    )


@dg.asset(group_name="labels", deps=[work_order], kinds={"postgres"})
def failure(project: Project) -> dg.MaterializeResult:
    """What each version of a work order line means under config/failure_rules.toml."""
    with project.database() as conn:
        report = classify_work_orders(conn, project.rules())
    return dg.MaterializeResult(metadata={**report.n_by_kind, **report.n_failures_by_component})


@dg.asset(
    group_name="features",
    partitions_def=daily,
    deps=["daily_signal", "daily_fault", assumption, failure],
    kinds={"polars"},
)
def feature_vector(context: dg.AssetExecutionContext, project: Project) -> dg.MaterializeResult:
    """Model inputs at the end of the day, from rows known by then."""
    _, as_of = window(context)
    with project.database() as conn:
        report = build_features(conn, [as_of], project.policy(), configured=project.feature_set())
    return dg.MaterializeResult(
        metadata={
            "feature_set": report.feature_set_id,
            "vectors": report.n_vectors,
            "without_data": report.n_without_data,
            "computed": report.n_computed,
            "taken": report.n_taken,
        }
    )


@dg.asset(group_name="labels", partitions_def=daily, deps=[failure, feature_vector], kinds={"polars"})
def label(context: dg.AssetExecutionContext, project: Project) -> dg.MaterializeResult:
    """Label states as known at the end of the day; only changes are appended."""
    _, known_at = window(context)
    with project.database() as conn:
        as_ofs = feature_vectors.fetch_as_ofs(conn, until=known_at)
        report = update_labels(conn, as_ofs, project.rules(), project.policy(), known_at=known_at)
    return dg.MaterializeResult(
        metadata={
            **report.n_by_state,
            "changed": report.n_changed,
            "lag_d": report.lag_d,
            "lag_source": report.lag_source,
        }
    )


@dg.asset(group_name="models", deps=[feature_vector, failure], kinds={"lightgbm", "sktime"})
def backtest(project: Project) -> dg.MaterializeResult:
    """Delayed-label backtest over all stored vectors, judged by what is known at the newest of them."""
    with project.database() as conn:
        known_until = feature_vectors.newest_as_of(conn)
        report = backtest_models(
            conn,
            project.rules(),
            project.policy(),
            known_until=known_until,
            artifact_folder=project.settings().artifacts,
            created_at=project.now(),
            configured=project.feature_set(),
        )
    return dg.MaterializeResult(
        metadata={
            "backtest_id": report.backtest_id,
            "folds": report.n_folds,
            "measures": dg.MetadataValue.json(report.measures),
            "report": dg.MetadataValue.path(str(artifacts.path(project.settings().artifacts, report.report_sha256))),
        }
    )


@dg.asset(group_name="models", deps=[backtest], kinds={"lightgbm"})
def audit(project: Project) -> dg.MaterializeResult:
    """Leak alarms: the newest backtest's task again, so that what was not known at the as-of shows."""
    with project.database() as conn:
        report = audit_backtest(
            conn,
            project.rules(),
            project.policy(),
            artifact_folder=project.settings().artifacts,
            created_at=project.now(),
            configured=project.feature_set(),
            quick=True,
        )
    return dg.MaterializeResult(
        metadata={
            "audit_id": report.audit_id,
            "status": report.status,
            "verdicts": dg.MetadataValue.md("\n".join(f"- {verdict}" for verdict in report.verdicts)),
            "report": dg.MetadataValue.path(str(artifacts.path(project.settings().artifacts, report.report_sha256))),
        }
    )


@dg.asset(group_name="models", deps=[audit], kinds={"lightgbm"})
def model_version(project: Project) -> dg.MaterializeResult:
    """Models trained on labels matured by the newest as-of; the backtest decides what serves."""
    with project.database() as conn:
        report = train_models(
            conn,
            project.rules(),
            project.policy(),
            cutoff=feature_vectors.newest_as_of(conn),
            artifact_folder=project.settings().artifacts,
            created_at=project.now(),
            configured=project.feature_set(),
        )
    rows = "\n".join(f"| {made.component} | {made.kind} | {made.reason} |" for made in report.components)
    return dg.MaterializeResult(
        metadata={
            "training_rows": report.n_rows,
            "serving": dg.MetadataValue.md(f"| component | kind | why |\n|---|---|---|\n{rows}"),
        }
    )


@dg.asset(group_name="predictions", partitions_def=daily, deps=[feature_vector, model_version], kinds={"postgres"})
def prediction(context: dg.AssetExecutionContext, project: Project) -> dg.MaterializeResult:
    """The ranked fleet at the end of the day."""
    _, as_of = window(context)
    with project.database() as conn:
        report = score_fleet(
            conn,
            as_of,
            project.policy(),
            artifact_folder=project.settings().artifacts,
            scored_at=project.now(),
            configured=project.feature_set(),
        )
    return dg.MaterializeResult(
        metadata={"predictions": report.n_predictions, "alerts": report.n_alerts, **report.n_by_status}
    )


__all__ = [
    "aggregates",
    "assumption",
    "backtest",
    "failure",
    "feature_vector",
    "ingest",
    "label",
    "model_version",
    "prediction",
]
