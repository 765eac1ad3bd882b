"""`pm simulate`: the logs and work orders of a fleet whose truth is known."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from pm.cli.output import bars, json_option, print_json, print_table
from pm.pipelines.executor import open_executor
from pm.settings import read_settings
from pm.simulate import FleetConfig, SimulationReport
from pm.simulate import simulate as simulate_fleet

_DEFAULT = FleetConfig()


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write; made when absent.")
@click.option("--vehicles", type=int, default=_DEFAULT.n_vehicles, show_default=True, help="Number of trucks.")
@click.option("--days", type=int, default=_DEFAULT.n_days, show_default=True, help="Number of days.")
@click.option(
    "--start",
    type=click.DateTime(["%Y-%m-%d"]),
    default=_DEFAULT.start.isoformat(),
    show_default=True,
    help="First day (UTC).",
)
@click.option("--seed", type=int, default=_DEFAULT.seed, show_default=True, help="Same seed, same bytes.")
@click.option(
    "--dbc",
    type=click.Path(path_type=Path),
    multiple=True,
    help="DBC file that lays out the messages; may be repeated.  [default: the project's]",
)
@click.option("--replace", is_flag=True, help="Replace another simulation that stands in --out.")
@click.option(
    "--workers", type=click.IntRange(1, 64), default=os.cpu_count() or 1, show_default=True, help="Processes."
)
@json_option
def simulate(
    *,
    out: Path,
    vehicles: int,
    days: int,
    start: datetime,
    seed: int,
    dbc: tuple[Path, ...],
    replace: bool,
    workers: int,
    as_json: bool,
) -> None:
    """Write a fleet with known truth: CAN logs, uploads, vehicles, work orders; the truth in its own folder."""
    config = FleetConfig(n_vehicles=vehicles, n_days=days, start=start.replace(tzinfo=UTC).date(), seed=seed)
    began = time.monotonic()
    with open_executor(workers) as executor:
        report = simulate_fleet(
            config,
            out.resolve(),
            dbc=dbc or read_settings().dbc_files,
            track=bars,
            executor=executor,
            replace=replace,
        )
    if as_json:
        print_json(report)
        return
    _print_report(report, time.monotonic() - began)


def _print_report(report: SimulationReport, seconds: float) -> None:
    made = "found complete, nothing written" if report.reused else f"written in {seconds:.1f} s"
    click.echo(f"{report.out}: {made}")
    click.echo(
        f"{report.n_vehicles} trucks, {report.n_days} days, {report.n_driving_days} truck days driven; "
        f"{report.n_files} log files, {report.n_frames:,} frames, {report.n_bytes / 1e6:.0f} MB; "
        f"{report.n_work_order_rows} work order rows"
    )
    print_table("Failures (the truth)", ("component", "failures"), report.n_failures)
