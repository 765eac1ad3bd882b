"""Which measurements there are, and which of their ratios have a floor.

What belongs here: the lists. Measuring is `run.py`, showing is `table.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

MEGABYTE: Final = 1_000_000


@dataclass(frozen=True)
class Row:
    """One line of the table: a job on a file of each log."""

    key: str
    label: str
    job: str
    file: str
    n_files: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    is_pinned: bool = True


@dataclass(frozen=True)
class Measured:
    """What the rounds of one row gave."""

    row: Row
    log: str
    seconds: tuple[float, ...] = ()
    """One a round."""
    frames: int = 0
    values: int | None = None
    peak_bytes: int | None = None
    """The highest of all rounds."""
    problem: str | None = None
    """Why there is no measurement."""
    rows: int | None = None
    """Of a database."""

    @property
    def best_s(self) -> float:
        return min(self.seconds)

    @property
    def frames_per_s(self) -> float:
        return self.frames / self.best_s

    @property
    def spread(self) -> float:
        """How much longer than the best the worst round took, as a part of the best."""
        return max(self.seconds) / self.best_s - 1.0


ROWS: Final = (
    Row("columns", "pm: candump to columns, streamed", "product.Columns", "full.log"),
    Row("kept", "pm: candump to columns, all kept in memory", "product.KeptColumns", "full.log"),
    Row("parquet", "pm: candump to Parquet on disk", "product.Parquet", "full.log"),
    Row("sample", "pm: candump to columns, last frame a second", "product.Columns", "full.log", 1, {"sample_s": 1.0}),
    Row("blf", "pm: BLF to columns", "product.Columns", "half.blf"),
    Row("mf4", "pm: MF4 to columns", "product.Columns", "full.mf4"),
    Row("asc", "pm: ASC to columns", "product.Columns", "half.asc"),
    Row("trc", "pm: TRC to columns", "product.Columns", "half.trc"),
    Row("csv", "pm: CSV (python-can) to columns", "product.Columns", "half.csv"),
    Row("columns4", "pm: candump to columns, file 4 times as long", "product.Columns", "four.log"),
    Row("parquet4", "pm: candump to Parquet, file 4 times as long", "product.Parquet", "four.log"),
    Row("pool1", "pm: two logs to columns, 1 process", "product.Pool", "four.log", 2, {"n_processes": 1}, False),
    Row("pool2", "pm: two logs to columns, 2 processes", "product.Pool", "four.log", 2, {"n_processes": 2}, False),
    Row("cantools", "python-can + cantools: candump, frame by frame", "competitors.Cantools", "short.log"),
    Row("blfreader", "python-can: BLF, reading only", "competitors.BlfReader", "short.blf"),
    Row("asammdf", "asammdf: MF4, extract_bus_logging", "competitors.Asammdf", "full.mf4"),
    Row("asammdf_arrays", "asammdf: the same, and into arrays", "competitors.Asammdf", "full.mf4", 1, {"arrays": True}),
    Row("can_decoder", "can_decoder: pandas frame made before", "competitors.CanDecoder", "short.log"),
    Row("plain_c", "plain C loop: candump to columns, streamed", "competitors.PlainLoop", "full.log"),
)

STREAMING_KEYS: Final = ("columns", "parquet", "sample", "blf", "asc", "trc", "csv", "columns4", "parquet4")
"""Rows whose memory must not depend on the file; asammdf's own opening of MF4 is not the product's."""


@dataclass(frozen=True)
class Floor:
    """A figure that has to be reached: at least `floor`, or at most where `is_limit`. None: only told."""

    label: str
    figure: Callable[[Mapping[str, Measured]], float]
    """Of the rows of one log; raises KeyError where one of them was not measured."""
    floor: float | None
    aim: float | None = None
    is_limit: bool = False
    unit: str = "x"


@dataclass(frozen=True)
class Verdict:
    """A floor held against the measurements of one log."""

    floor: Floor
    log: str
    figure: float | None
    """None where a measurement is missing."""

    @property
    def word(self) -> str:
        """ok, below, above, or why it cannot be said."""
        if self.figure is None:
            return "not measured"
        if self.floor.floor is None:
            return ""
        if self.floor.is_limit:
            return "ok" if self.figure <= self.floor.floor else "above"
        return "ok" if self.figure >= self.floor.floor else "below"


def times(ours: str, theirs: str) -> Callable[[Mapping[str, Measured]], float]:
    """Frames a second of one row over those of another."""
    return lambda rows: rows[ours].frames_per_s / rows[theirs].frames_per_s


def peak_mb(*keys: str) -> Callable[[Mapping[str, Measured]], float]:
    """The highest peak memory of these rows, in MB."""
    return lambda rows: max(rows[key].peak_bytes or 0 for key in keys) / MEGABYTE


def growth(longer: str, shorter: str) -> Callable[[Mapping[str, Measured]], float]:
    """Peak memory of one row over that of another."""
    return lambda rows: peak_mb(longer)(rows) / peak_mb(shorter)(rows)


FLOORS: Final = (
    Floor("candump to columns / python-can + cantools", times("columns", "cantools"), 60, 150),
    Floor("candump to columns / asammdf (MF4)", times("columns", "asammdf"), 5, 12),
    Floor("candump to columns / asammdf (MF4) into arrays", times("columns", "asammdf_arrays"), None),
    Floor("candump to columns / can_decoder", times("columns", "can_decoder"), None),
    Floor("candump to columns / plain C loop", times("columns", "plain_c"), None, 1),
    Floor("all columns kept / python-can + cantools", times("kept", "cantools"), None),
    Floor("all columns kept / asammdf (MF4) into arrays", times("kept", "asammdf_arrays"), None),
    Floor("candump to Parquet / asammdf (MF4) to memory", times("parquet", "asammdf"), 3),
    Floor("BLF to columns / python-can's reader", times("blf", "blfreader"), 10),
    Floor("MF4 to columns / asammdf", times("mf4", "asammdf"), 1),
    Floor("two processes / one", times("pool2", "pool1"), 1.8),
    Floor("highest peak memory, all but MF4 and kept", peak_mb(*STREAMING_KEYS), 350, is_limit=True, unit=" MB"),
    Floor("peak of columns, file 4 times as long / 1", growth("columns4", "columns"), 1.1, is_limit=True),
    Floor("peak of Parquet, file 4 times as long / 1", growth("parquet4", "parquet"), 1.1, is_limit=True),
)


def verdicts(measured: Sequence[Measured], floors: Sequence[Floor] = FLOORS) -> list[Verdict]:
    """Every floor held against every log."""
    found = []
    for log in dict.fromkeys(one.log for one in measured):
        rows = {one.row.key: one for one in measured if one.log == log and one.problem is None}
        for floor in floors:
            try:
                figure = floor.figure(rows)
            except KeyError:
                figure = None
            found.append(Verdict(floor, log, figure))
    return found
