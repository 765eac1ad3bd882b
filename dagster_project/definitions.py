"""What `dagster` loads."""

import dagster as dg

from dagster_project.assets import learning, raw, upkeep
from dagster_project.checks import assumptions_hold, frames_were_decoded, predictions_are_complete, vectors_are_complete
from dagster_project.resources import Project
from dagster_project.schedules import (
    daily_job,
    daily_schedule,
    ingest_job,
    learning_job,
    records_job,
    upkeep_job,
    upkeep_schedule,
)
from dagster_project.sensors import inbox_sensor

defs = dg.Definitions(
    assets=dg.load_assets_from_modules([raw, learning, upkeep]),
    asset_checks=[frames_were_decoded, assumptions_hold, vectors_are_complete, predictions_are_complete],
    jobs=[ingest_job, daily_job, records_job, learning_job, upkeep_job],
    schedules=[daily_schedule, upkeep_schedule],
    sensors=[inbox_sensor],
    resources={"project": Project()},
    # One process a run: the work inside an asset is what is parallel, not the assets of one day.
    executor=dg.in_process_executor,
)
