"""One cell of a table: times, identifiers, base64.

What belongs here: small kernels that read the cell between `at` and `end` and nothing beyond it. Which
column a cell is in, is the business of `csv_rows`.
"""

from typing import Final

import numpy as np

from pm.canbus.bits import hex_digit
from pm.canbus.formats.block import U8
from pm.canbus.formats.textscan import DASH, DOT, days_from_date, decimal_number, is_digit
from pm.canbus.jit import kernel

LATEST_US: Final = 253_402_300_800_000_000
"""The year 10000."""
NO_TIME: Final = -1

_COMMA, _PLUS, _SLASH, _COLON, _EQUALS, _SPACE = 0x2C, 0x2B, 0x2F, 0x3A, 0x3D, 0x20
_E, _SMALL_E, _T, _X, _SMALL_X, _H, _SMALL_H, _Z, _ZERO = 0x45, 0x65, 0x54, 0x58, 0x78, 0x48, 0x68, 0x5A, 0x30
_MOST_DIGITS: Final = 18
_MOST_ZEROS: Final = 17
_SECOND_US: Final = 1_000_000


def _sextets() -> U8:
    """Value of each base64 character (RFC 4648, 4), 255 for any other."""
    values = np.full(256, 255, dtype=np.uint8)
    for value, code in enumerate(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"):
        values[code] = value
    return values


SEXTETS: Final = _sextets()


@kernel
def _two_digits(text: U8, at: int) -> int:
    """Number of two decimal digits, -1 if they are none."""
    if not is_digit(text[at]) or not is_digit(text[at + 1]):
        return -1
    return int(text[at] - _ZERO) * 10 + int(text[at + 1] - _ZERO)


@kernel
def time_us(text: U8, at: int, end: int, exponent: int) -> int:
    """Microseconds of a number of units of 10^`exponent` microseconds, or of a date; `NO_TIME` if it is neither.

    A number may have a decimal point or comma and an exponent, and is rounded to the nearest microsecond.
    A date is `2026-11-21 13:38:44.123456` with a space or a `T` between, and `Z`, `+01:00` or nothing
    (UTC) behind it.
    """
    if end - at >= 19 and (text[at + 4] == DASH or text[at + 4] == _SLASH):
        return _date_us(text, at, end)
    digits, n, has_point, n_read = 0, 0, False, 0
    while at < end:
        code = text[at]
        if is_digit(code):
            n_read += 1
            if n < _MOST_DIGITS:
                digits = digits * 10 + (code - _ZERO)
                n += 1 if digits else 0
                exponent -= 1 if has_point else 0
            elif not has_point:
                return NO_TIME
        elif (code == DOT or code == _COMMA) and not has_point:
            has_point = True
        else:
            break
        at += 1
    if n_read == 0:
        return NO_TIME
    if at + 1 < end and (text[at] == _E or text[at] == _SMALL_E):
        is_negative = text[at + 1] == DASH
        power, at = decimal_number(text, at + (2 if is_negative or text[at + 1] == _PLUS else 1), end)
        if at < 0 or power > 300:
            return NO_TIME
        exponent += -power if is_negative else power
    if at != end:
        return NO_TIME
    return _scaled(digits, exponent)


@kernel
def _scaled(digits: int, exponent: int) -> int:
    """`digits` times 10^`exponent`, rounded; `NO_TIME` beyond the year 10000."""
    if digits == 0:
        return 0
    if exponent > _MOST_ZEROS:
        return NO_TIME
    while exponent > 0:
        if digits > LATEST_US:
            return NO_TIME
        digits *= 10
        exponent -= 1
    if exponent < 0:
        divisor = 1
        for _ in range(min(-exponent, _MOST_DIGITS)):
            divisor *= 10
        digits = (digits + divisor // 2) // divisor if -exponent <= _MOST_DIGITS else 0
    return digits if digits <= LATEST_US else NO_TIME


@kernel
def _date_us(text: U8, at: int, end: int) -> int:
    for i in range(4):
        if not is_digit(text[at + i]):
            return NO_TIME
    year = 100 * _two_digits(text, at) + _two_digits(text, at + 2)
    month, day = _two_digits(text, at + 5), _two_digits(text, at + 8)
    hour, minute, second = _two_digits(text, at + 11), _two_digits(text, at + 14), _two_digits(text, at + 17)
    is_date = 1 <= month <= 12 and 1 <= day <= 31 and 0 <= hour < 24 and 0 <= minute < 60 and 0 <= second <= 60
    is_date = is_date and text[at + 7] == text[at + 4] and text[at + 13] == _COLON and text[at + 16] == _COLON
    if not is_date or year < 1970 or (text[at + 10] != _SPACE and text[at + 10] != _T):
        return NO_TIME
    us = (((days_from_date(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * _SECOND_US
    at += 19
    if at < end and (text[at] == DOT or text[at] == _COMMA):
        at += 1
        unit = _SECOND_US
        begin = at
        while at < end and is_digit(text[at]):
            unit //= 10
            us += (text[at] - _ZERO) * unit
            at += 1
        if at == begin:
            return NO_TIME
    if at == end or (at + 1 == end and text[at] == _Z):
        return us
    is_east = text[at] == _PLUS
    if end - at < 5 or not (is_east or text[at] == DASH):
        return NO_TIME
    minute_at = at + 4 if text[at + 3] == _COLON else at + 3
    if minute_at + 2 != end:
        return NO_TIME
    hour, minute = _two_digits(text, at + 1), _two_digits(text, minute_at)
    if not (0 <= hour < 24 and 0 <= minute < 60):
        return NO_TIME
    zone_us = (hour * 60 + minute) * 60 * _SECOND_US
    us += -zone_us if is_east else zone_us
    return us if us >= 0 else NO_TIME


@kernel
def identifier(text: U8, at: int, end: int, is_decimal: bool) -> tuple[int, bool, bool]:
    """(identifier or -1, whether it looks extended, whether it is marked so) of `18FEF100`, `0x1F`, `1Fx`, `7DFh`.

    It looks extended with eight digits or above 0x7FF, and is marked so by an `x` behind it.
    """
    number, n_digits, is_marked = 0, 0, False
    if end - at > 2 and text[at] == _ZERO and (text[at + 1] == _X or text[at + 1] == _SMALL_X):
        at += 2
        is_decimal = False
    while at < end and n_digits < 10:
        digit = hex_digit(text[at])
        if digit < 0 or (is_decimal and digit > 9):
            break
        number = number * (10 if is_decimal else 16) + digit
        n_digits += 1
        at += 1
    if at < end and (text[at] == _X or text[at] == _SMALL_X):
        is_marked = True
        at += 1
    elif at < end and not is_decimal and (text[at] == _H or text[at] == _SMALL_H):
        at += 1
    if n_digits == 0 or at != end or number > 0xFFFFFFFF:
        return -1, False, False
    return number, is_marked or number > 0x7FF or (n_digits == 8 and not is_decimal), is_marked


@kernel
def hex_bytes(text: U8, at: int, end: int, most: int, data: U8) -> int:
    """How many bytes, at most `most`, a cell of hexadecimal bytes holds, written to `data`; -1 if it is none.

    They are pairs of digits with or without spaces between them, or single digits between spaces.
    """
    n = 0
    while at < end:
        if text[at] == _SPACE:
            at += 1
            continue
        number = hex_digit(text[at])
        low = hex_digit(text[at + 1]) if at + 1 < end else -1
        if number < 0 or n == most or (low < 0 and at + 1 < end and text[at + 1] != _SPACE):
            return -1
        is_pair = low >= 0
        if not is_pair and at > 0 and hex_digit(text[at - 1]) >= 0 and n > 0:
            return -1
        data[n] = number << 4 | low if is_pair else number
        n += 1
        at += 2 if is_pair else 1
    return n


@kernel
def base64_bytes(text: U8, at: int, end: int, most: int, data: U8) -> int:
    """How many bytes, at most `most`, a cell of base64 holds, written to `data`; -1 if it is none."""
    if (end - at) % 4:
        return -1
    n = 0
    while at < end:
        n_here = 3
        if at + 4 == end and text[at + 3] == _EQUALS:
            n_here = 1 if text[at + 2] == _EQUALS else 2
        group = np.int64(0)
        for i in range(4):
            value = np.int64(SEXTETS[text[at + i]]) if i <= n_here else np.int64(0)
            if value == 255:
                return -1
            group = group << 6 | value
        if n + n_here > most:
            return -1
        for i in range(n_here):
            data[n + i] = group >> (16 - 8 * i) & 0xFF
        n += n_here
        at += 4
    return n
