"""Group raw: what lies in the inbox, and what was decoded from it."""

from collections.abc import Iterator

import dagster as dg

from dagster_project.partitions import daily, window
from dagster_project.resources import Project
from pm.errors import DataError
from pm.pipelines.imports.vehicles import import_vehicles
from pm.pipelines.imports.work_orders import import_work_orders
from pm.pipelines.ingest import IngestReport, ingest_logs, jobs_for, keeping_of
from pm.pipelines.uploads import Upload, list_uploads, uploads_between


def _uploads(context: dg.AssetExecutionContext, project: Project) -> tuple[Upload, ...]:
    start, end = window(context)
    return uploads_between(list_uploads(project.settings().inbox, seen_at=project.now()), start, end)


@dg.asset(group_name="raw", partitions_def=daily, kinds={"file"})
def raw_log(context: dg.AssetExecutionContext, project: Project) -> dg.MaterializeResult:
    """CAN log files of the inbox that became known on this day."""
    uploads = _uploads(context, project)
    return dg.MaterializeResult(
        metadata={
            "files": len(uploads),
            "bytes": sum(upload.path.stat().st_size for upload in uploads),
            "vehicles": len({upload.vehicle_ref for upload in uploads}),
        }
    )


@dg.asset(group_name="raw", kinds={"postgres"})
def vehicle(project: Project) -> dg.MaterializeResult:
    """Vehicles, from `vehicles.csv` in the inbox where it is there."""
    path = project.settings().inbox / "vehicles.csv"
    if not path.is_file():
        return dg.MaterializeResult(metadata={"vehicles": 0, "note": f"no {path.name} in the inbox"})
    with project.database() as conn:
        report = import_vehicles(conn, path, known_at=project.now())
    return dg.MaterializeResult(metadata={"vehicles": report.n_vehicles, "refused": len(report.rejected)})


@dg.asset(group_name="raw", deps=[vehicle], kinds={"postgres"})
def work_order(project: Project) -> dg.MaterializeResult:
    """Every version of every work order line, from `work_orders.csv` in the inbox."""
    path = project.settings().inbox / "work_orders.csv"
    if not path.is_file():
        return dg.MaterializeResult(metadata={"versions": 0, "note": f"no {path.name} in the inbox"})
    with project.database() as conn:
        report = import_work_orders(conn, path, imported_at=project.now())
    return dg.MaterializeResult(
        metadata={"versions": report.n_versions, "new": report.n_new, "refused": len(report.rejected)}
    )


@dg.multi_asset(
    group_name="telemetry",
    partitions_def=daily,
    specs=[
        dg.AssetSpec("log_file", deps=[raw_log, vehicle], description="Manifest of committed log files."),
        dg.AssetSpec(
            "telemetry", deps=[raw_log, vehicle], description="One hypertable a DBC message.", kinds={"postgres"}
        ),
        dg.AssetSpec("fault", deps=[raw_log, vehicle], description="Trouble codes, DM1 and DM2.", kinds={"postgres"}),
    ],
)
def ingest(context: dg.AssetExecutionContext, project: Project) -> Iterator[dg.MaterializeResult]:
    """Decode the day's log files, one transaction a file."""
    with project.database() as conn:
        jobs = jobs_for(
            conn, ((upload.path, upload.vehicle_ref, upload.uploaded_at) for upload in _uploads(context, project))
        )
    settings, policy = project.settings(), project.policy()
    reports = ingest_logs(
        project.database_url(), jobs, dbc=settings.dbc_files, policy=policy, keeping=keeping_of(settings, policy)
    )
    refused = [report for report in reports if report.refused]
    if refused and len(refused) == len(reports):
        raise DataError(f"expected log files that can be read, but got {len(refused)} refused: {refused[0].refused}")
    yield dg.MaterializeResult("log_file", metadata=_file_metadata(reports))
    yield dg.MaterializeResult("telemetry", metadata={"rows": sum(report.n_rows for report in reports)})
    yield dg.MaterializeResult("fault", metadata={"rows": sum(report.n_faults for report in reports)})


def _file_metadata(reports: tuple[IngestReport, ...]) -> dict[str, object]:
    frames = sum(report.n_frames for report in reports)
    decoded = sum(report.n_decoded for report in reports)
    refused = [f"- {report.refused}" for report in reports if report.refused]
    return {
        "files": len(reports),
        "already_there": sum(report.log_file_id is None and not report.refused for report in reports),
        "refused": len(refused),
        "reasons": dg.MetadataValue.md("\n".join(refused) or "none refused"),
        "frames": frames,
        "decoded_share": decoded / frames if frames else 1.0,
        "seconds": sum(report.seconds for report in reports),
    }
