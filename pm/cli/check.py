"""`pm check`: what of the assumptions about the daily aggregates holds."""

import os
import sys
from datetime import UTC, datetime
from typing import Final

import click

from pm.asof import daily_as_ofs, midnight
from pm.cli.output import INSTANT, bars, json_option, print_json, print_table
from pm.errors import DataError
from pm.features.assumptions import FLEET
from pm.features.featurefile import feature_set_of
from pm.pipelines.assumptions import AssumptionsReport, check_daily
from pm.pipelines.dailies import refresh_dailies
from pm.pipelines.executor import open_executor
from pm.policy import load_policy
from pm.settings import read_settings
from pm.store import assumptions, vehicles
from pm.store.connection import Connection, database_url, open_database

_SHOWN: Final = 200


@click.command()
@click.option("--as-of", type=INSTANT, help="Instant of the decision.  [default: midnight UTC today]")
@click.option("--since", type=INSTANT, help="First daily as-of.  [default: --as-of]")
@click.option(
    "--workers", type=click.IntRange(1, 64), default=os.cpu_count() or 1, show_default=True, help="Processes."
)
@json_option
def check(as_of: datetime | None, since: datetime | None, workers: int, as_json: bool) -> None:
    """Check schema, units, ranges, counters, sampling, stuck, silent and null signals, and store what was found.

    The daily aggregates of dirty days are made again first.

    What is checked and what follows (off, mark, block) stands in [assumptions] of the policy. A vehicle that is
    blocked gets no score ("insufficient_data", with the reason); a blocked fleet stops features and scores.

    \b
    Exit codes: 0 nothing blocks · 2 configuration or usage · 3 something blocks · 4 database
    """
    settings = read_settings()
    policy = load_policy(settings.policy_file)
    configured = feature_set_of(settings, policy)
    last = as_of or midnight(datetime.now(UTC).date())
    as_ofs = daily_as_ofs(since or last, last)
    with open_database(settings) as conn, open_executor(workers) as executor:
        refresh_dailies(database_url(settings), ranges=configured.ranges_by_source, executor=executor, track=bars)
        reports = check_daily(conn, as_ofs, policy, checked_at=datetime.now(UTC), configured=configured, track=bars)
        if as_json:
            print_json({"reports": reports, "rows": _rows(conn, last)})
        else:
            _print(conn, reports[-1])
    _require_unblocked(reports)


def _rows(conn: Connection, as_of: datetime) -> list[dict[str, object]]:
    """The rows of one as-of with the vehicles' unit numbers; null for the whole fleet."""
    refs = vehicles.fetch_vehicles(conn).select("vehicle_id", "vehicle_ref")
    found = assumptions.fetch_assumptions(conn, as_of)
    return found.join(refs, on="vehicle_id", how="left", maintain_order="left").to_dicts()


def _print(conn: Connection, report: AssumptionsReport) -> None:
    rows = _rows(conn, report.as_of)
    fleet = [row for row in rows if row["vehicle_id"] == FLEET]
    others = [row for row in rows if row["vehicle_id"] != FLEET]
    compared = f"compared with profile {report.profile_id}" if report.profile_id else "there is no training profile yet"
    title = f"Daily aggregates at {report.as_of:%Y-%m-%d}; {compared}"
    print_table(
        title, ("check", "status", "what"), ((row["check_name"], row["status"], row["reason"]) for row in fleet)
    )
    if others:
        header = ("truck", "check", "signal", "status", "why")
        print_table(f"{len(others)} findings", header, (_line(row) for row in others[:_SHOWN]))
    if len(others) > _SHOWN:
        click.echo(f"{len(others) - _SHOWN} more with --json")


def _line(row: dict[str, object]) -> tuple[object, ...]:
    name = ".".join(str(part) for part in (row["message"], row["signal"]) if part)
    return (row["vehicle_ref"] or row["vehicle_id"], row["check_name"], name, row["status"], row["reason"])


def _require_unblocked(reports: tuple[AssumptionsReport, ...]) -> None:
    blocked = [report for report in reports if report.fleet_blocked or report.blocked_vehicles]
    if not blocked:
        return
    last = blocked[-1]
    n_vehicles = len(last.blocked_vehicles)
    who = (
        "the whole fleet is"
        if last.fleet_blocked
        else "1 vehicle is"
        if n_vehicles == 1
        else f"{n_vehicles} vehicles are"
    )
    why = last.fleet_blocked or next(iter(last.blocked_vehicles.values()))
    expected = "expected daily aggregates that can be used"
    click.echo(f"error: at {last.as_of.isoformat()}: {expected}, but {who} blocked: {why}", err=True)
    sys.exit(DataError.exit_code)
