"""`pm features`: build feature vectors; list, show and choose feature sets."""

import os
from collections.abc import Iterable
from datetime import UTC, datetime

import click

from pm.asof import daily_as_ofs, midnight
from pm.cli.output import INSTANT, bars, json_option, print_json, print_table
from pm.errors import ConfigError
from pm.features.dictionary import FeatureDictionary, FeatureFacts
from pm.features.featurefile import feature_set_of
from pm.features.featureset import FeatureSet
from pm.labels.failures import load_rules
from pm.pipelines.assumptions import check_daily
from pm.pipelines.dailies import refresh_dailies
from pm.pipelines.executor import open_executor
from pm.pipelines.feature_dictionary import describe_features
from pm.pipelines.feature_sets import choose_set, find_set, set_in_use
from pm.pipelines.features import build_features
from pm.pipelines.labels import classify_work_orders
from pm.policy import Policy, load_policy
from pm.settings import read_settings
from pm.store import feature_sets
from pm.store.connection import Connection, database_url, open_database

_set_option = click.option("--set", "wanted", help="Id or name of a feature set.  [default: the one in use]")


@click.group(invoke_without_command=True)
@click.option("--as-of", type=INSTANT, help="Instant of the decision.  [default: midnight UTC today]")
@click.option("--since", type=INSTANT, help="First daily as-of.  [default: --as-of]")
@click.option(
    "--workers", type=click.IntRange(1, 64), default=os.cpu_count() or 1, show_default=True, help="Processes."
)
@_set_option
@click.option("--again", is_flag=True, help="Compute every feature, also those that stored vectors have.")
@json_option
@click.pass_context
def features(
    context: click.Context,
    as_of: datetime | None,
    since: datetime | None,
    workers: int,
    wanted: str | None,
    again: bool,
    as_json: bool,
) -> None:
    """Refresh the daily aggregates of dirty days and build the feature vectors of each as-of.

    Work orders are read by the failure rules first, as `pm labels` does: past failures are features.
    Features that stored vectors of any set have, made from the same inputs, are taken and not computed.

    \b
    pm features --since 2026-01-01 --as-of 2026-03-01
    pm features --set truck_wide        # a second set, side by side
    pm features use truck_wide          # the set in use from now on
    """
    if context.invoked_subcommand is not None:
        return
    settings = read_settings()
    policy = load_policy(settings.policy_file)
    configured = feature_set_of(settings, policy)
    last = as_of or midnight(datetime.now(UTC).date())
    as_ofs = daily_as_ofs(since or last, last)
    with open_database(settings) as conn, open_executor(workers) as executor:
        feature_set = _wanted(conn, wanted, policy, configured)
        daily = refresh_dailies(
            database_url(settings), ranges=configured.ranges_by_source, executor=executor, track=bars
        )
        classify_work_orders(conn, load_rules(settings.failure_rules_file))
        (checked,) = check_daily(conn, [last], policy, checked_at=datetime.now(UTC), configured=configured)
        report = build_features(conn, as_ofs, policy, feature_set=feature_set, again=again, track=bars)
    if as_json:
        print_json({"dailies": daily, "assumptions": checked, "features": report})
        return
    click.echo(f"{daily.n_vehicle_days} vehicle days aggregated into {daily.n_signal_rows} rows")
    said = f"{checked.n_marked} marked, {checked.n_blocked} blocked"
    click.echo(f"assumptions at {last:%Y-%m-%d}: {said}; `pm check` says what")
    click.echo(f"{report.n_vectors} vectors of set {report.feature_set_id}, {report.n_without_data} without data")
    click.echo(f"feature columns: {report.n_computed} computed, {report.n_taken} taken from stored vectors")


@features.command("list")
@json_option
def list_sets(as_json: bool) -> None:
    """List the feature sets: those that vectors are stored of, and which one is in use."""
    settings = read_settings()
    policy = load_policy(settings.policy_file)
    with open_database(settings) as conn:
        configured = feature_set_of(settings, policy)
        in_use = set_in_use(conn, policy, configured).feature_set_id
        found, choices = feature_sets.fetch_summaries(conn), feature_sets.fetch_choices(conn)
    if as_json:
        print_json({"in_use": in_use, "configured": configured.feature_set_id, "sets": found.to_dicts(),
                    "choices": choices.to_dicts()})  # fmt: skip
        return
    rows = (
        (row["feature_set_id"], "in use" if row["feature_set_id"] == in_use else "", row["n_features"],
         row["n_as_ofs"], _day(row["first_as_of"]), _day(row["last_as_of"]), row["n_vectors"])
        for row in found.iter_rows(named=True)
    )  # fmt: skip
    print_table("Feature sets", ("set", "", "features", "as-ofs", "first", "last", "vectors"), rows)
    if in_use not in found["feature_set_id"]:
        click.echo(f"in use: {in_use}, of which nothing is stored yet")
    chosen = ((row["choice_no"], row["feature_set_id"] or "configured", f"{row['chosen_at']:%Y-%m-%d %H:%M}",
               row["reason"]) for row in choices.iter_rows(named=True))  # fmt: skip
    if choices.height:
        print_table("Choices", ("no", "set", "chosen at", "reason"), chosen)


@features.command()
@click.argument("wanted", metavar="SET")
@click.option("--reason", default="chosen by hand", show_default=True, help="Why, kept with the choice.")
@json_option
def use(wanted: str, reason: str, as_json: bool) -> None:
    """Use the feature set SET from now on: an id, the name of a shipped one, or "configured".

    Nothing is deleted: going back is choosing the older set. Models go with the set that they were trained on, so
    backtest and train again after a change.
    """
    settings = read_settings()
    policy = load_policy(settings.policy_file)
    with open_database(settings) as conn:
        report = choose_set(
            conn, wanted, policy, configured=feature_set_of(settings, policy), chosen_at=datetime.now(UTC),
            reason=reason,
        )  # fmt: skip
    if as_json:
        print_json(report)
        return
    click.echo(f"in use: {report.feature_set_id} (before: {report.before})")


@features.command()
@click.argument("name", required=False)
@_set_option
@json_option
def show(name: str | None, wanted: str | None, as_json: bool) -> None:
    """Show what a feature is, what it is made from and how its values lie; without NAME every feature of the set.

    \b
    pm features show coolant_c_peers_7d
    pm features show --set truck_wide --json
    """
    settings = read_settings()
    policy = load_policy(settings.policy_file)
    with open_database(settings) as conn:
        feature_set = _wanted(conn, wanted, policy, feature_set_of(settings, policy))
        found = describe_features(conn, feature_set)
    if name is None:
        if as_json:
            print_json(found)
            return
        rows = ((one.name, one.unit, _percent(one.null_share), one.meaning) for one in found.features)
        print_table(_title(found), ("feature", "unit", "null", "meaning"), rows)
        return
    feature = found.find(name)
    if feature is None:
        raise ConfigError(f"feature set {found.feature_set_id}: expected one of its features, but got {name!r}")
    if as_json:
        print_json(feature)
        return
    print_table(f"{feature.name} of {found.feature_set_id}", ("", ""), _lines(feature, found))


def _wanted(conn: Connection, wanted: str | None, policy: Policy, configured: FeatureSet) -> FeatureSet:
    if wanted is None:
        return set_in_use(conn, policy, configured)
    return find_set(conn, wanted, policy, configured=configured)


def _lines(feature: FeatureFacts, found: FeatureDictionary) -> Iterable[tuple[str, str]]:
    yield "meaning", feature.meaning
    yield "unit", feature.unit
    yield "statistic", f"{feature.kind}{f' over {feature.over_d} d' if feature.over_d else ''}"
    for source in feature.sources:
        spn = "" if source.spn is None else f", SPN {source.spn}"
        yield "made from", f"{source.message}.{source.signal}{spn}" if source.message else f"table {source.signal}"
    yield (
        "null",
        f"{_percent(feature.null_share)} of {found.n_vectors} vectors, {_day(found.first_as_of)} to "
        + _day(found.last_as_of),
    )
    values = feature.distribution
    if values is not None:
        yield "least, greatest", f"{values.minimum:g} to {values.maximum:g}"
        yield "5 %, median, 95 %", f"{values.p05:g}, {values.median:g}, {values.p95:g}"


def _title(found: FeatureDictionary) -> str:
    return f"{len(found.features)} features of {found.feature_set_id}, over {found.n_vectors} vectors"


def _percent(share: float | None) -> str:
    return "not known" if share is None else f"{share:.1%}"


def _day(at: datetime | None) -> str:
    return "never" if at is None else f"{at:%Y-%m-%d}"
