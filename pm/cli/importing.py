"""`pm import`: telemetry, events, work orders and vehicles from files."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from pm.canbus.dbc import load_dbc
from pm.cli.import_rfms import rfms_command
from pm.cli.output import INSTANT, bars, json_option, print_json, print_table
from pm.errors import DataError
from pm.pipelines.imports.events import import_events
from pm.pipelines.imports.mapping import plain_mapping
from pm.pipelines.imports.mapping_file import load_mapping
from pm.pipelines.imports.reading import ImportReport
from pm.pipelines.imports.telemetry import import_telemetry
from pm.pipelines.imports.vehicles import import_mapped_vehicles
from pm.pipelines.imports.work_orders import import_mapped_work_orders
from pm.policy import load_policy
from pm.settings import read_settings
from pm.store.connection import open_database

SHOWN_ROWS: Final = 50
"""Refused rows that a report shows; `pm.rejected_row` keeps 10,000 a file."""


@click.group("import")
def import_group() -> None:
    """Import telemetry, events, work orders and vehicles from files.

    CSV, Parquet and JSON lines, found by the suffix (.csv, .parquet, .jsonl) or said by the mapping, a TOML
    file that names the columns, their units, the time zone, the event time and the knowledge time
    (docs/importing.md; ready ones in examples/).

    A file is one transaction and is stored once: the same file by the same mapping again changes nothing.
    A bad header or mapping refuses the file; a bad row is set aside with its reason, the others go on.

    \b
    Exit codes: 0 stored, or stored before; refused rows are counted on standard error
    · 2 the mapping cannot be used · 3 the file cannot be used, or every row was refused
    · 4 database
    """


_file = click.argument("file", type=click.Path(path_type=Path))
_mapping = click.option(
    "--mapping", required=True, type=click.Path(path_type=Path), help="TOML file that maps columns."
)
_own_columns = click.option(
    "--mapping", type=click.Path(path_type=Path), help="TOML file that maps columns.  [default: columns named as below]"
)
_known_at = click.option(
    "--known-at",
    type=INSTANT,
    help="When rows that do not say it became known; none may be known later.  [default: now]",
)


@import_group.command()
@_file
@_mapping
@click.option(
    "--dbc", multiple=True, type=click.Path(path_type=Path), help="DBC file; repeatable.  [default: dbc/*.dbc]"
)
@_known_at
@json_option
def telemetry(file: Path, mapping: Path, dbc: tuple[Path, ...], known_at: datetime | None, as_json: bool) -> None:
    """Add the decoded signals of FILE.

    The mapping has sections [vehicle], [time] and [signals.MESSAGE]; optional [source], [known_at], [bus] and
    [where]. A MESSAGE of the DBC files has its signals, units and SPNs from there, and values are converted;
    any other is made from the mapping. A value outside its limits is no value.
    """
    settings = read_settings()
    plan = load_mapping(mapping, "telemetry")
    database, policy = load_dbc(dbc or settings.dbc_files), load_policy(settings.policy_file)
    with open_database(settings) as conn:
        report = import_telemetry(
            conn, file, plan, database=database, policy=policy, imported_at=_instant(known_at), track=bars
        )
    _end(report, as_json=as_json)


@import_group.command()
@_file
@_mapping
@_known_at
@json_option
def events(file: Path, mapping: Path, known_at: datetime | None, as_json: bool) -> None:
    """Add the events or trouble codes of FILE.

    The mapping has sections [vehicle], [time] and either [event] (kind, code; optional severity, value) or
    [fault] (spn, fmi; optional occurrence_count, lamps and the like); optional [source], [known_at] and [where].
    """
    settings = read_settings()
    plan, policy = load_mapping(mapping, "events"), load_policy(settings.policy_file)
    with open_database(settings) as conn:
        report = import_events(conn, file, plan, policy=policy, imported_at=_instant(known_at), track=bars)
    _end(report, as_json=as_json)


@import_group.command("work-orders")
@_file
@_own_columns
@_known_at
@json_option
def work_orders_command(file: Path, mapping: Path | None, known_at: datetime | None, as_json: bool) -> None:
    """Add the work order lines of FILE, every version by the instant it was recorded.

    \b
    Columns without a mapping: source_system, work_order_id, line_no, vehicle_ref, opened_at,
    description; optional fleet, recorded_at (the knowledge time; without it the import's instant,
    never completed_at), completed_at, reported_at, out_of_service_at, returned_to_service_at,
    planned, roadside, odometer_km, engine_h, reason_for_repair, work_accomplished,
    failure_code, vmrs, withdrawn.

    The same columns, but recorded_at (section [known_at]) and the vehicle's ([vehicle]), are the keys of the
    mapping's section [work_order].
    """
    plan = plain_mapping("work-orders") if mapping is None else load_mapping(mapping, "work-orders")
    with open_database(read_settings()) as conn:
        report = import_mapped_work_orders(conn, file, plan, imported_at=_instant(known_at), track=bars)
    _end(report, as_json=as_json)


@import_group.command("vehicles")
@_file
@_own_columns
@_known_at
@json_option
def vehicles_command(file: Path, mapping: Path | None, known_at: datetime | None, as_json: bool) -> None:
    """Add the vehicles of FILE; what it says of one that is there is written over what is stored.

    \b
    Columns without a mapping: fleet, vehicle_ref; optional model, model_year, duty,
    in_service_at, left_at, vin.

    The same columns are the keys of the mapping's section [vehicle]. Rows of one vehicle are put together: the
    earliest in_service_at, the latest left_at, of the others the last value.
    """
    plan = plain_mapping("vehicles") if mapping is None else load_mapping(mapping, "vehicles")
    with open_database(read_settings()) as conn:
        report = import_mapped_vehicles(conn, file, plan, imported_at=_instant(known_at), track=bars)
    _end(report, as_json=as_json)


import_group.add_command(rfms_command)


def _instant(known_at: datetime | None) -> datetime:
    return known_at or datetime.now(UTC)


def _end(report: ImportReport, *, as_json: bool) -> None:
    """Print the report and leave with its exit code."""
    shown = report.rejected[:SHOWN_ROWS]
    if as_json:
        print_json({**vars(report), "rejected": shown})
    else:
        _print(report)
    for note in report.notes:
        click.echo(f"note: {note}", err=True)
    if report.n_rejected:
        click.echo(f"refused: {report.n_rejected} of {report.n_rows} rows of {report.path.name}", err=True)
    if report.n_rejected and not report.n_stored and not report.n_repeated:
        sys.exit(DataError.exit_code)


def _print(report: ImportReport) -> None:
    result = "was there" if report.was_there and not report.n_stored else "stored"
    counts = (report.n_rows, report.n_stored, report.n_repeated, report.n_left_out, report.n_rejected)
    header = ("file", "result", "rows", "stored", "repeated", "left out", "refused", "seconds")
    row = (report.path.name, result, *counts, round(report.seconds, 2))
    print_table(f"Imported {report.kind}", header, [row])
    if report.rejected:
        print_table("Refused, by reason", ("reason", "rows"), report.reasons.items())
        rows = ((row.line, row.reason) for row in report.rejected[:SHOWN_ROWS])
        print_table(f"The first of {report.n_rejected} refused rows", ("line", "reason"), rows)
