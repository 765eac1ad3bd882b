"""Blocking checks: what must hold before anything downstream may use a day."""

import dagster as dg

from dagster_project.partitions import daily
from dagster_project.resources import Project
from pm.pipelines.inspection import inspect_decoding, inspect_predictions, inspect_vectors


@dg.asset_check(asset="log_file", blocking=True, partitions_def=daily)
def frames_were_decoded(context: dg.AssetCheckExecutionContext, project: Project) -> dg.AssetCheckResult:
    """Of the files known on this day, the DBC files knew a good share of the frames."""
    window = context.partition_time_window
    with project.database() as conn:
        finding = inspect_decoding(conn, window.start, window.end)
    return dg.AssetCheckResult(passed=finding.passed, description=finding.sentence, metadata=finding.figures)


@dg.asset_check(asset="feature_vector", blocking=True, partitions_def=daily)
def vectors_are_complete(context: dg.AssetCheckExecutionContext, project: Project) -> dg.AssetCheckResult:
    """One vector a vehicle in service, none with data from after its as-of."""
    with project.database() as conn:
        finding = inspect_vectors(conn, context.partition_time_window.end, project.policy())
    return dg.AssetCheckResult(passed=finding.passed, description=finding.sentence, metadata=finding.figures)


@dg.asset_check(asset="prediction", blocking=True, partitions_def=daily)
def predictions_are_complete(context: dg.AssetCheckExecutionContext, project: Project) -> dg.AssetCheckResult:
    """Every vehicle with a vector has an answer for every component, and no score lacks a status."""
    with project.database() as conn:
        finding = inspect_predictions(conn, context.partition_time_window.end, project.policy(), project.rules())
    return dg.AssetCheckResult(passed=finding.passed, description=finding.sentence, metadata=finding.figures)
