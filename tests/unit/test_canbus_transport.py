"""Transport sessions: what becomes a message and what is only counted."""

import numpy as np
import pytest
from transport_model import KernelTransport, Message, abort_frame, control_frame, message_frames

from pm.canbus.j1939 import pgn_of_id, split_ids
from pm.canbus.transport import (
    ABORT,
    BAD_ANNOUNCEMENT,
    BAD_LENGTH,
    BAM,
    CTS,
    DUPLICATE,
    END_OF_MESSAGE,
    GAP,
    INCOMPLETE,
    OPEN,
    ORPHAN,
    REPLACED,
    RTS,
    STALE,
    STALE_AFTER_US,
)

PAYLOAD = bytes(range(1, 17))
PGN = 65226
_, PACKETS = message_frames(PGN, PAYLOAD)


def announce(control: int = BAM, size: int = 16, packets: int = 3, pgn: int = PGN) -> bytes:
    return control_frame(control, size, packets, pgn)


def opened(control: int = BAM, *, destination: int = 255) -> KernelTransport:
    """Source 3 has announced the message at time 0."""
    engine = KernelTransport()
    engine.control(0, 0, 3, destination, announce(control))
    return engine


def feed(engine: KernelTransport, numbers: list[int], *, destination: int = 255, start_us: int = 0) -> list[Message]:
    taken = [engine.packet(start_us + n, 0, 3, destination, PACKETS[n - 1]) for n in numbers]
    return [message for message in taken if message is not None]


def test_identifier_fields() -> None:
    fields = split_ids(np.array([0x18FEF131, 0x0C000B03, 0x1DEA27F9], dtype=np.uint32))
    assert fields.priority.tolist() == [6, 3, 7]
    assert fields.pgn.tolist() == [0xFEF1, 0x0000, 0x1EA00]
    assert fields.source.tolist() == [0x31, 0x03, 0xF9]
    assert fields.destination.tolist() == [255, 0x0B, 0x27]
    assert [pgn_of_id(i) for i in (0x18FEF131, 0x0C000B03, 0x1DEA27F9)] == fields.pgn.tolist()


def test_broadcast_is_put_together() -> None:
    engine = KernelTransport()
    engine.control(10, 0, 3, 255, announce())
    assert feed(engine, [1, 2, 3], start_us=20) == [Message(10, 23, 0, PGN, 3, 255, PAYLOAD)]
    engine.finish()
    assert engine.failures == {}


def test_repeated_packet_is_ignored() -> None:
    engine = opened()
    assert feed(engine, [1, 1, 2, 2, 3])[0].payload == PAYLOAD
    assert engine.failures == {DUPLICATE: 2}


def test_gap_drops_the_broadcast() -> None:
    engine = opened()
    assert feed(engine, [1, 3]) == []
    assert engine.failures == {GAP: 1}
    assert feed(engine, [3]) == []
    assert engine.failures[ORPHAN] == 1


def test_peer_to_peer_may_send_a_packet_again_later() -> None:
    engine = opened(RTS, destination=7)
    assert feed(engine, [1, 3, 1, 2], destination=7)[0].payload == PAYLOAD
    assert engine.failures == {}


def test_clear_to_send_changes_nothing() -> None:
    engine = opened(RTS, destination=7)
    engine.control(1, 0, 7, 3, announce(CTS))
    engine.control(1, 0, 3, 7, announce(CTS))
    assert feed(engine, [1, 2, 3], destination=7)[0].payload == PAYLOAD


def test_broadcast_and_peer_to_peer_of_one_source_stand_side_by_side() -> None:
    engine = opened()
    engine.control(0, 0, 3, 7, announce(RTS, pgn=65260))
    assert feed(engine, [1]) == feed(engine, [1, 2], destination=7) == []
    assert [message.pgn for message in feed(engine, [2, 3]) + feed(engine, [3], destination=7)] == [PGN, 65260]


def test_acknowledged_without_all_packets_is_incomplete() -> None:
    engine = opened(RTS, destination=7)
    feed(engine, [1, 3], destination=7)
    engine.control(9, 0, 3, 7, announce(END_OF_MESSAGE))
    assert engine.failures == {}
    engine.control(9, 0, 7, 3, announce(END_OF_MESSAGE))
    assert engine.failures == {INCOMPLETE: 1}


@pytest.mark.parametrize(("source", "destination"), [(3, 7), (7, 3)])
def test_abort_of_either_side_closes_the_session(source: int, destination: int) -> None:
    engine = opened(RTS, destination=7)
    engine.control(1, 0, source, destination, abort_frame(3, PGN))
    assert feed(engine, [1], destination=7) == []
    assert engine.failures == {"abort_3": 1, ORPHAN: 1}


def test_abort_ends_the_session_whose_pgn_it_names() -> None:
    engine = opened(RTS, destination=7)
    engine.control(0, 0, 7, 3, announce(RTS, pgn=65260))
    engine.control(1, 0, 7, 3, abort_frame(250, 65260))
    assert feed(engine, [1, 2, 3], destination=7)[0].pgn == PGN
    assert engine.packet(5, 0, 7, 3, PACKETS[0]) is None
    assert engine.failures == {"abort_250": 1, ORPHAN: 1}


def test_abort_of_an_unknown_pgn_ends_both_directions() -> None:
    engine = opened(RTS, destination=7)
    engine.control(0, 0, 7, 3, announce(RTS, pgn=65260))
    engine.control(1, 0, 7, 3, abort_frame(1, 0x3FFFF))
    engine.finish()
    assert engine.failures == {"abort_1": 1}


def test_second_announcement_replaces_the_first() -> None:
    engine = opened()
    feed(engine, [1])
    engine.control(1, 0, 3, 255, announce())
    assert feed(engine, [1, 2, 3])[0].payload == PAYLOAD
    assert engine.failures == {REPLACED: 1}


@pytest.mark.parametrize(("channel", "source", "destination"), [(1, 3, 255), (0, 4, 255), (0, 3, 7)])
def test_sessions_of_other_channels_and_addresses_do_not_mix(channel: int, source: int, destination: int) -> None:
    engine = opened()
    assert engine.packet(1, channel, source, destination, PACKETS[0]) is None
    assert engine.failures == {ORPHAN: 1}


def test_stale_session_takes_no_packet() -> None:
    assert feed(opened(), [1], start_us=STALE_AFTER_US) == []
    engine = opened()
    assert feed(engine, [1], start_us=STALE_AFTER_US - 1) == []
    assert engine.failures == {}
    assert feed(engine, [2], start_us=2 * STALE_AFTER_US) == []
    assert engine.failures == {STALE: 1, ORPHAN: 1}


def test_impossible_announcements_open_nothing() -> None:
    engine = KernelTransport()
    for size, packets in ((0, 0), (16, 2), (1786, 255), (16, 4)):
        engine.control(0, 0, 3, 255, announce(size=size, packets=packets))
    engine.control(0, 0, 3, 255, announce()[:7])
    engine.control(0, 0, 3, 255, bytes([ABORT]))
    engine.finish()
    assert engine.failures == {BAD_ANNOUNCEMENT: 4, BAD_LENGTH: 2}


def test_an_impossible_announcement_ends_the_session_before_it() -> None:
    engine = opened()
    engine.control(0, 0, 3, 255, announce(packets=4))
    assert feed(engine, [1]) == []
    assert engine.failures == {REPLACED: 1, BAD_ANNOUNCEMENT: 1, ORPHAN: 1}


@pytest.mark.parametrize(("n_before", "short"), [(0, PACKETS[0][:2]), (1, PACKETS[1][:7]), (2, PACKETS[2][:2])])
def test_short_data_frame_drops_the_message(n_before: int, short: bytes) -> None:
    engine = opened()
    feed(engine, [1, 2][:n_before])
    assert engine.packet(9, 0, 3, 255, short) is None
    assert engine.failures == {BAD_LENGTH: 1}


def test_empty_data_frame_is_a_gap() -> None:
    engine = opened()
    assert engine.packet(1, 0, 3, 255, b"") is None
    assert engine.failures == {GAP: 1}


def test_last_packet_may_end_with_the_message() -> None:
    engine = opened()
    feed(engine, [1, 2])
    message = engine.packet(4, 0, 3, 255, PACKETS[2][:3])
    assert message is not None
    assert message.payload == PAYLOAD


def test_packet_beyond_the_last_of_a_peer_to_peer_session_is_a_gap() -> None:
    engine = opened(RTS, destination=7)
    feed(engine, [1, 3], destination=7)
    assert engine.packet(5, 0, 3, 7, bytes([4]) + bytes(7)) is None
    assert engine.failures == {GAP: 1}


def test_sessions_still_open_are_counted_once() -> None:
    engine = opened()
    engine.control(0, 1, 3, 255, announce())
    engine.finish()
    engine.finish()
    assert engine.failures == {OPEN: 2}
    assert feed(engine, [1]) == []
    assert engine.failures == {OPEN: 2, ORPHAN: 1}


def test_pgn_of_an_addressed_message_has_no_low_byte() -> None:
    engine = KernelTransport()
    engine.control(0, 0, 3, 255, announce(pgn=0xD425))
    assert feed(engine, [1, 2, 3])[0].pgn == 0xD400
