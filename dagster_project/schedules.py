"""Jobs and when they run."""

from datetime import UTC, timedelta

import dagster as dg

_ingested = dg.AssetSelection.assets("raw_log", "log_file", "telemetry", "fault", "daily_signal", "daily_fault")

ingest_job = dg.define_asset_job(
    "ingest_job",
    selection=_ingested,
    description="What arrived on one day, decoded and aggregated; also while the day is still running.",
)

daily_job = dg.define_asset_job(
    "daily_job",
    selection=_ingested | dg.AssetSelection.assets("assumption", "feature_vector", "label", "prediction"),
    description="One day: decode what arrived, refresh features and labels, score the fleet.",
)

records_job = dg.define_asset_job(
    "records_job",
    selection=dg.AssetSelection.assets("vehicle", "work_order", "failure"),
    description="Vehicles and work orders from the inbox.",
)

learning_job = dg.define_asset_job(
    "learning_job",
    selection=dg.AssetSelection.assets("backtest", "audit", "model_version"),
    description="Backtest, its leak audit, then train what they allow to serve.",
)

upkeep_job = dg.define_asset_job(
    "upkeep_job",
    selection=dg.AssetSelection.assets("retention"),
    description="Chunks and columnstore as decided, and what is too old dropped.",
)


@dg.schedule(job=daily_job, cron_schedule="0 3 * * *", execution_timezone="UTC")
def daily_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Every night at 03:00 UTC, the day that has just ended."""
    day = (context.scheduled_execution_time.astimezone(UTC) - timedelta(days=1)).date().isoformat()
    return dg.RunRequest(run_key=day, partition_key=day)


@dg.schedule(job=upkeep_job, cron_schedule="0 5 * * *", execution_timezone="UTC")
def upkeep_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Every night at 05:00 UTC, when the day before has been aggregated; what is in use waits a night."""
    return dg.RunRequest(run_key=context.scheduled_execution_time.astimezone(UTC).date().isoformat())
