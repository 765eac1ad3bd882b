"""`pm serve`: the API and the pages."""

import click
from granian.constants import Interfaces
from granian.server import Server

from pm.settings import read_settings
from pm.store.connection import open_database

_FACTORY = "pm.api.app:create_from_environment"


@click.command()
@click.option("--host", help="Address to listen on.  [default: PM_API_HOST or 127.0.0.1]")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.  [default: PM_API_PORT or 8080]")
def serve(host: str | None, port: int | None) -> None:
    """Serve the prediction API and the pages; stop with Ctrl-C."""
    settings = read_settings()
    # Opened once here, so that a missing database is one clear error and not a page of 503s.
    open_database(settings).close()
    run_server(host or settings.api_host, port or settings.api_port)


def run_server(host: str, port: int) -> None:
    """Serve until stopped: one process, its routes in a thread pool."""
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"Pages: http://{shown}:{port}/")
    click.echo(f"API:   http://{shown}:{port}/v1/predictions (document: http://{shown}:{port}/openapi.json)")
    Server(
        _FACTORY, address=host, port=port, interface=Interfaces.ASGI, factory=True, workers=1, log_access=False
    ).serve()
