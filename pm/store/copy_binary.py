"""Polars columns to the bytes of PostgreSQL's binary COPY.

What belongs here: the types both ways share, and the encoder. The way back is `pm.store.copy_out`;
SQL, tables and connections are in `pm.store.frames`. The format is described in the PostgreSQL
manual under COPY, "Binary Format", and the values in the `*send` functions of its types: big-endian
numbers, instants as microseconds since 2000-01-01 UTC, days since the same day, `jsonb` as a version
byte and text, arrays as a header and elements.

Nothing runs once a row in Python: numbers and texts are written by compiled kernels, column by column.
Rows with arrays are one byte matrix, a row each, every cell padded to the widest of its column; a mask
then drops the padding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pm.errors import DataError
from pm.schema import UTC_INSTANT
from pm.store.copy_kernels import (
    ALL,
    add_number_sizes,
    add_text_sizes,
    put_counts,
    put_numbers,
    put_texts,
)

Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Sizes = npt.NDArray[np.int64]

HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""Signature, no flags, no header extension."""
TRAILER: Final = b"\xff\xff"

MICROSECONDS_TO_2000: Final = 946_684_800_000_000
DAYS_TO_2000: Final = 10_957
_ARRAY_HEADER: Final = 20
"""Bytes before an array's elements: dimensions, has-null flag, element type, length, first index."""
_EMPTY_ARRAY: Final = 12
_BLOCK_ROWS: Final = 32_768
_BLOCK_BYTES: Final = 16_000_000
"""Rows are encoded in blocks of at most this many bytes, so memory does not grow with the frame."""


@dataclass(frozen=True)
class PostgresType:
    """How one polars type stands in the database."""

    sql: str
    wire: str = ""
    """numpy type of a value on the wire; empty: as many bytes as the text has."""
    shift: int = 0
    """Added to the polars number to give PostgreSQL's (another zero of time)."""
    element: pl.DataType | None = None
    """Type of an array's elements."""
    element_oid: int = 0
    prefix: bytes = b""
    """Bytes before a text: the version of `jsonb`."""


JSONB: Final = PostgresType("jsonb", prefix=b"\x01")

POSTGRES_TYPES: Final[dict[pl.DataType, PostgresType]] = {
    pl.Int16(): PostgresType("smallint", ">i2"),
    pl.Int32(): PostgresType("integer", ">i4"),
    pl.Int64(): PostgresType("bigint", ">i8"),
    pl.Float32(): PostgresType("real", ">f4"),
    pl.Float64(): PostgresType("double precision", ">f8"),
    pl.Boolean(): PostgresType("boolean", "u1"),
    pl.String(): PostgresType("text"),
    pl.Binary(): PostgresType("bytea"),
    pl.Date(): PostgresType("date", ">i4", shift=-DAYS_TO_2000),
    UTC_INSTANT: PostgresType("timestamptz", ">i8", shift=-MICROSECONDS_TO_2000),
    pl.List(pl.Int64()): PostgresType("bigint[]", element=pl.Int64(), element_oid=20),
    pl.List(pl.Float32()): PostgresType("real[]", element=pl.Float32(), element_oid=700),
    pl.List(pl.String()): PostgresType("text[]", element=pl.String(), element_oid=25),
}


def postgres_type(dtype: pl.DataType, *, json: bool = False) -> PostgresType:
    """The database type of a polars type.

    Raises:
        DataError: no column of this product has that type.
    """
    if json and dtype == pl.String():
        return JSONB
    if dtype not in POSTGRES_TYPES:
        raise DataError(f"expected a column type of {[str(known) for known in POSTGRES_TYPES]}, but got {dtype}")
    return POSTGRES_TYPES[dtype]


def encode(frame: pl.DataFrame, *, json: frozenset[str] = frozenset()) -> Iterator[bytes | memoryview]:
    """`frame` as the chunks of one binary COPY, header and trailer included.

    Args:
        frame: columns in the order of the COPY's column list, types of `POSTGRES_TYPES`.
        json: names of the String columns that go into `jsonb` columns.

    Raises:
        DataError: a column has another type.
    """
    types = [postgres_type(dtype, json=name in json) for name, dtype in frame.schema.items()]
    yield HEADER
    for start in range(0, frame.height, _BLOCK_ROWS):
        yield from _encode_rows(frame.slice(start, _BLOCK_ROWS), types)
    yield TRAILER


def _encode_rows(frame: pl.DataFrame, types: Sequence[PostgresType]) -> Iterator[bytes | memoryview]:
    if any(kind.element is not None for kind in types):
        yield from _encode_with_arrays(frame, types)
    else:
        yield from _encode_plain(frame, types)


def _encode_plain(frame: pl.DataFrame, types: Sequence[PostgresType]) -> Iterator[memoryview]:
    """Rows of numbers and texts, compiled."""
    sizes = np.full(frame.height, 2, np.int64)
    columns = [_plain_column(series, kind) for series, kind in zip(frame, types, strict=True)]
    for column in columns:
        column.add_sizes(sizes)
    ends = np.cumsum(sizes)
    if ends[-1] > _BLOCK_BYTES and frame.height > 1:
        half = frame.height // 2
        yield from _encode_plain(frame[:half], types)
        yield from _encode_plain(frame[half:], types)
        return
    at, out = ends - sizes, np.empty(int(ends[-1]), np.uint8)
    put_counts(out, at, len(types))
    for column in columns:
        column.put(out, at)
    yield out.data


@dataclass(frozen=True)
class _Numbers:
    bits: npt.NDArray[Any]
    valid: Mask

    def add_sizes(self, sizes: Sizes) -> None:
        add_number_sizes(sizes, self.bits.itemsize, self.valid)

    def put(self, out: Bytes, at: Sizes) -> None:
        put_numbers(out, at, self.bits, self.valid)


@dataclass(frozen=True)
class _Texts:
    ends: Sizes
    content: Bytes
    prefix: Bytes
    valid: Mask

    def add_sizes(self, sizes: Sizes) -> None:
        add_text_sizes(sizes, self.ends, len(self.prefix), self.valid)

    def put(self, out: Bytes, at: Sizes) -> None:
        put_texts(out, at, self.ends, self.content, self.prefix, self.valid)


def _plain_column(series: pl.Series, kind: PostgresType) -> _Numbers | _Texts:
    valid = ~_nulls(series) if series.null_count() else ALL
    if not kind.wire:
        ends, content = _text(series)
        return _Texts(ends, content, np.frombuffer(kind.prefix, np.uint8), valid)
    native = np.dtype(kind.wire).newbyteorder("=")
    numbers = np.ascontiguousarray(_numbers(series, kind), native)
    return _Numbers(numbers.view(f"u{native.itemsize}"), valid)


def _encode_with_arrays(frame: pl.DataFrame, types: Sequence[PostgresType]) -> Iterator[bytes]:
    sizes = [_sizes(series, kind) for series, kind in zip(frame, types, strict=True)]
    width = 2 + sum(4 + _widest(each) for each in sizes)
    if width * frame.height > _BLOCK_BYTES and frame.height > 1:
        # Halving keeps one long text from widening every row.
        half = frame.height // 2
        yield from _encode_with_arrays(frame[:half], types)
        yield from _encode_with_arrays(frame[half:], types)
        return
    rows = np.empty((frame.height, width), np.uint8)
    rows[:, :2] = np.frombuffer(len(types).to_bytes(2, "big"), np.uint8)
    yield _fill(rows, 2, frame.get_columns(), types, sizes).tobytes()


def _fill(
    rows: Bytes, at: int, columns: Sequence[pl.Series], types: Sequence[PostgresType], sizes: Sequence[Sizes]
) -> Bytes:
    """Write the cells of `columns` into `rows` from byte `at` on; return the bytes that count, in order."""
    keep: Mask | None = None
    for series, kind, each in zip(columns, types, sizes, strict=True):
        end = at + 4 + _widest(each)
        kept = _fill_cell(rows[:, at:end], series, kind, each)
        if kept is not None:
            keep = np.ones(rows.shape, np.bool_) if keep is None else keep
            keep[:, at + 4 : end] = kept
        at = end
    return rows if keep is None else rows[keep]


def _fill_cell(cell: Bytes, series: pl.Series, kind: PostgresType, sizes: Sizes) -> Mask | None:
    """Write lengths and values into `cell`; say which value bytes count, None for all."""
    # A value of fixed width has no size 0, so that the sizes tell which are null.
    nulls = sizes == 0 if kind.wire else _nulls(series)
    cell[:, :4] = _wire_bytes(np.where(nulls, -1, sizes), ">i4")
    value = cell[:, 4:]
    if kind.wire:
        if value.shape[1]:
            value[:] = _wire_bytes(_numbers(series, kind), kind.wire)
        return ~nulls[:, None] if nulls.any() else None
    kept: Mask = np.arange(value.shape[1]) < sizes[:, None]
    if kind.element is None:
        value[kept] = _text_bytes(series, kind)
    else:
        _fill_arrays(value, kept, series, postgres_type(kind.element), kind.element_oid)
    return None if kept.all() else kept


def _fill_arrays(value: Bytes, kept: Mask, series: pl.Series, element: PostgresType, oid: int) -> None:
    """Arrays of one dimension that starts at 1; an empty one has no dimension."""
    counts = series.list.len().fill_null(0).to_numpy().astype(np.int64)
    some = counts > 0
    has_null = series.list.eval(pl.element().is_null()).list.any().fill_null(False).to_numpy()
    header = np.stack([some, has_null & some, np.full(len(series), oid), counts, some], axis=1)
    head = value[:, :_ARRAY_HEADER]
    head[:] = _wire_bytes(header, ">i4")[:, : head.shape[1]]
    elements = _elements(series)
    sizes = _sizes(elements, element)
    cells = np.empty((len(elements), 4 + _widest(sizes)), np.uint8)
    value[:, _ARRAY_HEADER:][kept[:, _ARRAY_HEADER:]] = _fill(cells, 0, [elements], [element], [sizes]).reshape(-1)


def _sizes(series: pl.Series, kind: PostgresType) -> Sizes:
    """Bytes of each value on the wire, 0 where null."""
    if kind.element is not None:
        counts = series.list.len().fill_null(0).to_numpy().astype(np.int64)
        ends = np.concatenate([[0], np.cumsum(4 + _sizes(_elements(series), postgres_type(kind.element)))])[
            np.cumsum(counts)
        ]
        payload = np.diff(ends, prepend=0) + np.where(counts > 0, _ARRAY_HEADER, _EMPTY_ARRAY)
        return np.where(series.is_null().to_numpy(), 0, payload)
    if kind.wire:
        return np.where(_nulls(series), 0, np.dtype(kind.wire).itemsize)
    ends, _ = _text(series)
    return np.where(_nulls(series), 0, np.diff(ends) + len(kind.prefix))


def _nulls(series: pl.Series) -> Mask:
    """Which values are null. Most columns have none or nothing else, and asking polars costs a query."""
    count = series.null_count()
    if count in (0, len(series)):
        return np.full(len(series), count > 0)
    return series.is_null().to_numpy()


def _widest(sizes: Sizes) -> int:
    return int(sizes.max(initial=0))


def _elements(series: pl.Series) -> pl.Series:
    return series.explode(empty_as_null=False, keep_nulls=False)


def _wire_bytes(numbers: npt.NDArray[Any], wire: str) -> Bytes:
    # Not `reshape(n, -1)`, which cannot tell the width of no rows.
    width = np.dtype(wire).itemsize * (numbers.shape[1] if numbers.ndim > 1 else 1)
    return np.ascontiguousarray(numbers, wire).view(np.uint8).reshape(len(numbers), width)


def _numbers(series: pl.Series, kind: PostgresType) -> npt.NDArray[Any]:
    filled = series.fill_null(strategy="zero") if series.null_count() and series.dtype.is_numeric() else series
    if series.null_count() and not series.dtype.is_numeric():
        filled = series.to_physical().fill_null(0)
    plain = filled.to_numpy()
    if plain.dtype.kind == "M":
        plain = plain.view(np.int64)
    return plain + kind.shift if kind.shift else plain


def _text_bytes(series: pl.Series, kind: PostgresType) -> Bytes:
    texts = series.drop_nulls() if series.null_count() else series
    if kind.prefix:
        texts = kind.prefix.decode() + texts
    ends, content = _text(texts)
    return content[ends[0] : ends[-1]]


def _text(series: pl.Series) -> tuple[npt.NDArray[np.int64], Bytes]:
    """Where each text ends in the bytes of all, led by where the first begins; and those bytes."""
    array = series.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, content = array.buffers()
    if content is None or not len(array):
        return np.zeros(len(array) + 1, np.int64), np.zeros(0, np.uint8)
    ends = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    return ends, np.frombuffer(content, np.uint8)
