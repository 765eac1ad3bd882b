"""Decoded payloads of one message as a Parquet file.

What belongs here: the layout of the file (Apache Parquet format specification, parquet.thrift): pages,
column chunks, row groups, and the footer in Thrift's compact protocol. A library would have to make
values of the codes first and then look for what they have in common; here they are written as they are.
Every reader of Parquet reads the file; the encodings are in `pm.canbus.parquet_pages`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from pm.canbus.columns import DecodedMessage
from pm.canbus.dbc import ROW_COLUMNS, MessagePlan
from pm.canbus.extract import Codes, Numbers
from pm.canbus.parquet_pages import indices, levels, split_bytes, time_steps, varint

MAGIC: Final = b"PAR1"
CREATED_BY: Final = b"pm"

_INT32, _INT64, _DOUBLE, _BYTE_ARRAY = 1, 2, 5, 6
_PLAIN, _RLE, _DELTA, _DICTIONARY, _SPLIT = 0, 3, 5, 8, 9
_REQUIRED, _OPTIONAL = 0, 1
_DATA_PAGE, _DICTIONARY_PAGE = 0, 2
_SNAPPY, _ZSTD = 1, 6
_UTF8, _TIMESTAMP_MICROS, _INT_16 = 0, 10, 16

# Types of Thrift's compact protocol.
_TRUE, _BYTE, _I32, _I64, _BINARY, _LIST, _STRUCT = 1, 3, 5, 6, 8, 9, 12
_ENCODED: Final = -1
"""A struct that is written already."""
Field = tuple[int, int, Any]
"""(field number, type, value); a list is (type of its items, items), a struct is a tuple of fields."""

_NO_STRUCT: Final[tuple[Field, ...]] = ()
_STRING: Final = ((1, _STRUCT, _NO_STRUCT),)
_UTC_MICROS: Final = ((8, _STRUCT, ((1, _TRUE, True), (2, _STRUCT, ((2, _STRUCT, _NO_STRUCT),)))),)
_INTEGER_16: Final = ((10, _STRUCT, ((1, _BYTE, 16), (2, _TRUE, True))),)


class _Chunk(NamedTuple):
    """A column of one row group as it stands in the file."""

    name: str
    kind: int
    encoding: int
    n_values: int
    n_bytes: int
    n_packed: int
    data_at: int
    dictionary_at: int | None


@dataclass
class ParquetFile:
    """Writes the decoded payloads of one message; whole once `close` has been called."""

    path: Path
    plan: MessagePlan
    group_rows: int
    """Rows that make a row group; they are collected from as many batches as it takes."""

    def __post_init__(self) -> None:
        self.n_rows = 0
        self._codecs = {_ZSTD: pa.Codec("zstd", compression_level=1), _SNAPPY: pa.Codec("snappy")}
        self._stream = self.path.open("wb")
        self._at = 0
        self._write(MAGIC)
        self._waiting: list[DecodedMessage] = []
        self._groups: list[tuple[Field, ...]] = []

    def add(self, message: DecodedMessage) -> None:
        """Take a batch; it is written when a row group is full, at the latest by `close`."""
        if not message.n_rows:
            return
        self._waiting.append(message)
        if sum(part.n_rows for part in self._waiting) >= self.group_rows:
            self._write_group()

    def close(self) -> None:
        """Write what waits, and the footer."""
        if self._waiting:
            self._write_group()
        footer = _struct(
            (
                (1, _I32, 2),
                (2, _LIST, (_STRUCT, _schema(self.plan))),
                (3, _I64, self.n_rows),
                (4, _LIST, (_STRUCT, self._groups)),
                (6, _BINARY, CREATED_BY),
            )
        )
        self._write(footer + len(footer).to_bytes(4, "little") + MAGIC)
        self._stream.close()

    def release(self) -> None:
        """Close the file as it is: nothing more is written, and without `close` it is no Parquet file."""
        self._stream.close()

    def _write(self, content: bytes) -> int:
        """Write at the end of the file; where it begins."""
        begin = self._at
        self._stream.write(content)
        self._at += len(content)
        return begin

    def _write_group(self) -> None:
        parts, self._waiting = self._waiting, []
        n_rows = sum(part.n_rows for part in parts)
        chunks = [self._times(parts), self._channels(parts), self._addresses(parts, "source_address")]
        chunks.append(self._addresses(parts, "destination_address"))
        chunks += [self._signal(parts, number) for number in range(len(self.plan.signals))]
        self.n_rows += n_rows
        total = sum(chunk.n_bytes for chunk in chunks)
        columns = [_column_chunk(chunk) for chunk in chunks]
        self._groups.append(((1, _LIST, (_STRUCT, columns)), (2, _I64, total), (3, _I64, n_rows)))

    def _times(self, parts: list[DecodedMessage]) -> _Chunk:
        return self._chunk("time", _INT64, _DELTA, [(part.n_rows, time_steps(part.time_us)) for part in parts])

    def _channels(self, parts: list[DecodedMessage]) -> _Chunk:
        # Logs of one run may number their channels differently.
        names = list(dict.fromkeys(name for part in parts for name in part.channels))
        pages = []
        for part in parts:
            number = np.array([names.index(name) for name in part.channels], dtype=np.uint8)
            pages.append((part.n_rows, indices(number[part.channel])))
        return self._chunk("channel", _BYTE_ARRAY, _DICTIONARY, pages, (len(names), _plain_texts(names)))

    def _addresses(self, parts: list[DecodedMessage], name: str) -> _Chunk:
        pages = []
        for part in parts:
            addresses = part.source if name == "source_address" else part.destination
            pages.append((part.n_rows, indices(addresses.astype(np.uint8))))
        every = np.arange(256, dtype=np.int32) if self.plan.is_extended else np.full(256, -1, dtype=np.int32)
        return self._chunk(name, _INT32, _DICTIONARY, pages, (len(every), every.tobytes()))

    def _signal(self, parts: list[DecodedMessage], number: int) -> _Chunk:
        name, pages = self.plan.signals[number].column, []
        columns = [part.columns[number] for part in parts]
        first = columns[0]
        for part, column in zip(parts, columns, strict=True):
            n = part.n_rows
            if isinstance(column, Codes):
                pages.append((n, levels(n, column.valid, column.n_null) + indices(column.codes)))
            elif isinstance(column, Numbers):
                values = b"" if column.n_null == n else split_bytes(column.values, column.valid)
                pages.append((n, levels(n, column.valid, column.n_null) + values))
            else:
                texts = [text for text in column if text is not None]
                valid = np.packbits([text is not None for text in column], bitorder="little")
                pages.append((n, levels(n, valid, n - len(texts)) + _plain_texts(texts)))
        if isinstance(first, Codes):
            return self._chunk(name, _DOUBLE, _DICTIONARY, pages, (len(first.table), first.table.tobytes()))
        if isinstance(first, Numbers):
            return self._chunk(name, _DOUBLE, _SPLIT, pages)
        return self._chunk(name, _BYTE_ARRAY, _PLAIN, pages)

    def _chunk(
        self,
        name: str,
        kind: int,
        encoding: int,
        pages: list[tuple[int, bytes]],
        dictionary: tuple[int, bytes] | None = None,
    ) -> _Chunk:
        """Write a column of one row group: its dictionary, (values, their plain bytes), if any, and its pages."""
        begin, codec = self._at, _codec(encoding)
        n_bytes, dictionary_at = 0, None
        if dictionary is not None:
            n, content = dictionary
            dictionary_at = begin
            n_bytes += self._page(codec, _DICTIONARY_PAGE, 7, _dictionary_head(n), content)
        data_at = self._at
        for n, content in pages:
            n_bytes += self._page(codec, _DATA_PAGE, 5, _data_head(n, encoding), content)
        n_values = sum(n for n, _ in pages)
        return _Chunk(name, kind, encoding, n_values, n_bytes, self._at - begin, data_at, dictionary_at)

    def _page(self, codec: int, kind: int, head_field: int, head: bytes, content: bytes) -> int:
        """Write one page; its bytes before compression."""
        packed: bytes = self._codecs[codec].compress(content, asbytes=True)
        sizes = (1, _I32, kind), (2, _I32, len(content)), (3, _I32, len(packed))
        header = _struct((*sizes, (head_field, _ENCODED, head)))
        self._write(header + packed)
        return len(header) + len(content)


def _codec(encoding: int) -> int:
    # Codes pack little: Snappy made a dense log's way to disk a fifth faster than zstd, and 7 % larger.
    return _SNAPPY if encoding == _DICTIONARY else _ZSTD


# A page a column and batch: their heads are few and are made once.
@lru_cache(maxsize=1024)
def _data_head(n: int, encoding: int) -> bytes:
    return _struct(((1, _I32, n), (2, _I32, encoding), (3, _I32, _RLE), (4, _I32, _RLE)))


@lru_cache(maxsize=1024)
def _dictionary_head(n: int) -> bytes:
    return _struct(((1, _I32, n), (2, _I32, _PLAIN)))


def _plain_texts(texts: Sequence[str]) -> bytes:
    encoded = [text.encode("utf-8") for text in texts]
    return b"".join(len(text).to_bytes(4, "little") + text for text in encoded)


def _column_chunk(chunk: _Chunk) -> tuple[Field, ...]:
    about: list[Field] = [
        (1, _I32, chunk.kind),
        (2, _LIST, (_I32, sorted({_RLE, chunk.encoding} | ({_PLAIN} if chunk.dictionary_at is not None else set())))),
        (3, _LIST, (_BINARY, [chunk.name.encode("utf-8")])),
        (4, _I32, _codec(chunk.encoding)),
        (5, _I64, chunk.n_values),
        (6, _I64, chunk.n_bytes),
        (7, _I64, chunk.n_packed),
        (9, _I64, chunk.data_at),
    ]
    if chunk.dictionary_at is not None:
        about.append((11, _I64, chunk.dictionary_at))
    begin = chunk.data_at if chunk.dictionary_at is None else chunk.dictionary_at
    return (2, _I64, begin), (3, _STRUCT, tuple(about))


def _schema(plan: MessagePlan) -> list[tuple[Field, ...]]:
    n_columns = len(ROW_COLUMNS) + len(plan.signals)
    elements: list[tuple[Field, ...]] = [((4, _BINARY, b"schema"), (5, _I32, n_columns))]
    elements.append(_element("time", _INT64, _REQUIRED, _TIMESTAMP_MICROS, _UTC_MICROS))
    elements.append(_element("channel", _BYTE_ARRAY, _REQUIRED, _UTF8, _STRING))
    elements += [_element(name, _INT32, _REQUIRED, _INT_16, _INTEGER_16) for name in ROW_COLUMNS[2:]]
    for signal in plan.signals:
        if signal.is_text:
            elements.append(_element(signal.column, _BYTE_ARRAY, _OPTIONAL, _UTF8, _STRING))
        else:
            elements.append(_element(signal.column, _DOUBLE, _OPTIONAL))
    return elements


def _element(
    name: str, kind: int, repetition: int, converted: int | None = None, logical: tuple[Field, ...] = _NO_STRUCT
) -> tuple[Field, ...]:
    element: list[Field] = [(1, _I32, kind), (3, _I32, repetition), (4, _BINARY, name.encode("utf-8"))]
    if converted is not None:
        element += [(6, _I32, converted), (10, _STRUCT, logical)]
    return tuple(element)


def _struct(fields: Sequence[Field]) -> bytes:
    """A struct in Thrift's compact protocol; the fields in rising order of their numbers."""
    found, before = bytearray(), 0
    for number, kind, value in fields:
        # No two fields here are more than 15 apart.
        found.append((number - before) << 4 | (_STRUCT if kind == _ENCODED else kind))
        before = number
        if kind != _TRUE:
            found += value if kind == _ENCODED else _value(kind, value)
    found.append(0)
    return bytes(found)


def _value(kind: int, value: Any) -> bytes:
    if kind == _BYTE:
        return bytes([value])
    if kind in (_I32, _I64):
        return varint(value << 1)  # zigzag of what is never negative here
    if kind == _BINARY:
        return varint(len(value)) + bytes(value)
    if kind == _STRUCT:
        return _struct(value)
    item_kind, items = value
    size = bytes([len(items) << 4 | item_kind]) if len(items) < 15 else bytes([0xF0 | item_kind]) + varint(len(items))
    return size + b"".join(_value(item_kind, item) for item in items)
