"""Layouts of candump lines, and the columns of many lines that share one.

What belongs here: where the digits of a line stand, and reading the time, the identifier and the
payload of all lines of one layout at once. Which lines have which layout is `pm.canbus.formats.candump`.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pm.canbus.formats.ascii import FILL, KEEP, decimal_words, hex_words, swapped
from pm.canbus.formats.block import CLASSIC_BYTES, I64, U8, U64, Source
from pm.canbus.formats.line import Style, match_line

FixedWord = tuple[int, np.uint64, np.uint64]
"""(offset from the line's start, bytes expected there, mask)."""

_U = np.uint64
_SPACE: Final = 32
_ZERO: Final = 48


@dataclass(frozen=True)
class Layout:
    """Where the parts of a line stand, in bytes from its start, and what its fixed bytes are."""

    seconds_end: int
    n_seconds: int
    n_fraction: int
    channel: int
    id_at: int
    n_id: int
    data_at: int
    length_at: int | None
    """Place of the length digit on the screen; None: the length follows from the line's end."""
    fixed: tuple[FixedWord, ...]


def find_layout(line: bytes, style: Style, source: Source) -> Layout | None:
    """The layout of a line; None when there is none for it."""
    parts = match_line(line, style)
    if parts is None or len(parts["fraction"]) > 8:
        return None
    length_at, data_at = None, parts.end("id") + 1
    if style == "candump_screen":
        length_at, data_at = parts.start("length"), parts.end("length") + 3
        if len(parts["length"]) > 1 or int(parts["length"]) > CLASSIC_BYTES:
            return None
    channel = source.channels.index(parts["channel"].decode("ascii"))
    if channel is None:
        return None
    variable = [parts.span("seconds"), parts.span("fraction"), parts.span("id")]
    variable += [parts.span("length")] if length_at is not None else []
    return Layout(
        seconds_end=parts.end("seconds"),
        n_seconds=len(parts["seconds"]),
        n_fraction=len(parts["fraction"]),
        channel=channel,
        id_at=parts.start("id"),
        n_id=len(parts["id"]),
        data_at=data_at,
        length_at=length_at,
        fixed=_fixed_words(line, data_at if length_at is None else length_at + 2, variable),
    )


def _fixed_words(line: bytes, end: int, variable: list[tuple[int, int]]) -> tuple[FixedWord, ...]:
    mask = bytearray(b"\xff" * end)
    for first, last in variable:
        mask[first:last] = bytes(last - first)
    words = []
    for at in range(0, end, 8):
        expected, chosen = line[at : at + 8][: end - at], bytes(mask[at : at + 8])
        value, keep = int.from_bytes(expected, "little"), int.from_bytes(chosen, "little")
        words.append((at, _U(value & keep), _U(keep)))
    return tuple(words)


class LineColumns(NamedTuple):
    """What n lines of one layout say, one array element a line."""

    time_us: I64
    can_id: U64
    length: I64
    data: U8
    """Shape (n, 8)."""
    fits: NDArray[np.bool_]
    """False: the line does not have the layout, and its other columns mean nothing."""


def read_columns(words: U64, starts: I64, ends: I64, layout: Layout) -> LineColumns:
    """Read n lines as `layout`; `words` is every 8-byte word of the text, `starts` and `ends` bound the lines."""
    time_us, bad = _read_times(words, starts, layout)
    for at, expected, mask in layout.fixed:
        bad |= (words[starts + at] ^ expected) & mask
    can_id, bad_id = _read_ids(words, starts, layout)
    length, data, bad_data = _read_data(words, starts, ends, layout)
    return LineColumns(time_us, can_id, length, data, (bad | bad_id | bad_data) == 0)


def _read_times(words: U64, starts: I64, layout: Layout) -> tuple[I64, U64]:
    end = starts + layout.seconds_end
    low_digits = min(layout.n_seconds, 8)
    seconds, bad = decimal_words((words[end - 8] & ~KEEP[8 - low_digits]) | _ZERO * (KEEP[8 - low_digits] // _U(255)))
    if layout.n_seconds > 8:
        lead = 16 - layout.n_seconds
        above, bad_above = decimal_words((words[end - 16] & ~KEEP[lead]) | _ZERO * (KEEP[lead] // _U(255)))
        seconds += above * _U(100_000_000)
        bad |= bad_above
    missing = 8 - layout.n_fraction
    fraction = (words[end + 1] << _U(8 * missing)) | _ZERO * (KEEP[missing] // _U(255))
    micro, bad_fraction = decimal_words(fraction)
    bad |= bad_fraction
    micro = micro * _U(10 ** max(0, 6 - layout.n_fraction)) // _U(10 ** max(0, layout.n_fraction - 6))
    return (seconds * _U(1_000_000) + micro).view(np.int64), bad


def _read_ids(words: U64, starts: I64, layout: Layout) -> tuple[U64, U64]:
    text = words[starts + layout.id_at]
    missing = 8 - layout.n_id
    if missing:
        text = (text << _U(8 * missing)) | _ZERO * (KEEP[missing] // _U(255))
    value, bad = hex_words(text)
    return swapped(value), bad


def _read_data(words: U64, starts: I64, ends: I64, layout: Layout) -> tuple[I64, U8, U64]:
    """(bytes a frame, array of n x 8 bytes, non-zero where the text is wrong)."""
    at = starts + layout.data_at
    if layout.length_at is None:
        n_hex = (ends - at).astype(np.int64)
        bad = ((n_hex & 1) | (n_hex < 0) | (n_hex > 16)).astype(np.uint64)
        length = np.clip(n_hex, 0, 16) >> 1
        first, second = words[at], words[at + 8]
    else:
        length = np.clip((words[starts + layout.length_at] & _U(0xFF)).astype(np.int64) - _ZERO, 0, 8)
        expected_end = np.where(length > 0, at + 3 * length - 1, starts + layout.length_at + 2)
        bad = (ends != expected_end).astype(np.uint64)
        first, second, bad_gaps = _spread_pairs(words, at, length)
        bad |= bad_gaps
    if (length == 8).all():
        low, bad_low = hex_words(first)
        high, bad_high = hex_words(second)
    else:
        n_first = np.minimum(2 * length, 8)
        n_second = np.maximum(2 * length - 8, 0)
        low, bad_low = hex_words((first & KEEP[n_first]) | FILL[n_first])
        high, bad_high = hex_words((second & KEEP[n_second]) | FILL[n_second])
    data = (low | (high << _U(32))).view(np.uint8).reshape(-1, 8)
    return length, data, bad | bad_low | bad_high


def _spread_pairs(words: U64, at: I64, length: I64) -> tuple[U64, U64, U64]:
    """Pairs of characters with a space between -> two words of eight characters, and where a space is missing."""
    halves = [np.zeros(len(at), dtype=np.uint64), np.zeros(len(at), dtype=np.uint64)]
    bad = np.zeros(len(at), dtype=np.uint64)
    for place in range(CLASSIC_BYTES):
        here = words[at + 3 * place]
        halves[place // 4] |= (here & _U(0xFFFF)) << _U(16 * (place % 4))
        gap = (here >> _U(16)) & _U(0xFF)
        bad |= ((gap != _SPACE) & (place + 1 < length)).astype(np.uint64)
    return halves[0], halves[1], bad
