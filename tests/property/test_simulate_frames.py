"""Encoding against independent readers: cantools for values, the product's transport for messages."""

import cantools
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pm.canbus.dbc import load_dbc
from pm.canbus.logfile import open_log
from pm.settings import read_settings
from pm.simulate.encode import Frames, encode, valid_maximum
from pm.simulate.fleet import FleetConfig, make_vehicle, streams
from pm.simulate.formats import FORMATS
from pm.simulate.transport import broadcast
from pm.simulate.truck import MESSAGES

FILES = read_settings({}).dbc_files
DATABASE = load_dbc(FILES)
CANTOOLS = cantools.database.Database(strict=False)
for file in FILES:
    CANTOOLS.add_dbc_file(file)
SIGNALS = [(name, signal) for name in MESSAGES for signal in DATABASE.message(name).signals]


@given(st.sampled_from(SIGNALS), st.floats(0, 1), st.integers(0, 253))
@settings(deadline=None, max_examples=300)
def test_cantools_reads_back_what_was_encoded(signal, share, source) -> None:
    name, plan = signal
    top = plan.offset + plan.scale * valid_maximum(plan.length)
    value = plan.offset + share * (top - plan.offset)
    frames = encode(DATABASE.message(name), source, np.array([0]), {plan.name: np.array([value])})
    data = int(frames.payload[0]).to_bytes(8, "little")
    decoded = CANTOOLS.get_message_by_name(name).decode(data, decode_choices=False)
    assert float(decoded[plan.name]) == pytest.approx(value, abs=0.5001 * plan.scale)
    assert int(frames.can_id[0]) & 0xFF == source


@given(st.binary(min_size=9, max_size=1785), st.integers(0, 0x3FFFF), st.integers(0, 253))
@settings(deadline=None)
def test_packets_put_together_give_the_payload(payload, pgn, source) -> None:
    frames = broadcast(pgn, source, payload, np.array([7]))
    first, *packets = [int(word).to_bytes(8, "little") for word in frames.payload]
    assert (first[0], int.from_bytes(first[1:3], "little"), first[3]) == (32, len(payload), len(packets))
    assert int.from_bytes(first[5:8], "little") == pgn
    assert [packet[0] for packet in packets] == list(range(1, len(packets) + 1))
    together = b"".join(packet[1:] for packet in packets)
    assert together[: len(payload)] == payload
    assert set(together[len(payload) :]) <= {0xFF}
    assert (np.diff(frames.time_us) >= 50_000).all()


@given(
    st.lists(
        st.tuples(
            st.integers(10**15, 4 * 10**15), st.integers(0, 2**29 - 1), st.integers(0, 2**64 - 1), st.integers(0, 9)
        ),
        min_size=1,
        max_size=20,
    ),
    st.integers(0, 10**8),
)
@settings(deadline=None)
def test_every_format_says_time_bus_id_and_bytes(tmp_path_factory, rows, span_us) -> None:
    # Within a log, times lie together: a truck's file is of some days.
    first = rows[0][0]
    rows = sorted((first + row[0] % (span_us + 1), *row[1:]) for row in rows)
    frames = Frames(
        np.array([row[0] for row in rows]),
        np.array([row[1] for row in rows], np.uint32),
        np.array([row[2] for row in rows], np.uint64),
    )
    bus = np.array([row[3] for row in rows], np.uint8)
    path = tmp_path_factory.getbasetemp() / "written"
    for name, (_, write) in FORMATS.items():
        path.write_bytes(write(frames, bus))
        read = [
            (int(time_us), int(can_id), int.from_bytes(data.tobytes(), "little"), block.channels[channel])
            for block in open_log(path).blocks()
            for time_us, can_id, data, channel in zip(
                block.time_us, block.can_id, block.data, block.channel, strict=True
            )
        ]
        named = "can{}".format if name == "candump" else lambda number: str(number + 1)
        assert read == [(*row[:3], named(row[3])) for row in rows], name


@given(st.integers(0, 2**63 - 1), st.integers(0, 9_999))
@settings(deadline=None, max_examples=50)
def test_a_truck_depends_on_seed_and_index_alone(seed, index) -> None:
    made = [
        make_vehicle(config, index, streams(config, index)["identity"])
        for config in (FleetConfig(seed=seed, n_vehicles=1), FleetConfig(seed=seed, n_vehicles=10_000))
    ]
    assert made[0] == made[1]
    assert len(made[0].vin) == 17
    assert made[0].vin.startswith("0PM")
    assert not set(made[0].vin) & set("IOQ")
