"""Tables from outside, batch by batch: CSV, JSON lines and Parquet, bounded in size and memory.

What belongs here: opening such a file and handing over its columns as they are. A file that is no such table
is refused; a row that cannot be told apart into cells is set aside with its reason. What the cells mean is
`pm.pipelines.imports.mapping_cells`.
"""

import csv
import json
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pm.errors import DataError
from pm.pipelines.imports.tabular import TEXT_LIMIT_CHARACTERS, RejectedRow

SIZE_LIMIT_BYTES: Final = 4 << 30
LINE_LIMIT_CHARACTERS: Final = 1 << 20
MOST_COLUMNS: Final = 10_000
MOST_ROWS: Final = 500_000_000
BATCH_ROWS: Final = 65_536
_BATCH_CHARACTERS: Final = 8 << 20
_COLUMN_CHUNK_LIMIT_BYTES: Final = 1 << 30
"""Of one column in one row group, unpacked: writers make some megabytes."""
_WHOLE: Final = 2.0**53
_ABSENT: Final = object()
_PLAIN: Final = (pl.String, pl.Boolean, pl.Date, pl.Datetime, pl.Categorical, pl.Enum, pl.Null)


@dataclass(frozen=True)
class Batch:
    """Some rows: their lines (Int64), their columns, and rows between them that could not be read."""

    lines: pl.Series
    columns: pl.DataFrame
    refused: tuple[RejectedRow, ...] = ()


@dataclass(frozen=True)
class TableFile:
    """An opened table; `read(wanted, optional)` goes through it from the beginning, with those columns only.

    Columns of `optional` may be absent. An absent one of `wanted` refuses the file: at once where it has a
    header, at its end where no row had that key.
    """

    columns: tuple[str, ...] | None
    """Names in the header; None where each row names its own."""
    n_batches: int
    """About how many; for showing progress."""
    read: Callable[[Sequence[str], Set[str]], Iterator[Batch]] = field(repr=False)


def open_table(path: Path, format: str, *, delimiter: str = ",", encoding: str = "utf-8") -> TableFile:
    """Open a csv, jsonl or parquet file.

    Raises:
        DataError: the file cannot be read, is larger than `SIZE_LIMIT_BYTES`, is no such table, or declares
            more columns, rows or bytes than any table of this kind has. Reading it may raise the same.
    """
    try:
        size = path.stat().st_size
        if size > SIZE_LIMIT_BYTES:
            raise DataError(f"{path}: expected at most {SIZE_LIMIT_BYTES} bytes, but got {size}")
        if format == "parquet":
            return _open_parquet(path)
        n_batches = size // _BATCH_CHARACTERS + 1
        if format == "jsonl":
            if size == 0:
                raise DataError(f"{path}: expected a JSON object a line, but got an empty file")
            return TableFile(None, n_batches, lambda *asked: _json_lines(path, encoding, *asked))
        header = _csv_header(path, delimiter, encoding)
        return TableFile(
            header,
            n_batches,
            lambda *asked: _csv_rows(path, delimiter, encoding, header, _present(path, header, *asked)),
        )
    except OSError as reason:
        raise DataError(f"{path}: expected a readable file, but got: {reason.strerror or reason}") from None


def _present(path: Path, header: Sequence[str], wanted: Sequence[str], optional: Set[str]) -> list[str]:
    absent = [name for name in wanted if name not in header and name not in optional]
    if absent:
        raise DataError(f"{path}: expected columns {absent} in the header, but got {list(header)[:100]}")
    return [name for name in wanted if name in header]


# --- text


def _lines(path: Path, file: TextIO) -> Iterator[str]:
    """Lines of bounded length; a text that never ends a line would take all memory."""
    number = 0
    try:
        while line := file.readline(LINE_LIMIT_CHARACTERS + 1):
            number += 1
            if len(line) > LINE_LIMIT_CHARACTERS:
                raise DataError(
                    f"{path}, line {number}: expected at most {LINE_LIMIT_CHARACTERS} characters, but got more"
                )
            yield line
    except UnicodeError as reason:
        raise DataError(f"{path}, after line {number}: expected text in {file.encoding}, but got: {reason}") from None
    except OSError as reason:
        raise DataError(f"{path}: expected a readable file, but got: {reason.strerror}") from None


def _open_text(path: Path, encoding: str) -> TextIO:
    return path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="")


def _csv_header(path: Path, delimiter: str, encoding: str) -> tuple[str, ...]:
    with _open_text(path, encoding) as file:
        try:
            header = next(csv.reader(_lines(path, file), delimiter=delimiter), [])
        except csv.Error as reason:
            raise DataError(f"{path}, line 1: expected a header, but got: {reason}") from None
    names = tuple(name.strip() for name in header)
    if not any(names):
        raise DataError(f"{path}: expected a CSV file with a header, but got an empty first line")
    if any("\0" in name for name in names):
        raise DataError(f"{path}: expected a CSV file with a header, but got zero bytes")
    _require_columns(path, names)
    return names


def _require_columns(path: Path, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if name and names.count(name) > 1}) if len(names) <= MOST_COLUMNS else []
    if len(names) > MOST_COLUMNS:
        raise DataError(f"{path}: expected at most {MOST_COLUMNS} columns, but got {len(names)}")
    if twice:
        raise DataError(f"{path}: expected each column once in the header, but got {twice} twice")


def _csv_rows(
    path: Path, delimiter: str, encoding: str, header: tuple[str, ...], wanted: Sequence[str]
) -> Iterator[Batch]:
    places = [header.index(name) for name in wanted]
    collected = _Collected(path, wanted)
    with _open_text(path, encoding) as file:
        reader = csv.reader(_lines(path, file), delimiter=delimiter)
        try:
            next(reader, None)
            end = reader.line_num
            for cells in reader:
                start, end = end + 1, reader.line_num
                if len(cells) == len(header):
                    collected.add(start, [cells[place] for place in places])
                elif cells:
                    collected.refuse(start, f"expected {len(header)} cells, but got {len(cells)}")
                if collected.is_full:
                    yield collected.batch()
        except csv.Error as reason:
            raise DataError(f"{path}, line {reader.line_num}: expected CSV, but got: {reason}") from None
    yield collected.batch()


def _json_lines(path: Path, encoding: str, wanted: Sequence[str], optional: Set[str]) -> Iterator[Batch]:
    paths = [(name, name.split(".")) for name in wanted]
    unseen = [(name, keys) for name, keys in paths if name not in optional]
    collected = _Collected(path, wanted)
    with _open_text(path, encoding) as file:
        for number, line in enumerate(_lines(path, file), start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"expected a JSON object, but got {type(row).__name__}")
                if unseen:
                    unseen = [(name, keys) for name, keys in unseen if _at(row, name, keys) is _ABSENT]
                collected.add(number, [_json_text(name, _at(row, name, keys)) for name, keys in paths])
            except (ValueError, RecursionError) as reason:
                said = (
                    str(reason)
                    if str(reason).startswith("expected") or ": expected" in str(reason)
                    else f"expected JSON, but got: {reason}"
                )
                collected.refuse(number, said[:300])
            if collected.is_full:
                yield collected.batch()
    if unseen and collected.n_rows:
        names = [name for name, _ in unseen]
        raise DataError(f"{path}: expected keys {names} in the rows, but got none in {collected.n_rows} rows")
    yield collected.batch()


def _at(row: dict[str, Any], name: str, keys: list[str]) -> Any:
    """The value at a dotted path, `_ABSENT` where there is none; a key that has the dots in itself comes first."""
    if name in row:
        return row[name]
    found: Any = row
    for key in keys:
        if not isinstance(found, dict) or key not in found:
            return _ABSENT
        found = found[key]
    return found


def _json_text(name: str, value: Any) -> str | None:
    if value is None or value is _ABSENT:
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < _WHOLE else repr(value)
    if isinstance(value, int):
        return str(value)
    kind = "an object" if isinstance(value, dict) else "a list"
    raise ValueError(f"{name}: expected a text, a number or true or false, but got {kind}")


class _Collected:
    """Rows of text on their way into a batch."""

    def __init__(self, path: Path, wanted: Sequence[str]) -> None:
        self._path, self._wanted, self.n_rows = path, tuple(wanted), 0
        self._reset()

    def _reset(self) -> None:
        self._lines: list[int] = []
        self._rows: list[list[str | None]] = []
        self._refused: list[RejectedRow] = []
        self._n_characters = 0

    @property
    def is_full(self) -> bool:
        n_rows = len(self._rows) + len(self._refused)
        return n_rows >= BATCH_ROWS or self._n_characters >= _BATCH_CHARACTERS

    def add(self, line: int, cells: list[str | None]) -> None:
        self.n_rows += 1
        self._lines.append(line)
        self._rows.append(cells)
        self._n_characters += sum(len(cell) for cell in cells if cell)

    def refuse(self, line: int, reason: str) -> None:
        self.n_rows += 1
        self._refused.append(RejectedRow(line, reason))

    def batch(self) -> Batch:
        if self.n_rows > MOST_ROWS:
            raise DataError(f"{self._path}: expected at most {MOST_ROWS} rows, but got more")
        schema = dict.fromkeys(self._wanted, pl.String())
        try:
            columns = pl.DataFrame(self._rows, schema=schema, orient="row")
        except UnicodeEncodeError:  # JSON can spell half of a surrogate pair, which no text has
            self._set_aside_unwritable()
            columns = pl.DataFrame(self._rows, schema=schema, orient="row")
        made = Batch(pl.Series(self._lines, dtype=pl.Int64()), columns, tuple(self._refused))
        self._reset()
        return made

    def _set_aside_unwritable(self) -> None:
        kept = [number for number, cells in enumerate(self._rows) if all(map(_is_text, cells))]
        for number in sorted(set(range(len(self._rows))) - set(kept)):
            self.refuse(self._lines[number], "expected text, but got half of a surrogate pair")
        self._lines, self._rows = [self._lines[number] for number in kept], [self._rows[number] for number in kept]


def _is_text(cell: str | None) -> bool:
    try:
        return cell is None or bool(cell.encode()) or True
    except UnicodeEncodeError:
        return False


# --- Parquet


def _open_parquet(path: Path) -> TableFile:
    try:
        with pq.ParquetFile(path) as file:
            names, metadata = tuple(file.schema_arrow.names), file.metadata
            n_rows = metadata.num_rows
    except (pa.ArrowException, OSError, ValueError) as reason:
        raise DataError(f"{path}: expected a Parquet file, but got: {_first_line(reason)}") from None
    _require_columns(path, names)
    if n_rows > MOST_ROWS:
        raise DataError(f"{path}: expected at most {MOST_ROWS} rows, but got {n_rows}")
    n_batches = n_rows // BATCH_ROWS + 1
    return TableFile(names, n_batches, lambda *asked: _parquet_rows(path, _present(path, names, *asked)))


def _parquet_rows(path: Path, wanted: Sequence[str]) -> Iterator[Batch]:
    try:
        with pq.ParquetFile(path) as file:
            _require_bounded(path, file, wanted)
            texts = [name for name in wanted if _is_arrow_text(file.schema_arrow.field(name).type)]
        # A dictionary of texts stays one until the lengths are known: a long text said 65,536 times fills no memory.
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            start = 1
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=list(wanted)):
                columns = pl.DataFrame([_parquet_column(path, name, batch.column(name)) for name in wanted])
                lines = pl.int_range(start, start + batch.num_rows, dtype=pl.Int64(), eager=True)
                start += batch.num_rows
                yield Batch(lines, columns)
    except (pa.ArrowException, OSError, ValueError) as reason:
        raise DataError(f"{path}: expected a Parquet file, but got: {_first_line(reason)}") from None


def _require_bounded(path: Path, file: Any, wanted: Sequence[str]) -> None:
    for group in range(file.metadata.num_row_groups):
        row_group = file.metadata.row_group(group)
        for number in range(row_group.num_columns):
            chunk = row_group.column(number)
            if (
                chunk.path_in_schema.split(".")[0] in wanted
                and chunk.total_uncompressed_size > _COLUMN_CHUNK_LIMIT_BYTES
            ):
                raise DataError(
                    f"{path}: expected at most {_COLUMN_CHUNK_LIMIT_BYTES} bytes in a column of a row group, "
                    f"but got {chunk.total_uncompressed_size} in {chunk.path_in_schema}"
                )


def _is_arrow_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _parquet_column(path: Path, name: str, column: Any) -> pl.Series:
    if pa.types.is_dictionary(column.type) and _is_arrow_text(column.type.value_type):
        # One character more than is taken shows that it was too long.
        short = pc.utf8_slice_codeunits(column.dictionary, 0, TEXT_LIMIT_CHARACTERS + 1)
        column = pa.DictionaryArray.from_arrays(column.indices, short).cast(pa.large_string())
    found = pl.from_arrow(column)
    if not isinstance(found, pl.Series):
        raise DataError(f"{path}: expected a column {name}, but got a table")
    dtype = found.dtype
    if not (dtype.is_numeric() or isinstance(dtype, _PLAIN)):
        raise DataError(
            f"{path}, column {name}: expected text, numbers, true and false, dates or instants, but got {dtype}"
        )
    return (found.cast(pl.String()) if isinstance(dtype, pl.Categorical | pl.Enum | pl.Null) else found).alias(name)


def _first_line(reason: Exception) -> str:
    return " ".join(str(reason).split())[:200] or type(reason).__name__
