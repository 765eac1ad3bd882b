"""`make bench-ingest`: candump files into databases and back, beside the plain ways of doing it, in one run.

What belongs here: the command line, the order of the measurements and what a run prints. Exit codes:
0 done, 1 when a measurement failed, or with `--check` when a floor is missed or could not be measured.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from benchmarks import ingest_rows, ingest_server, table
from benchmarks.ingest_jobs import KNOWN_AT, add_vehicle, make_chunks, policy_of, write_bytes
from benchmarks.ingest_rows import DatabaseRow, floors
from benchmarks.ingest_server import ENGINES, RunningServer, Size, fresh_database, telemetry_tables
from benchmarks.make_files import DBC, PROJECT, REAL_LOG, LogFiles, make_files, real_log
from benchmarks.rows import Measured, verdicts
from benchmarks.run import Outcome, Task, measure
from pm.canbus.dbc import load_dbc
from pm.pipelines.ingest import IngestJob, ingest_log
from pm.store.connection import connect
from pm.store.server_place import Engine

FOLDER: Final = PROJECT / ".pm" / "bench"
LOGS: Final = ("real", "dense")
FAILED: Final = "failed: "
NAME: Final = "bench-ingest"
_MOST_SECONDS_A_DAY: Final = 86_400


@dataclass(frozen=True)
class Reading:
    """A full database to read from: which vehicle, which day, which messages, the largest first."""

    url: str
    vehicle_id: int
    span: list[str]
    messages: list[str]


@dataclass(frozen=True)
class Place:
    """What is made once on a server for one log."""

    server: RunningServer
    bytes_folder: Path
    tables: dict[str, list[str]]
    """Columns of each table that the log fills at full rate."""
    sizes: list[Size]
    reading: Reading


Places = Mapping[tuple[str, Engine], Place]


def main() -> int:
    """Make files and databases, measure, print; returns the exit code."""
    arguments = _arguments()
    about = {"date": f"{datetime.now(UTC):%Y-%m-%d}"} | table.machine() | {"psycopg": version("psycopg")}
    logs = [make_files(name, arguments.folder, tenth=arguments.tenth) for name in _logs(arguments.logs)]
    absent = {}
    with ExitStack() as stack:
        servers = []
        for engine in arguments.engines:
            stack.callback(ingest_server.stop, engine, arguments.folder)
            found = ingest_server.start(engine, arguments.folder)
            if isinstance(found, str):
                absent[engine] = found
            else:
                servers.append(found)
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".ingest-", dir=arguments.folder)))
        places: Places = {
            (log.name, server.engine): stack.enter_context(_place(server, log, work))
            for log in logs
            for server in servers
        }
        measured = _rounds(_rows(arguments.rows, servers), logs, places, arguments.rounds, work)
    judged = verdicts(measured, floors([server.engine for server in servers])) if arguments.rows is None else []
    sizes = {where: place.sizes for where, place in places.items()}
    tables = [table.verdict_cells(judged), ingest_rows.size_cells(sizes), ingest_rows.cells(measured)]
    notes = _notes(arguments, about, servers, absent, logs)
    print("\n" + "\n\n".join([*(table.plain(cells) for cells in tables if len(cells) > 1), "\n".join(notes)]))
    failed = [one for one in measured if (one.problem or "").startswith(FAILED)]
    if arguments.markdown is not None and failed:
        print(f"{arguments.markdown}: not written, since {len(failed)} rows failed", file=sys.stderr)
    elif arguments.markdown is not None:
        text = "\n\n".join([*(table.markdown(cells) for cells in tables), *notes])
        table.put_into(arguments.markdown, text, name=NAME)
    if arguments.json is not None:
        content: dict[str, Any] = {"machine": about, "absent": absent}
        content |= {"servers": {one.name: one.version for one in servers}}
        content |= {"sizes": [_size_json(log, engine, size) for (log, engine), all_ in sizes.items() for size in all_]}
        content |= table.as_json(measured, judged)
        arguments.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    missed = [one for one in judged if one.floor.floor is not None and one.word != "ok"]
    is_short = bool(missed or not servers)
    return 1 if failed or (arguments.check and is_short) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=__doc__.partition("\n")[0])
    keys = [row.key for row in ingest_rows.ROWS]
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each row; the best counts")
    parser.add_argument("--logs", nargs="+", choices=LOGS, default=LOGS, help="which logs")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES, help="which servers")
    parser.add_argument("--rows", nargs="+", choices=keys, metavar="ROW", help="only these, without the floors")
    parser.add_argument("--tenth", action="store_true", help="files of a tenth of the frames, for trying it out")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where logs and servers are kept (about 8 GB)")
    parser.add_argument("--json", type=Path, help="write everything as JSON")
    parser.add_argument("--markdown", type=Path, help="write the tables between the marks in this file")
    parser.add_argument("--check", action="store_true", help="exit code 1 when a floor is missed")
    arguments = parser.parse_args()
    if arguments.markdown is not None and arguments.rows is not None:
        parser.error("--markdown: expected all rows, but got --rows as well")
    arguments.folder = arguments.folder.resolve()
    return arguments


def _logs(wanted: Sequence[str]) -> list[str]:
    if "real" in wanted and real_log() is None:
        print(f"no {REAL_LOG} in ../shared/can/logs: only the made-up log is measured")
        return ["dense"]
    return [name for name in LOGS if name in wanted]


def _rows(wanted: Sequence[str] | None, servers: Sequence[RunningServer]) -> list[DatabaseRow]:
    there = {server.engine for server in servers}
    return [
        row
        for row in ingest_rows.ROWS
        if (row.engine is None or row.engine in there) and (wanted is None or row.key in wanted)
    ]


def _notes(
    arguments: argparse.Namespace,
    about: Mapping[str, str],
    servers: Sequence[RunningServer],
    absent: Mapping[str, str],
    logs: Sequence[LogFiles],
) -> list[str]:
    notes = [
        ", ".join(f"{name} {value}" for name, value in about.items()),
        f"Servers: {', '.join(server.version for server in servers) or 'none'}. Best of {arguments.rounds} rounds.",
        *(f"Without {ingest_server.NAMES[engine]}: {reason}" for engine, reason in absent.items()),
    ]
    if arguments.tenth:
        notes.append("A tenth of the frames: for trying out, the ratios mean little.")
    if "real" in arguments.logs and "real" not in {log.name for log in logs}:
        notes.append(f"Without the real log: no {REAL_LOG} in ../shared/can/logs.")
    return notes


@contextmanager
def _place(server: RunningServer, log: LogFiles, work: Path) -> Iterator[Place]:
    """The log at full rate as bytes and on disk, and a database to read from, which lasts as long as the block."""
    print(f"{server.name}, {log.name}: databases to measure with", file=sys.stderr, flush=True)
    folder = work / f"{log.name}-{server.engine}"
    folder.mkdir()
    with fresh_database(server) as url:
        _ingest(url, log.path("full.log"), 0.0)
        with connect(url) as conn:
            tables = telemetry_tables(conn)
        write_bytes(url, tables, folder)
        sizes = ingest_server.sizes(server, url)
    with fresh_database(server) as url:
        vehicle_id = _ingest(url, log.path("four.log"), 1.0)
        for _ in range(2):
            _ingest(url, log.path("full.log"), 1.0)  # of other trucks
        yield Place(server, folder, tables, sizes, _reading(url, vehicle_id))


def _ingest(url: str, path: Path, sample_s: float) -> int:
    with connect(url) as conn:
        vehicle_id = add_vehicle(conn)
        ingest_log(conn, IngestJob(path, vehicle_id, KNOWN_AT), load_dbc([DBC]), policy_of(sample_s))
        return vehicle_id


def _reading(url: str, vehicle_id: int) -> Reading:
    """The UTC day in which the log begins; statistics and visibility as autovacuum would leave them."""
    with connect(url) as conn:
        conn.execute("VACUUM ANALYZE")
        row = conn.execute("SELECT min(first_at) FROM pm.log_file WHERE vehicle_id = %s", (vehicle_id,)).fetchone()
        counts = conn.execute(
            "SELECT message, max(n_rows) FROM pm.log_signal JOIN pm.log_file USING (log_file_id) WHERE vehicle_id = %s"
            " GROUP BY message ORDER BY 2 DESC, 1",
            (vehicle_id,),
        ).fetchall()
    assert row is not None  # noqa: S101 - an aggregate always has a row
    start = row[0].replace(hour=0, minute=0, second=0, microsecond=0)
    span = [start.isoformat(), (start + timedelta(seconds=_MOST_SECONDS_A_DAY)).isoformat()]
    return Reading(url, vehicle_id, span, [str(message) for message, _ in counts])


def _rounds(
    rows: Sequence[DatabaseRow], logs: Sequence[LogFiles], places: Places, n_rounds: int, work: Path
) -> list[Measured]:
    """All rows once a round, so that a busy minute of the machine meets all of them."""
    outcomes: dict[tuple[str, str], list[Outcome]] = {}
    steps = [(number, log, row) for number in range(1, n_rounds + 1) for log in logs for row in rows]
    for number, log, row in steps:
        earlier = outcomes.setdefault((log.name, row.key), [])
        is_enough = row.most_rounds is not None and len(earlier) >= row.most_rounds
        if is_enough or (earlier and (earlier[0].missing or earlier[0].failed)):
            continue
        print(f"round {number} of {n_rounds}, {log.name}: {row.label}", file=sys.stderr, flush=True)
        place = None if row.engine is None else places[log.name, row.engine]
        earlier.append(_measure(row, log, place, work))
    return [_measured(row, log, outcomes[log.name, row.key]) for log in logs for row in rows]


def _measure(row: DatabaseRow, log: LogFiles, place: Place | None, work: Path) -> Outcome:
    path = log.path(row.file)
    _read_whole(path)
    warm_file = str(log.path("warm.log"))
    task = Task(row.job, str(DBC), [str(path)] * row.n_files, warm_file, row.is_pinned, dict(row.options))
    if place is None:
        return measure(task, PROJECT)
    if row.needs == "reading":
        reading = place.reading
        messages = reading.messages[:1] if row.key.endswith("1") else reading.messages
        where = {"url": reading.url, "vehicle_id": reading.vehicle_id, "span": reading.span, "messages": messages}
        return measure(replace(task, warm_file=None, options=task.options | where), PROJECT)
    with fresh_database(place.server) as url, tempfile.TemporaryDirectory(dir=work) as archive:
        options: dict[str, Any] = {"url": url}
        if task.options.get("archive"):
            options["archive"] = archive
        if "n_processes" in task.options:
            return measure(
                replace(task, warm_file=None, options=task.options | options | {"warm_file": warm_file}), PROJECT
            )
        if row.needs == "bytes":
            make_chunks(url, place.tables, place.bytes_folder)
            _read_whole(*place.bytes_folder.iterdir())
            options |= {"folder": str(place.bytes_folder), "tables": place.tables}
            return measure(replace(task, warm_file=None, options=task.options | options), PROJECT)
        return measure(replace(task, options=task.options | options), PROJECT)


def _read_whole(*paths: Path) -> None:
    """Into the system's cache, for everybody."""
    for path in paths:
        with path.open("rb") as stream:
            while stream.read(1 << 20):
                pass


def _measured(row: DatabaseRow, log: LogFiles, outcomes: Sequence[Outcome]) -> Measured:
    problem = next((o.missing or f"{FAILED}{o.failed}" for o in outcomes if o.missing or o.failed), None)
    first = outcomes[0]
    expected = log.frames[row.file] * row.n_files if first.frames else 0
    if problem is None and any((one.frames, one.rows) != (expected, first.rows) for one in outcomes):
        problem = f"{FAILED}expected {expected:,} frames and {first.rows} rows in every round, but got others"
    if problem is not None:
        return Measured(row, log.name, problem=problem)
    peaks = [one.peak_bytes for one in outcomes if one.peak_bytes is not None]
    seconds = tuple(one.seconds for one in outcomes)
    return Measured(row, log.name, seconds, first.frames, first.values, max(peaks, default=None), rows=first.rows)


def _size_json(log: str, engine: Engine, size: Size) -> dict[str, Any]:
    return {"log": log, "engine": engine} | asdict(size)


if __name__ == "__main__":
    sys.exit(main())
