"""Records that were packed column by column, put back into rows.

What belongs here: the kernel that undoes the transposition of DZ blocks (ASAM MDF 4.1, "transposition and
deflate"), eight by eight bytes at once.
"""

from typing import Final

import numpy as np

from pm.canbus.bits import load64
from pm.canbus.formats.block import U8
from pm.canbus.jit import inline_kernel, kernel

_U = np.uint64
_1, _2, _3, _4, _5, _6, _7 = (_U(n) for n in range(1, 8))
_8, _16, _24, _32, _40, _48, _56 = (_U(n) for n in range(8, 64, 8))
_BYTE: Final = _U(0xFF)
_EVERY_BYTE: Final = _U(0x00FF00FF00FF00FF)
_EVERY_PAIR: Final = _U(0x0000FFFF0000FFFF)
_LOW_HALF: Final = _U(0x00000000FFFFFFFF)


@inline_kernel
def _exchange(low: np.uint64, high: np.uint64, shift: np.uint64, mask: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Swap the upper parts of one word with the lower parts of another."""
    swapped = ((low >> shift) ^ high) & mask
    return low ^ (swapped << shift), high ^ swapped


@inline_kernel
def _store64(data: U8, at: int, word: np.uint64) -> None:
    # The compiler makes one unaligned store of this.
    i = _U(at)
    data[i] = np.uint8(word & _BYTE)
    data[i + _1] = np.uint8((word >> _8) & _BYTE)
    data[i + _2] = np.uint8((word >> _16) & _BYTE)
    data[i + _3] = np.uint8((word >> _24) & _BYTE)
    data[i + _4] = np.uint8((word >> _32) & _BYTE)
    data[i + _5] = np.uint8((word >> _40) & _BYTE)
    data[i + _6] = np.uint8((word >> _48) & _BYTE)
    data[i + _7] = np.uint8((word >> _56) & _BYTE)


@kernel
def transpose(data: U8, n: int, n_columns: int, out: U8) -> None:
    """Turn `data[:n]`, columns of bytes, into records of n_columns bytes; a rest of a record stays as it is.

    `data` has `SPARE_BYTES` more. Eight bytes of eight columns are turned at once, in words.
    """
    n_rows = n // n_columns
    n_words, n_blocks = n_columns // 8, n_rows // 8
    for tile in range(0, n_blocks, 8):
        for part in range(n_words):
            for block in range(tile, min(tile + 8, n_blocks)):
                at = 8 * part * n_rows + 8 * block
                a, b, c, d = (
                    load64(data, at),
                    load64(data, at + n_rows),
                    load64(data, at + 2 * n_rows),
                    load64(data, at + 3 * n_rows),
                )
                at += 4 * n_rows
                e, f, g, h = (
                    load64(data, at),
                    load64(data, at + n_rows),
                    load64(data, at + 2 * n_rows),
                    load64(data, at + 3 * n_rows),
                )
                a, b = _exchange(a, b, _8, _EVERY_BYTE)
                c, d = _exchange(c, d, _8, _EVERY_BYTE)
                e, f = _exchange(e, f, _8, _EVERY_BYTE)
                g, h = _exchange(g, h, _8, _EVERY_BYTE)
                a, c = _exchange(a, c, _16, _EVERY_PAIR)
                b, d = _exchange(b, d, _16, _EVERY_PAIR)
                e, g = _exchange(e, g, _16, _EVERY_PAIR)
                f, h = _exchange(f, h, _16, _EVERY_PAIR)
                a, e = _exchange(a, e, _32, _LOW_HALF)
                b, f = _exchange(b, f, _32, _LOW_HALF)
                c, g = _exchange(c, g, _32, _LOW_HALF)
                d, h = _exchange(d, h, _32, _LOW_HALF)
                to = 8 * block * n_columns + 8 * part
                _store64(out, to, a)
                _store64(out, to + n_columns, b)
                _store64(out, to + 2 * n_columns, c)
                _store64(out, to + 3 * n_columns, d)
                to += 4 * n_columns
                _store64(out, to, e)
                _store64(out, to + n_columns, f)
                _store64(out, to + 2 * n_columns, g)
                _store64(out, to + 3 * n_columns, h)
        for column in range(8 * n_words, n_columns):
            for row in range(8 * tile, min(8 * tile + 64, 8 * n_blocks)):
                out[row * n_columns + column] = data[column * n_rows + row]
    for column in range(n_columns):
        for row in range(8 * n_blocks, n_rows):
            out[row * n_columns + column] = data[column * n_rows + row]
    for at in range(n_rows * n_columns, n):
        out[at] = data[at]
