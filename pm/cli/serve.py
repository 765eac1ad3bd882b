"""`pm serve`: the API and the pages."""

import socket

import click
from granian.constants import Interfaces
from granian.server import Server

from pm.errors import ConfigError
from pm.policy import load_policy
from pm.scoring.actions import load_actions
from pm.settings import read_settings
from pm.store.connection import open_database

_FACTORY = "pm.api.app:create_from_environment"


@click.command()
@click.option("--host", help="Address to listen on.  [default: PM_API_HOST or 127.0.0.1]")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.  [default: PM_API_PORT or 8080]")
def serve(host: str | None, port: int | None) -> None:
    """Serve the prediction API and the pages; stop with Ctrl-C."""
    settings = read_settings()
    # Tried here first, so that what is missing is one clear error and not a server that only fails.
    load_policy(settings.policy_file)
    load_actions(settings.project / "config" / "actions.toml")
    open_database(settings).close()
    run_server(host or settings.api_host, port or settings.api_port)


def run_server(host: str, port: int) -> None:
    """Serve until stopped: one process, its routes in a thread pool.

    Raises:
        ConfigError: nothing can listen there.
    """
    _require_free(host, port)
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"Pages: http://{shown}:{port}/")
    click.echo(f"API:   http://{shown}:{port}/v1/predictions (document: http://{shown}:{port}/openapi.json)")
    Server(_FACTORY, address=host, port=port, interface=Interfaces.ASGI, factory=True, log_access=False).serve()


def _require_free(host: str, port: int) -> None:
    """The server shares its port with whoever listens there already, and requests go to either."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as reason:
        raise ConfigError(f"expected to listen on {host}, port {port}, but got: {reason.strerror or reason}") from None
