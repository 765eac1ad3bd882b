"""Eight bytes at a time: words from payloads and text, hexadecimal and decimal digits.

What belongs here: the small kernels that all others are made of. Arrays of bytes handed to kernels
have `SPARE_BYTES` beyond their content, so a word may be read at any byte of the content.
"""

from typing import Final

import numpy as np

from pm.canbus.formats.block import U8
from pm.canbus.jit import inline_kernel

SPARE_BYTES: Final = 64

_U = np.uint64
_LOW_NIBBLES: Final = _U(0x0F0F0F0F0F0F0F0F)
_HIGH_NIBBLES: Final = _U(0xF0F0F0F0F0F0F0F0)
_ONES: Final = _U(0x0101010101010101)
_DIGIT_ZEROS: Final = _U(0x3030303030303030)
_SIXES: Final = _U(0x0606060606060606)
_SIXTEENS: Final = _U(0x1010101010101010)
_BYTE_PAIRS: Final = _U(0x00FF00FF00FF00FF)
_HALVES: Final = _U(0x0000FFFF0000FFFF)
_LOW_HALF: Final = _U(0xFFFFFFFF)
_EVERY_FOURTH: Final = _U(0x000000FF000000FF)
_FOUR_DIGITS: Final = _U(0x000F424000000064)
_OTHER_DIGITS: Final = _U(0x0000271000000001)
_3, _4, _5, _6, _8, _10, _16, _24, _32, _40, _48, _56 = (_U(n) for n in (3, 4, 5, 6, 8, 10, 16, 24, 32, 40, 48, 56))


@inline_kernel
def load64(data: U8, at: int) -> np.uint64:
    """The eight bytes from `at` as one number, the first byte lowest."""
    # The compiler makes one unaligned load of this.
    i = _U(at)
    return (
        _U(data[i])
        | (_U(data[i + _U(1)]) << _8)
        | (_U(data[i + _U(2)]) << _16)
        | (_U(data[i + _U(3)]) << _24)
        | (_U(data[i + _U(4)]) << _32)
        | (_U(data[i + _U(5)]) << _40)
        | (_U(data[i + _U(6)]) << _48)
        | (_U(data[i + _U(7)]) << _56)
    )


@inline_kernel
def load32(data: U8, at: int) -> np.uint64:
    """The four bytes from `at` as one number, the first byte lowest."""
    i = _U(at)
    return _U(data[i]) | (_U(data[i + _U(1)]) << _8) | (_U(data[i + _U(2)]) << _16) | (_U(data[i + _U(3)]) << _24)


@inline_kernel
def swap64(word: np.uint64) -> np.uint64:
    """The same eight bytes in the other order."""
    word = ((word >> _8) & _BYTE_PAIRS) | ((word & _BYTE_PAIRS) << _8)
    word = ((word >> _16) & _HALVES) | ((word & _HALVES) << _16)
    return (word >> _32) | (word << _32)


@inline_kernel
def swap32(word: np.uint64) -> np.uint64:
    """The low four bytes in the other order."""
    return swap64(word) >> _32


@inline_kernel
def hex8(text: np.uint64) -> tuple[np.uint64, np.uint64]:
    """(four bytes in the order of the text, not 0 if bad) of eight hexadecimal digits in a word."""
    letter = (text >> _6) & _ONES
    low = text & _LOW_NIBBLES
    nibbles = low + (letter << _3) + letter
    # A digit is 0x3n with n < 10; a letter is 0x4n or 0x6n with 1 <= n <= 6.
    bad = (
        ((text & (_HIGH_NIBBLES ^ (letter << _5))) ^ (_DIGIT_ZEROS + (letter << _4)))
        | ((low + _SIXES + letter + letter + letter) & _SIXTEENS)
        | (letter & ~((low + _LOW_NIBBLES) >> _4))
    )
    pairs = ((nibbles << _4) | (nibbles >> _8)) & _BYTE_PAIRS
    pairs = (pairs | (pairs >> _8)) & _HALVES
    return (pairs | (pairs >> _16)) & _LOW_HALF, bad


@inline_kernel
def decimal8(text: np.uint64) -> tuple[np.uint64, np.uint64]:
    """(number, not 0 if bad) of eight decimal digits in a word."""
    bad = ((text & _HIGH_NIBBLES) ^ _DIGIT_ZEROS) | (((text + _SIXES) & _HIGH_NIBBLES) ^ _DIGIT_ZEROS)
    digits = text - _DIGIT_ZEROS
    digits = (digits * _10) + (digits >> _8)
    number = ((digits & _EVERY_FOURTH) * _FOUR_DIGITS) + (((digits >> _16) & _EVERY_FOURTH) * _OTHER_DIGITS)
    return (number >> _32) & _LOW_HALF, bad


@inline_kernel
def hex_digit(code: int) -> int:
    """Value of a hexadecimal digit; -1 for any other character."""
    if 48 <= code <= 57:
        return code - 48
    if 97 <= code <= 102:
        return code - 87
    return code - 55 if 65 <= code <= 70 else -1
