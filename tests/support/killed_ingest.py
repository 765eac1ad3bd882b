"""Ingests that are killed: a process that dies, or kills the database, at a chosen point of its talk with it.

What belongs here: `Ingester`, which tests use, and the program it starts. The program imports the product
once and forks for each ingest, so that a death costs a tenth of a second and not two.

A point is a call of psycopg's `Connection.wait`, through which everything goes that is said to the server:
BEGIN, a statement, each buffer of a COPY, its end, COMMIT, and what the sessions beside say. The product
knows nothing of this: psycopg is changed in the forked process alone.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import lru_cache
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal

PROJECT: Final = Path(__file__).resolve().parents[2]
TIME_LIMIT_S: Final = 60.0
_WARM_S: Final = 1_772_452_800
_FULL_AFTER: Final = 8

Victim = Literal["client", "session", "backend", "server"]
"""Who dies: the ingesting process, the session (as by pg_terminate_backend), the server's process of that session,
or all of the server's processes. All but the session get SIGKILL."""
Moment = Literal["before", "sent"]
"""Before the point is said, or when it has been sent and its answer has not been read."""


@dataclass(frozen=True)
class Death:
    """Who dies where; points are numbered from 1."""

    at: int
    moment: Moment = "before"
    victim: Victim = "client"
    data: str = ""
    """The server's data directory, for victim "server"."""


@dataclass(frozen=True)
class Order:
    """One ingest."""

    url: str
    path: str
    vehicle_id: int
    known_at: str
    dbc: tuple[str, ...]
    death: Death | None = None
    archive: str | None = None
    """With one: as `pm ingest` does it, with archive and quarantine."""


@dataclass(frozen=True)
class Ended:
    """How it ended."""

    signal: int | None = None
    """The signal that ended the process; None: it ended by itself."""
    n_points: int = 0
    """Points passed when the ingest was done; the last of them is its COMMIT."""
    error: str | None = None
    """Name of the exception's class."""
    said: str = ""
    log_file_id: int | None = None


class Ingester:
    """The program, running; `ingest` is one ingest in a process of its own."""

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._program = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=PROJECT,
            env=os.environ | {"PYTHONPATH": str(PROJECT)},
        )

    def __enter__(self) -> "Ingester":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._program.communicate(timeout=TIME_LIMIT_S)
        self._errors.close()

    def ingest(
        self,
        url: str,
        path: Path,
        vehicle_id: int,
        known_at: datetime,
        dbc: tuple[Path, ...],
        death: Death | None = None,
        *,
        archive: Path | None = None,
    ) -> Ended:
        kept = None if archive is None else str(archive)
        order = Order(url, str(path), vehicle_id, known_at.isoformat(), tuple(map(str, dbc)), death, kept)
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        try:
            self._program.stdin.write(json.dumps(asdict(order)) + "\n")
            self._program.stdin.flush()
            return Ended(**json.loads(self._program.stdout.readline()))
        except (BrokenPipeError, json.JSONDecodeError):
            self._errors.seek(0)
            raise RuntimeError(self._errors.read().decode("utf-8", "replace")) from None


def main() -> None:
    """Read orders from standard input, one a line; answer each with a line."""
    _warm()
    for line in sys.stdin:
        content = json.loads(line)
        death = None if content["death"] is None else Death(**content["death"])
        order = replace(Order(**content), dbc=tuple(content["dbc"]), death=death)
        _database(order.dbc)  # here, so that not every forked process reads it
        sys.stdout.write(json.dumps(asdict(_forked(order))) + "\n")
        sys.stdout.flush()


def _warm() -> None:
    """Import the product and load the kernels, and start no thread of polars: a fork would lose it."""
    from pm.canbus.dbc import load_dbc
    from pm.canbus.decode import LogDecoder
    from pm.canbus.logfile import open_log
    from pm.pipelines import ingest  # noqa: F401 - so that forked processes have it

    database = load_dbc([PROJECT / "dbc" / "j1939_open_subset.dbc"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "warm.log"
        path.write_text("".join(f"({_WARM_S + at}.000000) can0 18FEEE00#80FFFFFFFFFFFFFF\n" for at in range(50)))
        next(LogDecoder(database, staged_rows=_FULL_AFTER).batches(open_log(path)))
    threads = [task.joinpath("comm").read_text() for task in Path("/proc/self/task").iterdir()]
    if any(name.startswith("polars-0") for name in threads):
        raise RuntimeError("expected a process without polars' threads, but got one: forked processes would hang")


@lru_cache
def _database(dbc: tuple[str, ...]) -> Any:
    from pm.canbus.dbc import load_dbc

    return load_dbc([Path(name) for name in dbc])


def _forked(order: Order) -> Ended:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(reading)
            with os.fdopen(writing, "w") as answer:
                answer.write(json.dumps(asdict(_ingest(order))))
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    status = _wait(pid)
    with os.fdopen(reading) as answer:
        said = answer.read()
    if os.WIFSIGNALED(status):
        return Ended(signal=os.WTERMSIG(status))
    return Ended(**json.loads(said))


def _wait(pid: int) -> int:
    until = time.monotonic() + TIME_LIMIT_S
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(0.005)
    os.kill(pid, signal.SIGABRT)  # not SIGKILL, which the tests take for the death they asked for
    return os.waitpid(pid, 0)[1]


def _ingest(order: Order) -> Ended:
    from pm.pipelines.ingest import IngestJob, Keeping, ingest_log, ingest_logs
    from pm.policy import Policy
    from pm.store.connection import connect

    points = _watch(order.death)
    n_points = 0
    job = IngestJob(Path(order.path), order.vehicle_id, datetime.fromisoformat(order.known_at))
    try:
        if order.archive is not None:
            keeping, dbc = Keeping(order.archive), [Path(name) for name in order.dbc]
            (report,) = ingest_logs(order.url, [job], dbc=dbc, policy=Policy(), keeping=keeping)
            return Ended(n_points=next(points) - 1, said=report.refused or "", log_file_id=report.log_file_id)
        with connect(order.url) as conn:
            report = ingest_log(conn, job, _database(order.dbc), Policy())
            n_points = next(points) - 1
    except Exception as error:  # what the product let through is for the test to judge
        return Ended(error=type(error).__name__, said=str(error))
    return Ended(n_points=n_points, log_file_id=report.log_file_id)


def _watch(death: Death | None) -> "count[int]":
    """Count the points from here on, and strike at that of `death`."""
    import psycopg

    plain = psycopg.Connection.wait
    points = count(1)

    def wait(self: Any, gen: Any, *args: Any, **options: Any) -> Any:
        number = next(points)
        if death is not None and number == death.at:
            if death.moment == "before":
                _strike(death, self)
            else:
                gen = _sent(gen, death, self)
        return plain(self, gen, *args, **options)

    psycopg.Connection.wait = wait  # type: ignore[method-assign]
    return points


def _sent(gen: Any, death: Death, conn: Any) -> Generator[Any, Any, Any]:
    """`gen`, and the blow when it waits for the first time: what it says is then on its way."""
    struck = False
    try:
        state = next(gen)
        _strike(death, conn)
        struck = True
        while True:
            state = gen.send((yield state))
    except StopIteration as end:
        if not struck:
            _strike(death, conn)
        return end.value


def _strike(death: Death, conn: Any) -> None:
    if death.victim == "client":
        os.kill(os.getpid(), signal.SIGKILL)
    elif death.victim in ("session", "backend"):
        os.kill(conn.info.backend_pid, signal.SIGTERM if death.victim == "session" else signal.SIGKILL)
    else:
        kill_server(Path(death.data))


def kill_server(data: Path) -> None:
    """SIGKILL to every process that works in this data directory, the postmaster first."""
    postmaster = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
    others = [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _works_in(entry, data)]
    for pid in (postmaster, *(pid for pid in others if pid != postmaster)):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _works_in(entry: Path, data: Path) -> bool:
    try:
        return entry.joinpath("cwd").readlink() == data
    except OSError:
        return False


if __name__ == "__main__":
    main()
