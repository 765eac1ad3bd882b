"""candump text, `-L` and screen, as blocks of frames.

What belongs here: what a line of `candump -L` or of candump's screen output may look like, read by a
kernel. The lines that fill nearly every log (ten digits of seconds, six of their fraction, a short
channel name) are read eight characters at a time; every other line is read character by character.
"""

from collections.abc import Iterator
from typing import BinaryIO, Final, Literal

import numpy as np

from pm.canbus.bits import decimal8, hex8, hex_digit, load64, swap32
from pm.canbus.formats.block import (
    CLASSIC_BYTES,
    ERROR_FRAME,
    I64,
    LINE_TOO_LONG,
    MALFORMED_LINE,
    MAXIMUM_FRAME_BYTES,
    REMOTE_FRAME,
    TOO_MANY_CHANNELS,
    U8,
    U64,
    FrameBlock,
    Frames,
    Source,
    block_of,
    count_rejected,
    new_text_frames,
    shift_to_utc_us,
)
from pm.canbus.formats.candump_line import (
    CAN_ID,
    CHANNEL,
    ERROR,
    FRAME,
    IS_EXTENDED,
    LENGTH,
    MALFORMED,
    N_CODES,
    NO_CHANNEL,
    REMOTE,
    TIME_US,
    TOO_LONG,
    Line,
    Names,
    new_line,
    new_names,
    read_line,
)
from pm.canbus.formats.lines import MAXIMUM_LINE, whole_lines
from pm.canbus.jit import inline_kernel, kernel

Style = Literal["candump", "candump_screen"]

_OPEN, _HASH, _NEWLINE, _RETURN = 0x28, 0x23, 0x0A, 0x0D

_U = np.uint64
_0, _8, _10, _16, _32, _48, _100 = (_U(n) for n in (0, 8, 10, 16, 32, 48, 100))
_DOT: Final = _U(0x2E)
_BYTE: Final = _U(0xFF)
_ZERO_DIGIT: Final = _U(0x30)
_TWO_ZEROS: Final = _U(0x3030)
_CLOSE_SPACE: Final = _U(0x2029)
_MILLION: Final = _U(1_000_000)
_SECONDS_END: Final = _U(0xFFFFFF)
_LARGEST_EXTENDED: Final = _U(0x1FFFFFFF)

_REASONS: Final = {
    MALFORMED: MALFORMED_LINE,
    REMOTE: REMOTE_FRAME,
    ERROR: ERROR_FRAME,
    NO_CHANNEL: TOO_MANY_CHANNELS,
    TOO_LONG: LINE_TOO_LONG,
}


def candump_blocks(stream: BinaryIO, style: Style, source: Source, *, start_us: int | None) -> Iterator[FrameBlock]:
    """Read `stream` to its end, about a megabyte of text a block.

    `start_us`, microseconds since 1970-01-01 UTC, is added to the times of a log that counts from its
    start (candump -tz, and the screen without -t). A date (candump -tA) is taken as UTC.

    Raises:
        ValueError: times count from the start of the log and `start_us` is None.
    """
    names, line = new_names(), new_line()
    counts = np.zeros(N_CODES, dtype=np.int64)
    shift_us: int | None = None
    is_screen = style == "candump_screen"
    for text, end in whole_lines(stream, source):
        at, width = 0, CLASSIC_BYTES
        while at < end:
            frames = new_text_frames(end - at, width)
            words = frames.data.view(np.uint64)
            at, n, is_too_narrow = _read_lines(text, at, end, is_screen, frames, words, line, names, counts)
            if is_too_narrow:
                width = MAXIMUM_FRAME_BYTES
            _register(names, source)
            count_rejected(counts, _REASONS, source)
            if n:
                if shift_us is None:
                    shift_us = shift_to_utc_us(int(frames.time_us[0]), start_us)
                frames.time_us[:n] += shift_us
                yield block_of(frames, n, source)


def _register(names: Names, source: Source) -> None:
    for number in range(len(source.channels.names), int(names.n[0])):
        source.channels.index(names.text[number, : names.length[number]].tobytes().decode("ascii"))


@inline_kernel
def _same_channel(word: np.uint64, before: int, names: U64, masks: U64, n_names: int) -> int:
    """Number of the short channel name in a word, that of the line before tried first; -1 if none is there."""
    if before < n_names and masks[before] != _0 and (word ^ names[before]) & masks[before] == _0:
        return before
    for number in range(n_names):
        if masks[number] != _0 and (word ^ names[number]) & masks[number] == _0:
            return number
    return -1


@kernel
def _keep(line: Line, frames: Frames, row: int) -> None:
    """Copy the frame of a line that was read character by character."""
    frames.time_us[row] = line.fields[TIME_US]
    frames.channel[row] = line.fields[CHANNEL]
    frames.can_id[row] = line.fields[CAN_ID]
    frames.is_extended[row] = line.fields[IS_EXTENDED] != 0
    frames.length[row] = line.fields[LENGTH]
    for i in range(line.fields[LENGTH]):
        frames.data[row, i] = line.data[i]


@inline_kernel
def _payload(text: U8, at: int) -> tuple[np.uint64, int, int]:
    """(payload, its length, place of the line end behind it) of up to eight bytes; place -1 if there is more."""
    low, bad_low = hex8(load64(text, at))
    high, bad_high = hex8(load64(text, at + 8))
    if bad_low | bad_high == _0:
        at += 16
        return low | high << _32, 8, (at if text[at] == _NEWLINE else -1)
    word = _0
    n = 0
    while n < CLASSIC_BYTES:
        upper = hex_digit(text[at])
        lower = hex_digit(text[at + 1])
        if upper < 0 or lower < 0:
            break
        word |= _U(upper << 4 | lower) << _U(8 * n)
        n += 1
        at += 2
    return word, n, (at if text[at] == _NEWLINE else -1)


@kernel
def _read_lines(
    text: U8, at: int, end: int, is_screen: bool, frames: Frames, words: U64, line: Line, names: Names, counts: I64
) -> tuple[int, int, bool]:
    """Read lines from `at` on until the end, full columns, or a frame longer than they are wide.

    Returns (place of the next line, frames read, whether the next frame is too long). `text[end - 1]` is a
    newline, so no loop over a line runs past `end`, and words read beyond it lie in the spare bytes.
    """
    # Arrays of the loop are taken out of their tuple once: numba counts references each time.
    times, channels, ids, extended = frames.time_us, frames.channel, frames.can_id, frames.is_extended
    lengths = frames.length
    name_words, name_masks, name_lengths, n_names = names.word, names.mask, names.length, names.n
    n_room = len(times)
    row = 0
    channel = 0
    second_low, second_high, second_us = _0, _0, _0
    while at < end and row < n_room:
        # The layout of nearly every line: (1436509052.249713) can0 18FEF100#0123456789ABCDEF
        if not is_screen and text[at] == _OPEN:
            low, high = load64(text, at + 1), load64(text, at + 9) & _SECONDS_END
            is_plain = True
            if low != second_low or high != second_high:
                eight, bad = decimal8(low)
                ninth, tenth = (high & _BYTE) - _ZERO_DIGIT, (high >> _8 & _BYTE) - _ZERO_DIGIT
                is_plain = bad == _0 and ninth < _10 and tenth < _10 and high >> _16 == _DOT
                if is_plain:
                    second_low, second_high = low, high
                    second_us = (eight * _100 + ninth * _10 + tenth) * _MILLION
            tail = load64(text, at + 12)
            micro, bad = decimal8(tail << _16 | _TWO_ZEROS)
            if is_plain and bad == _0 and tail >> _48 == _CLOSE_SPACE:
                found = _same_channel(load64(text, at + 20), channel, name_words, name_masks, n_names[0])
                if found >= 0:
                    channel = found
                    begin = at + 21 + name_lengths[channel]
                    can_id, bad = hex8(load64(text, begin))
                    can_id = swap32(can_id)
                    is_extended = bad == _0 and text[begin + 8] == _HASH and can_id <= _LARGEST_EXTENDED
                    is_standard = False
                    if not is_extended and text[begin + 3] == _HASH:
                        first, second, third = (
                            hex_digit(text[begin]),
                            hex_digit(text[begin + 1]),
                            hex_digit(text[begin + 2]),
                        )
                        is_standard = 0 <= first < 8 and second >= 0 and third >= 0
                        can_id = _U(first << 8 | second << 4 | third)
                    if is_extended or is_standard:
                        payload, length, behind = _payload(text, begin + (9 if is_extended else 4))
                        if 0 <= behind < end:
                            words[row, 0] = payload
                            times[row] = np.int64(second_us + micro)
                            channels[row] = channel
                            ids[row] = can_id
                            extended[row] = is_extended
                            lengths[row] = length
                            row += 1
                            at = behind + 1
                            continue
        behind = at
        while text[behind] != _NEWLINE:
            behind += 1
        line_end = behind - 1 if behind > at and text[behind - 1] == _RETURN else behind
        if line_end > at:
            code = TOO_LONG if line_end - at > MAXIMUM_LINE else read_line(text, at, line_end, is_screen, line, names)
            if code == FRAME:
                if line.fields[LENGTH] > 8 * words.shape[1]:
                    return at, row, True
                _keep(line, frames, row)
                row += 1
            else:
                counts[code] += 1
        at = behind + 1
    return at, row, False
