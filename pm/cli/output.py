"""How commands talk: tables and bars for people, JSON for machines."""

import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

T = TypeVar("T")

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of tables.")


def bars(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    """A `Track` that draws a progress bar on standard error, or one line where that is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        click.echo(f"  {description}: {total}", err=True)
        yield from items
        return
    columns = (TextColumn("  {task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(description, total=total)
        for item in items:
            yield item
            progress.advance(task)


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; numbers are aligned to the right."""
    table = Table(title=title, title_justify="left", header_style="bold")
    listed = [list(row) for row in rows]
    for number, name in enumerate(header):
        numeric = all(isinstance(row[number], int | float) for row in listed)
        table.add_column(name, justify="right" if numeric and listed else "left", overflow="fold")
    for row in listed:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    console = Console()
    # Piped output has no width; the table must not be folded to 80 columns there.
    Console(width=None if console.is_terminal else 160).print(table)


def print_json(document: object) -> None:
    """Print one JSON document; dataclasses, instants and paths are written in their usual form."""
    json.dump(document, sys.stdout, default=_plain, indent=2)
    sys.stdout.write("\n")


def _plain(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    raise TypeError(f"expected a plain value, but got {type(value).__name__}")


class Instant(click.ParamType[datetime]):
    """An ISO 8601 instant or date; without an offset it is UTC."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            parsed = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"expected an ISO 8601 instant such as 2026-07-04T00:00:00Z, but got {value!r}", param, ctx)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


INSTANT = Instant()
