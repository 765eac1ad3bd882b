"""`pm demo`: a simulated fleet through the real pipeline, then served."""

import dataclasses
import os
import socket
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta

import click

from pm.asof import midnight
from pm.cli.dagster import run_day, start_dagster
from pm.cli.output import bars, print_table
from pm.cli.rank import print_ranking
from pm.errors import ConfigError
from pm.features.featurefile import feature_set_of
from pm.labels.failures import load_rules
from pm.pipelines.executor import open_executor
from pm.pipelines.ingest import keeping_of
from pm.pipelines.whole_path import Places, WholePathReport, run_whole_path
from pm.policy import Policy, load_policy
from pm.settings import Settings, read_settings
from pm.simulate import FleetConfig, simulate
from pm.store import artifacts, server
from pm.store.connection import database_url, open_database

FIRST_DAY = date(2025, 10, 6)
"""A Monday; the demo's history is fixed so that two runs agree."""


@click.command()
@click.option("--vehicles", type=click.IntRange(8, 2000), default=48, show_default=True, help="Trucks to simulate.")
@click.option("--days", type=click.IntRange(120, 730), default=273, show_default=True, help="Days to simulate.")
@click.option("--seed", type=int, default=7, show_default=True, help="Same seed, same fleet.")
@click.option(
    "--workers", type=click.IntRange(1, 64), default=os.cpu_count() or 1, show_default=True, help="Processes."
)
@click.option("--serve/--no-serve", default=True, help="Serve API, pages and Dagster at the end until Ctrl-C.")
def demo(vehicles: int, days: int, seed: int, workers: int, serve: bool) -> None:
    """Simulate a fleet, run the whole path over its real log files, show the ranked fleet, serve it.

    Everything is kept below PM_HOME (default: .pm in the project); a second run reuses it.
    """
    began = time.monotonic()
    settings = _demo_settings(read_settings(), vehicles, days, seed)
    policy, rules = load_policy(settings.policy_file), load_rules(settings.failure_rules_file)
    step = _Steps(began)
    with open_executor(workers) as executor:
        step("database")
        if settings.database_url is None:
            server.start(settings, say=lambda line: click.echo(f"  {line}"))
        state = server.status(settings)
        click.echo(
            f"  {state.kind}, PostgreSQL {state.server_version}, TimescaleDB {state.timescaledb_version or 'none'}"
        )
        step(f"simulated fleet of {vehicles} trucks over {days} days, as CAN log files")
        config = FleetConfig(n_vehicles=vehicles, n_days=days, start=FIRST_DAY, seed=seed)
        fleet = simulate(config, settings.inbox, dbc=settings.dbc_files, executor=executor, track=bars)
        click.echo(f"  {fleet.n_files} files, {fleet.n_frames:,} frames{' (reused)' if fleet.reused else ''}")
        with open_database(settings) as conn:
            report = run_whole_path(
                conn,
                Places(
                    database_url(settings),
                    settings.inbox,
                    settings.artifacts,
                    settings.dbc_files,
                    keeping_of(settings, policy),
                ),
                rules,
                policy,
                first_as_of=midnight(FIRST_DAY + timedelta(days=max(policy.features.windows_d))),
                last_as_of=midnight(FIRST_DAY + timedelta(days=days)),
                now=datetime.now(UTC),
                executor=executor,
                configured=feature_set_of(settings, policy),
                track=bars,
                say=step,
            )
    step("the last day once more through Dagster, as its schedule runs it")
    run_day(settings, FIRST_DAY + timedelta(days=days - 1))
    click.echo("")
    _print_report(settings, report, policy, began)
    if serve:
        _serve(settings)


class _Steps:
    """Numbers the steps and says how long after the beginning each began."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._number = 0

    def __call__(self, text: str) -> None:
        self._number += 1
        click.secho(f"[{self._number}] {text}  ({time.monotonic() - self._began:.0f} s)", bold=True)


def _demo_settings(settings: Settings, vehicles: int, days: int, seed: int) -> Settings:
    """The demo's fleet is the inbox's content; one home holds one fleet, or two fleets' trucks would mix."""
    wanted = f"{vehicles} trucks, {days} days, seed {seed}"
    marker = settings.home / "demo.txt"
    settings.home.mkdir(parents=True, exist_ok=True)
    if marker.is_file() and (there := marker.read_text(encoding="utf-8")) != wanted:
        raise ConfigError(
            f"{settings.home}: expected a demo of {wanted}, but got one of {there}: set PM_HOME elsewhere"
        )
    marker.write_text(wanted, encoding="utf-8")
    return dataclasses.replace(settings, first_day=FIRST_DAY)


def _print_report(settings: Settings, report: WholePathReport, policy: Policy, began: float) -> None:
    print_ranking(settings, 15)
    rows = ((made.component, made.kind, made.reason) for made in report.train.components)
    print_table("What serves, and why", ("component", "kind", "evidence"), rows)
    print_table("Leak audit", ("verdict",), ((verdict,) for verdict in report.audit.verdicts))
    page = settings.home / "backtest.html"
    page.write_bytes(artifacts.get(settings.artifacts, report.backtest.report_sha256))
    click.echo(f"Backtest report: {page}")
    click.echo(
        f"Done in {time.monotonic() - began:.0f} s; horizon {policy.horizon.days} days, policy {policy.policy_id}."
    )
    if settings.database_url is None:
        click.echo("The database keeps running; `.venv/bin/pm db stop` stops it.")


def _serve(settings: Settings) -> None:
    api_port, dagster_port = _free_port(settings.api_port), _free_port(settings.dagster_port)
    environment = {**os.environ, "PM_HOME": str(settings.home), "PM_INBOX": str(settings.inbox)}
    api = subprocess.Popen([sys.executable, "-m", "pm", "serve", "--port", str(api_port)], env=environment)  # noqa: S603
    dagster = start_dagster(settings, dagster_port)
    click.echo("")
    click.secho("Served until Ctrl-C:", bold=True)
    click.echo(f"  fleet page    http://127.0.0.1:{api_port}/")
    click.echo(f"  API           http://127.0.0.1:{api_port}/v1/predictions")
    click.echo(f"  Dagster       http://127.0.0.1:{dagster_port}/")
    try:
        while api.poll() is None and dagster.poll() is None:
            time.sleep(0.5)
    except KeyboardInterrupt:
        click.echo("stopping")
    finally:
        for process in (api, dagster):
            process.terminate()
        for process in (api, dagster):
            process.wait(timeout=30)


def _free_port(wanted: int) -> int:
    """`wanted`, or any free port where it is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    return wanted
