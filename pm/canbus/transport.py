"""J1939 transport protocol, read passively (SAE J1939-21, 5.10).

What belongs here: putting the packets of BAM and RTS/CTS messages together again and counting what
did not become a message. Sessions are keyed by (channel, source, destination), their number is
bounded, and nothing here waits for a clock: time is the frames' own.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pm.canbus.bits import SPARE_BYTES
from pm.canbus.formats.block import I64, MAXIMUM_CHANNELS, U8
from pm.canbus.j1939 import FIRST_PDU2_FORMAT
from pm.canbus.jit import inline_kernel, kernel

RTS, CTS, END_OF_MESSAGE, BAM, ABORT = 16, 17, 19, 32, 255
CONTROL_BYTES: Final = 8

LARGEST_MESSAGE_BYTES: Final = 1785
PACKET_BYTES: Final = 7
MAXIMUM_PACKETS: Final = 255
MAXIMUM_SESSIONS: Final = 4096
PAYLOAD_STRIDE: Final = 1856
"""Room for the largest message and `SPARE_BYTES`, rounded up to whole cache lines."""
STALE_AFTER_US: Final = 10_000_000
"""Far above the standard's 1,250 ms: a slow gateway loses nothing, a packet number reused later joins nothing."""

GAP: Final = "packet_gap"
ORPHAN: Final = "packet_without_announcement"
DUPLICATE: Final = "packet_repeated"
REPLACED: Final = "announced_again_before_the_end"
STALE: Final = "packets_stopped"
OPEN: Final = "open_at_the_end"
INCOMPLETE: Final = "acknowledged_but_incomplete"
BAD_ANNOUNCEMENT: Final = "bad_announcement"
BAD_LENGTH: Final = "bad_frame_length"
TOO_MANY_SESSIONS: Final = "too_many_sessions"

_REASONS: Final = (
    GAP, ORPHAN, DUPLICATE, REPLACED, STALE, OPEN, INCOMPLETE, BAD_ANNOUNCEMENT, BAD_LENGTH, TOO_MANY_SESSIONS,
)  # fmt: skip
(
    _GAP, _ORPHAN, _DUPLICATE, _REPLACED, _STALE, _OPEN, _INCOMPLETE, _BAD_ANNOUNCEMENT, _BAD_LENGTH, _TOO_MANY,
) = range(len(_REASONS))  # fmt: skip
_N_ABORT_CODES: Final = 256
_OLDEST, _NEWEST, _FREE, _N_OPEN, _FAILURES = range(5)
"""Places in `totals`; failures in the order of `_REASONS`, then aborts by reason code."""
_ABORTS: Final = _FAILURES + len(_REASONS)
_LAST_US, _N_PACKETS, _N_SEEN, _LAST_NUMBER, _IS_BAM, _PLACE, _OLDER, _NEWER = range(8)
"""Places in a row of `progress`."""
_NONE: Final = -1
_ADDRESSES: Final = 256


def abort_reason(code: int) -> str:
    """Name under which an abort with this reason code is counted (J1939-21, table 7)."""
    return f"abort_{code}"


class TransportState(NamedTuple):
    """All sessions of one log. A session has a number k below `MAXIMUM_SESSIONS`.

    Few arrays on purpose: handing one more to a kernel costs as much time as the rest of a packet.
    """

    first_us: I64
    """Time of the announcement, by session."""
    pgn: I64
    size: I64
    """Payload bytes of the whole message, by session."""
    payload: U8
    """Flat: the payload of session k begins at k * `PAYLOAD_STRIDE`; zeros follow a message that is whole."""
    progress: I64
    """Shape (sessions, 8). `_LAST_US`: time of the last packet kept, until then that of the announcement. `_N_SEEN`:
    different packets so far. `_PLACE`: where `session` names it. `_OLDER` and `_NEWER` chain the open sessions in
    order of announcement; `_NEWER` also chains the free ones."""
    seen: NDArray[np.bool_]
    """Shape (sessions, `MAXIMUM_PACKETS` + 1): packets so far by number."""
    session: NDArray[np.int16]
    """1 + number of the open session by channel, source and destination; 0: none."""
    totals: I64
    """Ends of the two chains (-1: empty), number of open sessions, and what was counted."""


def new_transport() -> TransportState:
    """No session open, nothing counted. 43 MB of address space, of which a log touches what its sessions need."""
    n = MAXIMUM_SESSIONS
    progress = np.zeros((n, 8), dtype=np.int64)
    progress[:, _NEWER] = np.arange(1, n + 1)
    progress[-1, _NEWER] = _NONE
    totals = np.zeros(_ABORTS + _N_ABORT_CODES, dtype=np.int64)
    totals[[_OLDEST, _NEWEST]] = _NONE
    return TransportState(
        first_us=np.zeros(n, dtype=np.int64),
        pgn=np.zeros(n, dtype=np.int64),
        size=np.zeros(n, dtype=np.int64),
        payload=np.zeros(n * PAYLOAD_STRIDE + SPARE_BYTES, dtype=np.uint8),
        progress=progress,
        seen=np.zeros((n, MAXIMUM_PACKETS + 1), dtype=np.bool_),
        session=np.zeros(MAXIMUM_CHANNELS * _ADDRESSES * _ADDRESSES, dtype=np.int16),
        totals=totals,
    )


@kernel
def take_control(
    state: TransportState, time_us: int, channel: int, source: int, destination: int, data: U8, at: int, length: int
) -> None:
    """Take a connection management frame (TP.CM): `length` bytes of `data` from `at` on."""
    if length < CONTROL_BYTES:
        state.totals[_FAILURES + _BAD_LENGTH] += 1
        return
    control = data[at]
    if control in (BAM, RTS):
        _announce(state, time_us, _place(channel, source, destination), data, at)
    elif control == END_OF_MESSAGE:
        # The receiver ends the session that the other side opened.
        k = state.session[_place(channel, destination, source)] - 1
        if k >= 0:
            _drop(state, k, _INCOMPLETE)
    elif control == ABORT:
        _abort(state, _place(channel, source, destination), _place(channel, destination, source), data, at)
    # CTS and reserved codes say nothing that a listener needs.


@kernel
def take_packet(
    state: TransportState, time_us: int, channel: int, source: int, destination: int, data: U8, at: int, length: int
) -> int:
    """Take a data packet (TP.DT): `length` bytes of `data` from `at` on, readable up to at + 8.

    Returns:
        The number k of the session that it completed, else -1. `first_us[k]`, `pgn[k]`, `size[k]` and
        the payload hold the message until the next call.
    """
    k: int = state.session[_place(channel, source, destination)] - 1
    if k >= 0 and time_us - state.progress[k, _LAST_US] > STALE_AFTER_US:
        _drop(state, k, _STALE)
        k = _NONE
    if k < 0:
        state.totals[_FAILURES + _ORPHAN] += 1
        return _NONE
    number, last_number = _byte(data, at) if length > 0 else 0, state.progress[k, _LAST_NUMBER]
    if number != 0 and number == last_number:
        state.totals[_FAILURES + _DUPLICATE] += 1
        return _NONE
    is_next = number == last_number + 1 or state.progress[k, _IS_BAM] == 0
    if number == 0 or number > state.progress[k, _N_PACKETS] or not is_next:
        _drop(state, k, _GAP)
        return _NONE
    first = PACKET_BYTES * (number - 1)
    if length - 1 < min(PACKET_BYTES, state.size[k] - first):
        _drop(state, k, _BAD_LENGTH)
        return _NONE
    # Always seven bytes: what lies beyond the message's size is still before the next session's payload.
    for i in range(PACKET_BYTES):
        state.payload[k * PAYLOAD_STRIDE + first + i] = data[at + 1 + i]
    # With RTS/CTS the receiver asks again for what it missed, so a packet may come late or twice.
    if not state.seen[k, number]:
        state.seen[k, number] = True
        state.progress[k, _N_SEEN] += 1
    state.progress[k, _LAST_NUMBER] = number
    state.progress[k, _LAST_US] = time_us
    if state.progress[k, _N_SEEN] < state.progress[k, _N_PACKETS]:
        return _NONE
    _complete(state, k)
    return k


def finish_transport(state: TransportState) -> None:
    """Count the sessions that never ended, and end them."""
    _drop_all(state)


def transport_failures(state: TransportState) -> dict[str, int]:
    """How often something did not become a message, by reason; reasons that did not occur are left out."""
    names = (*_REASONS, *(abort_reason(code) for code in range(_N_ABORT_CODES)))
    return {name: count for name, count in zip(names, state.totals[_FAILURES:].tolist(), strict=True) if count}


@inline_kernel
def _place(channel: int, source: int, destination: int) -> int:
    # Each part is cut to a byte, so that no value whatever leads outside the table.
    return ((channel & 0xFF) << 16) | ((source & 0xFF) << 8) | (destination & 0xFF)


@inline_kernel
def _byte(data: U8, at: int) -> int:
    # As a signed number: numba would make a floating point number of an unsigned one and a signed one.
    return int(np.int64(data[at]))


@inline_kernel
def _pgn(data: U8, at: int) -> int:
    """The PGN in bytes 6 to 8 of a TP.CM frame. That of an addressed message (PDU1) has no low byte."""
    pgn = (_byte(data, at + 5) | _byte(data, at + 6) << 8 | _byte(data, at + 7) << 16) & 0x3FFFF
    return pgn if (pgn >> 8) & 0xFF >= FIRST_PDU2_FORMAT else pgn & 0x3FF00


@kernel
def _announce(state: TransportState, time_us: int, place: int, data: U8, at: int) -> None:
    k = state.session[place] - 1
    if k >= 0:
        _drop(state, k, _REPLACED)
    size, n_packets = _byte(data, at + 1) | _byte(data, at + 2) << 8, _byte(data, at + 3)
    if size == 0 or size > LARGEST_MESSAGE_BYTES or n_packets != (size + PACKET_BYTES - 1) // PACKET_BYTES:
        state.totals[_FAILURES + _BAD_ANNOUNCEMENT] += 1
        return
    if state.totals[_N_OPEN] >= MAXIMUM_SESSIONS:
        _drop(state, state.totals[_OLDEST], _TOO_MANY)
    k = _opened(state, place)
    state.first_us[k], state.pgn[k], state.size[k] = time_us, _pgn(data, at), size
    row = state.progress[k]
    row[_LAST_US], row[_N_PACKETS], row[_N_SEEN], row[_LAST_NUMBER] = time_us, n_packets, 0, 0
    row[_IS_BAM] = 1 if data[at] == BAM else 0
    state.seen[k, : n_packets + 1] = False


@kernel
def _abort(state: TransportState, place: int, opposite: int, data: U8, at: int) -> None:
    """End the session that the abort means, and count its reason.

    Either side may abort, and between two controllers a session may be open in each direction; the PGN
    in the abort tells which (J1939-21, 5.10.3.5). Where it fits neither, both end.
    """
    state.totals[_ABORTS + _byte(data, at + 1)] += 1
    pgn = _pgn(data, at)
    sent, received = state.session[place] - 1, state.session[opposite] - 1
    is_sent, is_received = sent >= 0 and state.pgn[sent] == pgn, received >= 0 and state.pgn[received] == pgn
    if sent >= 0 and (is_sent or not is_received):
        _close(state, sent)
    if received >= 0 and received != sent and (is_received or not is_sent):
        _close(state, received)


@kernel
def _complete(state: TransportState, k: int) -> None:
    _close(state, k)
    end = k * PAYLOAD_STRIDE + state.size[k]
    state.payload[end : end + SPARE_BYTES] = 0


@kernel
def _opened(state: TransportState, place: int) -> int:
    """A free session number, taken into the table and to the new end of the chain."""
    k: int = state.totals[_FREE]
    newest = state.totals[_NEWEST]
    state.totals[_FREE] = state.progress[k, _NEWER]
    state.totals[_N_OPEN] += 1
    state.session[place] = k + 1
    state.progress[k, _PLACE] = place
    state.progress[k, _OLDER] = newest
    state.progress[k, _NEWER] = _NONE
    if newest >= 0:
        state.progress[newest, _NEWER] = k
    else:
        state.totals[_OLDEST] = k
    state.totals[_NEWEST] = k
    return k


@kernel
def _close(state: TransportState, k: int) -> None:
    """Take session k out of the table and the chain; its number is the next one to be used."""
    state.session[state.progress[k, _PLACE]] = 0
    older, newer = state.progress[k, _OLDER], state.progress[k, _NEWER]
    if older >= 0:
        state.progress[older, _NEWER] = newer
    else:
        state.totals[_OLDEST] = newer
    if newer >= 0:
        state.progress[newer, _OLDER] = older
    else:
        state.totals[_NEWEST] = older
    state.progress[k, _NEWER] = state.totals[_FREE]
    state.totals[_FREE] = k
    state.totals[_N_OPEN] -= 1


@kernel
def _drop(state: TransportState, k: int, reason: int) -> None:
    state.totals[_FAILURES + reason] += 1
    _close(state, k)


@kernel
def _drop_all(state: TransportState) -> None:
    while state.totals[_OLDEST] >= 0:
        _drop(state, state.totals[_OLDEST], _OPEN)
