"""One line of candump text.

What belongs here: what a line of `candump -L` or of candump's screen output may look like, read
character by character (can-utils, `candump.c` and `lib.c`). `pm.canbus.formats.candump` reads the
lines that fill nearly every log faster and comes here for all others.
"""

from typing import Final, NamedTuple

import numpy as np

from pm.canbus.bits import hex_digit, load64
from pm.canbus.formats.block import CLASSIC_BYTES, I64, MAXIMUM_CHANNELS, MAXIMUM_FRAME_BYTES, U8, U64
from pm.canbus.formats.textscan import days_from_date
from pm.canbus.jit import kernel

MAXIMUM_NAME: Final = 32
SHORT_NAME: Final = 7
"""Channel names up to this length are compared, with the space behind them, as one word."""

FRAME, MALFORMED, REMOTE, ERROR, NO_CHANNEL, TOO_LONG = range(6)
"""What a line was."""
N_CODES: Final = 6

TIME_US, CHANNEL, CAN_ID, IS_EXTENDED, LENGTH = range(5)
"""Places in `Line.fields`."""

_OPEN, _CLOSE, _SPACE, _HASH, _DOT, _DASH, _COLON, _UNDERSCORE = 0x28, 0x29, 0x20, 0x23, 0x2E, 0x2D, 0x3A, 0x5F
_BRACKET, _CLOSING_BRACKET = 0x5B, 0x5D
_B, _E, _R, _T, _X, _SMALL_R = 0x42, 0x45, 0x52, 0x54, 0x58, 0x72
_ERROR_FLAG, _LARGEST_EXTENDED, _LARGEST_STANDARD = 0x20000000, 0x1FFFFFFF, 0x7FF
_ALL: Final = np.uint64(0xFFFFFFFFFFFFFFFF)


class Line(NamedTuple):
    """The frame of one line."""

    fields: I64
    data: U8
    """Payload, with room for the longest frame."""


class Names(NamedTuple):
    """Channel names seen in the log."""

    text: U8
    """Shape (`MAXIMUM_CHANNELS`, `MAXIMUM_NAME`)."""
    length: I64
    word: U64
    """A short name and the space behind it; `mask` says which bytes those are, 0 for a long name."""
    mask: U64
    n: I64
    """One number: how many names there are."""


def new_line() -> Line:
    return Line(np.zeros(5, dtype=np.int64), np.zeros(MAXIMUM_FRAME_BYTES, dtype=np.uint8))


def new_names() -> Names:
    return Names(
        np.zeros((MAXIMUM_CHANNELS, MAXIMUM_NAME), dtype=np.uint8),
        np.zeros(MAXIMUM_CHANNELS, dtype=np.int64),
        np.zeros(MAXIMUM_CHANNELS, dtype=np.uint64),
        np.zeros(MAXIMUM_CHANNELS, dtype=np.uint64),
        np.zeros(1, dtype=np.int64),
    )


@kernel
def _digits(text: U8, at: int, end: int, most: int) -> tuple[int, int]:
    """(number, digits read, at most `most`) of the decimal digits from `at`."""
    number = 0
    n = 0
    while n < most and at + n < end and 48 <= text[at + n] <= 57:
        number = number * 10 + (text[at + n] - 48)
        n += 1
    return number, n


@kernel
def _skip_spaces(text: U8, at: int, end: int) -> int:
    while at < end and text[at] == _SPACE:
        at += 1
    return at


@kernel
def _channel(text: U8, at: int, length: int, names: Names) -> int:
    """Number of a channel name, learnt here if it is new; -1 when there are too many."""
    n = names.n[0]
    for number in range(n):
        if names.length[number] == length:
            i = 0
            while i < length and names.text[number, i] == text[at + i]:
                i += 1
            if i == length:
                return number
    if n == MAXIMUM_CHANNELS:
        return -1
    for i in range(length):
        names.text[n, i] = text[at + i]
    names.length[n] = length
    if length <= SHORT_NAME:
        names.mask[n] = _ALL >> np.uint64(8 * (SHORT_NAME - length))
        names.word[n] = load64(text, at) & names.mask[n]
    names.n[0] = n + 1
    return n


@kernel
def _time(text: U8, at: int, end: int) -> tuple[int, int]:
    """(microseconds, place behind it) of `(seconds.fraction)` or `(date time.fraction)`; place -1 if it is neither."""
    if at >= end or text[at] != _OPEN:
        return 0, -1
    whole, n = _digits(text, at + 1, end, 12)
    at += 1 + n
    if n == 4 and at + 15 < end and text[at] == _DASH:
        month, n_month = _digits(text, at + 1, end, 2)
        day, n_day = _digits(text, at + 4, end, 2)
        hour, n_hour = _digits(text, at + 7, end, 2)
        minute, n_minute = _digits(text, at + 10, end, 2)
        second, n_second = _digits(text, at + 13, end, 2)
        is_date = n_month == 2 and n_day == 2 and n_hour == 2 and n_minute == 2 and n_second == 2
        is_date = is_date and text[at + 3] == _DASH and text[at + 6] == _SPACE
        is_date = is_date and text[at + 9] == _COLON and text[at + 12] == _COLON
        if not is_date or not 1 <= month <= 12 or not 1 <= day <= 31:
            return 0, -1
        whole = ((days_from_date(whole, month, day) * 24 + hour) * 60 + minute) * 60 + second
        at += 15
        n = 1
    if n == 0 or at >= end or text[at] != _DOT:
        return 0, -1
    fraction, n = _digits(text, at + 1, end, 9)
    at += 1 + n
    if n == 0 or at >= end or text[at] != _CLOSE:
        return 0, -1
    while n < 6:
        fraction *= 10
        n += 1
    while n > 6:
        fraction //= 10
        n -= 1
    return whole * 1_000_000 + fraction, at + 1


@kernel
def _hex_bytes(text: U8, at: int, end: int, gap: int, data: U8, most: int) -> int:
    """How many bytes, at most `most`, were read from `at` on, `gap` characters apart, into `data`."""
    n = 0
    while n < most and at + 1 < end:
        high = hex_digit(text[at])
        low = hex_digit(text[at + 1])
        if high < 0 or low < 0:
            break
        data[n] = high << 4 | low
        n += 1
        if gap and (at + 2 >= end or text[at + 2] != _SPACE):
            break
        at += 2 + gap
    return n


@kernel
def _log_payload(text: U8, at: int, end: int, data: U8) -> tuple[int, int]:
    """(code, length) of what stands behind `#` in a line of candump -L."""
    if at < end and text[at] == _R:
        return REMOTE, 0
    is_fd = at + 1 < end and text[at] == _HASH and hex_digit(text[at + 1]) >= 0
    if is_fd:
        at += 2
    length = _hex_bytes(text, at, end, 0, data, MAXIMUM_FRAME_BYTES if is_fd else CLASSIC_BYTES)
    at += 2 * length
    if not is_fd and at + 1 < end and text[at] == _UNDERSCORE and hex_digit(text[at + 1]) >= 0:
        at += 2  # the raw length code of a frame of eight bytes
    if at + 2 == end and text[at] == _SPACE and (text[at + 1] == _R or text[at + 1] == _T):
        at += 2  # the direction, which candump -x and python-can append
    return (FRAME if at == end else MALFORMED), length


@kernel
def _screen_payload(text: U8, at: int, end: int, data: U8) -> tuple[int, int]:
    """(code, length) of what stands behind the identifier on candump's screen: `[8]  01 02 ...`."""
    at = _skip_spaces(text, at, end)
    if at >= end or text[at] != _BRACKET:
        return MALFORMED, 0
    length, n = _digits(text, at + 1, end, 2)
    at += 1 + n
    if n == 0 or at >= end or text[at] != _CLOSING_BRACKET:
        return MALFORMED, 0
    at += 1
    begin = at
    at = _skip_spaces(text, at, end)
    while end > at and text[end - 1] == _SPACE:
        end -= 1
    if at == end:
        return (FRAME if length == 0 else MALFORMED), 0
    if at == begin:
        return MALFORMED, 0
    if text[at] == _SMALL_R:  # "remote request"
        return REMOTE, 0
    if text[at] == _E and at + 1 < end and text[at + 1] == _R:  # "ERRORFRAME"; E1 would be a payload byte
        return ERROR, 0
    found = _hex_bytes(text, at, end, 1, data, MAXIMUM_FRAME_BYTES)
    at += 3 * found - 1
    # Behind the bytes stand, two spaces apart, the same bytes as characters (candump -a).
    is_whole = found == length and (at == end or (at + 1 < end and text[at] == _SPACE and text[at + 1] == _SPACE))
    return (FRAME if is_whole and found else MALFORMED), length


@kernel
def _flags(text: U8, at: int, end: int) -> int:
    """Place behind the columns of candump -x on the screen (`RX B E`), or `at` where there are none."""
    if at + 6 >= end or (text[at] != _R and text[at] != _T) or text[at + 1] != _X or text[at + 2] != _SPACE:
        return at
    is_brs = text[at + 3] == _B or text[at + 3] == _DASH
    is_esi = text[at + 5] == _E or text[at + 5] == _DASH
    if not is_brs or not is_esi or text[at + 4] != _SPACE or text[at + 6] != _SPACE:
        return at
    return _skip_spaces(text, at + 7, end)


@kernel
def read_line(text: U8, at: int, end: int, is_screen: bool, line: Line, names: Names) -> int:
    """Read one line without its line end into `line`; its code (`FRAME` ... `NO_CHANNEL`)."""
    if is_screen:
        at = _skip_spaces(text, at, end)
    time_us, at = _time(text, at, end)
    if at < 0 or at >= end or text[at] != _SPACE:
        return MALFORMED
    at = _skip_spaces(text, at, end)
    name = at
    while at < end and 0x21 <= text[at] <= 0x7E:
        at += 1
    n_name = at - name
    if n_name == 0 or n_name > MAXIMUM_NAME or at >= end or text[at] != _SPACE:
        return MALFORMED
    at = _skip_spaces(text, at, end)
    if is_screen:
        at = _flags(text, at, end)
    can_id = 0
    n_id = 0
    while n_id < 9 and at < end and hex_digit(text[at]) >= 0:
        can_id = can_id << 4 | hex_digit(text[at])
        n_id += 1
        at += 1
    if (n_id != 8 and n_id != 3) or at >= end:
        return MALFORMED
    if n_id == 8 and can_id & _ERROR_FLAG:
        return ERROR
    if can_id > (_LARGEST_EXTENDED if n_id == 8 else _LARGEST_STANDARD):
        return MALFORMED
    if is_screen:
        if text[at] != _SPACE:
            return MALFORMED
        code, length = _screen_payload(text, at, end, line.data)
    else:
        if text[at] != _HASH:
            return MALFORMED
        code, length = _log_payload(text, at + 1, end, line.data)
    if code != FRAME:
        return code
    channel = _channel(text, name, n_name, names)
    if channel < 0:
        return NO_CHANNEL
    line.fields[TIME_US] = time_us
    line.fields[CHANNEL] = channel
    line.fields[CAN_ID] = can_id
    line.fields[IS_EXTENDED] = n_id == 8
    line.fields[LENGTH] = length
    return FRAME
