"""The bytes of PostgreSQL's binary COPY to polars columns.

What belongs here: the decoder. Types and the way in are in `pm.store.copy_binary`.
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from pm.errors import StoreError
from pm.store.copy_binary import HEADER, TRAILER, Bytes, Mask, PostgresType, Sizes, postgres_type

_ARRAY_HEADER = 12
_DIMENSION = 8
_BLOCK_BYTES = 2_000_000


def decode(messages: Iterable[bytes | bytearray | memoryview], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The rows of one `COPY (...) TO STDOUT (FORMAT binary)`.

    Args:
        messages: as the server sends them: one row each (PostgreSQL manual, "Message Flow", COPY
            operations), the header before the first, the trailer last.
        schema: the columns in order with the polars types of their database types.

    Raises:
        StoreError: the bytes are no such COPY, or cut off, or of other columns.
    """
    kept = list(messages)
    buffer = b"".join(kept)
    if not buffer.startswith(HEADER) or not buffer.endswith(TRAILER):
        raise StoreError("COPY out: expected a header, rows and a trailer, but got something else")
    ends = np.cumsum(np.fromiter(map(len, kept), np.int64, len(kept)))
    # The header comes alone or with the first row; the trailer, a message of its own, is no row.
    starts = np.concatenate([[len(HEADER)], ends[ends > len(HEADER)]])
    return _decode_rows(np.frombuffer(buffer, np.uint8), starts[starts < len(buffer) - len(TRAILER)], schema)


def _decode_rows(data: Bytes, starts: Sizes, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    counts = _gather(data, starts, ">i2")
    if (counts != len(schema)).any():
        raise StoreError(f"COPY out: expected {len(schema)} columns, but got {np.unique(counts).tolist()}")
    at = starts + 2
    columns = []
    for name, dtype in schema.items():
        sizes = _gather(data, at, ">i4").astype(np.int64)
        columns.append(_series(data, at + 4, sizes, dtype).alias(name))
        at = at + 4 + np.maximum(sizes, 0)
    ends = np.append(starts[1:], len(data) - len(TRAILER)) if len(starts) else at
    if (at != ends).any():
        raise StoreError("COPY out: expected each row to end where the next begins, but got other lengths")
    return pl.DataFrame(columns)


def _gather(data: Bytes, at: Sizes, wire: str) -> npt.NDArray[np.number]:
    """The numbers of type `wire` that begin at the bytes `at`; a place past the end is an error."""
    width = np.dtype(wire).itemsize
    if len(at) and at.max() + width > len(data):
        raise StoreError("COPY out: expected whole rows, but got a row that is cut off")
    sliding: npt.NDArray[np.number] = np.ndarray((max(len(data) - width + 1, 0),), wire, data, strides=(1,))
    return sliding[at]


def _series(data: Bytes, at: Sizes, sizes: Sizes, dtype: pl.DataType) -> pl.Series:
    kind = postgres_type(dtype)
    nulls = sizes < 0
    if kind.element is not None:
        return _arrays(data, at, nulls, kind.element)
    if kind.wire:
        _check_sizes(sizes[~nulls], kind)
        return _numbers(_gather(data, np.where(nulls, 0, at), kind.wire), nulls, kind, dtype)
    return _texts(data, at, sizes, nulls, dtype)


def _check_sizes(sizes: Sizes, kind: PostgresType) -> None:
    width = np.dtype(kind.wire).itemsize
    if (sizes != width).any():
        raise StoreError(f"COPY out: expected {kind.sql} of {width} bytes, but got {np.unique(sizes).tolist()}")


def _numbers(wire: npt.NDArray[np.number], nulls: Mask, kind: PostgresType, dtype: pl.DataType) -> pl.Series:
    native = wire.astype(wire.dtype.newbyteorder("="))
    series = pl.Series(native - kind.shift if kind.shift else native).cast(dtype)
    if not nulls.any():
        return series
    return series.zip_with(pl.Series(~nulls), pl.Series([None], dtype=dtype).new_from_index(0, len(series)))


def _texts(data: Bytes, at: Sizes, sizes: Sizes, nulls: Mask, dtype: pl.DataType) -> pl.Series:
    lengths = np.where(nulls, 0, sizes)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    content = np.empty(offsets[-1], np.uint8)
    # By blocks, because an index of eight bytes stands for each byte of text.
    cuts = np.unique(np.searchsorted(offsets, np.arange(0, offsets[-1] + _BLOCK_BYTES, _BLOCK_BYTES), side="right") - 1)
    for low, high in pairwise(cuts.tolist()):
        places = np.repeat(at[low:high] - offsets[low:high], lengths[low:high])
        places += np.arange(offsets[low], offsets[high])
        content[offsets[low] : offsets[high]] = data[places]
    kind = pa.large_binary() if dtype == pl.Binary() else pa.large_string()
    buffers = [_validity(nulls), pa.py_buffer(offsets), pa.py_buffer(content)]
    return pl.Series(pa.Array.from_buffers(kind, len(at), buffers), dtype=dtype)


def _validity(nulls: Mask) -> pa.Buffer:
    return pa.py_buffer(np.packbits(~nulls, bitorder="little"))


def _arrays(data: Bytes, at: Sizes, nulls: Mask, element: pl.DataType) -> pl.Series:
    """Arrays of one dimension, or of none where empty; their elements are decoded all at once."""
    where = np.where(nulls, 0, at)
    dimensions = np.where(nulls, 0, _gather(data, where, ">i4")).astype(np.int64)
    if (dimensions > 1).any():
        raise StoreError(f"COPY out: expected arrays of one dimension, but got {int(dimensions.max())}")
    counts = np.where(dimensions == 1, _gather(data, np.where(dimensions == 1, at + _ARRAY_HEADER, 0), ">i4"), 0)
    elements = _elements(data, at + _ARRAY_HEADER + _DIMENSION, counts.astype(np.int64), element)
    offsets = pa.py_buffer(np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]))
    values = elements.to_arrow(compat_level=pl.CompatLevel.oldest())
    kind = pa.large_list(values.type)
    return pl.Series(pa.LargeListArray.from_buffers(kind, len(at), [_validity(nulls), offsets], children=[values]))


def _elements(data: Bytes, at: Sizes, counts: Sizes, dtype: pl.DataType) -> pl.Series:
    longest = int(counts.max(initial=0))
    places = np.zeros((len(counts), longest), np.int64)
    sizes = np.full((len(counts), longest), -1, np.int64)
    for index in range(longest):  # once an element of the longest array, not once a row
        there = counts > index
        sizes[there, index] = _gather(data, at[there], ">i4")
        places[there, index] = at[there] + 4
        at = np.where(there, at + 4 + np.maximum(sizes[:, index], 0), at)
    real = np.arange(longest) < counts[:, None]
    return _series(data, places[real], sizes[real], dtype)
