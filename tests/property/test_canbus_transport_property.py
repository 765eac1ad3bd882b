"""The transport kernels against a plain model and against a sender, on lost, doubled, mixed and made-up frames."""

import random
from collections.abc import Iterator
from itertools import count, zip_longest
from pathlib import Path

import numba
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transport_model import (
    KernelTransport,
    Message,
    ModelTransport,
    abort_frame,
    control_frame,
    message_frames,
)

from pm.canbus.bits import SPARE_BYTES
from pm.canbus.formats.block import U8
from pm.canbus.transport import (
    ABORT,
    BAM,
    CTS,
    END_OF_MESSAGE,
    LARGEST_MESSAGE_BYTES,
    MAXIMUM_SESSIONS,
    ORPHAN,
    PAYLOAD_STRIDE,
    RTS,
    STALE_AFTER_US,
    TOO_MANY_SESSIONS,
    TransportState,
    new_transport,
    take_control,
    take_packet,
    transport_failures,
)

PGNS = (0xFECA, 0xFEEC, 0xD400, 0xD425, 0x3FFFF, 0x1FECB)
ADDRESSES = (0, 3, 7, 255)

Frame = tuple[bool, int, int, int, bytes]
"""Whether it is TP.CM, channel, source, destination, payload."""


def conversation(rng: random.Random) -> list[Frame]:
    """The frames of one message, some of them lost, doubled, late, cut short, or broken off."""
    channel, source, destination = rng.randrange(2), rng.choice(ADDRESSES), rng.choice(ADDRESSES)
    control = BAM if destination == 255 else RTS
    pgn, size = rng.choice(PGNS), rng.randint(1, 1785 if rng.random() < 0.1 else 60)
    announcement, packets = message_frames(pgn, rng.randbytes(size), control=control)
    wrong = rng.random() * rng.choice((0, 0, 0.3))
    sent: list[tuple[float, bytes]] = []
    for number, packet in enumerate(packets):
        late = rng.randint(2, 9) if rng.random() < wrong else 0
        copies = 0 if rng.random() < wrong else 2 if rng.random() < wrong else 1
        cut = packet[: rng.randrange(9)] if rng.random() < wrong / 9 else packet
        sent += [(number + late + again / 2, cut) for again in range(copies)]
    sent.sort(key=lambda pair: pair[0])
    frames: list[Frame] = [(True, channel, source, destination, announcement)]
    frames += [(False, channel, source, destination, packet) for _, packet in sent]
    for _ in range(rng.randrange(3) if wrong or rng.random() < 0.3 else 0):
        answers = (
            control_frame(rng.choice((CTS, END_OF_MESSAGE)), size, len(packets), pgn),
            abort_frame(rng.choice((1, 3, 250, 255)), rng.choice((pgn, pgn, rng.choice(PGNS)))),
        )
        sides = rng.choice(((destination, source), (source, destination)))
        frames.insert(rng.randint(1, len(frames)), (True, channel, *sides, rng.choice(answers)))
    return frames


def garbage(rng: random.Random) -> list[Frame]:
    def one() -> Frame:
        data = bytearray(rng.randbytes(rng.choice((8, 8, 8, rng.randrange(8), 64))))
        if data:
            data[0] = rng.choice((data[0], RTS, BAM, ABORT, END_OF_MESSAGE, 1, 2))
        return rng.random() < 0.6, rng.randrange(2), rng.choice(ADDRESSES), rng.choice(ADDRESSES), bytes(data)

    return [one() for _ in range(rng.randrange(12))]


def mixed(rng: random.Random, parts: list[list[Frame]]) -> list[Frame]:
    """All frames, those of one part in their order."""
    turns = [part for part, frames in enumerate(parts) for _ in frames]
    rng.shuffle(turns)
    waiting = [iter(frames) for frames in parts]
    return [next(waiting[part]) for part in turns]


def times(rng: random.Random) -> Iterator[int]:
    """Microseconds, mostly 300 apart, with pauses and backward steps."""
    time_us = 0
    while True:
        time_us += rng.choice((0, 500, 500, 50_000, -700, STALE_AFTER_US)) if rng.random() < 0.1 else 300
        yield time_us


def assert_same(frames: list[Frame], clock: Iterator[int]) -> list[Message]:
    """Both engines say the same of every frame and count the same; the messages."""
    ours, model = KernelTransport(), ModelTransport()
    messages = []
    for time_us, (is_control, *where, data) in zip(clock, frames, strict=False):
        if is_control:
            ours.control(time_us, *where, data)
            model.control(time_us, *where, data)
            continue
        got, wanted = ours.packet(time_us, *where, data), model.packet(time_us, *where, data)
        assert got == wanted
        if got is not None:
            messages.append(got)
    assert ours.failures == model.failures
    ours.finish()
    model.finish()
    assert ours.failures == model.failures
    return messages


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_every_frame_and_count_is_as_in_the_model(seed: int, n_conversations: int) -> None:
    rng = random.Random(seed)
    parts = [conversation(rng) for _ in range(n_conversations)] + [garbage(rng)]
    assert_same(mixed(rng, parts), times(rng))


@pytest.mark.parametrize("seed", range(2))
def test_floods_drop_the_oldest_as_the_model_does(seed: int) -> None:
    rng = random.Random(seed)
    announcement, packets = message_frames(0xFECA, bytes(range(9)))
    frames: list[Frame] = []
    recent: list[tuple[int, int, int]] = []
    for _ in range(9_000):
        key = rng.randrange(256), rng.randrange(256), rng.randrange(256)
        frames.append((True, *key, announcement))
        recent.append(key)
        if rng.random() < 0.3:
            # Far enough back that some of these were dropped meanwhile.
            again = recent[-min(len(recent), rng.randint(1, 6_000))]
            frames += [(False, *again, packet) for packet in packets]
    messages = assert_same(frames, count())
    assert len(messages) > 500


@st.composite
def sessions(draw: st.DrawFn) -> list[tuple[tuple[int, int, int], int, bytes]]:
    """Messages to send at once: (channel, source, destination) different for each, PGN, payload."""
    keys = draw(
        st.lists(
            st.tuples(st.integers(0, 255), st.integers(0, 254), st.sampled_from([255, 255, 0, 7, 250])),
            min_size=1,
            max_size=8,
            unique=True,
        )
    )
    size = st.one_of(st.integers(1, 40), st.integers(1, LARGEST_MESSAGE_BYTES))
    return [(key, draw(st.sampled_from(PGNS)), draw(st.randoms()).randbytes(draw(size))) for key in keys]


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(sessions(), st.randoms(use_true_random=False))
def test_every_message_sent_without_loss_comes_back(
    sent: list[tuple[tuple[int, int, int], int, bytes]], rng: random.Random
) -> None:
    parts: list[list[Frame]] = []
    for key, pgn, payload in sent:
        announcement, packets = message_frames(pgn, payload, control=BAM if key[2] == 255 else RTS)
        if key[2] != 255:
            # The receiver may ask for packets in any order, and for some once more.
            packets = rng.sample(packets, len(packets))
            packets = [*packets[:-1], *packets[:2], packets[-1]] if len(packets) > 3 else packets
        parts.append([(True, *key, announcement), *((False, *key, packet) for packet in packets)])
    engine, got = KernelTransport(), {}
    for time_us, (is_control, *where, data) in enumerate(mixed(rng, parts)):
        if is_control:
            engine.control(time_us, *where, data)
        elif (message := engine.packet(time_us, *where, data)) is not None:
            got[tuple(where)] = message.pgn, message.payload
    engine.finish()
    assert engine.failures == {}
    assert got == {
        key: (pgn if (pgn >> 8) & 0xFF >= 240 else pgn & 0x3FF00, payload) for key, pgn, payload in sent
    }  # fmt: skip


@numba.njit
def announce_many(state: TransportState, first: int, n: int, announcement: U8) -> None:
    for number in range(first, first + n):
        take_control(state, number, number >> 16, number >> 8, number, announcement, 0, 8)


@numba.njit
def send_many(state: TransportState, first: int, n: int, packet: U8) -> int:
    n_whole = 0
    for number in range(first, first + n):
        n_whole += take_packet(state, number, number >> 16, number >> 8, number, packet, 0, 8) >= 0
    return n_whole


def resident_bytes() -> int:
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("this system does not tell the memory of a process by /proc/self/statm")
    return int(statm.read_text().split()[1]) * 4096


def test_memory_is_bounded_under_a_hundred_thousand_announcements() -> None:
    state, n = new_transport(), 100_000
    assert sum(array.nbytes for array in state) < 50e6
    announcement, (packet,) = message_frames(0xFECA, b"seven b")
    spare = bytes(SPARE_BYTES)
    announcement_bytes = np.frombuffer(announcement + spare, dtype=np.uint8)
    packet_bytes = np.frombuffer(packet + spare, dtype=np.uint8)
    announce_many(state, 0, n, announcement_bytes)
    assert transport_failures(state) == {TOO_MANY_SESSIONS: n - MAXIMUM_SESSIONS}
    # The newest are those still open, each with its own room.
    assert send_many(state, 0, n, packet_bytes) == MAXIMUM_SESSIONS
    assert transport_failures(state)[ORPHAN] == n - MAXIMUM_SESSIONS
    rooms = state.payload[: MAXIMUM_SESSIONS * PAYLOAD_STRIDE].reshape(MAXIMUM_SESSIONS, PAYLOAD_STRIDE)
    assert (rooms[:, :7] == packet_bytes[1:8]).all()
    before = resident_bytes()
    announce_many(state, 0, n, announcement_bytes)
    assert send_many(state, 0, n, packet_bytes) == MAXIMUM_SESSIONS
    assert resident_bytes() - before < 1e6


def test_one_source_opens_a_session_on_each_address_and_channel() -> None:
    engine, sent = KernelTransport(), []
    for corner, (channel, source, destination) in enumerate(
        zip_longest((0, 0, 0, 255, 255), (0, 0, 255, 0, 255), (0, 255, 0, 0, 255))
    ):
        announcement, packets = message_frames(0xFECA, bytes([corner]) * 5)
        engine.control(0, channel, source, destination, announcement)
        sent.append((channel, source, destination, packets[0]))
    payloads = [engine.packet(1, *where, packet) for *where, packet in sent]
    assert [message.payload for message in payloads if message] == [bytes([corner]) * 5 for corner in range(5)]
