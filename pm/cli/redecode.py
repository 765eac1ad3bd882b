"""`pm redecode`: a span of event time decoded again from the archive."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import click

from pm.cli.output import INSTANT, bars, json_option, print_json, print_table
from pm.pipelines import redecode as redecoding
from pm.pipelines.executor import open_executor
from pm.pipelines.ingest import keeping_of
from pm.pipelines.redecode import RedecodePlan, RedecodeReport, RedecodeRequest
from pm.policy import load_policy
from pm.settings import read_settings
from pm.store import vehicles
from pm.store.connection import database_url, open_database

_GB = 1_000_000_000


@click.command()
@click.option("--from", "start", required=True, type=INSTANT, help="First instant of the span, by event time.")
@click.option("--to", "end", required=True, type=INSTANT, help="End of the span; not in it.")
@click.option(
    "--dbc", multiple=True, type=click.Path(path_type=Path), help="DBC file; repeatable.  [default: dbc/*.dbc]"
)
@click.option("--vehicle", "vehicle_refs", multiple=True, help="Unit number; repeatable.  [default: all vehicles]")
@click.option("--fleet", help="Needed where two fleets have the same unit number.")
@click.option("--drop-messages", is_flag=True, help="Go on where a stored message would lose all its rows.")
@click.option("--skip-missing", is_flag=True, help="Leave files as they are that the archive has not got.")
@click.option("--dry-run", is_flag=True, help="Show the files, frames, bytes and messages; change nothing.")
@click.option(
    "--spool-gb", type=click.FloatRange(min=0, min_open=True), help="Most disk to use.  [default: half of what is free]"
)
@click.option(
    "--workers", type=click.IntRange(1, 64), default=os.cpu_count() or 1, show_default=True, help="Processes."
)
@json_option
def redecode(
    start: datetime,
    end: datetime,
    dbc: tuple[Path, ...],
    vehicle_refs: tuple[str, ...],
    fleet: str | None,
    drop_messages: bool,
    skip_missing: bool,
    dry_run: bool,
    spool_gb: float | None,
    workers: int,
    as_json: bool,
) -> None:
    """Decode the logs of a span again from the archive, and replace what is stored of them.

    Every log with a frame in the span is decoded again, whole, and with it the logs that overlap it. The new
    rows wait on disk until all are there; then one transaction replaces the old ones, so that nobody sees half
    of it. Ingest waits during that transaction. known_at stays as it is; the days are marked for
    `pm features`. Stopped at any point, nothing or all of it is done, and it can be run again.

    \b
    Exit codes: 0 done · 2 configuration or usage, or DBC files that do not fit the tables · 3 files are missing
    in the archive or cannot be decoded any more, or a message would lose its rows · 4 database, archive or disk
    """
    if start >= end:
        raise click.UsageError(f"expected --from before --to, but got {start.isoformat()} and {end.isoformat()}")
    settings = read_settings()
    policy = load_policy(settings.policy_file)
    with open_database(settings) as conn:
        ids = tuple(vehicles.vehicle_id(conn, ref, fleet) for ref in vehicle_refs) or None
    request = RedecodeRequest(
        start, end, dbc or settings.dbc_files, datetime.now(UTC), ids, drop_messages, skip_missing
    )
    url = database_url(settings)
    if dry_run:
        plan = redecoding.plan_redecode(url, request, archive_address=settings.archive, policy=policy, track=bars)
        print_json(plan) if as_json else _show_plan(plan)
        return
    spool_root = settings.home / "spool"
    limit = None if spool_gb is None else round(spool_gb * _GB)
    _say_room(spool_root, limit)
    with open_executor(workers) as executor:
        report = redecoding.redecode(
            url,
            request,
            archive_address=settings.archive,
            spool_root=spool_root,
            policy=policy,
            secret=keeping_of(settings, policy).secret,
            spool_limit_bytes=limit,
            executor=executor if workers > 1 else None,
            track=bars,
        )
    print_json(report) if as_json else _show(report)


def _say_room(spool_root: Path, limit: int | None) -> None:
    there = next(folder for folder in (spool_root, *spool_root.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    most = free // 2 if limit is None else limit
    click.echo(f"  spool: at most {most / _GB:.1f} GB of {free / _GB:.1f} GB free in {spool_root}", err=True)


def _show_plan(plan: RedecodePlan) -> None:
    print_table(
        "Would be decoded again",
        ("files", "frames", "bytes", "missing in the archive"),
        [(plan.n_files, plan.n_frames, plan.size_bytes, plan.n_missing)],
    )
    rows = ((message, "" if message not in plan.lost_messages else "would lose its rows") for message in plan.messages)
    print_table("Messages stored", ("message", "under these DBC files"), rows)


def _show(report: RedecodeReport) -> None:
    done = report.replaced
    counts = (done.n_files, report.n_frames, done.n_deleted, done.n_rows, done.n_faults, done.n_days)
    header = ("files", "frames", "rows before", "rows", "faults", "days", "spool bytes", "seconds")
    print_table("Decoded again", header, [(*counts, report.spool_bytes, round(report.seconds, 2))])
    for message in done.lost_messages:
        click.echo(f"note: {message} has no rows of these files any more", err=True)
    for count, why in ((report.n_skipped, "missing in the archive"), (report.n_late, "still arriving")):
        if count:
            click.echo(f"note: {count} files were left as they are: {why}", err=True)
