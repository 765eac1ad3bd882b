"""`pm audit`: is a backtest's result too good, and what carries it?"""

import os
from concurrent.futures import Executor
from datetime import UTC, datetime

import click

from pm.backtest.audit_report import audit_rows
from pm.cli.output import bars, json_option, print_json, print_table
from pm.errors import LifecycleError
from pm.features.featurefile import feature_set_of
from pm.labels.failures import FailureRules, load_rules
from pm.pipelines.audit import AuditReport, audit_backtest
from pm.pipelines.executor import open_executor
from pm.policy import Policy, load_policy
from pm.settings import Settings, read_settings
from pm.store import artifacts
from pm.store.connection import Connection, open_database


@click.command()
@click.option("--backtest", "backtest_id", metavar="ID", help="Audit this stored backtest.  [default: the newest]")
@click.option("--quick", is_flag=True, help="One cutoff and fewer runs: every check, with wider intervals.")
@click.option(
    "--workers", type=click.IntRange(1, 64), default=os.cpu_count() or 1, show_default=True, help="Processes."
)
@json_option
def audit(backtest_id: str | None, quick: bool, workers: int, as_json: bool) -> None:
    """Look for leaks in a stored backtest: is its result too good, and which feature carries it?

    The same task is run again under a random row split, with labels shuffled, with older and newer
    features and on vehicles never seen; the vectors of sampled days are made again with everything that
    came later spoiled; features and the clocks of labels are looked at one by one. Thresholds stand in
    config/policy.toml under [audit], their reasons in docs/audit.md.

    Exit code 6 where a check failed. Where the policy says `required = true`, no model of a backtest is
    registered whose audit failed or is missing.
    """
    settings = read_settings()
    policy, rules = load_policy(settings.policy_file), load_rules(settings.failure_rules_file)
    with open_database(settings) as conn, open_executor(workers) as executor:
        report = run_and_print(
            conn, settings, rules, policy, backtest_id=backtest_id, quick=quick, executor=executor, as_json=as_json
        )
    require_passed(report)


def run_and_print(
    conn: Connection,
    settings: Settings,
    rules: FailureRules,
    policy: Policy,
    *,
    backtest_id: str | None = None,
    quick: bool = False,
    executor: Executor | None = None,
    as_json: bool = False,
) -> AuditReport:
    """Audit a stored backtest, store what was found and print it; `require_passed` turns it into an exit code."""
    report = run(conn, settings, rules, policy, backtest_id=backtest_id, quick=quick, executor=executor)
    if as_json:
        print_json({"audit_id": report.audit_id, "backtest_id": report.backtest_id, **_document(report)})
        return report
    for sentence in report.verdicts:
        click.echo(sentence)
    rows = audit_rows(report.result)
    print_table(
        f"Audit {report.audit_id}: {report.status}", ("component", "question", "status", "what was found"), rows
    )
    click.echo(f"report: {artifacts.path(settings.artifacts, report.report_sha256)}")
    return report


def run(
    conn: Connection,
    settings: Settings,
    rules: FailureRules,
    policy: Policy,
    *,
    backtest_id: str | None = None,
    quick: bool = False,
    executor: Executor | None = None,
) -> AuditReport:
    """Audit a stored backtest (None: the newest) and store what was found, with progress."""
    return audit_backtest(
        conn,
        rules,
        policy,
        artifact_folder=settings.artifacts,
        created_at=datetime.now(UTC),
        backtest_id=backtest_id,
        configured=feature_set_of(settings, policy),
        executor=executor,
        track=bars,
        quick=quick,
    )


def require_passed(report: AuditReport) -> None:
    """Return quietly unless a check failed.

    Raises:
        LifecycleError: one did.
    """
    if report.status == "fail":
        raise LifecycleError(f"backtest {report.backtest_id}: expected no leak, but got audit {report.audit_id} (fail)")


def _document(report: AuditReport) -> dict[str, object]:
    made = report.result.as_document()
    return {name: value for name, value in made.items() if name != "audit_id"}
