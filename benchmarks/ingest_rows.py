"""Which measurements of ingest there are, which of their ratios have a floor, and the table they make.

What belongs here: the lists. Measuring is `ingest.py`, the databases are `ingest_server.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from benchmarks.ingest_server import ENGINES, NAMES, Size
from benchmarks.rows import MEGABYTE, Floor, Measured, Row, growth, times
from benchmarks.table import Cells
from pm.store.server_place import Engine

Needs = Literal["nothing", "database", "bytes", "reading"]
"""What a row works in: nothing, a fresh database, one with chunks and the bytes of the rows, or one that is full."""

EXECUTEMANY_SHARE: Final = 0.02
N_FILES: Final = 8


@dataclass(frozen=True)
class DatabaseRow(Row):
    """One line of the table."""

    engine: Engine | None = None
    needs: Needs = "nothing"
    most_rounds: int | None = None
    """For what takes long and is measured for its memory alone."""


def _rows_of(engine: Engine) -> tuple[DatabaseRow, ...]:
    def row(  # noqa: PLR0917 - a table is easier to read without names in each line
        key: str, label: str, job: str, file: str, needs: Needs, n_files: int = 1, most_rounds: int | None = None,
        **options: object,
    ) -> DatabaseRow:  # fmt: skip
        name = f"{NAMES[engine]}: {label}"
        # Not pinned to a core: the server is a process of its own, and takes part of the work.
        return DatabaseRow(
            f"{engine}.{key}", name, f"ingest_jobs.{job}", file, n_files, options, False, engine, needs, most_rounds
        )

    pool, read = "IngestPool", "ReadBack"
    many = f"{N_FILES} logs to committed rows, last frame a second"
    return (
        row("sample", "candump to committed rows, last frame a second", "Ingest", "full.log", "database", sample_s=1.0),
        row("sample_kept", "the same, and the raw file archived", "Ingest", "full.log", "database", sample_s=1.0,
            archive=True),
        row("sample4", "without archive, file 4 times as long", "Ingest", "four.log", "database", sample_s=1.0),
        row("every", "candump to committed rows, every frame", "Ingest", "full.log", "database", sample_s=0.0),
        row("copy", "bare binary COPY of the same bytes", "BareCopy", "full.log", "bytes"),
        row("many", "psycopg executemany of some of the rows", "ExecuteMany", "full.log", "bytes",
            share=EXECUTEMANY_SHARE),
        row("every4", "every frame, file 4 times as long", "Ingest", "four.log", "database", most_rounds=1,
            sample_s=0.0),
        row("pool1", f"{many}, 1 process", pool, "full.log", "database", N_FILES, sample_s=1.0, n_processes=1),
        row("pool2", f"{many}, 2 processes", pool, "full.log", "database", N_FILES, sample_s=1.0, n_processes=2),
        row("read1", "a day of one truck, its largest message", read, "warm.log", "reading", way="fetch_signals"),
        row("fetchall1", "the same, psycopg fetchall into polars", read, "warm.log", "reading", way="fetchall"),
        row("read", "a day of one truck, all messages", read, "warm.log", "reading", way="fetch_signals"),
        row("fetchall", "the same, psycopg fetchall into polars", read, "warm.log", "reading", way="fetchall"),
    )  # fmt: skip


DECODING: Final = DatabaseRow(
    "cantools", "python-can + cantools: decoding alone, no database", "competitors.Cantools", "short.log"
)
ROWS: Final = (DECODING, *(row for engine in ENGINES for row in _rows_of(engine)))


def _rows_per_s(one: Measured) -> float:
    return (one.rows or 0) / one.best_s


def _rows_times(ours: str, theirs: str) -> Callable[[Mapping[str, Measured]], float]:
    return lambda rows: _rows_per_s(rows[ours]) / _rows_per_s(rows[theirs])


def _milliseconds(key: str) -> Callable[[Mapping[str, Measured]], float]:
    return lambda rows: rows[key].best_s * 1e3


def _floors_of(engine: Engine) -> tuple[Floor, ...]:
    def key(name: str) -> str:
        return f"{engine}.{name}"

    name = NAMES[engine]
    decoding = DECODING.key
    return (
        Floor(f"{name}: committed rows at 1 s / decoding alone by python-can + cantools",
              times(key("sample"), decoding), 30, 60),
        Floor(f"{name}: the same, files two at a time, one a process", times(key("pool2"), decoding), 30, 60),
        Floor(f"{name}: the same with the raw file archived", times(key("sample_kept"), decoding), None),
        Floor(f"{name}: every frame, rows/s / bare binary COPY", _rows_times(key("every"), key("copy")), 0.7),
        Floor(f"{name}: every frame, rows/s / executemany", _rows_times(key("every"), key("many")), None),
        Floor(f"{name}: peak memory at 1 s, file 4 times as long / 1", growth(key("sample4"), key("sample")), 1.1,
              is_limit=True),
        Floor(f"{name}: peak memory of every frame, file 4 times as long / 1", growth(key("every4"), key("every")), 1.1,
              is_limit=True),
        Floor(f"{name}: two processes / one", times(key("pool2"), key("pool1")), None),
        Floor(f"{name}: a day of one truck, its largest message", _milliseconds(key("read1")), None, unit=" ms"),
        Floor(f"{name}: a day of one truck, all messages", _milliseconds(key("read")), None, unit=" ms"),
        Floor(f"{name}: reading one message / fetchall into polars", _rows_times(key("read1"), key("fetchall1")), None),
        Floor(f"{name}: reading all messages / fetchall into polars", _rows_times(key("read"), key("fetchall")), None),
    )  # fmt: skip


def floors(engines: Sequence[Engine]) -> tuple[Floor, ...]:
    """What is held against the measurements on these servers."""
    return tuple(floor for engine in engines for floor in _floors_of(engine))


_HEADINGS: Final = ("log", "what", "seconds", "frames", "Mframes/s", "rows", "krows/s", "peak MB", "spread")


def cells(measured: Sequence[Measured]) -> Cells:
    """The table of measurements, with its headings first."""
    return [_HEADINGS, *(_cells(one) for one in measured)]


def _cells(one: Measured) -> tuple[str, ...]:
    if one.problem is not None:
        return (one.log, one.row.label, one.problem)
    frames = f"{one.frames:,}" if one.frames else ""
    speed = f"{one.frames_per_s / 1e6:,.2f}" if one.frames else ""
    rows = "" if one.rows is None else f"{one.rows:,}"
    rate = "" if one.rows is None else f"{_rows_per_s(one) / 1e3:,.0f}"
    peak = "" if one.peak_bytes is None else f"{one.peak_bytes / MEGABYTE:,.0f}"
    seconds = f"{one.best_s:.4f}" if one.best_s < 1 else f"{one.best_s:.2f}"
    return (one.log, one.row.label, seconds, frames, speed, rows, rate, peak, f"{one.spread:.0%}")


_SIZE_HEADINGS: Final = ("log", "stored as", "values", "MB", "bytes a value", "/ wide")


def size_cells(found: Mapping[tuple[str, Engine], Sequence[Size]]) -> Cells:
    """What values take on disk, by (log, engine)."""
    table: Cells = [_SIZE_HEADINGS]
    for (log, engine), measured in found.items():
        wide = next((size for size in measured if size.n_values), None)
        for size in measured:
            name = f"{NAMES[engine]}, {size.stored_as}"
            if size.problem is not None or wide is None or not size.n_values:
                table.append((log, name, size.problem or "no values"))
                continue
            each = size.n_bytes / size.n_values
            share = each / (wide.n_bytes / wide.n_values)
            table.append(
                (log, name, f"{size.n_values:,}", f"{size.n_bytes / MEGABYTE:,.1f}", f"{each:.1f}", f"{share:.2f}x")
            )
    return table
