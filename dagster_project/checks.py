"""Blocking checks: what must hold before anything downstream may use a day."""

import dagster as dg

from dagster_project.partitions import daily
from dagster_project.resources import Project
from pm.pipelines.inspection import inspect_decoding, inspect_predictions, inspect_vectors


def _window(context: dg.AssetCheckExecutionContext) -> dg.TimeWindow:
    """The day under check. Checks carry no partitions of their own (a preview feature of Dagster): they
    run with their asset and take the run's partition."""
    return daily.time_window_for_partition_key(context.op_execution_context.partition_key)


@dg.asset_check(asset="log_file", blocking=True)
def frames_were_decoded(context: dg.AssetCheckExecutionContext, project: Project) -> dg.AssetCheckResult:
    """Of the files known on this day, the DBC files knew a good share of the frames."""
    window = _window(context)
    with project.database() as conn:
        finding = inspect_decoding(conn, window.start, window.end)
    return dg.AssetCheckResult(passed=finding.passed, description=finding.sentence, metadata=finding.figures)


@dg.asset_check(asset="feature_vector", blocking=True)
def vectors_are_complete(context: dg.AssetCheckExecutionContext, project: Project) -> dg.AssetCheckResult:
    """One vector a vehicle in service, none with data from after its as-of."""
    with project.database() as conn:
        finding = inspect_vectors(conn, _window(context).end, project.policy())
    return dg.AssetCheckResult(passed=finding.passed, description=finding.sentence, metadata=finding.figures)


@dg.asset_check(asset="prediction", blocking=True)
def predictions_are_complete(context: dg.AssetCheckExecutionContext, project: Project) -> dg.AssetCheckResult:
    """Every vehicle with a vector has an answer for every component, and no score lacks a status."""
    with project.database() as conn:
        finding = inspect_predictions(conn, _window(context).end, project.policy(), project.rules())
    return dg.AssetCheckResult(passed=finding.passed, description=finding.sentence, metadata=finding.figures)
