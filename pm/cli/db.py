"""`pm db`: the database server, what is on in it, and its upkeep.

What belongs here: arguments and output. What happens is `pm.store.server`, `pm.store.connection`,
`pm.store.edition` and `pm.pipelines.upkeep`.
"""

from contextlib import closing
from dataclasses import asdict
from datetime import UTC, date, datetime

import click

from pm.cli import db_backup
from pm.cli.output import bars, json_option, print_json
from pm.errors import StoreError
from pm.pipelines.upkeep import UpkeepReport, run_upkeep
from pm.settings import read_settings
from pm.store import connection, server
from pm.store.edition import Edition, inspect_edition
from pm.store.server import EngineChoice, ServerStatus
from pm.upkeep import load_upkeep

_ENGINE = click.option(
    "--engine",
    type=click.Choice(["auto", "timescaledb", "postgres"]),
    default="auto",
    show_default=True,
    help="Which private server; auto: TimescaleDB where it can be had.",
)


@click.group()
def db() -> None:
    """The database: PM_DATABASE_URL, else a private server."""


for _command in (db_backup.dump, db_backup.restore, db_backup.drill, db_backup.checksum):
    db.add_command(_command)


@db.command()
@_ENGINE
def start(engine: EngineChoice) -> None:
    """Start the private server and apply migrations."""
    settings = read_settings()
    url = server.start(settings, engine=engine, say=_say).url
    if url is None:
        raise StoreError("expected a running server, but got none")
    connection.migrate_database(settings, url)
    _show(server.status(settings, engine=engine))


@db.command()
@_ENGINE
def stop(engine: EngineChoice) -> None:
    """Stop the private server; its data stay."""
    click.echo("stopped" if server.stop(read_settings(), engine=engine) else "was not running")


@db.command()
@_ENGINE
@json_option
def status(engine: EngineChoice, as_json: bool) -> None:
    """Say which server, its versions and edition, what is on in it, and the room it takes; changes nothing.

    Chunks are there with TimescaleDB, the columnstore with its Community edition; all else works on
    plain PostgreSQL as well.
    """
    _show(server.status(read_settings(), engine=engine), as_json=as_json)


@db.command()
@_ENGINE
def url(engine: EngineChoice) -> None:
    """Print the full address, with the password, for scripts."""
    address = server.status(read_settings(), engine=engine).url
    if address is None:
        raise StoreError("expected a database server, but got none yet: run pm db start")
    click.echo(address)


@db.command()
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@json_option
def upkeep(dry_run: bool, as_json: bool) -> None:
    """Bring storage to what config/upkeep.toml decides: chunks, columnstore, and what is dropped for its age.

    It may run beside ingests, and twice. What is in use is left for the next run and named. Rows that are
    dropped are not taken again; daily aggregates stay.
    """
    settings = read_settings()
    decided = load_upkeep(settings.upkeep_file)
    # A dry run applies no migration either.
    opened = connection.connect(connection.database_url(settings)) if dry_run else connection.open_database(settings)
    with closing(opened) as conn:
        report = run_upkeep(
            conn, decided, archive_address=settings.archive, now=datetime.now(UTC), dry_run=dry_run, track=bars
        )
    if as_json:
        print_json(report)
        return
    for name, value in _upkeep_lines(report).items():
        click.echo(f"{name:<20}{value}")


def _upkeep_lines(report: UpkeepReport) -> dict[str, str]:
    would = "would be " if report.dry_run else ""
    lines = {
        "chunk length": f"{would}set for {_count(len(report.chunk_interval_set), 'table')}",
        "columnstore": report.columnstore_hindrance or f"{would}set for {_count(len(report.columnstore_set), 'table')}",
        "telemetry": _kept(report.telemetry_before)
        or f"{_count(report.n_chunks, 'chunk')} and {_count(report.n_rows, 'row')} from before "
        f"{report.telemetry_before:%Y-%m-%d} {would}dropped",
        "archive": _kept(report.archive_before)
        or f"{_count(report.n_files, 'file')} from before {report.archive_before:%Y-%m-%d} {would}dropped",
    }
    if report.telemetry_before != report.wanted_before:
        lines["waits"] = f"for daily aggregates of days before {report.wanted_before:%Y-%m-%d}: run pm features"
    if report.postponed:
        lines["in use"] = f"{', '.join(report.postponed)}: left for the next run"
    return lines


def _kept(before: datetime | None) -> str:
    return "kept for ever" if before is None else ""


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")


def _say(line: str) -> None:
    click.echo(line, err=True)


def _show(now: ServerStatus, *, as_json: bool = False) -> None:
    facts = _facts(now)
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        if value is not None and value != {}:
            click.echo(f"{name:<22}{_text(value)}")


def _facts(now: ServerStatus) -> dict[str, object]:
    answers = now.url is not None and now.running and now.reason is None
    report = connection.inspect_database(now.url) if now.url is not None and answers else None
    edition = _edition(now.url) if now.url is not None and answers else None
    return {
        "kind": now.kind,
        "url": now.shown_url,
        "running": now.running,
        "reason": now.reason,
        "server_version": now.server_version,
        "timescaledb_version": now.timescaledb_version,
        "edition": now.edition,
        "migrations": None if report is None else list(report.migrations),
        "size_bytes": None if report is None else report.size_bytes,
        "folder": None if now.folder is None else str(now.folder),
        **_what_is_on(edition),
    }


def _edition(address: str) -> Edition:
    with closing(connection.connect(address)) as conn:
        return inspect_edition(conn)


def _what_is_on(edition: Edition | None) -> dict[str, object]:
    """The rest of an edition's facts; null each where no server answers, so that a key is always there."""
    named_before = {"server_version", "timescaledb_version", "edition"}
    names = [name for name in Edition.__dataclass_fields__ if name not in named_before]
    facts = {} if edition is None else asdict(edition)
    return {name: facts.get(name) for name in names}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return f"{len(value)} applied" + (f", last {value[-1]}" if value else "")
    if isinstance(value, tuple):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items())
    if isinstance(value, date):
        return value.strftime("before %Y-%m-%d")
    return f"{value:g}" if isinstance(value, float) else str(value)
