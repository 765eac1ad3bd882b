"""`make bench-features`: feature vectors from daily rows, beside the plain ways of doing it, in one run.

What belongs here: the command line, the order of the measurements and what a run prints. What is measured stands in
`feature_jobs.py`. Exit codes: 0 done, 1 when a measurement failed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from benchmarks import ingest_server, table
from benchmarks.make_files import PROJECT
from benchmarks.rows import MEGABYTE

FOLDER: Final = PROJECT / ".pm" / "bench"
NAME: Final = "bench-features"
N_DAYS: Final = 365
N_SIGNALS: Final = 60
TIME_LIMIT_S: Final = 3600
_HEADINGS: Final = ("what", "vehicles", "days", "signals", "daily rows/s", "Mvalues/s", "seconds", "peak MB", "spread")
_FIGURES: Final = ("figure", "measured")


@dataclass(frozen=True)
class Measured:
    """The best of some rounds of one job."""

    label: str
    size: Mapping[str, int]
    outcome: Mapping[str, Any]
    spread: float

    @property
    def values_per_s(self) -> float:
        return float(self.outcome["values"] / self.outcome["seconds"])


def main() -> int:
    """Make rows, measure, print; returns the exit code."""
    arguments = _arguments()
    about = {"date": f"{datetime.now(UTC):%Y-%m-%d}"} | table.machine()
    n_vehicles = 20 if arguments.tenth else 200
    arguments.folder.mkdir(parents=True, exist_ok=True)
    try:
        measured, figures = _measure(arguments, n_vehicles)
    except (subprocess.SubprocessError, json.JSONDecodeError) as reason:
        print(f"{NAME}: {reason}", file=sys.stderr)
        return 1
    cells = [_HEADINGS, *(_cells(one) for one in measured.values())]
    notes = [", ".join(f"{name} {value}" for name, value in about.items())]
    if find_spec("tsfresh") is None:
        notes.append("tsfresh: not installed, not measured")
    tables = [[_FIGURES, *figures], cells]
    print("\n" + "\n\n".join([*(table.plain(each) for each in tables), *notes]))
    if arguments.markdown is not None:
        text = "\n\n".join([*(table.markdown(each) for each in tables), *notes])
        table.put_into(arguments.markdown, text, name=NAME)
    if arguments.json is not None:
        rows = {name: {**one.size, **one.outcome, "spread": one.spread} for name, one in measured.items()}
        content = {"machine": about, "figures": dict(figures), "rows": rows}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.features", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each row; the best counts")
    parser.add_argument("--tenth", action="store_true", help="20 vehicles instead of 200, for trying it out")
    parser.add_argument("--no-database", action="store_true", help="leave out what needs a database server")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where rows and the server are kept (about 2 GB)")
    parser.add_argument("--json", type=Path, help="write everything as JSON")
    parser.add_argument("--markdown", type=Path, help="write the tables between the marks in this file")
    arguments = parser.parse_args()
    arguments.folder = arguments.folder.resolve()
    return arguments


def _measure(arguments: argparse.Namespace, n_vehicles: int) -> tuple[dict[str, Measured], list[tuple[str, ...]]]:
    rounds, found = arguments.rounds, dict[str, Measured]()
    with tempfile.TemporaryDirectory(prefix=".features-", dir=arguments.folder) as folder:
        for n_days in (N_DAYS, 90):
            size = {"n_vehicles": n_vehicles, "n_days": n_days, "n_signals": N_SIGNALS}
            place = Path(folder) / str(n_days)
            place.mkdir()
            _run("make_rows", folder=str(place), **size)
            label = f"pm: vectors at every midnight of {n_days} days"
            found[f"pm_{n_days}"] = _best(label, "product", size, rounds, folder=str(place))
    few = {"n_vehicles": 10, "n_days": N_DAYS, "n_signals": N_SIGNALS}
    found["pandas"] = _best("pandas: groupby and rolling", "pandas_rolling", few, rounds)
    fewer = {"n_vehicles": 4, "n_days": N_DAYS, "n_signals": 6}
    found["sktime"] = _best("sktime: WindowSummarizer", "sktime_summarizer", fewer, rounds)
    if not arguments.no_database:
        found |= _in_a_database(arguments.folder, n_vehicles)
    return found, _figures(found)


def _in_a_database(folder: Path, n_vehicles: int) -> dict[str, Measured]:
    found: dict[str, Measured] = {}
    with ExitStack() as stack:
        stack.callback(ingest_server.stop, "postgres", folder)
        running = ingest_server.start("postgres", folder)
        if isinstance(running, str):
            raise subprocess.SubprocessError(f"expected a database server, but got none: {running}")
        for n_days in (30, N_DAYS):
            with ingest_server.fresh_database(running) as url:
                size = {"n_vehicles": n_vehicles, "n_days": n_days, "n_signals": N_SIGNALS}
                outcome = _run("one_more_day", url=url, **size, first_day=N_DAYS - n_days)
                label = f"pm: one more day in a database of {n_days} days"
                found[f"day_after_{n_days}"] = Measured(label, size, outcome, 0.0)
                if n_days == N_DAYS:
                    for again, words in ((False, "taken"), (True, "computed")):
                        outcome = _run("taken", url=url, **size, again=again)
                        label = f"pm: one feature more over 14 as-ofs, the others {words}"
                        found[words] = Measured(label, size, outcome, 0.0)
    return found


def _best(label: str, job: str, size: Mapping[str, int], rounds: int, **more: object) -> Measured:
    outcomes = [_run(job, **size, **more) for _ in range(rounds)]
    best = min(outcomes, key=lambda outcome: float(outcome["seconds"]))
    worst_s = max(float(outcome["seconds"]) for outcome in outcomes)
    peak = max(int(outcome["peak_bytes"]) for outcome in outcomes)
    return Measured(label, size, {**best, "peak_bytes": peak}, worst_s / float(best["seconds"]) - 1.0)


def _run(job: str, **task: object) -> dict[str, Any]:
    """The outcome of one job in a process of its own."""
    print(f"  {job} { ({name: value for name, value in task.items() if name.startswith('n_')}) }", file=sys.stderr)
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.feature_jobs"]
    done = subprocess.run(
        command, input=json.dumps({"job": job, **task}), capture_output=True, text=True, timeout=TIME_LIMIT_S,
        check=False, cwd=PROJECT,
    )  # fmt: skip
    if done.returncode != 0:
        raise subprocess.SubprocessError(f"{job} failed: {done.stderr.strip()[-2000:]}")
    outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return outcome


def _figures(found: Mapping[str, Measured]) -> list[tuple[str, ...]]:
    year, quarter = found[f"pm_{N_DAYS}"], found["pm_90"]
    lines = [
        ("pm / pandas rolling, values a second", f"{year.values_per_s / found['pandas'].values_per_s:.2f}x"),
        ("pm / sktime WindowSummarizer, values a second", f"{year.values_per_s / found['sktime'].values_per_s:,.0f}x"),
        (
            "peak memory, 365 days of history / 90",
            f"{year.outcome['peak_bytes'] / quarter.outcome['peak_bytes']:.2f}x",
        ),
    ]
    if "day_after_30" in found:
        ratio = found[f"day_after_{N_DAYS}"].outcome["seconds"] / found["day_after_30"].outcome["seconds"]
        lines.append(("one more day after 365 days / after 30", f"{ratio:.2f}x"))
        saved = found["computed"].outcome["seconds"] / found["taken"].outcome["seconds"]
        lines.append(("a set with one feature more, computed as a whole / the others taken", f"{saved:.2f}x"))
        columns = found["computed"].outcome["values"] / found["taken"].outcome["values"]
        lines.append(("the same, feature columns computed", f"{columns:,.0f}x"))
    return lines


def _cells(one: Measured) -> tuple[str, ...]:
    seconds = one.outcome["seconds"]
    sizes = tuple(f"{one.size[name]:,}" for name in ("n_vehicles", "n_days", "n_signals"))
    rates = (f"{one.outcome['rows'] / seconds:,.0f}", f"{one.values_per_s / 1e6:,.3f}", f"{seconds:,.2f}")
    return (one.label, *sizes, *rates, f"{one.outcome['peak_bytes'] / MEGABYTE:,.0f}", f"{one.spread:.0%}")


if __name__ == "__main__":
    sys.exit(main())
