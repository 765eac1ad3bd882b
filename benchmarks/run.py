"""One measurement in a process of its own: pinned to one core, warmed, then timed once.

What belongs here: starting that process, what it does, and what it hands back. What is measured is a
job (`product.py`, `competitors.py`); how often, and what comes of it, is `decode.py`.

As a program (`python -m benchmarks.run`) it reads a task as JSON from its standard input and prints the
outcome as the last line of its standard output.
"""

import importlib
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.job import Job, NotInstalledError

TIME_LIMIT_S: Final = 1800
_KILOBYTE: Final = 1024


@dataclass(frozen=True)
class Task:
    """What a process is to measure."""

    job: str
    """Class of the job, "module.Class"."""
    dbc: str
    files: list[str]
    warm_file: str | None = None
    """A short log of the same format, decoded before; None: the first run is the measured one."""
    is_pinned: bool = True
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What a process measured, or why it could not."""

    seconds: float = 0.0
    frames: int = 0
    values: int | None = None
    peak_bytes: int | None = None
    missing: str | None = None
    """What to install, where that is why there is no measurement."""
    failed: str | None = None
    rows: int | None = None


def measure(task: Task, folder: Path) -> Outcome:
    """Do `task` in a new process whose working folder, and so whose code, is `folder`."""
    # -I would forget PYTHONPATH, where a comparator may have been put.
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.run"]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(asdict(task)),
            capture_output=True,
            text=True,
            cwd=folder,
            timeout=TIME_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(failed=f"not done after {TIME_LIMIT_S} s")
    if done.returncode:
        return Outcome(failed=(done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    return Outcome(**json.loads(done.stdout.splitlines()[-1]))


def _do(task: Task) -> Outcome:
    if task.is_pinned and hasattr(os, "sched_setaffinity"):
        # Before anything is imported: thread pools take their size from it.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    module, _, name = task.job.rpartition(".")
    try:
        job: Job = getattr(importlib.import_module(f"benchmarks.{module}"), name)(Path(task.dbc), **task.options)
    except NotInstalledError as reason:
        return Outcome(missing=str(reason))
    if task.warm_file is not None:
        job.counts(job.run([Path(task.warm_file)]))
    files = [Path(file) for file in task.files]
    before = getattr(job, "before", None)
    if before is not None:
        before(files)
    began = time.perf_counter()
    result = job.run(files)
    seconds = time.perf_counter() - began
    peak_bytes = peak_memory_bytes()
    counts = job.counts(result)
    return Outcome(
        counts.seconds or seconds,
        counts.frames,
        counts.values,
        peak_bytes if counts.peak_bytes is None else counts.peak_bytes or None,
        rows=counts.rows,
    )


def peak_memory_bytes() -> int:
    """Highest resident memory of this process so far."""
    status = Path("/proc/self/status")
    if status.is_file():
        # ru_maxrss of a new process begins at that of the process that started it (Linux, execve).
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * _KILOBYTE
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * _KILOBYTE


if __name__ == "__main__":
    print(json.dumps(asdict(_do(Task(**json.load(sys.stdin))))))
