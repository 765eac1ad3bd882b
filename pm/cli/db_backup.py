"""`pm db dump`, `restore`, `drill` and `checksum`.

What belongs here: arguments and output. They join the group in `pm.cli.db`.
"""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from pm.cli.output import bars, json_option, print_json, print_table
from pm.pipelines.drill import drill_backup
from pm.pipelines.dump import DumpReport, dump_database
from pm.pipelines.restore import RestoreReport, restore_database
from pm.policy import load_policy
from pm.settings import read_settings
from pm.store.checksums import combined, table_checksums
from pm.store.connection import connect, database_url
from pm.store.named_files import MissingFiles


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--replace", is_flag=True, help="Write over FILE where it is there already.")
@json_option
def dump(file: Path, replace: bool, as_json: bool) -> None:
    """Write the whole database into FILE, as it is at one instant, while work goes on.

    FILE holds everything, VINs too, and only its owner can read it (mode 0600): keep it so. It is
    independent of the server: dumped from plain PostgreSQL it can be restored on TimescaleDB and
    back, also of other versions. Every table's checksum is in it.

    Not in it: roles and passwords of the server (they are made again by the migrations, without the
    logins that were granted them), and the files beside the database. Those, raw logs in the archive
    (PM_ARCHIVE) and model bundles and reports in `artifacts` below PM_HOME, are named by their sha256
    and never change: copy the two folders with what you copy files with (rsync, the object store's
    own replication), after the dump, and `pm db restore --check-files` says whether all are there.
    `secret.key` below PM_HOME, where driver ids are hashed, and config/ belong to a backup too.
    """
    settings = read_settings()
    with connect(database_url(settings, say=_say)) as conn:
        policy = load_policy(settings.policy_file)
        report = dump_database(conn, file, created_at=datetime.now(UTC), policy=policy, replace=replace, track=bars)
    if as_json:
        print_json(report)
    else:
        click.echo(_dumped(report))


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--into", metavar="NAME", help="Make a new database of this name on the same server and restore into that."
)
@click.option(
    "--check-files",
    is_flag=True,
    help="Look for every raw file and artifact that the database names; say which are missing.",
)
@json_option
def restore(file: Path, into: str | None, check_files: bool, as_json: bool) -> None:
    """Restore FILE, a dump, into the empty database, and compare every table's checksum.

    The whole file is checked first. Then the migrations of the dump are applied, the rows go in and
    are compared, and migrations newer than the dump are applied. A database that has rows is refused.
    Where anything differs nothing is restored: a new database (--into) is dropped, the other is empty
    again. Stop everything else that uses the database before.

    Columnstore and retention follow config/upkeep.toml at the next `pm db upkeep`.
    """
    settings = read_settings()
    url = database_url(settings, say=_say)
    report = restore_database(settings, url, file, into=into, check_files=check_files, track=bars)
    if as_json:
        print_json(report)
        return
    click.echo(_restored(report))
    policy_id = load_policy(settings.policy_file).policy_id
    if report.policy_id != policy_id:
        click.echo(f"the policy was {report.policy_id} where it was dumped and is {policy_id} here")
    for line in _told(report.missing):
        click.echo(line)


@click.command()
@json_option
def drill(as_json: bool) -> None:
    """Prove that a backup comes back: dump, restore into a scratch database, compare, drop.

    Needs room for the dump in the temporary folder and for a second database on the server. The
    database itself is only read.
    """
    settings = read_settings()
    url = database_url(settings, say=_say)
    policy = load_policy(settings.policy_file)
    report = drill_backup(settings, url, at=datetime.now(UTC), policy=policy, track=bars)
    if as_json:
        print_json(report)
        return
    click.echo(_dumped(report.dump))
    click.echo(_restored(report.restore))
    click.echo("the drill held; the scratch database and the dump are gone")


@click.command()
@click.option(
    "--content",
    is_flag=True,
    help="Leave out what the database and the clock gave (ids, instants of storing): the same where two "
    "databases got the same files in another order.",
)
@json_option
def checksum(content: bool, as_json: bool) -> None:
    """Print rows and a checksum of every table, computed in the server and independent of the order of rows."""
    with connect(database_url(read_settings(), say=_say)) as conn:
        found = table_checksums(conn, form="content" if content else "exact", track=bars)
    if as_json:
        print_json({"checksum": combined(found), "tables": [asdict(one) for one in found]})
        return
    rows = ((f"{one.schema}.{one.table}", one.n_rows, one.checksum) for one in found)
    print_table("Checksums", ("table", "rows", "checksum"), rows)
    click.echo(f"all: {combined(found)}")


def _dumped(report: DumpReport) -> str:
    return (
        f"{report.path}: {report.n_tables} tables, {report.n_rows:,} rows, {report.n_bytes / 1e6:.1f} MB in "
        f"{report.file_bytes / 1e6:.1f} MB, written in {report.seconds:.1f} s ({_speed(report)}); "
        "it holds VINs and only its owner can read it"
    )


def _restored(report: RestoreReport) -> str:
    newer = f", then {', '.join(report.migrated)}" if report.migrated else ""
    return (
        f"{report.database}: {report.n_tables} tables, {report.n_rows:,} rows restored in {report.seconds:.1f} s "
        f"({_speed(report)}){newer}; every checksum is that of the dump of {report.created_at:%Y-%m-%d %H:%M} UTC"
    )


def _speed(report: DumpReport | RestoreReport) -> str:
    return f"{report.n_bytes / 1e6 / max(report.seconds, 1e-9):.1f} MB/s"


def _told(missing: MissingFiles | None) -> list[str]:
    if missing is None:
        return []
    lines = []
    for what, absent, named in (
        ("raw files", missing.raw, missing.n_raw),
        ("artifacts", missing.artifacts, missing.n_artifacts),
    ):
        lines.append(f"{what}: {len(absent)} of {named} missing")
        lines += [f"  {sha256}" for sha256 in absent]
    return lines


def _say(line: str) -> None:
    click.echo(line, err=True)
