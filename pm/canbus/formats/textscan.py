"""Numbers, words and payload bytes in a line of text.

What belongs here: small kernels that read one field from place `at` on and never look at or behind `end`.
They return what they read and the place behind it. What the fields of a line mean is the business of the
text formats.
"""

from typing import Final

import numpy as np

from pm.canbus.bits import hex_digit, load64
from pm.canbus.formats.block import U8
from pm.canbus.jit import inline_kernel, kernel

NEWLINE, RETURN, SPACE, TAB, DASH, DOT = 0x0A, 0x0D, 0x20, 0x09, 0x2D, 0x2E
HEX, DECIMAL = 16, 10

SECOND_NS: Final = 1_000_000_000
MILLISECOND_NS: Final = 1_000_000
LARGEST_NS: Final = 9_000_000_000 * SECOND_NS
"""Times up to 285 years fit into 63 bits of nanoseconds."""

_ZERO, _NINE = 0x30, 0x39
_MOST_DIGITS: Final = 18
_MOST_HEX_DIGITS: Final = 8

_NIBBLE: Final = np.array([hex_digit.py_func(code) for code in range(256)], dtype=np.int64)  # type: ignore[attr-defined]
"""Value of a hexadecimal digit by its character code, -1 for others: no branches on what payloads hold."""
_NEWLINES: Final = np.uint64(0x0A0A0A0A0A0A0A0A)
_ONES: Final = np.uint64(0x0101010101010101)
_HIGH_BITS: Final = np.uint64(0x8080808080808080)
_0: Final = np.uint64(0)


@inline_kernel
def is_digit(code: int) -> bool:
    """Is this the character code of a decimal digit?"""
    return _ZERO <= code <= _NINE


@inline_kernel
def is_gap(text: U8, at: int, end: int) -> bool:
    """Does a word end at `at`: a space, a tab, or the end?"""
    return at >= end or text[at] == SPACE or text[at] == TAB


@inline_kernel
def skip_spaces(text: U8, at: int, end: int) -> int:
    """First place from `at` on that is no space and no tab."""
    while at < end and (text[at] == SPACE or text[at] == TAB):
        at += 1
    return at


@inline_kernel
def skip_word(text: U8, at: int, end: int) -> int:
    """Place behind the word that begins at `at`."""
    while at < end and text[at] != SPACE and text[at] != TAB:
        at += 1
    return at


@inline_kernel
def find_newline(text: U8, at: int) -> int:
    """Place of the next newline; there must be one, with spare bytes behind it, as `lines.whole_lines` has it."""
    word = load64(text, at) ^ _NEWLINES
    while (word - _ONES) & ~word & _HIGH_BITS == _0:  # none of these eight
        at += 8
        word = load64(text, at) ^ _NEWLINES
    while text[at] != NEWLINE:
        at += 1
    return at


@kernel
def starts_with(text: U8, at: int, end: int, word: U8) -> bool:
    """Do the characters from `at` on begin with `word` (lower case), in upper or lower case?"""
    if at + len(word) > end:
        return False
    for i in range(len(word)):
        code = text[at + i]
        if 0x41 <= code <= 0x5A:
            code += 0x20
        if code != word[i]:
            return False
    return True


@inline_kernel
def decimal_number(text: U8, at: int, end: int) -> tuple[int, int]:
    """(number, place behind it) of decimal digits; place -1 without a digit or with more than 18."""
    number = 0
    begin = at
    while at < end and is_digit(text[at]) and at - begin <= _MOST_DIGITS:
        number = number * 10 + (text[at] - _ZERO)
        at += 1
    return number, (at if 0 < at - begin <= _MOST_DIGITS else -1)


@inline_kernel
def hex_number(text: U8, at: int, end: int) -> tuple[int, int]:
    """(number, place behind it) of hexadecimal digits; place -1 without a digit or with more than 8."""
    number = 0
    begin = at
    while at < end and _NIBBLE[text[at]] >= 0 and at - begin <= _MOST_HEX_DIGITS:
        number = number << 4 | _NIBBLE[text[at]]
        at += 1
    return number, (at if 0 < at - begin <= _MOST_HEX_DIGITS else -1)


@inline_kernel
def fixed_point_ns(text: U8, at: int, end: int, unit_ns: int) -> tuple[int, int]:
    """(nanoseconds, place behind it) of a number like `-12.345` of units of `unit_ns`, a power of ten.

    Digits below a nanosecond are dropped. Place -1 if it is no such number or beyond `LARGEST_NS`.
    """
    is_negative = at < end and text[at] == DASH
    if is_negative:
        at += 1
    whole, at = decimal_number(text, at, end)
    if whole > LARGEST_NS // unit_ns:
        at = -1
    time_ns = 0 if at < 0 else whole * unit_ns
    if 0 < at < end and text[at] == DOT:
        at += 1
        begin = at
        digit_ns = unit_ns
        while at < end and is_digit(text[at]):
            digit_ns //= 10
            time_ns += (text[at] - _ZERO) * digit_ns
            at += 1
        if at == begin:
            at = -1
    return (-time_ns if is_negative else time_ns), at


@inline_kernel
def hex_payload(text: U8, at: int, end: int, most: int, data: U8) -> tuple[int, int]:
    """(bytes read into `data`, place behind them) from `at` on, until `most` or until something else stands there.

    Bytes are words of one digit or of pairs of digits: `0A 0B`, `A B`, `0A0B`.
    """
    n = 0
    is_good = True
    while is_good and n < most:
        begin = at
        while begin < end and (text[begin] == SPACE or text[begin] == TAB):
            begin += 1
        high = _NIBBLE[text[begin]] if begin < end else -1
        low = _NIBBLE[text[begin + 1]] if begin + 1 < end else -1
        if high >= 0 and low >= 0:
            data[n] = high << 4 | low
            n += 1
            at = begin + 2
        elif high >= 0 and (begin > at or n == 0) and is_gap(text, begin + 1, end):
            data[n] = high
            n += 1
            at = begin + 1
        else:
            is_good = False
    return n, at


@kernel
def decimal_payload(text: U8, at: int, end: int, most: int, data: U8) -> tuple[int, int]:
    """(bytes read into `data`, place behind them), like `hex_payload`, of words from 0 to 255."""
    n = 0
    while n < most:
        number, behind = decimal_number(text, skip_spaces(text, at, end), end)
        if behind < 0 or number > 255 or not is_gap(text, behind, end):
            break
        data[n] = number
        n += 1
        at = behind
    return n, at


@kernel
def days_from_date(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 to a date of the Gregorian calendar; the year is taken to begin in March."""
    years = year - (1 if month < 3 else 0)
    months = (month + 9) % 12
    return 365 * years + years // 4 - years // 100 + years // 400 + (153 * months + 2) // 5 + day - 719_469
