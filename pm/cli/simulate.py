"""`pm simulate`: the logs and work orders of a fleet whose truth is known, and the ceiling it sets for models."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from pm.cli.output import bars, json_option, print_json, print_table
from pm.errors import DataError
from pm.pipelines.executor import open_executor
from pm.settings import read_settings
from pm.simulate import FleetConfig, SimulationReport
from pm.simulate import simulate as simulate_fleet
from pm.simulate.changes import KINDS, parse_change
from pm.simulate.oracle import ModelShare, OracleReport, OracleScore, oracle_report, read_rows, true_rows
from pm.store import registry
from pm.store.connection import open_database

_DEFAULT = FleetConfig()
_CHANGES = ", ".join(f"{kind} ({', '.join(keys)})" if keys else kind for kind, keys in KINDS.items())


@click.group(invoke_without_command=True)
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write; made when absent.")
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
    "--formats",
    default=",".join(_DEFAULT.formats),
    show_default=True,
    help="Log formats of the trucks' loggers, in turn; one named twice is that of twice as many.",
)
@click.option(
    "--change",
    "changes",
    multiple=True,
    metavar="KIND@DAY[:key=value,...]",
    help=f"Something that is different from DAY (a number from 0, or a date) on; may be repeated. Kinds: {_CHANGES}.",
)
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
@click.pass_context
def simulate(
    ctx: click.Context,
    *,
    out: Path | None,
    vehicles: int,
    days: int,
    start: datetime,
    seed: int,
    formats: str,
    changes: tuple[str, ...],
    dbc: tuple[Path, ...],
    replace: bool,
    workers: int,
    as_json: bool,
) -> None:
    """Write a fleet with known truth: CAN logs, uploads, vehicles, work orders; the truth in its own folder."""
    if ctx.invoked_subcommand is not None:
        if out is not None:
            raise click.UsageError(f"expected --out or {ctx.invoked_subcommand}, but got both")
        return
    if out is None:
        raise click.MissingParameter(param_hint="--out", param_type="option", ctx=ctx)
    first = start.replace(tzinfo=UTC).date()
    config = FleetConfig(
        n_vehicles=vehicles,
        n_days=days,
        start=first,
        seed=seed,
        formats=tuple(formats.split(",")),
        changes=tuple(parse_change(text, first) for text in changes),
    )
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


@simulate.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--backtest",
    metavar="ID",
    help="Judge the rows that this backtest of the database judged (latest: the newest), beside its models.",
)
@click.option(
    "--rows",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Judge the rows of this Parquet file (vehicle_ref, component, as_of, state; kind and p_failure of models).",
)
@json_option
def oracle(*, folder: Path, backtest: str | None, rows: Path | None, as_json: bool) -> None:
    """Show what the true hazards reach on the same rows: the ceiling for every model.

    FOLDER is a simulated fleet. This command alone reads its truth. Without --backtest and --rows every
    vehicle-day is judged, by its true label.
    """
    if backtest is not None and rows is not None:
        raise click.UsageError("expected --backtest or --rows, but got both")
    if backtest is not None:
        report = _of_backtest(folder, backtest)
    elif rows is not None:
        report = oracle_report(read_rows(rows), folder, f"rows of {rows.name}")
    else:
        report = oracle_report(true_rows(folder), folder, "every vehicle-day, label from the truth")
    if as_json:
        print_json(report)
        return
    _print_oracle(report)


def _of_backtest(folder: Path, backtest_id: str) -> OracleReport:
    # Brings LightGBM and scikit-learn, which writing a fleet does not need.
    from pm.pipelines.backtest import judged_scores

    settings = read_settings()
    with open_database(settings) as conn:
        if backtest_id == "latest":
            latest = registry.latest_backtest(conn)
            if latest is None:
                raise DataError("oracle: expected a backtest in the database, but got none; run pm backtest first")
            backtest_id = str(latest["backtest_id"])
        scores = judged_scores(conn, backtest_id, artifact_folder=settings.artifacts)
    return oracle_report(scores, folder, f"rows judged by backtest {backtest_id}")


def _print_oracle(report: OracleReport) -> None:
    click.echo(f"{report.folder}: {report.rows}; horizon {report.horizon_d} days")
    header = ("component", "rows", "positive", "base rate", "PR-AUC", "ROC-AUC", "rows without truth")
    print_table("What the true hazards reach", header, (_cells(score) for score in report.scores))
    click.echo("A model that knows nothing has the base rate as PR-AUC and 0.5 as ROC-AUC.")
    if report.models:
        columns = ("component", "kind", "rows", "PR-AUC", "share of the oracle's")
        print_table("Models on the same rows", columns, (_model_cells(model) for model in report.models))


def _cells(score: OracleScore) -> tuple[object, ...]:
    figures = (score.base_rate, score.pr_auc, score.roc_auc)
    shown = [f"{figure:.3f}" if figure is not None else f"none ({score.undefined})" for figure in figures]
    counts = (score.n_rows, score.n_positives)
    return (score.component or "all together", *counts, *shown, score.n_without_truth)


def _model_cells(model: ModelShare) -> tuple[object, ...]:
    pr_auc = "none" if model.pr_auc is None else f"{model.pr_auc:.3f}"
    share = f"none ({model.undefined})" if model.share is None else f"{model.share:.0%}"
    return (model.component or "all together", model.kind, model.n_rows, pr_auc, share)
