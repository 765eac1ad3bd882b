"""`pm features | labels | backtest | train | score`: one step of the path each, by hand."""

import os
from datetime import UTC, datetime

import click

from pm.asof import daily_as_ofs
from pm.cli.output import INSTANT, bars, json_option, print_json, print_table
from pm.labels.failures import load_rules
from pm.pipelines.backtest import backtest_models
from pm.pipelines.dailies import refresh_dailies
from pm.pipelines.executor import open_executor
from pm.pipelines.features import build_features
from pm.pipelines.labels import classify_work_orders, update_labels
from pm.pipelines.score import score_fleet
from pm.pipelines.train import train_models
from pm.policy import load_policy
from pm.settings import read_settings
from pm.store import artifacts, feature_vectors
from pm.store.connection import database_url, open_database

_as_of = click.option("--as-of", type=INSTANT, help="Instant of the decision.  [default: midnight UTC today]")
_since = click.option("--since", type=INSTANT, help="First daily as-of.  [default: --as-of]")
_workers = click.option(
    "--workers", type=click.IntRange(1, 64), default=os.cpu_count() or 1, show_default=True, help="Processes."
)


def today(instant: datetime | None) -> datetime:
    """The given instant, or midnight UTC of this day."""
    return instant or datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@click.command()
@_as_of
@_since
@_workers
@json_option
def features(as_of: datetime | None, since: datetime | None, workers: int, as_json: bool) -> None:
    """Refresh the daily aggregates of dirty days and build the feature vectors of each as-of."""
    settings = read_settings()
    last = today(as_of)
    with open_database(settings) as conn, open_executor(workers) as executor:
        daily = refresh_dailies(database_url(settings), executor=executor, track=bars)
        report = build_features(conn, daily_as_ofs(since or last, last), load_policy(settings.policy_file), track=bars)
    if as_json:
        print_json({"dailies": daily, "features": report})
        return
    click.echo(f"{daily.n_vehicle_days} vehicle days aggregated into {daily.n_signal_rows} rows")
    click.echo(f"{report.n_vectors} vectors of set {report.feature_set_id}, {report.n_without_data} without data")


@click.command()
@_as_of
@json_option
def labels(as_of: datetime | None, as_json: bool) -> None:
    """Classify work orders by config/failure_rules.toml and append the label states that changed."""
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
    print_table(f"Labels known at {known_at:%Y-%m-%d}", ("state", "labels"), report.n_by_state.items())
    click.echo(f"reporting lag {report.lag_d:.1f} days ({report.lag_source}); {report.n_changed} labels changed")


@click.command()
@_as_of
@_workers
@json_option
def backtest(as_of: datetime | None, workers: int, as_json: bool) -> None:
    """Replay history up to --as-of with only what was known then, and write the HTML report."""
    settings = read_settings()
    policy, rules = load_policy(settings.policy_file), load_rules(settings.failure_rules_file)
    with open_database(settings) as conn, open_executor(workers) as executor:
        report = backtest_models(
            conn,
            rules,
            policy,
            known_until=today(as_of),
            artifact_folder=settings.artifacts,
            created_at=datetime.now(UTC),
            executor=executor,
            track=bars,
        )
    if as_json:
        print_json(report)
        return
    click.echo(f"backtest {report.backtest_id}: {report.n_folds} folds")
    click.echo(f"report: {artifacts.path(settings.artifacts, report.report_sha256)}")


@click.command()
@_as_of
@json_option
def train(as_of: datetime | None, as_json: bool) -> None:
    """Train on labels matured by --as-of; the latest backtest decides which kind serves."""
    settings = read_settings()
    policy, rules = load_policy(settings.policy_file), load_rules(settings.failure_rules_file)
    with open_database(settings) as conn:
        report = train_models(
            conn,
            rules,
            policy,
            cutoff=today(as_of),
            artifact_folder=settings.artifacts,
            created_at=datetime.now(UTC),
            track=bars,
        )
    if as_json:
        print_json(report)
        return
    rows = ((made.component, made.kind, made.model_id, made.reason) for made in report.components)
    print_table("Serving", ("component", "kind", "model", "why"), rows)


@click.command()
@_as_of
@json_option
def score(as_of: datetime | None, as_json: bool) -> None:
    """Score every vehicle and component at --as-of; needs the vectors of that as-of."""
    settings = read_settings()
    with open_database(settings) as conn:
        report = score_fleet(
            conn,
            today(as_of),
            load_policy(settings.policy_file),
            artifact_folder=settings.artifacts,
            scored_at=datetime.now(UTC),
        )
    if as_json:
        print_json(report)
        return
    click.echo(f"{report.n_predictions} predictions at {report.as_of:%Y-%m-%d}, {report.n_alerts} alerts")
    print_table("By status", ("status", "predictions"), report.n_by_status.items())
