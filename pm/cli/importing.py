"""`pm import`: vehicles and work orders from CSV files."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from pm.cli.output import INSTANT, json_option, print_json, print_table
from pm.pipelines.import_vehicles import import_vehicles
from pm.pipelines.import_work_orders import import_work_orders
from pm.pipelines.tabular import RejectedRow
from pm.settings import read_settings
from pm.store.connection import open_database


@click.group("import")
def import_group() -> None:
    """Import vehicles and work orders from CSV files."""


_file = click.argument("file", type=click.Path(path_type=Path))
_known_at = click.option("--known-at", type=INSTANT, help="When the file became known.  [default: now]")


@import_group.command("vehicles")
@_file
@_known_at
@json_option
def vehicles_command(file: Path, known_at: datetime | None, as_json: bool) -> None:
    """Add the vehicles of FILE.

    Columns: fleet, vehicle_ref; optional model, model_year, duty, in_service_at, left_at, vin.
    """
    with open_database(read_settings()) as conn:
        report = import_vehicles(conn, file, known_at=known_at or datetime.now(UTC))
    if as_json:
        print_json(report)
        return
    click.echo(f"{report.n_vehicles} vehicles")
    _print_rejected(report.rejected)


@import_group.command("work-orders")
@_file
@_known_at
@json_option
def work_orders_command(file: Path, known_at: datetime | None, as_json: bool) -> None:
    """Add the work order lines of FILE, every version by the instant it was recorded.

    Columns: source_system, work_order_id, line_no, vehicle_ref, opened_at, description; optional
    recorded_at (the knowledge time) and those of docs/glossary.md.
    """
    with open_database(read_settings()) as conn:
        report = import_work_orders(conn, file, imported_at=known_at or datetime.now(UTC))
    if as_json:
        print_json(report)
        return
    click.echo(f"{report.n_versions} versions of work order lines, {report.n_new} new")
    _print_rejected(report.rejected)


def _print_rejected(rejected: Sequence[RejectedRow]) -> None:
    if rejected:
        print_table(
            f"Refused rows: {len(rejected)}", ("line", "reason"), ((row.line, row.reason) for row in rejected[:50])
        )
