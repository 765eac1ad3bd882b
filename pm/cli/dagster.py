"""`pm dagster`: the Dagster web UI on this project's assets."""

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import click

from pm.errors import StoreError
from pm.settings import Settings, read_settings
from pm.store.connection import database_url, ensure_database

_MODULE = "dagster_project.definitions"
_CONFIG = """\
telemetry:
  enabled: false
nux:
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
    command = [*_program(), "dev", "-m", _MODULE, "-h", host, "-p", str(port)]
    return subprocess.Popen(command, cwd=settings.project, env=_environment(settings))  # noqa: S603 - our own command


def run_day(settings: Settings, day: date) -> None:
    """Run the daily job for one day, as its schedule does, and leave the run in Dagster's storage.

    Raises:
        StoreError: the run failed; its log says why.
    """
    tags = json.dumps({"dagster/partition": day.isoformat()})
    command = [*_program(), "job", "execute", "-m", _MODULE, "-j", "daily_job", "--tags", tags]
    environment = _environment(settings)
    log = Path(environment["DAGSTER_HOME"]) / "daily_job.log"
    with log.open("wb") as output:
        ran = subprocess.run(  # noqa: S603 - our own command
            command, cwd=settings.project, env=environment, stdout=output, stderr=output, check=False
        )
    if ran.returncode:
        raise StoreError(f"daily_job of {day}: expected the run to succeed, but it failed: see {log}")


def _program() -> list[str]:
    return [str(Path(sys.executable).parent / "dagster")]


def _environment(settings: Settings) -> dict[str, str]:
    home = settings.home / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text(_CONFIG, encoding="utf-8")
    return {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "PM_DAGSTER_URL": ensure_database(database_url(settings), "pm_dagster"),
        "PM_PROJECT": str(settings.project),
        "PM_HOME": str(settings.home),
        "PM_INBOX": str(settings.inbox),
        "PM_FIRST_DAY": settings.first_day.isoformat(),
    }
