"""`pm vehicle`: the vehicles that logs and work orders belong to."""

from datetime import UTC, datetime

import click

from pm.cli.output import INSTANT, bars, json_option, print_json, print_table
from pm.pipelines.forget import ForgetReport, forget_vehicle
from pm.settings import read_settings
from pm.store import vehicles
from pm.store.connection import open_database


@click.group()
def vehicle() -> None:
    """Add, list and forget vehicles."""


@vehicle.command()
@click.argument("vehicle_ref")
@click.option("--fleet", default="default", show_default=True, help="Owner of the vehicle.")
@click.option("--model", help="Truck model; peers are compared within it.")
@click.option("--model-year", type=click.IntRange(1950, 2100), help="Year of the model.")
@click.option("--duty", type=click.Choice(["long_haul", "regional", "urban"]), help="What it is used for.")
@click.option("--in-service-at", type=INSTANT, help="First day in the fleet.")
@click.option("--vin", help="Kept in the identity table only.")
def add(
    vehicle_ref: str,
    fleet: str,
    model: str | None,
    model_year: int | None,
    duty: str | None,
    in_service_at: datetime | None,
    vin: str | None,
) -> None:
    """Add VEHICLE_REF (the unit number) and print its random vehicle id; adding it again changes nothing."""
    with open_database(read_settings()) as conn, conn.transaction():
        vehicle_id = vehicles.add_vehicle(
            conn,
            fleet=fleet,
            vehicle_ref=vehicle_ref,
            known_at=datetime.now(UTC),
            model=model,
            model_year=model_year,
            duty=duty,
            in_service_at=in_service_at,
            vin=vin,
        )
    click.echo(vehicle_id)


@vehicle.command("list")
@json_option
def list_vehicles(as_json: bool) -> None:
    """List the vehicles."""
    with open_database(read_settings()) as conn:
        frame = vehicles.fetch_vehicles(conn)
    if as_json:
        print_json(frame.to_dicts())
    else:
        shown = frame.select("vehicle_id", "fleet", "vehicle_ref", "model", "model_year", "duty", "left_at")
        print_table("Vehicles", shown.columns, shown.sort("fleet", "vehicle_ref").iter_rows())


@vehicle.command()
@click.argument("vehicle_ref")
@click.option("--fleet", help="Needed where two fleets have the same unit number.")
@click.option("--dry-run", is_flag=True, help="Only say what would be erased.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def forget(vehicle_ref: str, fleet: str | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Erase everything of VEHICLE_REF (the unit number); it cannot be taken back.

    Its identity, telemetry, trouble codes, events, daily aggregates, feature vectors, labels,
    predictions, failures, work orders and log files, refused ones too; its raw files in the archive,
    unless another vehicle's rows name the same bytes; its files in the inbox.

    What stays: models that were trained on its data (they hold no rows of it), backtest reports made
    before, which name trucks by their unit number, and dumps and backups made before. The server
    overwrites the space of deleted rows at its next VACUUM.
    """
    settings = read_settings()
    with open_database(settings) as conn:
        vehicle_id = vehicles.vehicle_id(conn, vehicle_ref, fleet)
        if dry_run or not yes:
            planned = forget_vehicle(conn, settings, vehicle_id, dry_run=True, track=bars)
            if dry_run:
                _show_forgotten(planned, as_json=as_json)
                return
            # On standard error, so that --json prints one document.
            click.echo(_plan(planned), err=True)
            click.confirm("Erase all of it?", abort=True, err=True)
        _show_forgotten(forget_vehicle(conn, settings, vehicle_id, track=bars), as_json=as_json)


def _plan(report: ForgetReport) -> str:
    n_rows = sum(report.n_rows.values())
    return (
        f"{report.fleet} {report.vehicle_ref}: {n_rows:,} rows in {len(report.n_rows)} tables, "
        f"{report.n_raw_files} raw files, {report.n_inbox_files} files in the inbox"
    )


def _show_forgotten(report: ForgetReport, *, as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    title = "Would be erased" if report.is_dry_run else "Erased"
    rows = [
        *report.n_rows.items(),
        ("raw files in the archive", report.n_raw_files),
        ("files in the inbox", report.n_inbox_files),
    ]
    print_table(f"{title} of {report.fleet} {report.vehicle_ref}", ("what", "number"), rows)
    if report.n_raw_kept:
        click.echo(f"{report.n_raw_kept} raw files stay: rows of another vehicle name the same bytes")
    if report.is_inbox_kept:
        click.echo("its folder in the inbox stays: a vehicle of another fleet has the same unit number")
