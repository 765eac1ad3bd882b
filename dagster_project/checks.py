"""Blocking checks: what must hold before anything downstream may use a day."""

from collections.abc import Iterator

import dagster as dg

from dagster_project.partitions import daily
from dagster_project.resources import Project
from pm.pipelines.inspection import (
    ASSUMPTION_WORDS,
    inspect_assumptions,
    inspect_decoding,
    inspect_predictions,
    inspect_vectors,
)


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


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(f"{name}_as_assumed", asset="assumption", blocking=True, description=words)
        for name, words in ASSUMPTION_WORDS.items()
    ]
)
def assumptions_hold(context: dg.AssetCheckExecutionContext, project: Project) -> Iterator[dg.AssetCheckResult]:
    """One check each of [assumptions] in the policy. Only what blocks the whole fleet is an error, and stops
    what is downstream; a blocked vehicle is withheld when it is scored, and a mark is a warning."""
    with project.database() as conn:
        findings = inspect_assumptions(conn, _window(context).end)
    for name, finding in findings.items():
        is_fleet = finding.figures["status"] == "block"
        yield dg.AssetCheckResult(
            passed=finding.passed,
            check_name=f"{name}_as_assumed",
            asset_key="assumption",
            severity=dg.AssetCheckSeverity.ERROR if is_fleet else dg.AssetCheckSeverity.WARN,
            description=finding.sentence,
            metadata=finding.figures,
        )


@dg.asset_check(asset="feature_vector", blocking=True)
def vectors_are_complete(context: dg.AssetCheckExecutionContext, project: Project) -> dg.AssetCheckResult:
    """One vector a vehicle in service, none with data from after its as-of."""
    with project.database() as conn:
        finding = inspect_vectors(conn, _window(context).end, project.policy(), project.feature_set())
    return dg.AssetCheckResult(passed=finding.passed, description=finding.sentence, metadata=finding.figures)


@dg.asset_check(asset="prediction", blocking=True)
def predictions_are_complete(context: dg.AssetCheckExecutionContext, project: Project) -> dg.AssetCheckResult:
    """Every vehicle with a vector has an answer for every component, and no score lacks a status."""
    with project.database() as conn:
        finding = inspect_predictions(
            conn, _window(context).end, project.policy(), project.rules(), project.feature_set()
        )
    return dg.AssetCheckResult(passed=finding.passed, description=finding.sentence, metadata=finding.figures)
