"""Hexadecimal and decimal digits, eight characters at a time.

What belongs here: arithmetic on arrays of 64-bit words that hold eight ASCII characters each, the
first character in the lowest byte ("SIMD within a register": one integer operation works on eight
characters). Which characters those are is the readers' business.
"""

from typing import Final

import numpy as np

from pm.canbus.formats.block import U8, U64

_U = np.uint64
_ONES: Final = _U(0x0101010101010101)
_NIBBLES: Final = _U(0x0F0F0F0F0F0F0F0F)
_HIGH: Final = _U(0xF0F0F0F0F0F0F0F0)
_ZEROS: Final = _U(0x3030303030303030)
_SIXES: Final = _U(0x0606060606060606)
_BYTES_OF_4: Final = _U(0x00FF00FF00FF00FF)
_PAIRS_OF_2: Final = _U(0x0000FFFF0000FFFF)
_LOW_HALF: Final = _U(0xFFFFFFFF)

KEEP: Final = np.array([(1 << (8 * n)) - 1 for n in range(9)], dtype=np.uint64)
"""KEEP[n] selects the first n characters of a word."""
FILL: Final = np.array([0x3030303030303030 & ~((1 << (8 * n)) - 1) for n in range(9)], dtype=np.uint64)
"""FILL[n] puts the character 0 in place of all but the first n."""


def words_at_every_byte(buffer: U8) -> U64:
    """View of `buffer` whose element i is the little-endian word that starts at byte i."""
    return np.ndarray((len(buffer) - 7,), dtype="<u8", buffer=buffer, strides=(1,))


def hex_words(words: U64) -> tuple[U64, U64]:
    """Eight hexadecimal characters a word -> (four bytes, first pair lowest; non-zero where a character is none)."""
    letters = (words >> _U(6)) & _ONES
    nibbles = (words & _NIBBLES) + letters * _U(9)
    above_nine = ((nibbles + _SIXES) >> _U(4)) & _ONES
    # Written back as upper-case characters the nibbles must give the input, or it was no hexadecimal digit.
    bad = ((words & ~(letters << _U(5))) ^ (nibbles + _ZEROS + above_nine * _U(7))) | (nibbles & _HIGH)
    pairs = ((nibbles << _U(4)) | (nibbles >> _U(8))) & _BYTES_OF_4
    quads = (pairs | (pairs >> _U(8))) & _PAIRS_OF_2
    return (quads | (quads >> _U(16))) & _LOW_HALF, bad


def decimal_words(words: U64) -> tuple[U64, U64]:
    """Eight decimal characters a word -> (number below 10**8; non-zero where a character is no digit)."""
    bad = ((words & _HIGH) ^ _ZEROS) | (((words + _SIXES) & _HIGH) ^ _ZEROS)
    digits = words & _NIBBLES
    twos = (digits * _U(10) + (digits >> _U(8))) & _BYTES_OF_4
    fours = (twos * _U(100) + (twos >> _U(16))) & _PAIRS_OF_2
    return (fours * _U(10_000) + (fours >> _U(32))) & _LOW_HALF, bad


def swapped(halves: U64) -> U64:
    """Four bytes with the first lowest -> the number they write with the first byte highest."""
    return np.asarray(halves.astype(np.uint32).byteswap().astype(np.uint64))
