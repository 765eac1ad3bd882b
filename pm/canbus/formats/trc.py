"""TRC logs (PEAK-System, python-can) as blocks of frames.

What belongs here: what a line behind the header of a TRC log may look like, read by a kernel from the
columns that the header names. Source: PEAK-System, "PEAK CAN TRC File Format", 2023-08-22, versions 1.0
to 1.3, 2.0, 2.1 and what 3.0 shares with them.
"""

from collections.abc import Iterator
from typing import BinaryIO, Final

import numpy as np

from pm.canbus.formats.block import CLASSIC_BYTES, I64, MAXIMUM_FRAME_BYTES, U8, FrameBlock, Frames, Source
from pm.canbus.formats.textframes import (
    CAN_ID,
    CHANNEL,
    END,
    ERROR,
    FRAME,
    HEADER,
    IS_EXTENDED,
    LENGTH,
    LONGEST_LINE,
    MALFORMED,
    NO_COLUMNS,
    OTHER,
    REMOTE,
    SKIP,
    TOO_LONG,
    Log,
    Origin,
    new_log,
    store,
    text_blocks,
)
from pm.canbus.formats.textscan import (
    MILLISECOND_NS,
    RETURN,
    decimal_number,
    find_newline,
    fixed_point_ns,
    hex_number,
    hex_payload,
    is_gap,
    skip_spaces,
    skip_word,
    starts_with,
)
from pm.canbus.formats.trc_header import (
    BUS,
    BYTES,
    CODE,
    DIRECTION,
    FIRST_COLUMN,
    IDENTIFIER,
    MAJOR,
    N_COLUMNS,
    OFFSET,
    TYPE,
    layout_of,
    layout_of_version,
    read_keyword,
    start_of_comment,
    start_of_days,
)
from pm.canbus.jit import inline_kernel, kernel

_LARGEST_BUS: Final = 0xFFFF
_LARGEST_EXTENDED, _LARGEST_STANDARD = 0x1FFFFFFF, 0x7FF
_WARNING_ID: Final = 0xFFFFFFFF
_STANDARD_DIGITS: Final = 4

_SEMICOLON, _DOLLAR, _LOWER = 0x3B, 0x24, 0x20
_SMALL_X, _B, _D, _E, _F, _I, _R, _T = 0x78, 0x42, 0x44, 0x45, 0x46, 0x49, 0x52, 0x54

_CLASSIC, _FLEXIBLE = 100, 101
"""Besides the codes of lines: a data frame of classic CAN, of CAN FD."""


def _word(text: str) -> U8:
    return np.frombuffer(text.encode(), dtype=np.uint8)


_START_TIME, _RTR, _ERROR, _WARNING = _word("start time:"), _word("rtr"), _word("error"), _word("warng")


def trc_blocks(stream: BinaryIO, source: Source, *, start_us: int | None) -> Iterator[FrameBlock]:
    """Read `stream` to its end, about a megabyte of text or 65,536 frames a block.

    Times are microseconds since 1970 UTC: the offsets of the lines added to `$STARTTIME`, or in version
    1.0 to the start in its comment, a time without a zone that is taken as UTC. `start_us` replaces it.
    The channel is the number of the bus, 1 where there is no such column.

    Counted as rejected: remote and error frames, `other_event` (warnings, status, error counters, user
    events, CAN XL, reassembled J1939 messages), malformed lines.

    Raises:
        ValueError: the header names no start after 1980 and `start_us` is None; an unknown version;
            no or unusable columns.
    """
    log, origin = new_log(layout_of_version("1.0")), Origin(start_us)
    is_dated = False

    def read_header(text: bytes) -> bool:
        nonlocal is_dated
        line = text.decode("utf-8", "replace")
        keyword = read_keyword(line)
        if keyword is None:
            start = None if is_dated else start_of_comment(line)
        else:
            name, value = keyword
            if name == "FILEVERSION":
                log.state[:] = layout_of_version(value)
            elif name == "COLUMNS":
                log.state[:] = layout_of(value, int(log.state[MAJOR]))
            start = start_of_days(value) if name == "STARTTIME" else None
            is_dated = is_dated or start is not None
        if start is not None:
            origin.name(start)
        return True

    yield from text_blocks(stream, source, log, origin, _read_lines, read_header)


@inline_kernel
def _type(first: int, second: int) -> int:
    """Code of a type of version 2.0 or later: two letters."""
    if first == _D and second == _T:
        return _CLASSIC
    if (first == _F and (second == _D or second == _B or second == _E)) or (first == _B and second == _I):
        return _FLEXIBLE
    if first == _R and second == _R:
        return REMOTE
    if first == _E and second == _R:
        return ERROR
    return OTHER if 0x41 <= first <= 0x5A and 0x41 <= second <= 0x5A else MALFORMED


@kernel
def _bytes_of_code(code: int) -> int:
    """Bytes of a CAN FD length code (ISO 11898-1); -1 for no code."""
    if code <= CLASSIC_BYTES:
        return code
    if code <= 12:
        return 4 * code - 24
    return 16 * code - 176 if code <= 15 else -1


@kernel
def _is_length(given: int, is_code: bool, kind: int, n: int) -> int:
    """`FRAME` if a payload of `n` bytes may have the length that the line gives, else `OTHER` or `MALFORMED`."""
    if kind == _FLEXIBLE:
        # The column of length codes held lengths in early logs of version 2.1.
        return FRAME if n == given or (is_code and n == _bytes_of_code(given)) else MALFORMED
    if given <= CLASSIC_BYTES:
        return FRAME if n == given else MALFORMED
    if is_code and given <= 15 and n == CLASSIC_BYTES:
        return FRAME
    return OTHER if n == given else MALFORMED  # a J1939 message that PEAK's software has put together


@kernel
def _read_line(text: U8, at: int, end: int, layout: I64, fields: I64, data: U8) -> tuple[int, int]:
    """(code, microseconds) of the line from `at` to `end`; its frame goes into `fields` and `data`."""
    kind, time_ns, given, is_code = _CLASSIC, 0, 0, False
    fields[CHANNEL] = 1
    for column in range(FIRST_COLUMN, FIRST_COLUMN + layout[N_COLUMNS]):
        at = skip_spaces(text, at, end)
        if at + 1 >= end and (at >= end or column < FIRST_COLUMN + layout[N_COLUMNS] - 1):
            return MALFORMED, 0
        behind = at
        holds = layout[column]
        if holds == OFFSET:
            time_ns, behind = fixed_point_ns(text, at, end, MILLISECOND_NS)
        elif holds == IDENTIFIER:
            # 11-bit identifiers have four digits (three in version 3.0), 29-bit ones eight (python-can: at
            # least seven): the digits tell them apart, not the value.
            number, behind = hex_number(text, at, end)
            is_extended = behind - at > _STANDARD_DIGITS
            if number == _WARNING_ID and layout[MAJOR] == 1:
                return OTHER, 0
            if number > (_LARGEST_EXTENDED if is_extended else _LARGEST_STANDARD):
                return MALFORMED, 0
            fields[CAN_ID] = number
            fields[IS_EXTENDED] = is_extended
        elif holds == BUS or holds == BYTES or holds == CODE:
            number, behind = decimal_number(text, at, end)
            if holds == BUS:
                fields[CHANNEL] = number
            else:
                given, is_code = number, holds == CODE
        elif holds == TYPE:
            behind = at + 2
            kind = _type(text[at], text[at + 1]) if is_gap(text, behind, end) else MALFORMED
            if kind != _CLASSIC and kind != _FLEXIBLE:
                return kind, 0
        elif holds == DIRECTION:
            behind = at + 2
            if text[at + 1] | _LOWER != _SMALL_X or (text[at] != _R and text[at] != _T):
                if starts_with(text, at, end, _ERROR):
                    return ERROR, 0
                return (OTHER if starts_with(text, at, end, _WARNING) else MALFORMED), 0
        else:
            behind = skip_word(text, at, end)
        if behind < 0 or not is_gap(text, behind, end):
            return MALFORMED, 0
        at = behind
    if fields[CHANNEL] > _LARGEST_BUS:
        return MALFORMED, 0
    if layout[MAJOR] == 1:
        at = skip_spaces(text, at, end)
        if starts_with(text, at, end, _RTR):
            return REMOTE, 0
        if starts_with(text, at, end, _ERROR):
            return ERROR, 0
    if given > MAXIMUM_FRAME_BYTES:
        return OTHER, 0
    n, at = hex_payload(text, at, end, MAXIMUM_FRAME_BYTES, data)
    fields[LENGTH] = n
    if skip_spaces(text, at, end) < end:
        return MALFORMED, 0
    return _is_length(given, is_code, kind, n), time_ns // 1000


@kernel
def _read_lines(text: U8, at: int, end: int, frames: Frames, row: int, log: Log) -> tuple[int, int, int]:
    """Read lines into the rows from `row` on; (place of the next line, next row, why it stopped)."""
    layout, fields, data, counts = log.state, log.line.fields, log.line.data, log.counts
    while at < end:
        newline = find_newline(text, at)
        behind = newline - 1 if newline > at and text[newline - 1] == RETURN else newline
        begin = skip_spaces(text, at, behind)
        code, time_us = SKIP, 0
        if begin >= behind:
            code = SKIP
        elif behind - at > LONGEST_LINE:
            code = TOO_LONG
        elif text[begin] == _SEMICOLON:
            place = skip_spaces(text, begin + 1, behind)
            if place < behind and (text[place] == _DOLLAR or starts_with(text, place, behind, _START_TIME)):
                return begin, row, HEADER
        elif layout[N_COLUMNS] == 0:
            return at, row, NO_COLUMNS
        else:
            code, time_us = _read_line(text, begin, behind, layout, fields, data)
        if code == FRAME:
            code = store(time_us, log, frames, row)
            if code < 0:
                return at, row, -code
            row += code == FRAME
        counts[code] += 1
        at = newline + 1
    return at, row, END
