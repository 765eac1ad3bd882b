"""Columns of decoded payloads as the pages of a Parquet file.

What belongs here: the encodings of the Apache Parquet format that decoded payloads come in nearly for
free (format specification, Encodings.md): codes of up to eight bits are indices into a dictionary of
their 256 values, Arrow's validity bits are definition levels, times are small steps. Putting pages into a
file is `pm.canbus.parquet_file`.
"""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pm.canbus.bits import SPARE_BYTES
from pm.canbus.formats.block import I64, U8, U64
from pm.canbus.jit import kernel

F64 = NDArray[np.float64]

INDEX_BITS: Final = 8
_BLOCK: Final = 128
_MINIBLOCK: Final = 32
_MINIBLOCKS: Final = _BLOCK // _MINIBLOCK
_LARGEST_BLOCK_BYTES: Final = 10 + _MINIBLOCKS + 8 * _BLOCK
_64: Final = 64
_ALL: Final = np.uint64(0xFFFFFFFFFFFFFFFF)
_0, _1, _7, _8, _63, _127 = (np.uint64(n) for n in (0, 1, 7, 8, 63, 127))


@lru_cache(maxsize=4096)
def varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit says that more follow."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def levels(n: int, valid: U8 | None, n_null: int) -> bytes:
    """Definition levels of n rows: one run where all are null or none is, else the validity bits as they are."""
    if n_null in (0, n):
        runs = varint(n << 1) + bytes([n_null == 0])
    else:
        assert valid is not None  # noqa: S101 - a column with some nulls says which
        runs = varint(len(valid) << 1 | 1) + valid.tobytes()
    return len(runs).to_bytes(4, "little") + runs


def indices(codes: U8) -> bytes:
    """Indices into a dictionary of up to 256 values: one run where all are the same, else a byte each."""
    if not len(codes):
        return bytes([INDEX_BITS])
    first = int(codes[0])
    if codes[-1] == first and (codes == first).all():
        return bytes([INDEX_BITS]) + varint(len(codes) << 1) + bytes([first])
    n_groups = -(-len(codes) // 8)
    return bytes([INDEX_BITS]) + varint(n_groups << 1 | 1) + codes.tobytes().ljust(8 * n_groups, b"\0")


def split_bytes(values: F64, valid: U8 | None) -> bytes:
    """BYTE_STREAM_SPLIT of the values that are not null: all first bytes, then all second ones, ..."""
    words = values.view(np.uint64)
    if valid is not None:
        words = words[np.unpackbits(valid, count=len(words), bitorder="little").view(np.bool_)]
    streams = np.empty(8 * len(words), dtype=np.uint8)
    _split_bytes(words, streams)
    return streams.tobytes()


def time_steps(time_us: I64) -> bytes:
    """DELTA_BINARY_PACKED of whole numbers, at least one."""
    n_blocks = -(-len(time_us) // _BLOCK)
    out = np.empty(n_blocks * _LARGEST_BLOCK_BYTES + SPARE_BYTES, dtype=np.uint8)
    n = int(_pack_steps(time_us, out))
    first = int(time_us[0])
    zigzag = first << 1 if first >= 0 else (-first << 1) - 1
    head = varint(_BLOCK) + varint(_MINIBLOCKS) + varint(len(time_us)) + varint(zigzag)
    return head + out[:n].tobytes()


@kernel
def _split_bytes(words: U64, streams: U8) -> None:
    n = len(words)
    for byte in range(8):
        shift = np.uint64(8 * byte)
        for i in range(n):
            streams[byte * n + i] = np.uint8(words[i] >> shift)


@kernel
def _put_varint(number: np.uint64, out: U8, at: int) -> int:
    while number > _127:
        out[at] = np.uint8(number & _127 | np.uint64(128))
        number >>= _7
        at += 1
    out[at] = np.uint8(number)
    return at + 1


@kernel
def _width(largest: np.uint64) -> int:
    width = 0
    while largest != _0:
        largest >>= _1
        width += 1
    return width


@kernel
def _put_miniblock(values: I64, begin: int, end: int, least: int, width: int, out: U8, at: int) -> int:
    """Pack the steps into the places `begin` to `end`, of `width` bits each; zeros where there are none."""
    word = _0
    filled = 0
    for i in range(begin, begin + _MINIBLOCK):
        step = np.uint64(values[i] - values[i - 1] - least) if i < end else _0
        word |= step << np.uint64(filled)
        filled += width
        if filled >= _64:
            for _ in range(8):
                out[at] = np.uint8(word & np.uint64(255))
                word >>= _8
                at += 1
            filled -= _64
            word = step >> np.uint64(width - filled) if filled else _0
    while filled > 0:  # the 32 steps of a miniblock fill whole half words
        out[at] = np.uint8(word & np.uint64(255))
        word >>= _8
        filled -= 8
        at += 1
    return at


@kernel
def _pack_steps(values: I64, out: U8) -> int:
    """Write the blocks of DELTA_BINARY_PACKED behind the header; how many bytes they take."""
    n = len(values)
    at = 0
    for block in range(1, n, _BLOCK):
        end = min(n, block + _BLOCK)
        least = values[block] - values[block - 1]
        for i in range(block, end):
            least = min(least, values[i] - values[i - 1])
        at = _put_varint(np.uint64(least << 1) ^ np.uint64(least >> 63), out, at)
        widths_at = at
        at += _MINIBLOCKS
        for part in range(_MINIBLOCKS):
            begin = block + part * _MINIBLOCK
            largest = _0
            for i in range(begin, min(end, begin + _MINIBLOCK)):
                largest = max(largest, np.uint64(values[i] - values[i - 1] - least))
            width = _width(largest)
            out[widths_at + part] = width
            if begin < end and width:
                at = _put_miniblock(values, begin, end, least, width, out, at)
    return at
