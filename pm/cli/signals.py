"""`pm signals`: the dictionary of decoded signals."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click

from pm.cli.output import json_option, print_json, print_table
from pm.settings import read_settings
from pm.store import dictionary
from pm.store.connection import open_database

_HEADER = ("message", "signal", "readable column", "SPN", "range", "seen", "values", "null", "description")


@click.command()
@click.argument("text", nargs=-1)
@click.option("--message", help="Only this message of the DBC, for instance EEC1.")
@json_option
def signals(text: tuple[str, ...], message: str | None, as_json: bool) -> None:
    """Show what logs are decoded into: each signal, where it stands, and how much of it was seen.

    The readable column is in schema `readable` (docs/grafana.md); the JSON says more than the table.

    With TEXT only signals that have every word of it in their names, unit or description, or as PGN or
    SPN with its number; letter case does not matter.

    \b
    pm signals coolant temp
    pm signals SPN 110
    pm signals --message EEC1 --json
    """
    with open_database(read_settings()) as conn:
        found = dictionary.fetch_dictionary(conn, text=" ".join(text), message=message)
    if as_json:
        print_json(found.to_dicts())
        return
    title = f"{found.height} signal{'' if found.height == 1 else 's'}"
    print_table(title, _HEADER, (_row(row) for row in found.iter_rows(named=True)))


def _row(row: Mapping[str, Any]) -> tuple[object, ...]:
    place = f"{row['readable_view']}.{row['readable_column']}" if row["readable_column"] else "not shown: a VIN"
    null = None if row["null_share"] is None else f"{row['null_share']:.1%}"
    numbers = (row["n_values"], null)
    return (row["message"], row["signal"], place, row["spn"], _range(row), _seen(row), *numbers, row["description"])


def _range(row: Mapping[str, Any]) -> str:
    if row["minimum"] is None or row["maximum"] is None:
        return str(row["unit"])
    return f"{row['minimum']:g} to {row['maximum']:g} {row['unit']}".strip()


def _seen(row: Mapping[str, Any]) -> str:
    first: datetime | None = row["first_seen_at"]
    return "never" if first is None else f"{first:%Y-%m-%d} to {row['last_seen_at']:%Y-%m-%d}"
