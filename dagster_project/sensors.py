"""The inbox sensor: a day on which files arrived is materialised again."""

import json
from datetime import UTC

import dagster as dg

from dagster_project.resources import Project
from dagster_project.schedules import daily_job
from pm.pipelines.uploads import list_uploads

RUNS_A_TICK = 5
"""Days requested in one tick, so that a backlog does not flood the queue."""


@dg.sensor(job=daily_job, minimum_interval_seconds=60, default_status=dg.DefaultSensorStatus.STOPPED)
def inbox_sensor(context: dg.SensorEvaluationContext, project: Project) -> dg.SensorResult:
    """Request a run for each day of arrival whose set of files has changed since the last tick.

    The cursor holds the number of files a day; a run key names day and number, so a tick that is
    repeated after a crash requests nothing twice.
    """
    seen: dict[str, int] = json.loads(context.cursor or "{}")
    uploads = list_uploads(project.settings().inbox, seen_at=project.now())
    counts: dict[str, int] = {}
    for upload in uploads:
        day = upload.uploaded_at.astimezone(UTC).date().isoformat()
        counts[day] = counts.get(day, 0) + 1
    changed = [day for day in sorted(counts) if counts[day] != seen.get(day)][:RUNS_A_TICK]
    requests = [dg.RunRequest(run_key=f"{day}:{counts[day]}", partition_key=day) for day in changed]
    cursor = json.dumps({**seen, **{day: counts[day] for day in changed}}, sort_keys=True)
    return dg.SensorResult(run_requests=requests, cursor=cursor)
