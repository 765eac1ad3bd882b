"""J1939 transport protocol, read passively (SAE J1939-21, 5.10).

What belongs here: putting the packets of BAM and RTS/CTS messages together again and counting what
did not become a message. Sessions are keyed by (channel, source, destination), their number is
bounded, and nothing here waits for a clock: time is the frames' own.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from pm.canbus.j1939 import FIRST_PDU2_FORMAT

RTS, CTS, END_OF_MESSAGE, BAM, ABORT = 16, 17, 19, 32, 255

LARGEST_MESSAGE_BYTES: Final = 1785
PACKET_BYTES: Final = 7
MAXIMUM_SESSIONS: Final = 4096
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


def abort_reason(code: int) -> str:
    """Name under which an abort with this reason code is counted (J1939-21, table 7)."""
    return f"abort_{code}"


@dataclass(frozen=True)
class Message:
    """A reassembled message."""

    first_us: int
    """Time of the announcement."""
    last_us: int
    """Time of the last packet."""
    position: int
    """Number, given by the caller, of the frame that completed it."""
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


class Reassembler:
    """All sessions of one log; `failures` counts by reason."""

    def __init__(self) -> None:
        self.failures: Counter[str] = Counter()
        self._sessions: dict[tuple[int, int, int], _Session] = {}

    @property
    def n_open(self) -> int:
        return len(self._sessions)

    def control(self, time_us: int, channel: int, source: int, destination: int, data: bytes) -> None:
        """Take a connection management frame (TP.CM)."""
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
                self._abort(key, data[1])
            case _:  # CTS and reserved codes say nothing a listener needs
                pass

    def packet(
        self, time_us: int, channel: int, source: int, destination: int, data: bytes, *, position: int
    ) -> Message | None:
        """Take a data packet (TP.DT); the message it completes, if any."""
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
        return Message(session.first_us, time_us, position, channel, session.pgn, source, destination, payload)

    def finish(self) -> None:
        """Count the sessions that never ended."""
        if self._sessions:
            self.failures[OPEN] += len(self._sessions)
        self._sessions.clear()

    def _announce(self, key: tuple[int, int, int], time_us: int, data: bytes) -> None:
        if key in self._sessions:
            self._drop(key, REPLACED)
        size, n_packets = data[1] | data[2] << 8, data[3]
        if not 0 < size <= LARGEST_MESSAGE_BYTES or n_packets != -(-size // PACKET_BYTES):
            self.failures[BAD_ANNOUNCEMENT] += 1
            return
        if len(self._sessions) >= MAXIMUM_SESSIONS:
            self._drop(next(iter(self._sessions)), TOO_MANY_SESSIONS)
        pgn = (data[5] | data[6] << 8 | data[7] << 16) & 0x3FFFF
        if (pgn >> 8) & 0xFF < FIRST_PDU2_FORMAT:
            pgn &= 0x3FF00
        self._sessions[key] = _Session(time_us, time_us, pgn, size, n_packets, data[0] == BAM, {})

    def _store(self, key: tuple[int, int, int], session: _Session, data: bytes) -> bool:
        """Keep a packet's bytes; False when it was a repetition or ended the session."""
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
        # With RTS/CTS the receiver asks again for what it missed, so a packet may come late or twice.
        session.packets[number] = data[1 : 1 + needed]
        session.last_number = number
        return True

    def _acknowledge(self, key: tuple[int, int, int]) -> None:
        if key in self._sessions:
            self._drop(key, INCOMPLETE)

    def _abort(self, key: tuple[int, int, int], code: int) -> None:
        self.failures[abort_reason(code)] += 1
        channel, source, destination = key
        for ended in (key, (channel, destination, source)):
            self._sessions.pop(ended, None)

    def _drop(self, key: tuple[int, int, int], reason: str) -> None:
        del self._sessions[key]
        self.failures[reason] += 1
