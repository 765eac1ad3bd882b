"""ASC logs (Vector CANalyzer and CANoe, python-can) as blocks of frames.

What belongs here: what a line of an ASC log between the lines of its header may look like, read by a
kernel. Sources: Vector, "CAN, Log & Trigger ASC Logging Format", chapters 3.3 (classic CAN), 3.4 (CAN FD)
and 3.5 (trigger blocks); the logs that python-can's `ASCWriter` writes.
"""

from collections.abc import Iterator
from typing import BinaryIO, Final

import numpy as np

from pm.canbus.formats.asc_header import read_header_line
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
    OTHER,
    REMOTE,
    REQUEST,
    SKIP,
    TOO_LONG,
    Log,
    Origin,
    new_log,
    store,
    text_blocks,
)
from pm.canbus.formats.textscan import (
    DASH,
    DECIMAL,
    HEX,
    LARGEST_NS,
    RETURN,
    SECOND_NS,
    decimal_number,
    decimal_payload,
    find_newline,
    fixed_point_ns,
    hex_number,
    hex_payload,
    is_digit,
    is_gap,
    skip_spaces,
    skip_word,
    starts_with,
)
from pm.canbus.jit import kernel

IS_RELATIVE, BASE, CLOCK_NS = range(3)
"""Places in the state of a log: what its header says, and the time of the last event since time zero."""

_LARGEST_CHANNEL: Final = 0xFFFF
_LARGEST_EXTENDED, _LARGEST_STANDARD = 0x1FFFFFFF, 0x7FF
_REMOTE_FLAG: Final = 0x10
_R, _T, _LOWER, _D, _SMALL_R, _SMALL_X, _SLASH = 0x72, 0x74, 0x20, 0x64, 0x72, 0x78, 0x2F


def _word(text: str) -> U8:
    return np.frombuffer(text.encode(), dtype=np.uint8)


_DATE, _BASE, _BEGIN = _word("date "), _word("base "), _word("begin triggerblock")
_END, _INTERNAL, _NO = _word("end triggerblock"), _word("internal"), _word("no internal")
_START, _CANFD, _ERROR_FRAME = _word("start "), _word("canfd"), _word("errorframe")

RX_TX, TX_REQUEST, NO_DIRECTION = range(3)


def asc_blocks(stream: BinaryIO, source: Source, *, start_us: int | None) -> Iterator[FrameBlock]:
    """Read `stream` to its end, about a megabyte of text or 65,536 frames a block.

    Times are microseconds since 1970 UTC: those of the lines added to the last date before them (`date`,
    or the start of their trigger block), a local time without a zone that is taken as UTC. `start_us`
    replaces the date in force at the first frame; later dates keep their distance to that one. Digits
    below a microsecond are dropped.

    Counted as rejected: remote and error frames, `transmit_request` (TxRq: the frame follows as Tx),
    `other_event` (statistics, status, J1939TP, other buses), malformed lines, symbolic names in place of
    identifiers among them.

    Raises:
        ValueError: the header names no date and `start_us` is None.
    """
    log, origin = new_log(np.array([0, HEX, 0], dtype=np.int64)), Origin(start_us)

    def read_header(text: bytes) -> bool:
        said = read_header_line(text)
        if said is None:
            return False
        if said.start_us is not None:
            origin.name(said.start_us)
            log.state[CLOCK_NS] = 0
        if said.base is not None:
            log.state[BASE] = said.base
        if said.is_relative is not None:
            log.state[IS_RELATIVE] = said.is_relative
        return True

    yield from text_blocks(stream, source, log, origin, _read_lines, read_header)


@kernel
def _direction(text: U8, at: int, end: int) -> tuple[int, int]:
    """(`RX_TX`, `TX_REQUEST` or `NO_DIRECTION`, place behind it) of the word at `at`."""
    direction, behind = NO_DIRECTION, at
    if at + 1 < end and text[at + 1] | _LOWER == _SMALL_X:
        first = text[at] | _LOWER
        if (first == _R or first == _T) and is_gap(text, at + 2, end):
            direction, behind = RX_TX, at + 2
        elif first == _T and is_gap(text, at + 4, end):
            direction, behind = TX_REQUEST, min(at + 4, end)
    return direction, behind


@kernel
def _identifier(text: U8, at: int, end: int, base: int, fields: I64) -> int:
    """Place behind the identifier at `at`, which goes into `fields`; -1 if there is none."""
    if base == HEX:
        number, behind = hex_number(text, at, end)
    else:
        number, behind = decimal_number(text, at, end)
    is_extended = 0 < behind < end and text[behind] | _LOWER == _SMALL_X
    if is_extended:
        behind += 1
    if (
        behind < 0
        or not is_gap(text, behind, end)
        or number > (_LARGEST_EXTENDED if is_extended else _LARGEST_STANDARD)
    ):
        behind = -1
    fields[CAN_ID] = number
    fields[IS_EXTENDED] = is_extended
    return behind


@kernel
def _small_number(text: U8, at: int, end: int, base: int) -> tuple[int, int]:
    """(number, place behind it) of the next word; place -1 if it is no number."""
    at = skip_spaces(text, at, end)
    if base == HEX:
        number, behind = hex_number(text, at, end)
    else:
        number, behind = decimal_number(text, at, end)
    return number, (behind if behind >= 0 and is_gap(text, behind, end) else -1)


@kernel
def _without_identifier(text: U8, at: int, end: int) -> int:
    """Code of an event of a channel whose next word, at `at`, is no identifier."""
    if at >= end:
        return MALFORMED
    if starts_with(text, at, end, _ERROR_FRAME):
        return ERROR
    direction, _ = _direction(text, skip_spaces(text, skip_word(text, at, end), end), end)
    return OTHER if direction == NO_DIRECTION else MALFORMED  # a symbolic name


@kernel
def _classic(text: U8, at: int, end: int, base: int, fields: I64, data: U8) -> int:
    """Code of an event that begins with the number of its channel at `at`; its frame goes into `fields` and `data`."""
    channel, at = decimal_number(text, at, end)
    if at < 0 or not is_gap(text, at, end) or channel > _LARGEST_CHANNEL:
        return MALFORMED
    fields[CHANNEL] = channel
    begin = skip_spaces(text, at, end)
    at = _identifier(text, begin, end, base, fields)
    if at < 0:
        return _without_identifier(text, begin, end)
    direction, at = _direction(text, skip_spaces(text, at, end), end)
    if direction == NO_DIRECTION:
        return MALFORMED
    if direction == TX_REQUEST:
        return REQUEST
    at = skip_spaces(text, at, end)
    if at >= end or not is_gap(text, at + 1, end):
        return MALFORMED
    if text[at] | _LOWER == _SMALL_R:
        return REMOTE
    if text[at] | _LOWER != _D:
        return MALFORMED
    code, at = _small_number(text, at + 1, end, base)
    if at < 0 or code > 15:
        return MALFORMED
    length = min(code, CLASSIC_BYTES)
    if base == HEX:
        n, at = hex_payload(text, at, end, length, data)
    else:
        n, at = decimal_payload(text, at, end, length, data)
    fields[LENGTH] = length
    return FRAME if n == length and is_gap(text, at, end) else MALFORMED


@kernel
def _flexible(text: U8, at: int, end: int, base: int, fields: I64, data: U8) -> int:
    """Code of a `CANFD` event, a CAN FD frame or a classic one on a CAN FD bus; `at` is behind that word."""
    channel, at = _small_number(text, at, end, DECIMAL)
    if at < 0 or channel > _LARGEST_CHANNEL:
        return MALFORMED
    fields[CHANNEL] = channel
    at = skip_spaces(text, at, end)
    direction, behind = _direction(text, at, end)
    is_early = direction == NO_DIRECTION  # the first versions put the direction behind the identifier
    if not is_early:
        at = skip_spaces(text, behind, end)
        if starts_with(text, at, end, _ERROR_FRAME):
            return ERROR
    at = _identifier(text, at, end, base, fields)
    if at < 0:
        return MALFORMED
    at = skip_spaces(text, at, end)
    if is_early:
        direction, at = _direction(text, at, end)
        at = skip_spaces(text, at, end)
    if direction == NO_DIRECTION:
        return MALFORMED
    if direction == TX_REQUEST:
        return REQUEST
    if at < end and not is_digit(text[at]):
        at = skip_word(text, at, end)  # the symbolic name
    for _ in range(2):  # bit rate switch, error state indicator
        flag, at = _small_number(text, at, end, DECIMAL)
        if at < 0 or flag > 1:
            return MALFORMED
    if is_early:
        at = skip_spaces(text, at, end)
        if at < end and text[at] | _LOWER == _SMALL_R:
            return REMOTE
        if at >= end or text[at] | _LOWER != _D:
            return MALFORMED
        at += 1
    code, at = _small_number(text, at, end, base)
    if at < 0:
        return MALFORMED
    length, at = _small_number(text, at, end, DECIMAL)
    if at < 0 or length > MAXIMUM_FRAME_BYTES:
        return MALFORMED
    if base == HEX:
        n, at = hex_payload(text, at, end, length, data)
    else:
        n, at = decimal_payload(text, at, end, length, data)
    fields[LENGTH] = length
    if n < length or not is_gap(text, at, end):
        return MALFORMED
    return REMOTE if length == 0 and (code > 0 or _has_remote_flag(text, at, end)) else FRAME


@kernel
def _has_remote_flag(text: U8, at: int, end: int) -> bool:
    """The third word behind the payload holds flags: Vector's bit 4 is RTR."""
    for _ in range(2):  # duration and length on the bus
        at = skip_word(text, skip_spaces(text, at, end), end)
    flags, at = _small_number(text, at, end, HEX)
    return at >= 0 and flags & _REMOTE_FLAG != 0


@kernel
def _event(text: U8, at: int, end: int, base: int, fields: I64, data: U8) -> int:
    """Code of an event that does not begin with the number of its channel."""
    if at >= end:
        return MALFORMED
    if starts_with(text, at, end, _CANFD) and is_gap(text, at + len(_CANFD), end):
        return _flexible(text, at + len(_CANFD), end, base, fields, data)
    return SKIP if starts_with(text, at, end, _START) else OTHER


@kernel
def _no_event(text: U8, at: int, end: int) -> int:
    """Code of a line without a time."""
    if at + 1 < end and text[at] == _SLASH and text[at + 1] == _SLASH:
        return SKIP
    if starts_with(text, at, end, _DATE) or starts_with(text, at, end, _BASE) or starts_with(text, at, end, _BEGIN):
        return -HEADER
    if starts_with(text, at, end, _END) or starts_with(text, at, end, _INTERNAL) or starts_with(text, at, end, _NO):
        return SKIP
    return MALFORMED


@kernel
def _read_lines(text: U8, at: int, end: int, frames: Frames, row: int, log: Log) -> tuple[int, int, int]:
    """Read lines into the rows from `row` on; (place of the next line, next row, why it stopped)."""
    state, fields, data, counts = log.state, log.line.fields, log.line.data, log.counts
    while at < end:
        newline = find_newline(text, at)
        behind = newline - 1 if newline > at and text[newline - 1] == RETURN else newline
        begin = skip_spaces(text, at, behind)
        clock_ns = state[CLOCK_NS]
        if begin >= behind:
            code = SKIP
        elif behind - at > LONGEST_LINE:
            code = TOO_LONG
        elif is_digit(text[begin]) or text[begin] == DASH:
            time_ns, place = fixed_point_ns(text, begin, behind, SECOND_NS)
            if state[IS_RELATIVE] != 0:
                time_ns += clock_ns
            if place < 0 or not is_gap(text, place, behind) or abs(time_ns) > LARGEST_NS:
                code = MALFORMED
            else:
                clock_ns = time_ns
                place = skip_spaces(text, place, behind)
                if place < behind and is_digit(text[place]):
                    code = _classic(text, place, behind, state[BASE], fields, data)
                else:
                    code = _event(text, place, behind, state[BASE], fields, data)
        else:
            code = _no_event(text, begin, behind)
        if code == FRAME:
            code = store(clock_ns // 1000, log, frames, row)
        if code < 0:
            return at, row, -code
        row += code == FRAME
        counts[code] += 1
        state[CLOCK_NS] = clock_ns
        at = newline + 1
    return at, row, END
