"""`make bench-decode`: the product and other libraries on the same logs, side by side in one run.

What belongs here: the command line, the order of the measurements and what a run prints. Exit codes:
0 done, 1 when a measurement failed, or with `--check` when a floor is missed or could not be measured.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks import table
from benchmarks.make_files import DBC, PROJECT, REAL_LOG, SUFFIXES, LogFiles, make_files, real_log
from benchmarks.rows import ROWS, Measured, Row, verdicts
from benchmarks.run import Outcome, Task, measure

FOLDER: Final = PROJECT / ".pm" / "bench"
LOGS: Final = ("real", "dense")
FAILED: Final = "failed: "
_POOL: Final = "product.Pool"


def main() -> int:
    """Make the files, measure, print; returns the exit code."""
    arguments = _arguments()
    about = {"date": f"{datetime.now(UTC):%Y-%m-%d}"} | table.machine()
    logs = [make_files(name, arguments.folder, tenth=arguments.tenth) for name in _logs(arguments.logs)]
    rows = [row for row in ROWS if arguments.rows is None or row.key in arguments.rows]
    first = _first_run(logs[-1])
    _compile_kernels(logs[-1])
    measured = _rounds(rows, logs, arguments.rounds)
    judged = verdicts(measured) if arguments.rows is None else []
    cells, floors = table.row_cells(measured), table.verdict_cells(judged)
    notes = [
        ", ".join(f"{name} {value}" for name, value in about.items()),
        f"Best of {arguments.rounds} rounds.",
        first,
    ]
    if arguments.tenth:
        notes.append("A tenth of the frames: for trying out, the ratios mean little.")
    if "real" not in {log.name for log in logs} and "real" in arguments.logs:
        notes.append(f"Without the real log: no {REAL_LOG} in ../shared/can/logs.")
    print("\n" + "\n\n".join([table.plain(cells), *([table.plain(floors)] if judged else []), "\n".join(notes)]))
    failed = [one for one in measured if (one.problem or "").startswith(FAILED)]
    if failed and arguments.markdown is not None:
        print(f"{arguments.markdown}: not written, since {len(failed)} rows failed", file=sys.stderr)
    elif arguments.markdown is not None:
        text = "\n\n".join([table.markdown(floors), table.markdown(cells), *notes])
        table.put_into(arguments.markdown, text, name="bench-decode")
    if arguments.json is not None:
        content = {"machine": about, "first_run": first} | table.as_json(measured, judged)
        arguments.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    missed = [one for one in judged if one.floor.floor is not None and one.word != "ok"]
    return 1 if failed or (arguments.check and missed) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decode", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each row; the best counts")
    parser.add_argument("--logs", nargs="+", choices=LOGS, default=LOGS, help="which logs")
    parser.add_argument("--rows", nargs="+", choices=[row.key for row in ROWS], help="only these, without the floors")
    parser.add_argument("--tenth", action="store_true", help="files of a tenth of the frames, for trying it out")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the logs are kept (about 2 GB)")
    parser.add_argument("--json", type=Path, help="write everything as JSON")
    parser.add_argument("--markdown", type=Path, help="write the tables between the marks in this file")
    parser.add_argument("--check", action="store_true", help="exit code 1 when a floor is missed")
    arguments = parser.parse_args()
    if arguments.markdown is not None and arguments.rows is not None:
        parser.error("--markdown: expected all rows, but got --rows as well")
    return arguments


def _logs(wanted: Sequence[str]) -> list[str]:
    if "real" in wanted and real_log() is None:
        print(f"no {REAL_LOG} in ../shared/can/logs: only the made-up log is measured")
        return ["dense"]
    return [name for name in LOGS if name in wanted]


def _first_run(log: LogFiles) -> str:
    """How long the very first decoding takes, with kernels to compile, and the first one of later processes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for package in ("pm", "benchmarks"):
            shutil.copytree(PROJECT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        short = str(log.path("warm.log"))
        cold = Task("product.Columns", str(DBC), [short])
        warm = Task("product.Columns", str(DBC), [short], short)
        outcomes = [measure(task, folder) for task in (cold, cold, warm)]
    failed = [outcome.failed for outcome in outcomes if outcome.failed]
    if failed:
        return f"First run: not measured ({failed[0]})."
    compiled, loaded, ready = (outcome.seconds for outcome in outcomes)
    return (
        f"First run on {outcomes[0].frames:,} frames, kernels compiled: {compiled:.2f} s; first run of a later "
        f"process, kernels loaded: {loaded:.2f} s; second run of a process: {ready:.3f} s."
    )


def _compile_kernels(log: LogFiles) -> None:
    """Decode a short log of each format, so that no measured process compiles: that takes memory as well."""
    print("compiling the kernels of every format", file=sys.stderr, flush=True)
    for suffix in SUFFIXES:
        measure(Task("product.Columns", str(DBC), [str(log.path(f"warm.{suffix}"))]), PROJECT)


def _rounds(rows: Sequence[Row], logs: Sequence[LogFiles], n_rounds: int) -> list[Measured]:
    """All rows once a round, so that a busy minute of the machine meets all of them."""
    outcomes: dict[tuple[str, str], list[Outcome]] = {}
    steps = [(number, log, row) for number in range(1, n_rounds + 1) for log in logs for row in rows]
    for number, log, row in steps:
        print(f"round {number} of {n_rounds}, {log.name}: {row.label}", file=sys.stderr, flush=True)
        earlier = outcomes.setdefault((log.name, row.key), [])
        if not (earlier and (earlier[0].missing or earlier[0].failed)):
            earlier.append(measure(_task(row, log), PROJECT))
    return [_measured(row, log, outcomes[log.name, row.key]) for log in logs for row in rows]


def _task(row: Row, log: LogFiles) -> Task:
    path = log.path(row.file)
    warm_file = str(log.path(f"warm{path.suffix}"))
    with path.open("rb") as stream:
        while stream.read(1 << 20):  # into the system's cache, for everybody
            pass
    files = [str(path)] * row.n_files
    if row.job == _POOL:
        return Task(row.job, str(DBC), files, None, row.is_pinned, row.options | {"warm_file": warm_file})
    return Task(row.job, str(DBC), files, warm_file, row.is_pinned, row.options)


def _measured(row: Row, log: LogFiles, outcomes: Sequence[Outcome]) -> Measured:
    problem = next((o.missing or f"{FAILED}{o.failed}" for o in outcomes if o.missing or o.failed), None)
    expected = log.frames[row.file] * row.n_files
    if problem is None and any(outcome.frames != expected for outcome in outcomes):
        problem = f"{FAILED}expected {expected:,} frames, but got {outcomes[0].frames:,}"
    if problem is not None:
        return Measured(row, log.name, problem=problem)
    peaks = [outcome.peak_bytes for outcome in outcomes if outcome.peak_bytes is not None]
    seconds = tuple(outcome.seconds for outcome in outcomes)
    return Measured(row, log.name, seconds, outcomes[0].frames, outcomes[0].values, max(peaks, default=None))


if __name__ == "__main__":
    sys.exit(main())
