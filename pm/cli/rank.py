"""`pm rank`: the latest ranked fleet, as the fleet manager sees it on Monday."""

import json

import click
import polars as pl

from pm.cli.output import json_option, print_json, print_table
from pm.errors import DataError
from pm.settings import Settings, read_settings
from pm.store import predictions, vehicles
from pm.store.connection import open_database


@click.command()
@click.option("--top", type=click.IntRange(1, 500), default=15, show_default=True, help="How many lines.")
@json_option
def rank(top: int, as_json: bool) -> None:
    """Show the vehicles and components most likely to fail within the horizon."""
    print_ranking(read_settings(), top, as_json=as_json)


def print_ranking(settings: Settings, top: int, *, as_json: bool = False) -> None:
    """Print the top of the latest batch of predictions."""
    with open_database(settings) as conn:
        found = predictions.fetch_latest(conn)
        known = vehicles.fetch_vehicles(conn).select("vehicle_id", "vehicle_ref", "model")
    if found.is_empty():
        raise DataError("expected predictions, but got none: run `pm score` first")
    ranked = found.join(known, on="vehicle_id").filter(pl.col("position").is_not_null()).sort("position").head(top)
    if as_json:
        print_json(ranked.to_dicts())
        return
    as_of = found["as_of"][0]
    header = ("#", "truck", "model", "component", "p(fail)", "alert", "status", "why")
    print_table(f"Ranked fleet as of {as_of:%Y-%m-%d}", header, (_row(row) for row in ranked.iter_rows(named=True)))
    unranked = found.filter(pl.col("position").is_null())["vehicle_id"].n_unique()
    if unranked:
        click.echo(f"{unranked} vehicles have no score: insufficient data")


def _row(row: dict[str, object]) -> tuple[object, ...]:
    reasons = json.loads(str(row["reasons_json"]))
    why = reasons[0]["sentence"] if reasons else ""
    probability = f"{row['p_failure']:.2f}"
    alert = "ALERT" if row["alert"] else ""
    return (row["position"], row["vehicle_ref"], row["model"], row["component"], probability, alert, row["status"], why)
