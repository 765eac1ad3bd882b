"""The inbox sensor: a day on which files arrived is ingested."""

import json
from datetime import UTC

import dagster as dg

from dagster_project.resources import Project
from dagster_project.schedules import ingest_job
from pm.pipelines.uploads import list_uploads, placed_ns

RUNS_A_TICK = 5
"""Days requested in one tick, so that a backlog does not flood the queue."""


@dg.sensor(job=ingest_job, minimum_interval_seconds=60, default_status=dg.DefaultSensorStatus.STOPPED)
def inbox_sensor(context: dg.SensorEvaluationContext, project: Project) -> dg.SensorResult:
    """Request a run for each day of arrival that has files which the last tick had not.

    The cursor holds the number of files that `uploads.csv` names for each day, and when the newest
    other file was put there; those belong to this day. A run key names both, so a tick that is
    repeated after a crash requests nothing twice.
    """
    cursor = json.loads(context.cursor or '{"listed": {}, "newest_ns": 0}')
    now = project.now()
    listed: dict[str, int] = {}
    newest_ns = cursor["newest_ns"]
    for upload in list_uploads(project.settings().inbox, seen_at=now):
        if upload.is_listed:
            day = upload.uploaded_at.astimezone(UTC).date().isoformat()
            listed[day] = listed.get(day, 0) + 1
        else:
            newest_ns = max(newest_ns, placed_ns(upload))
    changed = [day for day in sorted(listed) if listed[day] != cursor["listed"].get(day)][:RUNS_A_TICK]
    requests = [dg.RunRequest(run_key=f"{day}:{listed[day]}", partition_key=day) for day in changed]
    if newest_ns > cursor["newest_ns"]:
        requests.append(dg.RunRequest(run_key=f"today:{newest_ns}", partition_key=now.date().isoformat()))
    seen = {"listed": {**cursor["listed"], **{day: listed[day] for day in changed}}, "newest_ns": newest_ns}
    return dg.SensorResult(run_requests=requests, cursor=json.dumps(seen, sort_keys=True))
