"""`pm train | score`: one step of the path each, by hand."""

from datetime import UTC, datetime

import click

from pm.cli.output import INSTANT, bars, json_option, print_json, print_table
from pm.features.featurefile import feature_set_of
from pm.labels.failures import load_rules
from pm.pipelines.score import score_fleet
from pm.pipelines.train import train_models
from pm.policy import load_policy
from pm.settings import read_settings
from pm.store.connection import open_database

_as_of = click.option("--as-of", type=INSTANT, help="Instant of the decision.  [default: midnight UTC today]")


def today(instant: datetime | None) -> datetime:
    """The given instant, or midnight UTC of this day."""
    return instant or datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


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
            configured=feature_set_of(settings, policy),
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
    policy = load_policy(settings.policy_file)
    with open_database(settings) as conn:
        report = score_fleet(
            conn,
            today(as_of),
            policy,
            artifact_folder=settings.artifacts,
            scored_at=datetime.now(UTC),
            configured=feature_set_of(settings, policy),
        )
    if as_json:
        print_json(report)
        return
    click.echo(f"{report.n_predictions} predictions at {report.as_of:%Y-%m-%d}, {report.n_alerts} alerts")
    print_table("By status", ("status", "predictions"), report.n_by_status.items())
