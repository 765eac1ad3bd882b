"""Records of CAN frames in an MDF 4 bus log, read from bytes into columns.

What belongs here: the kernel that takes fields out of records, with conversions and payloads that lie
elsewhere. Where records begin is found in `mdf_records`, where fields lie in `mdf_layout`. Bit fields of
either byte order: ASAM MDF 4.1, CN block; `CAN_DataFrame`: the ASAM bus logging standard.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pm.canbus.bits import load32, load64, swap64
from pm.canbus.formats.block import I64, MAXIMUM_CHANNELS, U8, U32, U64
from pm.canbus.jit import inline_kernel, kernel

TIME, ID, IDE, BUS, LENGTH, OFFSET, N_FIELDS = range(7)
"""Fields of a record; `OFFSET` is where a payload of variable length lies in its stream."""
TABLE_SIZE: Final = 256
UNSIGNED, SIGNED, FLOAT, DOUBLE = range(4)
"""How a time is written."""
NO_STREAM: Final = -1

PLACE, SHIFT, MASK, HOW, N_PLACES = range(5)
"""Places in `Layouts.fields`: byte in the record, bit in the eight bytes there, bits (0: the field is the same
in every record), and `SWAPPED`, `CONVERTED` or both."""
SWAPPED, CONVERTED = 1, 2
"""Written with the highest byte first; looked up in a table."""
TIME_KIND, HAS_IDE, PAYLOAD_AT, PAYLOAD_BYTES, STREAM, N_GROUP_PLACES = range(6)
"""Places in `Layouts.groups`; `STREAM` is the number of a stream of payloads, or `NO_STREAM`."""

READ, TOO_WIDE, BAD_TIME, BAD_PAYLOAD = range(4)
"""Why `read_frames` stopped."""
N_FRAMES, N_MALFORMED, N_CHANNELS, N_NO_CHANNEL, N_NUMBERS = range(5)
"""Places in `State.numbers`."""

LAST_US: Final = 253_402_300_800_000_000
"""The end of the year 9999; no time is later, none before 1970."""

_U = np.uint64
_0, _1, _8, _64 = _U(0), _U(1), _U(8), _U(64)
_ID_BITS: Final = _U(0x1FFFFFFF)
_EXTENDED_FLAG: Final = _U(0x80000000)
_LARGEST_STANDARD: Final = _U(0x7FF)
_ALL_BITS: Final = _U(0xFFFFFFFFFFFFFFFF)
_LARGEST_NUMBER: Final = _U(0x7FFFFFFF)
_SWAPPED, _CONVERTED = _U(SWAPPED), _U(CONVERTED)
_LARGEST_OFFSET: Final = _U(1 << 62)
_TABLE_END: Final = _U(TABLE_SIZE)
_MOST_RELATIVE_US: Final = 1e18


class Layouts(NamedTuple):
    """Where the fields lie in the records of each group."""

    fields: U64
    """(group, field, `PLACE` to `HOW`)."""
    tables: I64
    """(group, field, raw value): the value that a conversion gives, where `HOW` has `CONVERTED`."""
    groups: I64
    """(group, `TIME_KIND` to `STREAM`)."""
    time_scale: NDArray[np.float64]
    """(group, 2): seconds are raw * the first + the second."""


class Values(NamedTuple):
    """Streams of payloads of variable length, or as much of each as is needed, one after the other."""

    data: U8
    start: I64
    """Where each stream begins in `data`."""
    end: I64
    base: I64
    """Offset in the stream of its first byte in `data`."""


class Columns(NamedTuple):
    """Room for frames."""

    time_us: I64
    key_us: I64
    """Highest time of the group so far: what groups are merged by."""
    channel: NDArray[np.int16]
    can_id: U32
    is_extended: NDArray[np.bool_]
    length: U8
    words: U64
    """(frame, word) of the payload: one word or eight."""


class State(NamedTuple):
    """What is kept from call to call."""

    numbers: I64
    channels: I64
    """Bus numbers, in order of appearance."""
    latest_us: I64
    """Of each group: highest time so far."""


def room(n: int, n_bytes: int) -> Columns:
    """Columns for n frames of up to 8 or 64 bytes."""
    return Columns(
        time_us=np.empty(n, dtype=np.int64),
        key_us=np.empty(n, dtype=np.int64),
        channel=np.empty(n, dtype=np.int16),
        can_id=np.empty(n, dtype=np.uint32),
        is_extended=np.empty(n, dtype=np.bool_),
        length=np.empty(n, dtype=np.uint8),
        words=np.zeros((n, n_bytes // 8), dtype=np.uint64),
    )


def new_state(n_groups: int) -> State:
    """State before the first record."""
    return State(
        numbers=np.zeros(N_NUMBERS, dtype=np.int64),
        channels=np.zeros(MAXIMUM_CHANNELS, dtype=np.int64),
        latest_us=np.zeros(n_groups, dtype=np.int64),
    )


class Field(NamedTuple):
    """Where one field lies in the records of one group."""

    place: int
    shift: np.uint64
    mask: np.uint64
    is_swapped: bool
    is_converted: bool


@inline_kernel
def _field(fields: U64, group: int, which: int) -> Field:
    how = fields[group, which, HOW]
    return Field(
        int(np.int64(fields[group, which, PLACE])),
        fields[group, which, SHIFT],
        fields[group, which, MASK],
        how & _SWAPPED != _0,
        how & _CONVERTED != _0,
    )


@inline_kernel
def _bits(data: U8, at: int, field: Field) -> np.uint64:
    """Raw value of a field in the record at `at`."""
    word = load64(data, at + field.place)
    if field.is_swapped:
        word = swap64(word)
    return (word >> field.shift) & field.mask


@inline_kernel
def _number(raw: np.uint64, kind: int, mask: np.uint64) -> np.float64:
    """A time as it is written."""
    if kind == DOUBLE:
        return np.uint64(raw).view(np.float64)
    if kind == FLOAT:
        return np.float64(np.uint32(raw).view(np.float32))
    if kind == SIGNED:
        highest = (mask >> _1) + _1
        return np.float64(np.int64((raw ^ highest) - highest))
    return np.float64(raw)


@inline_kernel
def _first_bytes(word: np.uint64, n: int) -> np.uint64:
    """The first n bytes of a word, 0 to 8, and zeros."""
    return word & (_ALL_BITS >> (_64 - _8 * _U(n))) if n > 0 else _0


@inline_kernel
def _put_payload(payload: U8, at: int, length: int, words: U64, row: int) -> None:
    words[row, 0] = _first_bytes(load64(payload, at), min(length, 8))
    for k in range(1, words.shape[1]):
        n = length - 8 * k
        words[row, k] = _first_bytes(load64(payload, at + 8 * k), min(n, 8)) if n > 0 else _0


@kernel
def read_frames(
    data: U8,
    starts: I64,
    groups: NDArray[np.int32],
    first: int,
    n: int,
    layouts: Layouts,
    values: Values,
    start_us: int,
    columns: Columns,
    state: State,
) -> tuple[int, int]:
    """Read the records `first` to n, whose bytes begin at `starts`, into columns.

    `data` holds whole records and `SPARE_BYTES` more. Returns (record it stopped at, why).
    """
    # Arrays by names of their own: taking one out of a tuple counts a reference, which costs more than a field.
    fields, tables, of_group, time_scale = layouts.fields, layouts.tables, layouts.groups, layouts.time_scale
    bytes_of, value_start, value_end, value_base = values.data, values.start, values.end, values.base
    numbers, channels, latest_us = state.numbers, state.channels, state.latest_us
    to_time, to_key, to_channel, to_id = columns.time_us, columns.key_us, columns.channel, columns.can_id
    to_extended, to_length, words = columns.is_extended, columns.length, columns.words
    room_bytes, n_channels = 8 * words.shape[1], int(numbers[N_CHANNELS])

    j = int(numbers[N_FRAMES])
    g = -1
    for i in range(first, n):
        if groups[i] != g:
            g = int(groups[i])
            time, identifier, ide = _field(fields, g, TIME), _field(fields, g, ID), _field(fields, g, IDE)
            bus, size, offset = _field(fields, g, BUS), _field(fields, g, LENGTH), _field(fields, g, OFFSET)
            factor, seconds, kind = time_scale[g, 0], time_scale[g, 1], int(of_group[g, TIME_KIND])
            has_ide, stream = of_group[g, HAS_IDE] != 0, int(of_group[g, STREAM])
            inner_at, inner_bytes = int(of_group[g, PAYLOAD_AT]), int(of_group[g, PAYLOAD_BYTES])
        at = int(starts[i])
        relative_us = np.rint((_number(_bits(data, at, time), kind, time.mask) * factor + seconds) * 1e6)
        time_us = start_us + np.int64(relative_us) if abs(relative_us) < _MOST_RELATIVE_US else -1
        if time_us < 0 or time_us >= LAST_US:
            numbers[N_FRAMES] = j
            return i, BAD_TIME

        word = _bits(data, at, identifier)
        if identifier.is_converted and word < _TABLE_END:
            word = _U(tables[g, ID, np.int64(word)])
        can_id = word & _ID_BITS
        is_extended = (word & _EXTENDED_FLAG) != _0
        if has_ide:
            word = _bits(data, at, ide)
            if ide.is_converted and word < _TABLE_END:
                word = _U(tables[g, IDE, np.int64(word)])
            is_extended |= word != _0
        else:
            is_extended |= can_id > _LARGEST_STANDARD
        if can_id > _LARGEST_STANDARD and not is_extended:
            numbers[N_MALFORMED] += 1
            continue

        word = _bits(data, at, size)
        if size.is_converted and word < _TABLE_END:
            word = _U(tables[g, LENGTH, np.int64(word)])
        length = int(np.int64(min(word, _64)))
        payload_at = at + inner_at
        if stream == NO_STREAM:
            length = min(length, inner_bytes)
        else:
            # Offsets fit in 62 bits: `find_range` has seen them all.
            payload_at = int(np.int64(_bits(data, at, offset))) - int(value_base[stream]) + int(value_start[stream]) + 4
            n_value = -1
            if value_start[stream] + 4 <= payload_at <= value_end[stream]:
                n_value = int(np.int64(load32(bytes_of, payload_at - 4)))
            if n_value < 0 or payload_at + n_value > value_end[stream]:
                numbers[N_FRAMES] = j
                return i, BAD_PAYLOAD
            length = min(length, n_value)
        if length > room_bytes:
            numbers[N_FRAMES] = j
            return i, TOO_WIDE

        word = _bits(data, at, bus)
        if bus.is_converted and word < _TABLE_END:
            word = _U(tables[g, BUS, np.int64(word)])
        number = int(np.int64(min(word, _LARGEST_NUMBER)))
        channel = 0
        while channel < n_channels and channels[channel] != number:
            channel += 1
        if channel == MAXIMUM_CHANNELS:
            numbers[N_NO_CHANNEL] += 1
            continue
        if channel == n_channels:
            channels[channel] = number
            n_channels += 1
            numbers[N_CHANNELS] = n_channels

        if stream == NO_STREAM:
            _put_payload(data, payload_at, length, words, j)
        else:
            _put_payload(bytes_of, payload_at, length, words, j)
        latest_us[g] = max(latest_us[g], time_us)
        to_time[j] = time_us
        to_key[j] = latest_us[g]
        to_channel[j] = channel
        to_id[j] = np.uint32(can_id)
        to_extended[j] = is_extended
        to_length[j] = length
        j += 1
    numbers[N_FRAMES] = j
    return n, READ


@kernel
def find_range(
    data: U8, starts: I64, groups: NDArray[np.int32], n: int, layouts: Layouts, stream: int
) -> tuple[int, int]:
    """(lowest, highest) offset of payloads in a stream; (-1, -1) for none, (-2, -2) for one that cannot be."""
    fields, of_group = layouts.fields, layouts.groups
    lowest, highest = -1, -1
    for i in range(n):
        g = int(groups[i])
        if of_group[g, STREAM] == stream:
            word = _bits(data, int(starts[i]), _field(fields, g, OFFSET))
            if word >= _LARGEST_OFFSET:
                return -2, -2
            offset = int(np.int64(word))
            if lowest < 0 or offset < lowest:
                lowest = offset
            highest = max(highest, offset)
    return lowest, highest
