"""The group `pm`: which command stands in which module, and how an error leaves the process."""

import importlib
import sys
from typing import Final

import click

from pm import __version__
from pm.errors import PmError

COMMANDS: Final = {
    "demo": ("pm.cli.demo", "demo", "Set up a simulated fleet, run the whole path over it, and serve it."),
    "db": ("pm.cli.db", "db", "Start, stop, look at and back up the database."),
    "decode": ("pm.cli.decode", "decode", "Decode CAN logs into Parquet files; needs no database."),
    "capture": ("pm.cli.capture", "capture_command", "Write what live CAN buses carry into the inbox."),
    "vehicle": ("pm.cli.vehicle", "vehicle", "Add, list and forget vehicles."),
    "ingest": ("pm.cli.ingest", "ingest", "Decode CAN logs into the database."),
    "quarantine": ("pm.cli.quarantine", "quarantine", "List, retry and drop log files that were refused."),
    "redecode": ("pm.cli.redecode", "redecode", "Decode a span of logs again from the archive."),
    "import": ("pm.cli.importing", "import_group", "Import vehicles and work orders from CSV files."),
    "check": ("pm.cli.check", "check", "Check what features assume of the daily aggregates."),
    "features": ("pm.cli.features", "features", "Build feature vectors; list, show and choose feature sets."),
    "labels": ("pm.cli.labels", "labels", "Classify work orders and bring the label history up to date."),
    "backtest": ("pm.cli.backtest", "backtest", "Replay history with only what was known then; writes the report."),
    "audit": ("pm.cli.audit", "audit", "Look for leaks in a backtest: is its result too good, and what carries it?"),
    "train": ("pm.cli.steps", "train", "Train and register the models that the backtest allows to serve."),
    "score": ("pm.cli.steps", "score", "Score the fleet at an as-of."),
    "signals": ("pm.cli.signals", "signals", "Show what logs are decoded into, and what was seen of it."),
    "rank": ("pm.cli.rank", "rank", "Show the ranked fleet."),
    "serve": ("pm.cli.serve", "serve", "Serve the prediction API and the pages."),
    "dagster": ("pm.cli.dagster", "dagster", "Open the Dagster web UI on this project's assets."),
    "simulate": ("pm.cli.simulate", "simulate", "Write the logs and work orders of a fleet whose truth is known."),
}
"""Name: (module, attribute, one line of help), in the order a newcomer needs them."""


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="pm")
def group() -> None:
    """Predictive maintenance for truck fleets: CAN logs and work orders in, a ranked fleet out.

    \b
    Exit codes: 0 done · 2 configuration or usage · 3 input data · 4 database or disk
    · 5 model · 6 lifecycle · 130 interrupted
    """


def main() -> None:
    """Entrance of the `pm` script."""
    try:
        group.main(standalone_mode=False)
    except PmError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
