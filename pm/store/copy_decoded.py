"""Decoded CAN messages to the bytes of PostgreSQL's binary COPY, compiled.

What belongs here: the one way from decoded numbers into a telemetry table that does not go through
polars, because at full rate it is most of what the client does. The format and the general encoder
are `pm.store.copy_binary`, which gives the same bytes (a property test compares them).
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pm.canbus.columns import DecodedMessage
from pm.canbus.extract import Numbers
from pm.canbus.jit import kernel
from pm.store.copy_binary import HEADER, MICROSECONDS_TO_2000, TRAILER
from pm.store.copy_kernels import put, put_sized

KEY_COLUMNS: Final = ("vehicle_id", "source_address", "destination_address", "channel", "time", "log_file_id")
"""Columns before the signals, in the order of the bytes."""

_FIXED_BYTES: Final = 2 + 6 * 4 + 4 + 2 + 2 + 8 + 8
"""Number of columns, six lengths, and the values but the channel's name."""

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
_ALL: Final = np.empty(0, np.uint8)


def encode_decoded(
    message: DecodedMessage, *, wide: Sequence[bool], vehicle_id: int, log_file_id: int
) -> Iterator[bytes | memoryview]:
    """The rows of `message` as the chunks of one binary COPY of `KEY_COLUMNS` and the signals.

    Args:
        message: its columns are all `Numbers`. Null and not a number become null.
        wide: for each signal, whether its column is double precision; else it is real.
    """
    yield HEADER
    yield _rows(message, wide, vehicle_id, log_file_id).data
    yield TRAILER


def _rows(message: DecodedMessage, wide: Sequence[bool], vehicle_id: int, log_file_id: int) -> U8:
    names, ends = _names(message.channels)
    sizes = np.empty(message.n_rows, np.int64)
    _fixed_sizes(sizes, message.channel, ends)
    cells = [_cells(column, is_wide) for column, is_wide in zip(message.columns, wide, strict=True)]
    for bits, valid in cells:
        _add_sizes(sizes, bits, valid)
    row_ends = np.cumsum(sizes)
    at, out = row_ends - sizes, np.empty(int(row_ends[-1]), np.uint8)
    fixed = np.array([len(KEY_COLUMNS) + len(wide), vehicle_id, log_file_id, MICROSECONDS_TO_2000], np.int64)
    _put_fixed(out, at, fixed, message.source, message.destination, message.channel, message.time_us, names, ends)
    for bits, valid in cells:
        _put_cells(out, at, bits, valid)
    return out


def _names(channels: Sequence[str]) -> tuple[U8, I64]:
    encoded = [name.encode() for name in channels]
    return np.frombuffer(b"".join(encoded), np.uint8), np.cumsum([len(name) for name in encoded], dtype=np.int64)


def _cells(column: Any, is_wide: bool) -> tuple[npt.NDArray[Any], U8]:
    assert isinstance(column, Numbers)  # noqa: S101 - the caller sends texts another way
    if is_wide:
        bits: npt.NDArray[Any] = column.values.view(np.uint64)
    else:
        with np.errstate(over="ignore", invalid="ignore"):  # too large for a real is infinity, as in PostgreSQL
            bits = column.values.astype(np.float32).view(np.uint32)
    return bits, _ALL if column.valid is None else column.valid


@kernel
def _fixed_sizes(sizes: I64, channel: U8, ends: I64) -> None:
    for i in range(len(sizes)):
        number = np.int64(channel[i])
        start = ends[number - 1] if number else 0
        sizes[i] = _FIXED_BYTES + ends[number] - start


@kernel
def _is_value(bits: Any, valid: U8, i: int) -> bool:
    """Whether there is a value, and it is a number: NaN is stored as null."""
    if len(valid) and not (valid[i >> 3] >> (i & 7)) & 1:
        return False
    if bits.itemsize == 4:
        return (bits[i] & np.uint32(0x7FFFFFFF)) <= np.uint32(0x7F800000)
    return (bits[i] & np.uint64(0x7FFFFFFFFFFFFFFF)) <= np.uint64(0x7FF0000000000000)


@kernel
def _add_sizes(sizes: I64, bits: Any, valid: U8) -> None:
    for i in range(len(sizes)):
        sizes[i] += 4 + (bits.itemsize if _is_value(bits, valid, i) else 0)


@kernel
def _put_fixed(
    out: U8,
    at: I64,
    fixed: I64,
    source: npt.NDArray[np.int16],
    destination: npt.NDArray[np.int16],
    channel: U8,
    time_us: I64,
    names: U8,
    ends: I64,
) -> None:
    n_columns, vehicle_id, log_file_id, to_2000 = fixed[0], fixed[1], fixed[2], fixed[3]
    for i in range(len(at)):
        place = put(out, at[i], np.uint64(n_columns), 2)
        place = put_sized(out, place, vehicle_id, 4)
        place = put_sized(out, place, np.int64(source[i]), 2)
        place = put_sized(out, place, np.int64(destination[i]), 2)
        number = np.int64(channel[i])
        start = ends[number - 1] if number else 0
        place = put(out, place, np.uint64(ends[number] - start), 4)
        for letter in range(start, ends[number]):
            out[place] = names[letter]
            place += 1
        place = put_sized(out, place, time_us[i] - to_2000, 8)
        at[i] = put_sized(out, place, log_file_id, 8)


@kernel
def _put_cells(out: U8, at: I64, bits: Any, valid: U8) -> None:
    """Write one column's lengths and values at `at`, which moves on."""
    for i in range(len(at)):
        if _is_value(bits, valid, i):
            place = put(out, at[i], np.uint64(bits.itemsize), 4)
            at[i] = put(out, place, np.uint64(bits[i]), bits.itemsize)
        else:
            at[i] = put(out, at[i], np.uint64(0xFFFFFFFF), 4)
