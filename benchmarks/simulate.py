"""`make bench-simulate`: physical values to log files, beside cantools and python-can, in one run.

What belongs here: the command line, the rows, their floors and what a run prints. Exit codes: 0 done,
1 when a measurement failed, or with `--check` when a floor is missed.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks import table
from benchmarks.make_files import DBC, PROJECT
from benchmarks.rows import Floor, Measured, Row, times, verdicts
from benchmarks.run import Outcome, Task, measure

NAME: Final = "bench-simulate"
N_FRAMES: Final = 2_000_000
N_SHORT: Final = 100_000
LOG: Final = "made-up"
_OURS: Final = {"candump": "pm: values to candump", "blf": "pm: values to BLF", "mf4": "pm: values to MF4"}
_THEIRS: Final = {
    "candump": "cantools.encode + python-can: candump",
    "blf": "cantools.encode + python-can: BLF",
    "mf4": "cantools.encode + python-can (asammdf): MF4",
}


def main() -> int:
    """Measure, print; returns the exit code."""
    arguments = _arguments()
    about = {"date": f"{datetime.now(UTC):%Y-%m-%d}"} | table.machine()
    measured = _rounds(_rows(10 if arguments.tenth else 1), arguments.rounds)
    judged = verdicts(measured, FLOORS)
    notes = [
        ", ".join(f"{name} {value}" for name, value in about.items()),
        f"One core. Best of {arguments.rounds} rounds. Seconds are those on the processor.",
    ]
    if arguments.tenth:
        notes.append("A tenth of the frames: for trying out, the ratios mean little.")
    tables = [table.verdict_cells(judged), table.row_cells(measured)]
    print("\n" + "\n\n".join([*(table.plain(cells) for cells in tables), "\n".join(notes)]))
    failed = [one for one in measured if one.problem is not None]
    if arguments.markdown is not None and not failed:
        text = "\n\n".join([*(table.markdown(cells) for cells in tables), *notes])
        table.put_into(arguments.markdown, text, name=NAME)
    if arguments.json is not None:
        content: dict[str, Any] = {"machine": about} | table.as_json(measured, judged)
        arguments.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    missed = [one for one in judged if one.floor.floor is not None and one.word != "ok"]
    return 1 if failed or (arguments.check and missed) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulate", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each row; the best counts")
    parser.add_argument("--tenth", action="store_true", help="a tenth of the frames, for trying it out")
    parser.add_argument("--json", type=Path, help="write everything as JSON")
    parser.add_argument("--markdown", type=Path, help="write the tables between the marks in this file")
    parser.add_argument("--check", action="store_true", help="exit code 1 when a floor is missed")
    return parser.parse_args()


def _rows(divisor: int) -> list[Row]:
    long, short = N_FRAMES // divisor, N_SHORT // divisor
    ours = [
        Row(format_, label, "simulate_jobs.Product", format_, options={"format": format_, "n_frames": long})
        for format_, label in _OURS.items()
    ]
    theirs = [
        Row(f"{format_}_others", label, "simulate_jobs.Others", format_, options={"format": format_, "n_frames": short})
        for format_, label in _THEIRS.items()
    ]
    size = {"n_vehicles": 3, "n_days": max(360 // divisor, 30)}
    whole = Row("trucks", "pm: whole trucks, physics and files", "simulate_jobs.Truck", "fleet", options=size)
    return [*ours, *theirs, whole]


def _rate(key: str) -> Callable[[Mapping[str, Measured]], float]:
    return lambda rows: rows[key].frames_per_s / 1e6


FLOORS: Final = (
    *(Floor(label, _rate(key), 1.0, unit=" Mframes/s") for key, label in _OURS.items()),
    *(Floor(f"{label} / {_THEIRS[key]}", times(key, f"{key}_others"), None) for key, label in _OURS.items()),
)


def _rounds(rows: Sequence[Row], n_rounds: int) -> list[Measured]:
    outcomes: dict[str, list[Outcome]] = {row.key: [] for row in rows}
    for number in range(1, n_rounds + 1):
        for row in rows:
            print(f"round {number} of {n_rounds}: {row.label}", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory() as folder:
                files = [str(Path(folder) / f"{name}.{row.file}") for name in ("measured", "warm")]
                task = Task(row.job, str(DBC), files[:1], files[1], row.is_pinned, dict(row.options))
                outcomes[row.key].append(measure(task, PROJECT))
    return [_measured(row, outcomes[row.key]) for row in rows]


def _measured(row: Row, outcomes: Sequence[Outcome]) -> Measured:
    problem = next((one.missing or one.failed for one in outcomes if one.missing or one.failed), None)
    if problem is not None:
        return Measured(row, LOG, problem=f"failed: {problem}")
    peaks = [one.peak_bytes for one in outcomes if one.peak_bytes is not None]
    seconds = tuple(one.seconds for one in outcomes)
    return Measured(row, LOG, seconds, outcomes[0].frames, outcomes[0].values, max(peaks, default=None))


if __name__ == "__main__":
    sys.exit(main())
