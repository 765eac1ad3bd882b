"""`pm dagster`: the Dagster web UI on this project's assets."""

import os
import subprocess
import sys
from pathlib import Path

import click

from pm.settings import Settings, read_settings
from pm.store.connection import database_url, ensure_database

_CONFIG = """\
telemetry:
  enabled: false
storage:
  postgres:
    postgres_url:
      env: PM_DAGSTER_URL
"""


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the web UI.  [default: PM_DAGSTER_PORT or 3000]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to bind; the UI has no login of its own.")
def dagster(port: int | None, host: str) -> None:
    """Open the Dagster web UI and daemon; stop with Ctrl-C."""
    settings = read_settings()
    process = start_dagster(settings, port or settings.dagster_port, host)
    click.echo(f"Dagster: http://{host}:{port or settings.dagster_port}")
    try:
        sys.exit(process.wait())
    except KeyboardInterrupt:
        process.terminate()
        process.wait(timeout=30)


def start_dagster(settings: Settings, port: int, host: str = "127.0.0.1") -> subprocess.Popen[bytes]:
    """Start `dagster dev` (web server and daemon), runs and events kept in PostgreSQL."""
    home = settings.home / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text(_CONFIG, encoding="utf-8")
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "PM_DAGSTER_URL": ensure_database(database_url(settings), "pm_dagster"),
        "PM_PROJECT": str(settings.project),
        "PM_HOME": str(settings.home),
        "PM_INBOX": str(settings.inbox),
        "PM_FIRST_DAY": settings.first_day.isoformat(),
    }
    program = str(Path(sys.executable).parent / "dagster")
    command = [program, "dev", "-m", "dagster_project.definitions", "-h", host, "-p", str(port)]
    return subprocess.Popen(command, cwd=settings.project, env=environment)  # noqa: S603 - our own command
