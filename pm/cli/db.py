"""`pm db`: the database server.

What belongs here: arguments and output. What happens is `pm.store.server` and `pm.store.connection`.
"""

import json

import click

from pm.errors import StoreError
from pm.settings import read_settings
from pm.store import connection, server
from pm.store.server import EngineChoice, ServerStatus

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
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status(engine: EngineChoice, as_json: bool) -> None:
    """Say which server, its versions, the migrations applied and the size."""
    _show(server.status(read_settings(), engine=engine), as_json=as_json)


@db.command()
@_ENGINE
def url(engine: EngineChoice) -> None:
    """Print the full address, with the password, for scripts."""
    address = server.status(read_settings(), engine=engine).url
    if address is None:
        raise StoreError("expected a database server, but got none yet: run pm db start")
    click.echo(address)


def _say(line: str) -> None:
    click.echo(line, err=True)


def _show(now: ServerStatus, *, as_json: bool = False) -> None:
    facts = _facts(now)
    if as_json:
        click.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        if value is not None:
            click.echo(f"{name:<20}{_text(value)}")


def _facts(now: ServerStatus) -> dict[str, object]:
    report = connection.inspect_database(now.url) if now.url and now.running and now.reason is None else None
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
    }


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return f"{len(value)} applied" + (f", last {value[-1]}" if value else "")
    return str(value)
