"""The transport protocol in plain Python, a frame at a time: what `pm.canbus.transport` must do as well.

What belongs here: the same rules, written without arrays and kernels, for tests to compare with; and a
sender that cuts a message into frames.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from pm.canbus.bits import SPARE_BYTES
from pm.canbus.j1939 import FIRST_PDU2_FORMAT
from pm.canbus.transport import (
    BAD_ANNOUNCEMENT,
    BAD_LENGTH,
    BAM,
    DUPLICATE,
    GAP,
    INCOMPLETE,
    LARGEST_MESSAGE_BYTES,
    MAXIMUM_SESSIONS,
    OPEN,
    ORPHAN,
    PACKET_BYTES,
    PAYLOAD_STRIDE,
    REPLACED,
    RTS,
    STALE,
    STALE_AFTER_US,
    TOO_MANY_SESSIONS,
    abort_reason,
    finish_transport,
    new_transport,
    take_control,
    take_packet,
    transport_failures,
)

Key = tuple[int, int, int]


@dataclass(frozen=True)
class Message:
    """A reassembled message."""

    first_us: int
    last_us: int
    channel: int
    pgn: int
    source: int
    destination: int
    payload: bytes


@dataclass
class _Session:
    first_us: int
    last_us: int
    pgn: int
    size: int
    n_packets: int
    is_bam: bool
    packets: dict[int, bytes]
    last_number: int = 0


class ModelTransport:
    """All sessions of one log; `failures` counts by reason."""

    def __init__(self, maximum_sessions: int = MAXIMUM_SESSIONS) -> None:
        self.failures: Counter[str] = Counter()
        self._maximum_sessions = maximum_sessions
        self._sessions: dict[Key, _Session] = {}

    @property
    def n_open(self) -> int:
        return len(self._sessions)

    def control(self, time_us: int, channel: int, source: int, destination: int, data: bytes) -> None:
        if len(data) < 8:
            self.failures[BAD_LENGTH] += 1
            return
        key = (channel, source, destination)
        match data[0]:
            case 32 | 16:
                self._announce(key, time_us, data)
            case 19:
                self._acknowledge((channel, destination, source))
            case 255:
                self._abort(key, data)
            case _:  # CTS and reserved codes say nothing a listener needs
                pass

    def packet(self, time_us: int, channel: int, source: int, destination: int, data: bytes) -> Message | None:
        key = (channel, source, destination)
        session = self._sessions.get(key)
        if session is not None and time_us - session.last_us > STALE_AFTER_US:
            self._drop(key, STALE)
            session = None
        if session is None:
            self.failures[ORPHAN] += 1
            return None
        if not self._store(key, session, data):
            return None
        session.last_us = time_us
        if len(session.packets) < session.n_packets:
            return None
        del self._sessions[key]
        payload = b"".join(session.packets[number] for number in range(1, session.n_packets + 1))[: session.size]
        return Message(session.first_us, time_us, channel, session.pgn, source, destination, payload)

    def finish(self) -> None:
        if self._sessions:
            self.failures[OPEN] += len(self._sessions)
        self._sessions.clear()

    def _announce(self, key: Key, time_us: int, data: bytes) -> None:
        if key in self._sessions:
            self._drop(key, REPLACED)
        size, n_packets = data[1] | data[2] << 8, data[3]
        if not 0 < size <= LARGEST_MESSAGE_BYTES or n_packets != -(-size // PACKET_BYTES):
            self.failures[BAD_ANNOUNCEMENT] += 1
            return
        if len(self._sessions) >= self._maximum_sessions:
            self._drop(next(iter(self._sessions)), TOO_MANY_SESSIONS)
        self._sessions[key] = _Session(time_us, time_us, _pgn(data), size, n_packets, data[0] == BAM, {})

    def _store(self, key: Key, session: _Session, data: bytes) -> bool:
        number = data[0] if data else 0
        if number and number == session.last_number:
            self.failures[DUPLICATE] += 1
            return False
        if not 0 < number <= session.n_packets or (session.is_bam and number != session.last_number + 1):
            self._drop(key, GAP)
            return False
        needed = min(PACKET_BYTES, session.size - PACKET_BYTES * (number - 1))
        if len(data) - 1 < needed:
            self._drop(key, BAD_LENGTH)
            return False
        session.packets[number] = data[1 : 1 + needed]
        session.last_number = number
        return True

    def _acknowledge(self, key: Key) -> None:
        if key in self._sessions:
            self._drop(key, INCOMPLETE)

    def _abort(self, key: Key, data: bytes) -> None:
        self.failures[abort_reason(data[1])] += 1
        channel, source, destination = key
        between = {key, (channel, destination, source)} & self._sessions.keys()
        meant = {found for found in between if self._sessions[found].pgn == _pgn(data)}
        for ended in meant or between:
            del self._sessions[ended]

    def _drop(self, key: Key, reason: str) -> None:
        del self._sessions[key]
        self.failures[reason] += 1


def _pgn(data: bytes) -> int:
    pgn = int.from_bytes(data[5:8], "little") & 0x3FFFF
    return pgn if (pgn >> 8) & 0xFF >= FIRST_PDU2_FORMAT else pgn & 0x3FF00


def control_frame(control: int, size: int, n_packets: int, pgn: int) -> bytes:
    """A TP.CM frame that announces a message or acknowledges one (J1939-21, table 5)."""
    return bytes([control]) + size.to_bytes(2, "little") + bytes([n_packets, 255]) + pgn.to_bytes(3, "little")


def abort_frame(reason: int, pgn: int) -> bytes:
    return bytes([255, reason, 255, 255, 255]) + pgn.to_bytes(3, "little")


def message_frames(pgn: int, payload: bytes, *, control: int = RTS) -> tuple[bytes, list[bytes]]:
    """(announcement, data packets in order) of a message of 1 to 1,785 bytes; the last packet is filled with 0xFF."""
    parts = [payload[at : at + PACKET_BYTES] for at in range(0, len(payload), PACKET_BYTES)]
    packets = [bytes([number]) + part.ljust(PACKET_BYTES, b"\xff") for number, part in enumerate(parts, 1)]
    return control_frame(control, len(payload), len(parts), pgn), packets


class KernelTransport:
    """The product's transport behind the calls of `ModelTransport`."""

    def __init__(self) -> None:
        self.state = new_transport()

    @property
    def failures(self) -> dict[str, int]:
        return transport_failures(self.state)

    def control(self, time_us: int, channel: int, source: int, destination: int, data: bytes) -> None:
        take_control(self.state, time_us, channel, source, destination, _placed(data), _AT, len(data))

    def packet(self, time_us: int, channel: int, source: int, destination: int, data: bytes) -> Message | None:
        state = self.state
        k = take_packet(state, time_us, channel, source, destination, _placed(data), _AT, len(data))
        if k < 0:
            return None
        begin = k * PAYLOAD_STRIDE
        end = begin + int(state.size[k])
        assert not state.payload[end : end + SPARE_BYTES].any()
        payload = state.payload[begin:end].tobytes()
        return Message(int(state.first_us[k]), time_us, channel, int(state.pgn[k]), source, destination, payload)

    def finish(self) -> None:
        finish_transport(self.state)


_AT = 5
"""Where a frame's payload begins in its array; what stands before and behind it must not matter."""


def _placed(data: bytes) -> np.ndarray:
    return np.frombuffer(b"\xa5" * _AT + data + b"\x5a" * SPARE_BYTES, dtype=np.uint8)
