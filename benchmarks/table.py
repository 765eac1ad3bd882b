"""The measurements as tables: on the screen, in Markdown and as JSON.

What belongs here: text made of numbers; nothing is measured or judged.
"""

import os
import platform
import re
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from benchmarks.rows import MEGABYTE, Measured, Verdict

PACKAGES: Final = ("numba", "numpy", "polars", "pyarrow", "cantools", "python-can", "asammdf", "can-decoder")

Cells = list[tuple[str, ...]]

_ROW_HEADINGS: Final = ("log", "what", "frames", "Mframes/s", "Mvalues/s", "values", "peak MB", "spread")
_VERDICT_HEADINGS: Final = ("log", "figure", "measured", "floor", "aim", "")


def machine() -> dict[str, str]:
    """What the measurements ran on."""
    found = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {os.uname().release}",
    }
    found["Python"] = platform.python_version()
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    if hasattr(os, "getloadavg"):
        found["load at the start"] = f"{os.getloadavg()[0]:.1f}"
    return found


def _processor() -> str:
    about = Path("/proc/cpuinfo")
    names = re.findall(r"(?m)^model name\s*: (.*)$", about.read_text()) if about.is_file() else []
    return names[0] if names else platform.processor() or platform.machine()


def row_cells(measured: Sequence[Measured]) -> Cells:
    """The table of measurements, with its headings first; a row without a measurement has three cells."""
    return [_ROW_HEADINGS, *(_row(one) for one in measured)]


def _row(one: Measured) -> tuple[str, ...]:
    if one.problem is not None:
        return (one.log, one.row.label, one.problem)
    values = "" if one.values is None else f"{one.values:,}"
    rate = "" if one.values is None else f"{one.values / one.best_s / 1e6:,.2f}"
    peak = "" if one.peak_bytes is None else f"{one.peak_bytes / MEGABYTE:,.0f}"
    speed = f"{one.frames_per_s / 1e6:,.2f}"
    return (one.log, one.row.label, f"{one.frames:,}", speed, rate, values, peak, f"{one.spread:.0%}")


def verdict_cells(verdicts: Sequence[Verdict]) -> Cells:
    """The table of floors, with its headings first."""
    cells: Cells = [_VERDICT_HEADINGS]
    for one in verdicts:
        floor = one.floor
        figure = "" if one.figure is None else f"{_short(one.figure)}{floor.unit}"
        wanted = "" if floor.floor is None else f"{'at most ' if floor.is_limit else ''}{floor.floor:g}{floor.unit}"
        aim = "" if floor.aim is None else f"{floor.aim:g}{floor.unit}"
        cells.append((one.log, floor.label, figure, wanted, aim, one.word))
    return cells


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 20 else f"{number:.2f}"


def plain(cells: Cells) -> str:
    """Columns in line for a terminal: words to the left, numbers to the right."""
    whole = [row for row in cells if len(row) == len(cells[0])]
    widths = [max(map(len, column)) for column in zip(*whole, strict=True)]
    lines = []
    for row in cells:
        words = [text.ljust(width) for text, width in zip(row[:2], widths, strict=False)]
        is_whole = len(row) == len(widths)
        numbers = [text.rjust(width) for text, width in zip(row[2:], widths[2:], strict=True)] if is_whole else row[2:]
        lines.append("  ".join([*words, *numbers]).rstrip())
    return "\n".join(lines)


def markdown(cells: Cells) -> str:
    """A Markdown table."""
    n_columns = len(cells[0])
    ruler = tuple("---" if k < 2 else "---:" for k in range(n_columns))
    padded = [row + ("",) * (n_columns - len(row)) for row in (cells[0], ruler, *cells[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in padded)


def put_into(path: Path, text: str, *, name: str) -> None:
    """Replace what stands between the two marks of benchmark `name` in `path`.

    Raises:
        ValueError: the file has not both marks.
    """
    begin_mark, end_mark = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, begin, rest = path.read_text(encoding="utf-8").partition(begin_mark)
    _, end, after = rest.partition(end_mark)
    if not begin or not end:
        raise ValueError(f"{path}: expected the marks {begin_mark} and {end_mark}, but got no such place")
    path.write_text(f"{before}{begin_mark}\n{text.strip()}\n{end_mark}{after}", encoding="utf-8")


def as_json(measured: Sequence[Measured], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Everything as JSON."""
    return {
        "command": sys.argv[1:],
        "rows": [_row_json(one) for one in measured],
        "floors": [
            {"log": one.log, "figure": one.floor.label, "measured": one.figure, "floor": one.floor.floor}
            | {"aim": one.floor.aim, "is_limit": one.floor.is_limit, "verdict": one.word}
            for one in verdicts
        ],
    }


def _row_json(one: Measured) -> dict[str, Any]:
    content: dict[str, Any] = {"log": one.log, "key": one.row.key, "label": one.row.label, "file": one.row.file}
    if one.problem is not None:
        return content | {"problem": one.problem}
    content |= {"seconds": one.seconds, "frames": one.frames, "frames_per_s": one.frames_per_s}
    content |= {"values": one.values, "peak_bytes": one.peak_bytes}
    if one.rows is not None:
        content |= {"rows": one.rows, "rows_per_s": one.rows / one.best_s}
    return content | {"values_per_s": None if one.values is None else one.values / one.best_s}
