"""`pm labels`: failures and label states; why an order was read so; how late failures are recorded."""

from datetime import datetime
from pathlib import Path

import click

from pm.cli.output import INSTANT, json_option, print_json, print_table
from pm.cli.steps import today
from pm.errors import DataError
from pm.labels.explain import VersionExplanation
from pm.labels.failures import load_rules
from pm.labels.lag_plot import describe, lag_chart, lag_page
from pm.pipelines.explain_order import explain_order
from pm.pipelines.labels import classify_work_orders, update_labels
from pm.pipelines.reporting_lag import reporting_lag
from pm.policy import load_policy
from pm.settings import read_settings
from pm.store import feature_vectors
from pm.store.connection import open_database

_as_of = click.option("--as-of", type=INSTANT, help="What is known at this instant.  [default: midnight UTC today]")


@click.group(invoke_without_command=True)
@_as_of
@json_option
@click.pass_context
def labels(ctx: click.Context, as_of: datetime | None, as_json: bool) -> None:
    """Classify work orders by the failure rules and append the label states that changed.

    The rules are config/failure_rules.toml, horizon and lag stand in config/policy.toml. Labels are made
    for every as-of that has feature vectors. Running it again changes nothing.

    \b
    pm labels                        bring failures and labels up to date
    pm labels explain WO-1234        which entry of the rules decided, for every version of the order
    pm labels lag --plot lag.html    how late failures are recorded
    """
    if ctx.invoked_subcommand is not None:
        return
    settings = read_settings()
    policy, rules = load_policy(settings.policy_file), load_rules(settings.failure_rules_file)
    known_at = today(as_of)
    with open_database(settings) as conn:
        failures = classify_work_orders(conn, rules)
        as_ofs = feature_vectors.fetch_as_ofs(conn, until=known_at)
        report = update_labels(conn, as_ofs, rules, policy, known_at=known_at)
    if as_json:
        print_json({"failures": failures, "labels": report})
        return
    print_table("Work order lines, by kind", ("kind", "versions"), failures.n_by_kind.items())
    print_table("Failures, by component", ("component", "versions"), failures.n_failures_by_component.items())
    print_table(f"Labels known at {known_at:%Y-%m-%d}", ("state", "labels"), report.n_by_state.items())
    click.echo(f"reporting lag {report.lag_d:.2f} days ({report.lag_source}); {report.n_changed} labels changed")
    click.echo(f"failures are recorded {report.recorded} and dated {report.dated}")


@labels.command("explain")
@click.argument("work_order_id")
@click.option("--source-system", help="The shop system, where two use the number.")
@json_option
def explain_command(work_order_id: str, source_system: str | None, as_json: bool) -> None:
    """Show how each version of WORK_ORDER_ID is read, and which entry of the failure rules decided."""
    settings = read_settings()
    rules = load_rules(settings.failure_rules_file)
    with open_database(settings) as conn:
        found = explain_order(conn, rules, work_order_id, source_system=source_system)
    if as_json:
        print_json(found)
        return
    click.echo(f"work order {found.work_order_id} of {', '.join(found.vehicle_refs)}, by {settings.failure_rules_file}")
    header = ("line", "known at", "until", "read as", "component", "decided by", "failed at", "description")
    print_table("Versions", header, (_row(version) for version in found.versions))


def _row(version: VersionExplanation) -> tuple[object, ...]:
    component, kind = version.component, version.kind
    decided = f"component: {_said(component.rule, component.matched_text)}; kind: "
    decided += "withdrawn by the shop" if version.withdrawn else _said(kind.rule, kind.matched_text)
    failed_at = f"{version.failed_at:%Y-%m-%d %H:%M} ({version.failed_at_from})"
    until = None if version.held_until is None else f"{version.held_until:%Y-%m-%d %H:%M}"
    known_at = f"{version.known_at:%Y-%m-%d %H:%M}"
    return (
        version.line_no, known_at, until, version.read_as, component.outcome, decided, failed_at, version.description
    )  # fmt: skip


def _said(rule: str, matched_text: str | None) -> str:
    return rule if matched_text is None else f"{rule} ({matched_text!r})"


@labels.command("lag")
@_as_of
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write the chart: .html or .svg.")
@json_option
def lag_command(as_of: datetime | None, plot: Path | None, as_json: bool) -> None:
    """Show how many days pass from a failure to its record, with and without reports that are not in yet.

    Reads the failures of the last `pm labels`. A label becomes negative only when horizon and lag are
    over, and the bookings due then.
    """
    settings = read_settings()
    known_at = today(as_of)
    with open_database(settings) as conn:
        curve = reporting_lag(conn, load_policy(settings.policy_file), known_at=known_at)
    if plot is not None:
        _write(plot, lag_chart(curve) if plot.suffix == ".svg" else lag_page(curve))
    if as_json:
        print_json(curve)
        return
    click.echo(describe(curve.estimate))
    plain = "none" if curve.plain_quantile_d is None else f"{curve.plain_quantile_d:.2f} days"
    click.echo(f"without correction the {curve.lag_quantile:.0%} quantile would be {plain}")
    if plot is not None:
        click.echo(f"chart: {plot}")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as reason:
        raise DataError(f"--plot {path}: expected a file that can be written, but got: {reason}") from None
