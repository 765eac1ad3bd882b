"""One row of a table of CAN frames.

What belongs here: the cells of a row, what the row is, and its frame, read by kernels. Which columns there
are, comes from `csv_header`; going through the rows is the business of `csv_rows`.
"""

from typing import Final, NamedTuple

import numpy as np

from pm.canbus.formats.block import CLASSIC_BYTES, I64, MAXIMUM_CHANNELS, MAXIMUM_FRAME_BYTES, U8
from pm.canbus.formats.csv_cells import NO_TIME, base64_bytes, hex_bytes, identifier, time_us
from pm.canbus.formats.csv_header import MOST_COLUMNS, MOST_OTHER_NETWORKS, CsvLayout
from pm.canbus.formats.textframes import ERROR, FRAME, MALFORMED, NO_CHANNEL, OTHER, REMOTE, REQUEST
from pm.canbus.formats.textscan import SPACE, decimal_number, starts_with
from pm.canbus.jit import kernel

TIME_US, CHANNEL, CAN_ID, IS_EXTENDED, LENGTH = range(5)
"""Places in `Row.fields`."""

LONGEST_NAME: Final = 64

_TIME, _CHANNEL, _ID, _EXTENDED, _REMOTE, _ERROR, _EVENT, _DIRECTION, _LENGTH, _DLC, _DATA, _REST = range(12)
_FIRST_BYTE, _N_BYTES, _SEPARATOR, _EXPONENT, _IS_BASE64, _HAS_DECIMAL_IDS = range(12, 18)
_N_NEEDED, _N_READ, N_OTHER = range(18, 21)
"""Places in the array that tells the kernel what `CsvLayout` says."""
_ROLES: Final = (
    "time",
    "channel",
    "can_id",
    "extended",
    "remote",
    "error",
    "event",
    "direction",
    "length",
    "dlc",
    "data",
    "rest",
)

_QUOTE: Final = 0x22
_LARGEST_EXTENDED, _LARGEST_STANDARD = 0x1FFFFFFF, 0x7FF
_YES, _NO, _NEITHER = 1, 0, -1
_FD_LENGTHS: Final = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64], dtype=np.int64)
"""Payload bytes of a CAN FD data length code (ISO 11898-1)."""


def _word(text: str) -> U8:
    return np.frombuffer(text.encode("ascii"), dtype=np.uint8)


_ERR, _RTR, _REMOTE_WORD, _CAN, _DATA_WORD, _LIN, _FLEXRAY, _ETHERNET, _TXRQ = (
    _word(text) for text in ("err", "rtr", "remote", "can", "data", "lin", "flexray", "ethernet", "txrq")
)


class Names(NamedTuple):
    """Channel names seen in the log, after those of buses that are not CAN."""

    text: U8
    length: I64
    n: I64


class Cells(NamedTuple):
    """Where the cells of a row begin and end."""

    begin: I64
    end: I64


class Row(NamedTuple):
    """One row and its frame."""

    cells: Cells
    names: Names
    fields: I64
    data: U8
    """Payload, with room for the longest frame."""


def settings_of(layout: CsvLayout) -> I64:
    """`layout` for the kernel."""
    settings = np.full(N_OTHER + 1, -1, dtype=np.int64)
    for place, role in enumerate(_ROLES):
        settings[place] = layout.columns[role]
    settings[_FIRST_BYTE], settings[_N_BYTES] = layout.first_byte, layout.n_bytes
    settings[_SEPARATOR] = ord(layout.separator)
    settings[_EXPONENT] = layout.time_exponent
    settings[_IS_BASE64], settings[_HAS_DECIMAL_IDS] = layout.is_base64, layout.has_decimal_ids
    used = [column for role, column in layout.columns.items() if role != "rest"]
    settings[_N_NEEDED] = max(*used, layout.first_byte + layout.n_bytes - 1) + 1
    settings[_N_READ] = max(settings[_N_NEEDED], layout.columns["rest"] + 1)
    settings[N_OTHER] = len(layout.other_networks)
    return settings


def new_row(layout: CsvLayout) -> Row:
    """Room for a row; the channel names begin with those of the networks that are no CAN buses."""
    n = MAXIMUM_CHANNELS + MOST_OTHER_NETWORKS
    text, lengths = np.zeros((n, LONGEST_NAME), dtype=np.uint8), np.zeros(n, dtype=np.int64)
    for place, name in enumerate(layout.other_networks):
        known = name.encode()[:LONGEST_NAME]
        text[place, : len(known)] = np.frombuffer(known, dtype=np.uint8)
        lengths[place] = len(known)
    return Row(
        Cells(np.zeros(MOST_COLUMNS, dtype=np.int64), np.zeros(MOST_COLUMNS, dtype=np.int64)),
        Names(text, lengths, np.array([len(layout.other_networks)], dtype=np.int64)),
        np.zeros(LENGTH + 1, dtype=np.int64),
        np.zeros(MAXIMUM_FRAME_BYTES, dtype=np.uint8),
    )


@kernel
def _split(text: U8, at: int, end: int, separator: int, most: int, cells: Cells) -> int:
    """How many cells, at most `most`, a line has; where they are goes to `cells`, without quotes and spaces."""
    n = 0
    while n < most:
        while at < end and text[at] == SPACE:
            at += 1
        begin = at
        if at < end and text[at] == _QUOTE:
            begin = at + 1
            at = begin
            while at < end and (text[at] != _QUOTE or (at + 1 < end and text[at + 1] == _QUOTE)):
                at += 2 if text[at] == _QUOTE else 1
            behind = min(at, end)
            while at < end and text[at] != separator:
                at += 1
        else:
            while at < end and text[at] != separator:
                at += 1
            behind = at
        while behind > begin and text[behind - 1] == SPACE:
            behind -= 1
        cells.begin[n] = begin
        cells.end[n] = behind
        n += 1
        if at >= end:
            break
        at += 1
    return n


@kernel
def _flag(text: U8, at: int, end: int) -> int:
    """`_YES`, `_NO` or `_NEITHER` of 1, T, true, yes, x, ext and of 0, F, false, no, std, nothing."""
    if at == end:
        return _NO
    code = np.int64(text[at]) | 0x20
    n = end - at
    if n == 2 and code != 0x6E:
        return _NEITHER  # two hexadecimal digits, such as the source address of a J1708 row
    if text[at] == 0x31 or code == 0x74 or code == 0x79 or code == 0x78 or (code == 0x65 and n == 3):
        return _YES
    if text[at] == 0x30 or code == 0x66 or code == 0x6E or code == 0x73:
        return _NO
    return _NEITHER


@kernel
def _contains(text: U8, at: int, end: int, word: U8) -> bool:
    """Does the cell hold `word` (lower case), in upper or lower case?"""
    found = False
    for begin in range(at, end - len(word) + 1):
        found = found or starts_with(text, begin, end, word)
    return found


@kernel
def _place(text: U8, at: int, end: int, names: Names, n: int) -> int:
    """Place of a name among the first `n` seen, -1 if it is not there."""
    length = end - at
    for place in range(n):
        if names.length[place] == length:
            i = 0
            while i < length and names.text[place, i] == text[at + i]:
                i += 1
            if i == length:
                return place
    return -1


@kernel
def _channel(text: U8, at: int, end: int, n_other: int, names: Names) -> int:
    """Place of a name among those seen, learnt if it is new; -1 when there are too many."""
    n = names.n[0]
    place = _place(text, at, end, names, n)
    if place >= 0 or n - n_other >= MAXIMUM_CHANNELS:
        return place
    for i in range(end - at):
        names.text[n, i] = text[at + i]
    names.length[n] = end - at
    names.n[0] = n + 1
    return int(n)


@kernel
def _kind(text: U8, settings: I64, cells: Cells, names: Names) -> int:
    """What the columns that are no data say of a row."""
    at = settings[_EVENT]
    if at >= 0 and cells.end[at] > cells.begin[at]:
        begin, end = cells.begin[at], cells.end[at]
        if _contains(text, begin, end, _ERR):
            return ERROR
        if _contains(text, begin, end, _REMOTE_WORD) or _contains(text, begin, end, _RTR):
            return REMOTE
        if not _contains(text, begin, end, _CAN) and not _contains(text, begin, end, _DATA_WORD):
            return OTHER
    at = settings[_CHANNEL]
    if at >= 0:
        begin, end = cells.begin[at], cells.end[at]
        is_other = starts_with(text, begin, end, _LIN) or starts_with(text, begin, end, _FLEXRAY)
        if is_other or starts_with(text, begin, end, _ETHERNET):
            return OTHER
        if _place(text, begin, end, names, settings[N_OTHER]) >= 0:
            return OTHER
    at = settings[_DIRECTION]
    if at >= 0 and starts_with(text, cells.begin[at], cells.end[at], _TXRQ):
        return REQUEST
    at = settings[_ERROR]
    if at >= 0 and _flag(text, cells.begin[at], cells.end[at]) == _YES:
        return ERROR
    at = settings[_REMOTE]
    if at >= 0 and _flag(text, cells.begin[at], cells.end[at]) == _YES:
        return REMOTE
    return FRAME


@kernel
def _payload(text: U8, n_cells: int, settings: I64, cells: Cells, data: U8) -> int:
    """How many payload bytes a row has, written to `data`; -1 if they are none."""
    n_bytes = settings[_N_BYTES]
    if n_bytes == 0:
        at = settings[_DATA]
        begin, end = cells.begin[at], cells.end[at]
        if settings[_IS_BASE64] == 1:
            return base64_bytes(text, begin, end, MAXIMUM_FRAME_BYTES, data)
        return hex_bytes(text, begin, end, MAXIMUM_FRAME_BYTES, data)
    n = 0
    for i in range(n_bytes):
        at = settings[_FIRST_BYTE] + i
        begin, end = cells.begin[at], cells.end[at]
        if begin == end:
            continue
        if n < i or hex_bytes(text, begin, end, 1, data[n:]) != 1:
            return -1
        n += 1
    rest = settings[_REST]
    if n == n_bytes and 0 <= rest < n_cells and cells.end[rest] > cells.begin[rest]:
        return -1  # perhaps the rest of a CAN FD frame: half a payload would be wrong
    return n


@kernel
def _claimed(text: U8, n: int, settings: I64, cells: Cells) -> int:
    """How many of the `n` payload bytes of a row its length says are there; -1 if it says something else."""
    at = settings[_LENGTH]
    is_code = at < 0
    if is_code:
        at = settings[_DLC]
    if at < 0:
        return n
    number, behind = decimal_number(text, cells.begin[at], cells.end[at])
    if behind != cells.end[at] or number > MAXIMUM_FRAME_BYTES or (is_code and number >= len(_FD_LENGTHS)):
        return -1
    if is_code and number > CLASSIC_BYTES:
        number = int(_FD_LENGTHS[number]) if n > CLASSIC_BYTES else CLASSIC_BYTES
    return number if n == number or (n > number and settings[_N_BYTES] > 0) else -1


@kernel
def read_row(text: U8, at: int, end: int, settings: I64, row: Row) -> int:
    """What the row between `at` and `end` is (`FRAME` ... of `textframes`); a frame goes to `row`."""
    cells = row.cells
    n_cells = _split(text, at, end, settings[_SEPARATOR], settings[_N_READ], cells)
    if n_cells < settings[_N_NEEDED]:
        return MALFORMED
    kind = _kind(text, settings, cells, row.names)
    if kind != FRAME:
        return kind
    at = settings[_TIME]
    us = time_us(text, cells.begin[at], cells.end[at], settings[_EXPONENT])
    at = settings[_ID]
    is_decimal = settings[_HAS_DECIMAL_IDS] == 1
    can_id, looks_extended, is_marked = identifier(text, cells.begin[at], cells.end[at], is_decimal)
    is_extended = _YES if looks_extended else _NO
    at = settings[_EXTENDED]
    if at >= 0:
        is_extended = _flag(text, cells.begin[at], cells.end[at])
        if is_marked and is_extended == _NO:
            is_extended = _NEITHER
    if us == NO_TIME or can_id < 0 or is_extended == _NEITHER:
        return MALFORMED
    if can_id > (_LARGEST_EXTENDED if is_extended == _YES else _LARGEST_STANDARD):
        return MALFORMED
    length = _payload(text, n_cells, settings, cells, row.data)
    length = _claimed(text, length, settings, cells) if length >= 0 else -1
    if length < 0:
        return MALFORMED
    at = settings[_CHANNEL]
    name, name_end = (cells.begin[at], cells.end[at]) if at >= 0 else (0, 0)
    if name_end - name > LONGEST_NAME:
        return MALFORMED
    channel = _channel(text, name, name_end, settings[N_OTHER], row.names)
    if channel < 0:
        return NO_CHANNEL
    row.fields[TIME_US] = us
    row.fields[CHANNEL] = channel
    row.fields[CAN_ID] = can_id
    row.fields[IS_EXTENDED] = is_extended
    row.fields[LENGTH] = length
    return FRAME
