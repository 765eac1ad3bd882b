"""Every frame of a block to where it belongs.

What belongs here: which message of the database an identifier is, and the kernel that takes a block
of frames apart: payloads to the room of their message, transport packets to their session, trouble
codes to their table, reassembled messages the same ways. Nothing is decoded here.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pm.canbus.bits import load64
from pm.canbus.dbc import SignalDatabase
from pm.canbus.faults import MAXIMUM_CODES, FaultBuffer, take_dm
from pm.canbus.formats.block import CLASSIC_BYTES, I64, U8, U32, Frames
from pm.canbus.j1939 import FIRST_PDU2_FORMAT, GLOBAL_ADDRESS, PGN_DM1, PGN_DM2, PGN_TP_CM, PGN_TP_DT
from pm.canbus.jit import kernel
from pm.canbus.staging import (
    LENGTH_SHIFT,
    MOST_SERIES,
    NO_ROW,
    Staging,
    first_entry,
    is_full,
    put_row,
    sampled_row,
)
from pm.canbus.transport import LARGEST_MESSAGE_BYTES, PAYLOAD_STRIDE, TransportState, take_control, take_packet

I32 = NDArray[np.int32]
U16 = NDArray[np.uint16]

NO_MESSAGE: Final = 0xFFFF
N_PGNS: Final = 1 << 18
N_STANDARD_IDS: Final = 1 << 11

_MATCHES_MESSAGE, _CONTROL, _DATA, _DM1, _DM2 = range(5)
_ROLES: Final = {PGN_TP_CM: _CONTROL, PGN_TP_DT: _DATA, PGN_DM1: _DM1, PGN_DM2: _DM2}

ALL_READ, MESSAGE_FULL, MESSAGES_FULL, FAULTS_FULL, SERIES_FULL = range(5)
"""Why `route` stopped."""

MOST_MESSAGES: Final = 4096
"""Reassembled messages that wait to be handed over."""

N_FRAMES, N_DECODED, N_TRANSPORT, N_MESSAGES, N_BACKWARD, FIRST_US, LAST_US, BEFORE_US = range(8)
"""Places in `Tally`."""
N_TALLIES: Final = 8
LATEST_POSSIBLE: Final = np.iinfo(np.int64).max


class Matcher(NamedTuple):
    """Which message a frame is, by identifier; `NO_MESSAGE` where it is none."""

    of_pgn: U16
    role_of_pgn: U8
    of_standard_id: U16
    extended_ids: I64
    """Sorted identifiers of 29-bit messages that the database declares by id, not by PGN."""
    of_extended_id: U16


class Messages(NamedTuple):
    """Reassembled messages that wait to be handed over."""

    first_us: I64
    last_us: I64
    pgn: I32
    address: U32
    """Source, destination and channel, as in `pm.canbus.staging`."""
    end: I64
    """Where the payload ends in `payload`; it begins where the one before ends."""
    payload: U8
    n: I64
    """One number: how many messages wait."""


class Room(NamedTuple):
    """Where the frames of one log go."""

    staging: Staging
    transport: TransportState
    faults: FaultBuffer
    messages: Messages
    tally: I64
    """Counts and times of the log so far, at the places named above."""


def new_matcher(database: SignalDatabase) -> Matcher:
    """Lookup tables of the messages of `database`."""
    of_pgn = np.full(N_PGNS, NO_MESSAGE, dtype=np.uint16)
    of_standard_id = np.full(N_STANDARD_IDS, NO_MESSAGE, dtype=np.uint16)
    extended: dict[int, int] = {}
    for number, message in enumerate(database.messages):
        if message.pgn is not None:
            of_pgn[message.pgn] = number
        elif message.is_extended:
            extended[message.frame_id] = number
        else:
            of_standard_id[message.frame_id] = number
    role_of_pgn = np.zeros(N_PGNS, dtype=np.uint8)
    for pgn, role in _ROLES.items():
        role_of_pgn[pgn] = role
    return Matcher(
        of_pgn,
        role_of_pgn,
        of_standard_id,
        np.array(sorted(extended), dtype=np.int64),
        np.array([extended[can_id] for can_id in sorted(extended)], dtype=np.uint16),
    )


def new_messages() -> Messages:
    return Messages(
        np.empty(MOST_MESSAGES, dtype=np.int64),
        np.empty(MOST_MESSAGES, dtype=np.int64),
        np.empty(MOST_MESSAGES, dtype=np.int32),
        np.empty(MOST_MESSAGES, dtype=np.uint32),
        np.empty(MOST_MESSAGES, dtype=np.int64),
        np.empty(256 * LARGEST_MESSAGE_BYTES, dtype=np.uint8),
        np.zeros(1, dtype=np.int64),
    )


def new_tally() -> I64:
    tally = np.zeros(N_TALLIES, dtype=np.int64)
    tally[FIRST_US], tally[LAST_US], tally[BEFORE_US] = LATEST_POSSIBLE, -LATEST_POSSIBLE, -LATEST_POSSIBLE
    return tally


@kernel
def _by_extended_id(matcher: Matcher, can_id: int) -> int:
    """Binary search, because few databases have such messages and those have few."""
    low, high = 0, len(matcher.extended_ids)
    while low < high:
        middle = (low + high) // 2
        if matcher.extended_ids[middle] < can_id:
            low = middle + 1
        else:
            high = middle
    if low < len(matcher.extended_ids) and matcher.extended_ids[low] == can_id:
        return np.int64(matcher.of_extended_id[low])
    return NO_MESSAGE


@kernel
def _stage(
    staging: Staging, message: int, address: int, time_us: int, position: int, data: U8, at: int, length: int
) -> int:
    """Put a payload where its message waits; the message if its room is full now, else `NO_MESSAGE`."""
    if staging.period_us[0]:
        row = sampled_row(staging, message, address, time_us, position)
    else:
        row = staging.n_waiting[message]
        staging.n_waiting[message] = row + 1
    put_row(staging, message, row, time_us, address, data, at, length)
    return message if is_full(staging, message) else NO_MESSAGE


@kernel
def _take_message(room: Room, matcher: Matcher, session: int, time_us: int, position: int, address: int) -> int:
    """Hand over the message that a packet completed; the message whose room is full now, else `NO_MESSAGE`."""
    messages, transport = room.messages, room.transport
    n = messages.n[0]
    pgn, size, at = transport.pgn[session], transport.size[session], session * PAYLOAD_STRIDE
    begin = messages.end[n - 1] if n else 0
    for i in range(size):
        messages.payload[begin + i] = transport.payload[at + i]
    messages.first_us[n], messages.last_us[n] = transport.first_us[session], time_us
    messages.pgn[n], messages.address[n], messages.end[n] = pgn, address, begin + size
    messages.n[0] = n + 1
    room.tally[N_MESSAGES] += 1
    role = matcher.role_of_pgn[pgn]
    if role == _DM1 or role == _DM2:
        # Its signals in the DBC would show the first of several codes only: it gives fault rows alone.
        channel, source = address >> 16, address & 0xFF
        take_dm(room.faults, time_us, channel, source, 1 if role == _DM1 else 2, transport.payload, at, size)
    elif matcher.of_pgn[pgn] != NO_MESSAGE:
        message = np.int64(matcher.of_pgn[pgn])
        return _stage(room.staging, message, address, time_us, position, transport.payload, at, size)
    return NO_MESSAGE


@kernel
def _has_room_for_message(messages: Messages) -> bool:
    n = messages.n[0]
    used = messages.end[n - 1] if n else 0
    return n < len(messages.end) and used + LARGEST_MESSAGE_BYTES <= len(messages.payload)


@kernel
def route(frames: Frames, begin: int, matcher: Matcher, room: Room) -> tuple[int, int, int]:
    """Take the frames of a block apart, from frame `begin` on.

    Returns (number of the next frame, why it stopped, of which message the room is full). It stops when the
    room of a message is full, and before a frame for which there may be no other room; when there is room
    again, call it with the frame it returned. No message's room may be full when it is called.
    """
    # Arrays of the loop are taken out of their tuples once: numba counts references each time.
    time_us, ids, channels, is_extended = frames.time_us, frames.can_id, frames.channel, frames.is_extended
    lengths, data = frames.length, frames.data
    of_pgn, role_of_pgn, of_standard_id = matcher.of_pgn, matcher.role_of_pgn, matcher.of_standard_id
    staging, tally = room.staging, room.tally
    first_row, first_word, n_words, count = staging.first_row, staging.first_word, staging.n_words, staging.n_waiting
    n_series = staging.n_series
    row_time_us, row_origin, row_words = staging.time_us, staging.origin, staging.words
    has_extended_ids = len(matcher.extended_ids) > 0
    series_key, series_row, series_period = staging.series_key, staging.series_row, staging.series_period
    row_position, row_entry, last_entry = staging.position, staging.entry, len(staging.series_key) - 1
    period_us = staging.period_us[0]
    is_sampled = period_us != 0
    period, period_begin_us = 0, -LATEST_POSSIBLE  # none yet
    n_frames = len(time_us)
    width = len(data) // n_frames
    first_position = tally[N_FRAMES] - begin
    n_decoded, n_transport, n_backward = 0, 0, 0
    first_us, last_us, before_us = tally[FIRST_US], tally[LAST_US], tally[BEFORE_US]
    stopped, full = ALL_READ, NO_MESSAGE
    i = begin
    while i < n_frames:
        if is_sampled and n_series[0] >= MOST_SERIES:
            stopped = SERIES_FULL
            break
        can_id = np.int64(ids[i])
        role = _MATCHES_MESSAGE
        message = NO_MESSAGE
        destination = 0
        source = 0
        if is_extended[i]:
            pgn = (can_id >> 8) & 0x3FFFF
            destination = GLOBAL_ADDRESS
            source = can_id & 0xFF
            if (pgn >> 8) & 0xFF < FIRST_PDU2_FORMAT:
                destination = pgn & 0xFF
                pgn &= 0x3FF00
            if has_extended_ids:
                message = _by_extended_id(matcher, can_id)
            if message == NO_MESSAGE:
                role = np.int64(role_of_pgn[pgn])
                if role != _CONTROL and role != _DATA:
                    message = np.int64(of_pgn[pgn])
        else:
            message = np.int64(of_standard_id[can_id & (N_STANDARD_IDS - 1)])
        now_us, length, at = time_us[i], np.int64(lengths[i]), i * width
        channel = np.int64(channels[i]) & 0xFF
        if role != _MATCHES_MESSAGE:
            if room.faults.n[0] + MAXIMUM_CODES > len(room.faults.time_us):
                stopped = FAULTS_FULL
                break
            if role == _CONTROL:
                take_control(room.transport, now_us, channel, source, destination, data, at, length)
                n_transport += 1
            elif role == _DATA:
                if not _has_room_for_message(room.messages):
                    stopped = MESSAGES_FULL
                    break
                session = take_packet(room.transport, now_us, channel, source, destination, data, at, length)
                if session >= 0:
                    address = source | destination << 8 | channel << 16
                    full = _take_message(room, matcher, session, now_us, first_position + i, address)
                n_transport += 1
            else:
                dm = 1 if role == _DM1 else 2
                take_dm(room.faults, now_us, channel, source, dm, data, at, length)
                n_decoded += 1 if message == NO_MESSAGE else 0
        if message != NO_MESSAGE:
            address = source | destination << 8 | channel << 16
            if n_words[message] != 1 or length < CLASSIC_BYTES:
                full = _stage(staging, message, address, now_us, first_position + i, data, at, length)
            else:  # as `_stage` does it, for nearly every frame
                row = count[message]
                if is_sampled:  # as `sampled_row` does it
                    if now_us < period_begin_us or now_us >= period_begin_us + period_us:
                        period = now_us // period_us
                        period_begin_us = period * period_us
                    key = ((message << 24) | address) + 1
                    entry = first_entry(key, last_entry)
                    while series_key[entry] != key and series_key[entry] != 0:
                        entry = (entry + 1) & last_entry
                    if series_key[entry] == 0:
                        series_key[entry] = key
                        series_row[entry] = NO_ROW
                        n_series[0] += 1
                    open_row = np.int64(series_row[entry])
                    if open_row != NO_ROW and series_period[entry] == period:
                        row = open_row
                    else:
                        series_row[entry] = row
                        series_period[entry] = period
                        count[message] = row + 1
                    row_position[first_row[message] + row] = first_position + i
                    row_entry[first_row[message] + row] = entry
                else:
                    count[message] = row + 1
                to = first_row[message] + row
                row_time_us[to] = now_us
                row_origin[to] = address | CLASSIC_BYTES << LENGTH_SHIFT
                row_words[first_word[message] + row] = load64(data, at)
                if first_row[message] + count[message] == first_row[message + 1]:
                    full = message
            n_decoded += 1
        n_backward += now_us < before_us
        before_us = now_us
        first_us, last_us = min(first_us, now_us), max(last_us, now_us)
        i += 1
        if full != NO_MESSAGE:
            stopped = MESSAGE_FULL
            break
    tally[N_FRAMES] += i - begin
    tally[N_DECODED] += n_decoded
    tally[N_TRANSPORT] += n_transport
    tally[N_BACKWARD] += n_backward
    tally[FIRST_US], tally[LAST_US], tally[BEFORE_US] = first_us, last_us, before_us
    return i, stopped, full
