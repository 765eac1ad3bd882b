"""Reading a file by its mapping: rows in batches, what was left out, what was refused and why.

What belongs here: what all kinds of import share before their rows differ, and the report they end with.
"""

import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from pm.errors import ConfigError, DataError
from pm.pipelines.imports.mapping import FileMapping, Value
from pm.pipelines.imports.mapping_cells import RowValues
from pm.pipelines.imports.tabular_batches import TableFile, open_table
from pm.pipelines.log_transaction import file_sha256
from pm.pipelines.sifting import without_vin
from pm.progress import Track
from pm.store import imports
from pm.store.connection import Connection
from pm.store.imports import KEPT_REJECTED, ImportedFile, RejectedRow

_FORMATS: Final = {
    ".csv": "csv", ".txt": "csv", ".tsv": "csv", ".parquet": "parquet", ".pq": "parquet",
    ".jsonl": "jsonl", ".ndjson": "jsonl",
}  # fmt: skip
_GOT: Final = re.compile(r", but got '.*?'(?=;|$)", re.DOTALL)
_MOST_REASONS: Final = 200
ROUNDED: Final = "rounded "
"""Counts of a tally that are of values stored with less precision, by signal."""


@dataclass(frozen=True)
class ImportReport:
    """What came of one file."""

    path: Path
    kind: str
    n_rows: int
    """Rows in the file."""
    n_left_out: int
    """Rows that the mapping's [where] does not take."""
    n_rejected: int
    n_stored: int
    """Rows of all tables together that were new and are stored."""
    n_repeated: int
    """Rows that were stored before, or have the key of another row that was known before."""
    was_there: bool
    """The same file was imported by the same mapping before."""
    reasons: dict[str, int]
    """How many rows were refused by reason; a row may have several."""
    rejected: tuple[RejectedRow, ...] = ()
    """The first refused rows."""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass
class Tally:
    """Counts of one file while it is read."""

    n_rows: int = 0
    n_left_out: int = 0
    n_rejected: int = 0
    kept: list[RejectedRow] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    counts: dict[str, int] = field(default_factory=dict)
    """Values that were not used, by reason."""
    began: float = field(default_factory=time.perf_counter)

    def refuse(self, rows: Iterable[RejectedRow]) -> None:
        for row in rows:
            self.n_rejected += 1
            if len(self.kept) < KEPT_REJECTED:
                self.kept.append(row)
            for reason in _GOT.sub("", row.reason).split("; "):
                known = reason in self.reasons or len(self.reasons) < _MOST_REASONS
                self.reasons[reason if known else "other reasons"] += 1

    def report(
        self, path: Path, kind: str, *, n_stored: int, n_repeated: int, was_there: bool, notes: Iterable[str] = ()
    ) -> ImportReport:
        return ImportReport(
            path,
            kind,
            self.n_rows,
            self.n_left_out,
            self.n_rejected,
            n_stored,
            n_repeated,
            was_there,
            dict(self.reasons.most_common()),
            tuple(sorted(self.kept, key=lambda row: row.line)),
            tuple(notes),
            time.perf_counter() - self.began,
        )


def identify(path: Path, mapping: FileMapping) -> ImportedFile:
    """What is imported: the file's hash, size, name and format.

    Raises:
        DataError: the file cannot be read.
        ConfigError: neither the mapping nor the suffix says the format.
    """
    sha256 = file_sha256(path)
    found = mapping.source.format or _FORMATS.get(path.suffix.lower(), "")
    if not found and not mapping.sha256:
        found = "csv"
    if not found:
        raise ConfigError(f"{path}: expected a suffix of {sorted(_FORMATS)} or a format in [source], but got neither")
    # A name that is no UTF-8 has halves of surrogate pairs, which the database does not take.
    name = path.name.encode("utf-8", "replace").decode()
    return ImportedFile(sha256, mapping.kind, mapping.sha256, without_vin(name), found, path.stat().st_size)


def open_rows(path: Path, file: ImportedFile, mapping: FileMapping) -> TableFile:
    """The file, opened as its mapping says; see `open_table`."""
    source = mapping.source
    return open_table(path, file.format, delimiter=source.delimiter, encoding=source.encoding)


def read_rows(path: Path, table: TableFile, mapping: FileMapping, tally: Tally, track: Track) -> Iterator[RowValues]:
    """Batches of the rows that [where] takes. Rows that are no rows go into `tally`.

    Raises:
        DataError: the file lacks a column, cannot be read to its end, or changes while it is read.
    """
    before = path.stat()
    wanted, optional = _columns(mapping, has_header=table.columns is not None)
    for batch in track(table.read(wanted, optional), f"reading {path.name}", table.n_batches):
        tally.n_rows += len(batch.lines) + len(batch.refused)
        tally.refuse(batch.refused)
        rows = RowValues(batch.columns, batch.lines, decimal=mapping.source.decimal)
        taken = _taken(rows, mapping.where)
        if taken is not None:
            tally.n_left_out += rows.n_rows - int(taken.sum())
            rows = RowValues(batch.columns.filter(taken), batch.lines.filter(taken), decimal=mapping.source.decimal)
        if rows.n_rows:
            yield rows
    after = path.stat()
    if (before.st_size, before.st_mtime_ns, before.st_ino) != (after.st_size, after.st_mtime_ns, after.st_ino):
        raise DataError(f"{path}: expected a file that stays as it is while it is read, but got another")


def _taken(rows: RowValues, where: tuple[tuple[str, tuple[Value, ...]], ...]) -> pl.Series | None:
    """Which rows have one of the values in each column of [where]; None: all."""
    found: pl.Series | None = None
    for column, values in where:
        texts = [
            str(value).lower() if isinstance(value, bool) else value
            for value in values
            if isinstance(value, str | bool)
        ]
        numbers = [float(value) for value in values if not isinstance(value, str | bool)]
        hit = rows.plain(column).is_in(texts).fill_null(value=False)
        if numbers:
            hit |= rows.numbers(column).is_in(numbers).fill_null(value=False)
        found = hit if found is None else found & hit
    return found


def _columns(mapping: FileMapping, *, has_header: bool) -> tuple[list[str], frozenset[str]]:
    """Columns that the mapping names, and those that need not be there.

    JSON lines leave out keys that have no value, so only what every row needs must be there.
    """
    vehicle, knowledge = mapping.vehicle, mapping.knowledge
    cells = [vehicle.fleet, vehicle.vehicle_ref, vehicle.vin, mapping.time, knowledge.cell, *mapping.cells.values()]
    named = [cell for cell in cells if cell is not None] + [choice.cell for choice in mapping.signals]
    wanted = dict.fromkeys(name for cell in named for name in cell.columns)
    # A misspelt knowledge time would say nothing and make every row known at the import.
    always = (mapping.time, knowledge.cell, vehicle.fleet, vehicle.vehicle_ref, vehicle.vin)
    needed = {
        name
        for cell in named
        if not cell.may_be_absent and (has_header or cell.target.required or cell in always)
        for name in cell.columns
    }
    filters = [column for column, _ in mapping.where]
    wanted |= dict.fromkeys(filters)
    return list(wanted), frozenset(set(wanted) - needed - set(filters))


def notes_on(conn: Connection, file: ImportedFile, tally: Tally, n_added: int) -> list[str]:
    """What the reader of a report should know beside its counts."""
    found = [f"{n_added} vehicles were added"] if n_added else []
    if imports.other_mappings(conn, file):
        found.append(
            "the same file was imported with another mapping before: rows that have the key of one of those "
            "rows are not stored again"
        )
    for reason, count in sorted(tally.counts.items()):
        if reason.startswith(ROUNDED):
            signal = reason.removeprefix(ROUNDED)
            found.append(f"{count} values of {signal} lose digits in single precision: set double_precision")
        else:
            found.append(f"{count} values were not used: {reason.replace('_', ' ')}")
    return found


def report_stored(path: Path, mapping: FileMapping, before: imports.ImportRecord, tally: Tally) -> ImportReport:
    """Of a file that was imported before with no row refused: there is nothing to do."""
    tally.n_rows = before.n_rows
    return tally.report(path, mapping.kind, n_stored=0, n_repeated=before.n_rows, was_there=True)
