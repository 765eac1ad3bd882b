"""Transport sessions: what becomes a message and what is only counted."""

import numpy as np

from pm.canbus.j1939 import pgn_of_id, split_ids
from pm.canbus.transport import (
    BAD_ANNOUNCEMENT,
    BAD_LENGTH,
    DUPLICATE,
    GAP,
    INCOMPLETE,
    MAXIMUM_SESSIONS,
    OPEN,
    ORPHAN,
    REPLACED,
    STALE,
    STALE_AFTER_US,
    TOO_MANY_SESSIONS,
    Message,
    Reassembler,
)

PAYLOAD = bytes(range(1, 17))


def announce(control: int = 32, size: int = 16, packets: int = 3, pgn: int = 65226) -> bytes:
    return bytes([control, size & 255, size >> 8, packets, 255, pgn & 255, (pgn >> 8) & 255, pgn >> 16])


def packet(number: int, payload: bytes = PAYLOAD) -> bytes:
    return bytes([number]) + payload[7 * (number - 1) : 7 * number].ljust(7, b"\xff")


def feed(engine: Reassembler, numbers: list[int], *, destination: int = 255, start_us: int = 0) -> list[Message]:
    taken = [engine.packet(start_us + n, 0, 3, destination, packet(n), position=n) for n in numbers]
    return [message for message in taken if message is not None]


def test_identifier_fields() -> None:
    fields = split_ids(np.array([0x18FEF131, 0x0C000B03, 0x1DEA27F9], dtype=np.uint32))
    assert fields.priority.tolist() == [6, 3, 7]
    assert fields.pgn.tolist() == [0xFEF1, 0x0000, 0x1EA00]
    assert fields.source.tolist() == [0x31, 0x03, 0xF9]
    assert fields.destination.tolist() == [255, 0x0B, 0x27]
    assert [pgn_of_id(i) for i in (0x18FEF131, 0x0C000B03, 0x1DEA27F9)] == fields.pgn.tolist()


def test_broadcast_is_put_together() -> None:
    engine = Reassembler()
    engine.control(10, 0, 3, 255, announce())
    (message,) = feed(engine, [1, 2, 3], start_us=20)
    assert (message.first_us, message.last_us, message.pgn, message.source) == (10, 23, 65226, 3)
    assert message.payload == PAYLOAD
    assert not engine.failures
    assert engine.n_open == 0


def test_repeated_packet_is_ignored() -> None:
    engine = Reassembler()
    engine.control(0, 0, 3, 255, announce())
    assert feed(engine, [1, 1, 2, 2, 3])[0].payload == PAYLOAD
    assert engine.failures == {DUPLICATE: 2}


def test_gap_drops_the_broadcast() -> None:
    engine = Reassembler()
    engine.control(0, 0, 3, 255, announce())
    assert feed(engine, [1, 3]) == []
    assert engine.failures == {GAP: 1}
    assert feed(engine, [3]) == []
    assert engine.failures[ORPHAN] == 1


def test_peer_to_peer_may_send_a_packet_again_later() -> None:
    engine = Reassembler()
    engine.control(0, 0, 3, 7, announce(16))
    assert feed(engine, [1, 3, 2], destination=7)[0].payload == PAYLOAD


def test_acknowledged_without_all_packets_is_incomplete() -> None:
    engine = Reassembler()
    engine.control(0, 0, 3, 7, announce(16))
    feed(engine, [1, 3], destination=7)
    engine.control(9, 0, 7, 3, announce(19))
    assert engine.failures == {INCOMPLETE: 1}


def test_abort_of_the_receiver_closes_the_session() -> None:
    engine = Reassembler()
    engine.control(0, 0, 3, 7, announce(16))
    engine.control(1, 0, 7, 3, bytes([255, 3, 255, 255, 255, 0xCA, 0xFE, 0]))
    assert feed(engine, [1], destination=7) == []
    assert engine.failures == {"abort_3": 1, ORPHAN: 1}


def test_second_announcement_replaces_the_first() -> None:
    engine = Reassembler()
    engine.control(0, 0, 3, 255, announce())
    feed(engine, [1])
    engine.control(1, 0, 3, 255, announce())
    assert feed(engine, [1, 2, 3])[0].payload == PAYLOAD
    assert engine.failures == {REPLACED: 1}


def test_sessions_of_other_channels_and_destinations_do_not_mix() -> None:
    engine = Reassembler()
    engine.control(0, 0, 3, 255, announce())
    assert engine.packet(1, 1, 3, 255, packet(1), position=1) is None
    assert engine.failures == {ORPHAN: 1}


def test_stale_session_takes_no_packet() -> None:
    engine = Reassembler()
    engine.control(0, 0, 3, 255, announce())
    assert feed(engine, [1], start_us=STALE_AFTER_US + 1) == []
    assert engine.failures == {STALE: 1, ORPHAN: 1}


def test_impossible_announcements_open_nothing() -> None:
    engine = Reassembler()
    for size, packets in ((0, 0), (16, 2), (1786, 256 & 255), (16, 4)):
        engine.control(0, 0, 3, 255, announce(size=size, packets=packets))
    engine.control(0, 0, 3, 255, b"\x20\x10")
    assert engine.n_open == 0
    assert engine.failures == {BAD_ANNOUNCEMENT: 4, BAD_LENGTH: 1}


def test_short_data_frame_drops_the_message() -> None:
    engine = Reassembler()
    engine.control(0, 0, 3, 255, announce())
    assert engine.packet(1, 0, 3, 255, b"\x01\x02", position=1) is None
    assert engine.failures == {BAD_LENGTH: 1}


def test_packet_beyond_the_last_of_a_peer_to_peer_session_is_a_gap() -> None:
    engine = Reassembler()
    engine.control(0, 0, 3, 7, announce(16))
    feed(engine, [1, 3], destination=7)
    assert engine.packet(5, 0, 3, 7, bytes([4]) + bytes(7), position=5) is None
    assert engine.failures == {GAP: 1}


def test_flood_of_announcements_stays_bounded() -> None:
    engine = Reassembler()
    for number in range(MAXIMUM_SESSIONS + 100):
        engine.control(number, number >> 8, number & 255, 255, announce())
    assert engine.n_open == MAXIMUM_SESSIONS
    assert engine.failures == {TOO_MANY_SESSIONS: 100}
    engine.finish()
    assert engine.failures[OPEN] == MAXIMUM_SESSIONS


def test_pgn_of_an_addressed_message_has_no_low_byte() -> None:
    engine = Reassembler()
    engine.control(0, 0, 3, 255, announce(pgn=0xD425))
    assert feed(engine, [1, 2, 3])[0].pgn == 0xD400
