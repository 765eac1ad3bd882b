"""`pm backtest`: history replayed, its report, and the same again bit for bit."""

import os
from concurrent.futures import Executor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from pm.cli.audit import require_passed
from pm.cli.audit import run as run_audit
from pm.cli.output import INSTANT, bars, json_option, print_json, print_table
from pm.cli.steps import today
from pm.errors import ModelError
from pm.features.featurefile import feature_set_of
from pm.labels.failures import FailureRules, load_rules
from pm.pipelines.audit import AuditReport
from pm.pipelines.backtest import BacktestReport, backtest_models, verify_backtest
from pm.pipelines.backtest_files import write_backtest
from pm.pipelines.executor import open_executor
from pm.policy import Policy, load_policy
from pm.settings import Settings, read_settings
from pm.store import artifacts
from pm.store.connection import Connection, open_database

_SHOWN = ("pr_auc", "roc_auc", "brier", "calibration_error", "alert_precision", "alert_recall", "saving")


@click.command()
@click.option("--as-of", type=INSTANT, help="Judge by what is known then.  [default: midnight UTC today]")
@click.option(
    "--workers", type=click.IntRange(1, 64), default=os.cpu_count() or 1, show_default=True, help="Processes."
)
@click.option(
    "--split-vehicles", is_flag=True, help="Test each truck with models that never saw it; four times the fits."
)
@click.option("--again", is_flag=True, help="Run every fold, also those that an earlier run finished.")
@click.option("--audit", is_flag=True, help="Look for leaks too: is the result too good, and which feature carries it?")
@click.option("--verify", metavar="ID", help="Run this stored backtest again and compare it bit for bit.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Also write the report, JSON and tables here."
)
@json_option
def backtest(
    as_of: datetime | None,
    workers: int,
    split_vehicles: bool,
    again: bool,
    audit: bool,
    verify: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Replay history with only what was known then, and write the report.

    At each cutoff every kind of model and simple rule is trained on labels that had matured by then,
    scores the days that follow, and is judged by what is known at --as-of. Cutoffs, embargo and costs
    stand in config/policy.toml. Each cutoff is stored when it is finished: run it again after a crash
    and it goes on there. With --audit the exit code is 6 where a check failed.

    \b
    pm backtest --out report/       the page, measures.json, CSV tables and the judged scores
    pm backtest --audit             leak alarms: other splits, shuffled labels, shifted time
    pm backtest --split-vehicles    does it hold for trucks that were never trained on?
    pm backtest --verify 1a2b3c     does a stored backtest come out again?
    """
    settings = read_settings()
    policy, rules = load_policy(settings.policy_file), load_rules(settings.failure_rules_file)
    if split_vehicles:
        policy = replace(policy, backtest=replace(policy.backtest, split_by_vehicle=True))
    with open_database(settings) as conn, open_executor(workers) as executor:
        if verify:
            _verify(conn, settings, rules, policy, verify, executor, as_json)
            return
        report = backtest_models(
            conn,
            rules,
            policy,
            known_until=today(as_of),
            artifact_folder=settings.artifacts,
            created_at=datetime.now(UTC),
            executor=executor,
            track=bars,
            configured=feature_set_of(settings, policy),
            again=again,
        )
        written = None if out is None else write_backtest(
            conn, report.backtest_id, out, artifact_folder=settings.artifacts
        )  # fmt: skip
        found = (
            run_audit(conn, settings, rules, policy, backtest_id=report.backtest_id, executor=executor)
            if audit
            else None
        )
    if as_json:
        print_json(report if found is None else {"backtest": report, "audit": found})
    else:
        _print(report, settings)
        if found:
            _print_audit(found, settings)
        if written:
            click.echo(f"files: {written.folder} ({', '.join(written.names)})")
    if found:
        require_passed(found)


def _print_audit(found: AuditReport, settings: Settings) -> None:
    click.secho(f"audit {found.audit_id}: {found.status}", bold=True)
    for verdict in found.verdicts:
        click.echo(f"  {verdict}")
    click.echo(f"audit report: {artifacts.path(settings.artifacts, found.report_sha256)}")


def _verify(
    conn: Connection,
    settings: Settings,
    rules: FailureRules,
    policy: Policy,
    backtest_id: str,
    executor: Executor,
    as_json: bool,
) -> None:
    found = verify_backtest(
        conn,
        rules,
        policy,
        backtest_id,
        artifact_folder=settings.artifacts,
        executor=executor,
        track=bars,
        configured=feature_set_of(settings, policy),
    )
    if as_json:
        print_json({"backtest_id": backtest_id, "same": found.same, "differences": found.differences})
    if not found.same:
        raise ModelError(f"backtest {backtest_id}: expected the same again, but got: {'; '.join(found.differences)}")
    if not as_json:
        click.echo(f"backtest {backtest_id}: the same again, bit for bit")


def _print(report: BacktestReport, settings: Settings) -> None:
    measures = report.measures
    click.secho(measures["first_line"], bold=True)
    rows = [
        (component.replace("_", " "), kind, *(_value(made["figures"].get(name)) for name in _SHOWN))
        for component, section in [*measures["components"].items(), ("all together", measures["pooled"])]
        for kind, made in section["kinds"].items()
    ]
    print_table(
        "Every kind on the same rows", ("component", "kind", *(name.replace("_", " ") for name in _SHOWN)), rows
    )
    for component, section in measures["components"].items():
        for kind, made in section["kinds"].items():
            if made["reason"]:
                click.echo(f"{component.replace('_', ' ')}, {kind}: not measured ({made['reason']})")
    kept = f", {report.n_folds_kept} of them from an earlier run" if report.n_folds_kept else ""
    click.echo(f"backtest {report.backtest_id}: {report.n_folds} folds{kept}")
    click.echo(f"report: {artifacts.path(settings.artifacts, report.report_sha256)}")


def _value(figure: dict[str, Any] | None) -> str:
    return "–" if figure is None or figure["value"] is None else f"{figure['value']:.3f}"
