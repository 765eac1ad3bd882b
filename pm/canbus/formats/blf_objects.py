"""The objects of a BLF log, read from inflated bytes into columns.

What belongs here: the layout of the objects that carry CAN frames, and the kernel that walks over them.
Files, containers and inflating are the business of `blf`. Vector publishes no specification. The layouts
are those that python-can (`can/io/blf.py`), vector_blf (`src/Vector/BLF/*.h`) and Wireshark
(`wiretap/blf.h`) agree on; where they differ, a comment says which is followed.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pm.canbus.bits import load32, load64
from pm.canbus.formats.block import CLASSIC_BYTES, I64, MAXIMUM_FRAME_BYTES, U8, U32, U64
from pm.canbus.jit import inline_kernel, kernel

OBJECT_HEAD_BYTES: Final = 16
"""Signature (4), header size (2), header version (2), object size (4), object type (4)."""
MAXIMUM_PADDING_BYTES: Final = 8
"""Objects are padded by 0 to 3 bytes, by rules that differ with type and writer (python-can issues 459,
786, 803); as python-can does, the next signature is searched for and not computed."""
NEEDED_BYTES: Final = 256
"""No frame lies further into its object; longer objects are passed over without being held in memory."""
LOG_CONTAINER: Final = 10

READ, MALFORMED, REMOTE, ERROR, NO_CHANNEL, OTHER, N_COUNTED = range(7)
"""What became of an object; `NO_CHANNEL`: a frame of a channel that is `CHANNEL_REFUSED`."""
ALL_READ, COLUMNS_FULL, TOO_NARROW, NEW_CHANNEL, NO_SIGNATURE, BAD_SIZE = range(N_COUNTED, N_COUNTED + 6)
"""Why the kernel stopped."""
CHANNEL_UNKNOWN: Final = -1
CHANNEL_REFUSED: Final = -2
N_FRAMES, CHANNEL = 0, 1
"""Places in `State.numbers`."""

_CAN_MESSAGE, _CAN_ERROR, _CAN_ERROR_EXT, _CAN_MESSAGE2 = 1, 2, 73, 86
_CAN_FD_MESSAGE, _CAN_FD_MESSAGE_64, _CAN_FD_ERROR_64 = 100, 101, 104
_FRAMES: Final = (_CAN_MESSAGE, _CAN_MESSAGE2, _CAN_FD_MESSAGE, _CAN_FD_MESSAGE_64)
_ERRORS: Final = (_CAN_ERROR, _CAN_ERROR_EXT, _CAN_FD_ERROR_64)

# Bytes before the payload: CAN_MESSAGE and CAN_MESSAGE2, CAN_FD_MESSAGE, CAN_FD_MESSAGE_64.
_CLASSIC_FIXED, _FD_FIXED, _FD64_FIXED = 8, 20, 40
_REMOTE_FLAG, _FD64_REMOTE_FLAG = 0x80, 0x10
_FD_EDL_FLAG, _FD64_EDL_FLAG = 0x01, 0x1000
_LARGEST_HEADER: Final = 128
_HEADER_V1, _HEADER_V2 = 32, 40
_LONGEST_US: Final = 100 * 365 * 86_400 * 1_000_000
"""A time further from the start than a hundred years is damage."""

_U = np.uint64
_0, _1, _3, _8, _16, _24, _32 = (_U(n) for n in (0, 1, 3, 8, 16, 24, 32))
_TEN_MICROSECONDS, _ONE_NANOSECOND = _U(1), _U(2)
_SIGNATURE: Final = _U(int.from_bytes(b"LOBJ", "little"))
_LOW_16: Final = _U(0xFFFF)
_BYTE: Final = _U(0xFF)
_ID_BITS: Final = _U(0x1FFFFFFF)
_EXTENDED_FLAG: Final = _U(0x80000000)
_LARGEST_STANDARD: Final = _U(0x7FF)
_LONGEST_TICKS: Final = _U(_LONGEST_US // 10)
_LONGEST_NS: Final = _U(_LONGEST_US * 1000)
_FD_LENGTHS: Final = (0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64)
"""Bytes by data length code, ISO 11898-1."""


class Columns(NamedTuple):
    """Room for the frames of one block."""

    time_us: I64
    channel: NDArray[np.int16]
    can_id: U32
    is_extended: NDArray[np.bool_]
    length: U8
    words: U64
    """Payloads one behind the other, all of one width, eight bytes a word."""


class State(NamedTuple):
    """What the kernel keeps between calls."""

    start_us: int
    """Start of the log, microseconds since 1970."""
    channel_of: NDArray[np.int16]
    """Index of a channel by its number in the log (0 to 65,535), `CHANNEL_UNKNOWN` or `CHANNEL_REFUSED`."""
    counts: I64
    """Objects by what became of them."""
    numbers: I64
    """`N_FRAMES` in the columns so far; number of the new `CHANNEL`."""


def new_state(start_us: int) -> State:
    """State at the start of a log."""
    return State(
        start_us,
        np.full(1 << 16, CHANNEL_UNKNOWN, dtype=np.int16),
        np.zeros(N_COUNTED, dtype=np.int64),
        np.zeros(2, dtype=np.int64),
    )


def room(n_frames: int, width: int) -> Columns:
    """Uninitialized columns for `n_frames` payloads of up to `width` bytes (8 or 64)."""
    return Columns(
        np.empty(n_frames, dtype=np.int64),
        np.empty(n_frames, dtype=np.int16),
        np.empty(n_frames, dtype=np.uint32),
        np.empty(n_frames, dtype=np.bool_),
        np.empty(n_frames, dtype=np.uint8),
        np.empty(n_frames * width // 8, dtype=np.uint64),
    )


@inline_kernel
def _signed(word: np.uint64) -> int:
    """The same number as a signed one: kernels must not mix the two."""
    return int(np.int64(word))


@inline_kernel
def _time_us(data: U8, at: int) -> int:
    """Microseconds since the start, to the nearest, of the object at `at`; -1 for a time or unit that cannot be.

    python-can reads every unit but 10 us as 1 ns; with another unit than these two the time is not known.
    """
    unit = load32(data, at + 16) & _3
    ticks = load64(data, at + 24)
    if unit == _ONE_NANOSECOND and ticks <= _LONGEST_NS:
        return (_signed(ticks) + 500) // 1000
    if unit == _TEN_MICROSECONDS and ticks <= _LONGEST_TICKS:
        return _signed(ticks) * 10
    return -1


@inline_kernel
def _fd_length(code: int, valid: int, is_fd: bool) -> int:
    """Payload bytes of an FD object: as many as are valid, and no more than the frame had on the bus; -1 if damaged."""
    if valid > MAXIMUM_FRAME_BYTES:
        return -1
    length = min(valid, _FD_LENGTHS[code]) if code <= 15 else valid
    return length if is_fd else min(length, CLASSIC_BYTES)


@inline_kernel
def _fd64_layout(data: U8, body: int, n_header: int, n_object: int) -> tuple[int, int, int, int, bool]:
    """As `_layout`, of CAN_FD_MESSAGE_64."""
    word = load64(data, body)
    flags = _signed(load32(data, body + 12))
    length = _fd_length(_signed(word >> _8 & _BYTE), _signed(word >> _16 & _BYTE), flags & _FD64_EDL_FLAG != 0)
    end = _signed(_U(data[body + 35]))  # where data of another kind follow the payload
    if end < n_header + _FD64_FIXED or end >= n_object:
        end = n_object
    # Fewer bytes than the length: the rest is zeros, as CANoe and python-can (issue 1905) read it.
    present = end - n_header - _FD64_FIXED
    if present < 0:
        length = -1
    return _signed(word & _BYTE), body + _FD64_FIXED, present, length, flags & _FD64_REMOTE_FLAG != 0


@inline_kernel
def _layout(data: U8, body: int, kind: int, n_header: int, n_object: int) -> tuple[int, int, int, int, bool]:
    """(channel, place of the payload, bytes of it in the object, payload length, is remote); length -1 if damaged."""
    if kind == _CAN_FD_MESSAGE_64:
        return _fd64_layout(data, body, n_header, n_object)
    word = load64(data, body)
    code = _signed(word >> _24 & _BYTE)
    is_remote = _signed(word >> _16) & _REMOTE_FLAG != 0
    if kind == _CAN_FD_MESSAGE:
        is_fd = data[body + 13] & _FD_EDL_FLAG != 0
        length = _fd_length(code, _signed(_U(data[body + 14])), is_fd)
        n_fixed = _FD_FIXED
    else:
        # Codes 9 to 15 mean eight bytes too (ISO 11898-1).
        length = min(code, CLASSIC_BYTES) if code <= 15 else -1
        n_fixed = _CLASSIC_FIXED
    present = n_object - n_header - n_fixed
    if present < 0 or (present < length and not is_remote):
        length = -1
    return _signed(word & _LOW_16), body + n_fixed, present, length, is_remote


@inline_kernel
def _word(data: U8, at: int, n: int) -> np.uint64:
    """The first n of the eight bytes from `at`, then zeros."""
    if n <= 0:
        return _0
    word = load64(data, at)
    return word if n >= 8 else word & ((_1 << _U(8 * n)) - _1)


@inline_kernel
def _frame(data: U8, at: int, kind: int) -> tuple[int, int, int, np.uint64, int, int, int]:
    """The frame of the object at `at`, whose first `NEEDED_BYTES` must be there.

    (what became of it, microseconds since the start, channel, identifier with its flag, payload length,
    place of the payload, bytes of it that are there)
    """
    head = load64(data, at + 4)
    n_header, version, n_object = _signed(head & _LOW_16), _signed(head >> _16 & _LOW_16), _signed(head >> _32)
    least = _HEADER_V1 if version == 1 else _HEADER_V2
    # Eight bytes more: fewer than every layout has. What is read beyond them is the buffer's, and checked below.
    if not 1 <= version <= 2 or not least <= n_header <= _LARGEST_HEADER or n_object < n_header + 8:
        return MALFORMED, 0, 0, _0, 0, 0, 0
    time_us = _time_us(data, at)
    channel, payload, present, length, is_remote = _layout(data, at + n_header, kind, n_header, n_object)
    can_id = load32(data, at + n_header + 4)
    became = REMOTE if is_remote else READ
    if length < 0 or time_us < 0 or (can_id < _EXTENDED_FLAG and can_id & _ID_BITS > _LARGEST_STANDARD):
        became = MALFORMED
    return became, time_us, channel, can_id, length, payload, min(length, present)


@inline_kernel
def _find(data: U8, at: int, end: int) -> int:
    """Place of the next object's signature behind up to `MAXIMUM_PADDING_BYTES`, or where the search ended."""
    begin = at
    while begin + 4 <= end and begin - at <= MAXIMUM_PADDING_BYTES and load32(data, begin) != _SIGNATURE:
        begin += 1
    return begin


@inline_kernel
def _sort(kind: int) -> int:
    """What becomes of an object of this type; `READ` for one with a frame."""
    if kind in _FRAMES:
        return READ
    if kind in _ERRORS:
        return ERROR
    return MALFORMED if kind == LOG_CONTAINER else OTHER  # no writer puts a container into another


@kernel
def read_objects(data: U8, at: int, end: int, columns: Columns, state: State) -> tuple[int, int]:
    """Walk over the objects in `data[at:end]`; write their frames to the columns and count them all.

    Returns (place, why it stopped). With `ALL_READ` the place is that of an object that is not whole, or
    beyond `end` by what is still to be passed over. Otherwise it is that of an object not read yet; when
    its channel is known, or the columns have room or width, the call is repeated there.
    """
    # Handing a tuple of arrays to another kernel costs as much as reading a frame; so frames are written here.
    n_room = len(columns.time_us)
    n_words = len(columns.words) // n_room
    row = state.numbers[N_FRAMES]
    why = COLUMNS_FULL
    while row < n_room:
        begin = _find(data, at, end)
        if begin - at > MAXIMUM_PADDING_BYTES:
            why = NO_SIGNATURE
            break
        if begin + OBJECT_HEAD_BYTES > end:
            why = ALL_READ
            break
        at = begin
        n_object = _signed(load32(data, at + 8))
        kind = _signed(load32(data, at + 12))
        if n_object < OBJECT_HEAD_BYTES:
            why = BAD_SIZE
            break
        became = _sort(kind)
        if became == READ:
            if at + min(n_object, NEEDED_BYTES) > end:
                why = ALL_READ
                break
            became, time_us, channel, can_id, length, payload, n_present = _frame(data, at, kind)
        if became == READ:
            index = state.channel_of[channel]
            if index == CHANNEL_UNKNOWN:
                state.numbers[CHANNEL] = channel
                why = NEW_CHANNEL
                break
            if length > 8 * n_words:
                why = TOO_NARROW
                break
            if index == CHANNEL_REFUSED:
                became = NO_CHANNEL
            else:
                columns.time_us[row] = state.start_us + time_us
                columns.channel[row] = index
                columns.can_id[row] = can_id & _ID_BITS
                columns.is_extended[row] = can_id >= _EXTENDED_FLAG
                columns.length[row] = length
                for i in range(n_words):
                    columns.words[row * n_words + i] = _word(data, payload + 8 * i, n_present - 8 * i)
                row += 1
        state.counts[became] += 1
        at += n_object
    state.numbers[N_FRAMES] = row
    return at, why
