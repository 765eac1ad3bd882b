"""Group upkeep: what is dropped for its age, and how what is kept is stored."""

import dagster as dg

from dagster_project.resources import Project
from pm.pipelines.upkeep import run_upkeep
from pm.upkeep import load_upkeep


@dg.asset(group_name="upkeep", deps=["daily_signal", "daily_fault"], kinds={"postgres"})
def retention(project: Project) -> dg.MaterializeResult:
    """What config/upkeep.toml decides: chunks, columnstore, how far back is kept. No day goes before its aggregates."""
    settings = project.settings()
    with project.database() as conn:
        report = run_upkeep(
            conn, load_upkeep(settings.upkeep_file), archive_address=settings.archive, now=project.now()
        )
    return dg.MaterializeResult(
        metadata={
            "telemetry_before": str(report.telemetry_before or "kept for ever"),
            "chunks_dropped": report.n_chunks,
            "rows_deleted": report.n_rows,
            "archive_before": str(report.archive_before or "kept for ever"),
            "files_dropped": report.n_files,
            "postponed": dg.MetadataValue.json(list(report.postponed)),
        }
    )


__all__ = ["retention"]
