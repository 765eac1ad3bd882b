"""`pm vehicle`: the vehicles that logs and work orders belong to."""

from datetime import UTC, datetime

import click

from pm.cli.output import INSTANT, json_option, print_json, print_table
from pm.settings import read_settings
from pm.store import vehicles
from pm.store.connection import open_database


@click.group()
def vehicle() -> None:
    """Add and list vehicles."""


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
