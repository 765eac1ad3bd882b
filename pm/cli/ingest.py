"""`pm ingest`: logs into the database."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from pm.cli.output import INSTANT, bars, json_option, print_json, print_table
from pm.pipelines.ingest import IngestJob, IngestReport, ingest_logs, keeping_of
from pm.policy import load_policy
from pm.settings import read_settings
from pm.store import vehicles
from pm.store.connection import database_url, open_database


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--vehicle", "vehicle_ref", required=True, help="Unit number; add it first with `pm vehicle add`.")
@click.option("--fleet", help="Needed where two fleets have the same unit number.")
@click.option(
    "--dbc", multiple=True, type=click.Path(path_type=Path), help="DBC file; repeatable.  [default: dbc/*.dbc]"
)
@click.option("--start", type=INSTANT, help="Instant of time zero, for logs without absolute times.")
@click.option("--known-at", type=INSTANT, help="When the files became known.  [default: now]")
@json_option
def ingest(
    files: tuple[Path, ...],
    vehicle_ref: str,
    fleet: str | None,
    dbc: tuple[Path, ...],
    start: datetime | None,
    known_at: datetime | None,
    as_json: bool,
) -> None:
    """Decode FILES of one vehicle into the database, one transaction a file.

    A file that was committed before changes nothing. A file that cannot be read is refused with
    its reason and the others go on; then the exit code is that of the first refusal.
    """
    settings = read_settings()
    policy = load_policy(settings.policy_file)
    with open_database(settings) as conn:
        vehicle_id = vehicles.vehicle_id(conn, vehicle_ref, fleet)
    arrived_at = known_at or datetime.now(UTC)
    jobs = [IngestJob(path, vehicle_id, arrived_at, start) for path in files]
    reports = ingest_logs(
        database_url(settings),
        jobs,
        dbc=dbc or settings.dbc_files,
        policy=policy,
        keeping=keeping_of(settings, policy),
        track=bars,
    )
    if as_json:
        print_json(reports)
    else:
        print_table(f"Ingested for {vehicle_ref}", _HEADER, (_row(report) for report in reports))
    for report in reports:
        if report.refused:
            click.echo(f"error: {report.refused}", err=True)
    sys.exit(next((report.exit_code for report in reports if report.refused), 0))


_HEADER = ("file", "result", "frames", "decoded", "rows", "faults", "days", "seconds")


def _row(report: IngestReport) -> tuple[object, ...]:
    result = "refused" if report.refused else "already there" if report.log_file_id is None else "committed"
    counts = (report.n_frames, report.n_decoded, report.n_rows, report.n_faults, len(report.days))
    return (report.path.name, result, *counts, round(report.seconds, 2))
