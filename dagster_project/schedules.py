"""Jobs and when they run."""

import dagster as dg

from dagster_project.partitions import daily

daily_assets = dg.AssetSelection.assets(
    "raw_log", "log_file", "telemetry", "fault", "daily_signal", "daily_fault", "feature_vector", "label", "prediction"
)

daily_job = dg.define_asset_job(
    "daily_job",
    selection=daily_assets,
    partitions_def=daily,
    description="One day: decode what arrived, refresh features and labels, score the fleet.",
)

records_job = dg.define_asset_job(
    "records_job",
    selection=dg.AssetSelection.assets("vehicle", "work_order", "failure"),
    description="Vehicles and work orders from the inbox.",
)

learning_job = dg.define_asset_job(
    "learning_job",
    selection=dg.AssetSelection.assets("backtest", "model_version"),
    description="Backtest, then train what the backtest allows to serve.",
)

daily_schedule = dg.build_schedule_from_partitioned_job(
    daily_job, hour_of_day=3, default_status=dg.DefaultScheduleStatus.STOPPED
)
