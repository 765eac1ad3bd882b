"""`pm import rfms`: vehicles and vehicle statuses of rFMS 4.0, from saved responses or from a server."""

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from pm.canbus.dbc import load_dbc
from pm.cli.output import INSTANT, bars, json_option, print_json, print_table
from pm.errors import ConfigError
from pm.pipelines.ingest import driver_secret
from pm.pipelines.rfms.auth import SCHEMES, make_scheme
from pm.pipelines.rfms.client import RfmsClient
from pm.pipelines.rfms.files import import_rfms_files
from pm.pipelines.rfms.fleet import Fleet
from pm.pipelines.rfms.mapping import load_mapping
from pm.pipelines.rfms.poll import CONTENTS, Poll, poll_rfms
from pm.pipelines.rfms.store import RfmsImport, RfmsReport
from pm.policy import load_policy
from pm.settings import read_settings
from pm.store.connection import open_database

FIRST_POLL_D = 14
_LARGEST_SECRET_BYTES = 64 * 1024


@click.command("rfms")
@click.argument("source")
@click.option("--fleet", default="default", show_default=True, help="Fleet that vehicles not known yet belong to.")
@click.option("--mapping", type=click.Path(path_type=Path), help="[default: examples/rfms/mapping.toml]")
@click.option("--auth", default="bearer", show_default=True, help=f"{', '.join(SCHEMES)}, or module:function.")
@click.option("--secret-file", type=click.Path(path_type=Path), help="File with the token, password or client secret.")
@click.option("--secret-variable", metavar="NAME", help="Environment variable with it.")
@click.option("--user", help="User (basic) or client id (client-credentials).")
@click.option("--token-address", help="Token server (client-credentials).")
@click.option("--since", type=INSTANT, help=f"Where the first poll begins.  [default: {FIRST_POLL_D} days ago]")
@click.option("--again", is_flag=True, help="Begin at --since, whatever was read before.")
@click.option(
    "--overlap", type=click.IntRange(0), default=600, show_default=True, help="Seconds a poll begins before its cursor."
)
@click.option("--content", "contents", multiple=True, type=click.Choice(CONTENTS), help="Repeatable.  [default: all]")
@click.option("--latest", is_flag=True, help="The last record of each vehicle only.")
@json_option
def rfms_command(
    source: str,
    fleet: str,
    mapping: Path | None,
    auth: str,
    secret_file: Path | None,
    secret_variable: str | None,
    user: str | None,
    token_address: str | None,
    since: datetime | None,
    again: bool,
    overlap: int,
    contents: tuple[str, ...],
    latest: bool,
    as_json: bool,
) -> None:
    """Store the vehicles and vehicle statuses of SOURCE.

    SOURCE is a JSON file with one rFMS 4.0 response, a folder of them, or the https address of a server
    up to and without /vehicles: then its pages are followed, and the next time it goes on from there.
    What is stored already changes nothing.

    A file of a folder that cannot be used is refused with its reason and the others go on; then the exit
    code is that of the first refusal. Records that cannot be stored are counted with their reason.
    """
    settings = read_settings()
    database = load_dbc(settings.dbc_files)
    path = mapping or settings.project / "examples" / "rfms" / "mapping.toml"
    policy = load_policy(settings.policy_file)
    using = RfmsImport(load_mapping(path, database), policy, Fleet(fleet), driver_secret(settings, policy))
    if "://" not in source:
        with open_database(settings) as conn:
            report = import_rfms_files(conn, Path(source), using, now=_now, track=bars)
    else:
        secret = _secret(secret_file, secret_variable)
        scheme = make_scheme(auth, address=source, user=user, secret=secret, token_address=token_address)
        poll = Poll(
            since or _now() - timedelta(days=FIRST_POLL_D),
            timedelta(seconds=overlap),
            contents or CONTENTS,
            latest,
            again,
        )
        with RfmsClient(source, scheme) as client, open_database(settings) as conn:
            report = poll_rfms(conn, client, poll, using, now=_now, say=_say)
    _print(report, as_json=as_json)
    sys.exit(report.refused[0].exit_code if report.refused else 0)


def _now() -> datetime:
    return datetime.now(UTC)


def _say(text: str) -> None:
    click.echo(f"  {text}", err=True)


def _secret(file: Path | None, variable: str | None) -> str | None:
    if file is not None and variable is not None:
        raise ConfigError("secret: expected a file or a variable, but got both")
    if variable is not None:
        return os.environ.get(variable, "").strip() or None
    if file is None:
        return None
    try:
        with file.open("rb") as opened:
            return opened.read(_LARGEST_SECRET_BYTES).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as reason:
        said = reason.strerror if isinstance(reason, OSError) else "no UTF-8 text"
        raise ConfigError(f"{file}: expected a readable secret, but got: {said}") from None


def _print(report: RfmsReport, *, as_json: bool) -> None:
    if as_json:
        print_json(report)
    else:
        counts = (report.n_records, report.n_new, report.n_rejected, report.n_rows)
        names = ("responses", "vehicles", "new vehicles", "records", "new records", "refused records", "rows stored")
        print_table("rFMS", names, [(report.n_responses, report.n_vehicles, report.n_vehicles_new, *counts)])
        if report.counter_falls:
            print_table("Counters that fell", ("signal", "times"), sorted(report.counter_falls.items()))
        if report.left_out:
            print_table("Values not taken, by reason", ("reason", "count"), sorted(report.left_out.items()))
        if report.rejected:
            rows = [(row.line, row.reason) for row in report.rejected]
            print_table(f"Refused records, the first of {report.n_rejected}", ("record", "reason"), rows)
        if report.n_unusual_vins:
            click.echo(f"note: {report.n_unusual_vins} VINs have not the form of ISO 3779; they were taken", err=True)
    for file in report.refused:
        click.echo(f"error: {file.reason}", err=True)
