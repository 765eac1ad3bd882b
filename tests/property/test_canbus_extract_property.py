"""Bit extraction and text reading against independent engines: cantools, and the line-by-line reader."""

import io

import cantools
import numpy as np
from canbus_payloads import as_list, payloads_of
from candump_lines import read_line
from hypothesis import given, settings
from hypothesis import strategies as st

from pm.canbus.dbc import MessagePlan, SignalPlan
from pm.canbus.formats.block import Source, merged
from pm.canbus.formats.candump import candump_blocks

PAYLOAD_BYTES = 16


@st.composite
def placed_signals(draw: st.DrawFn) -> SignalPlan:
    length = draw(st.integers(1, 64))
    first = draw(st.integers(0, PAYLOAD_BYTES * 8 - length))
    is_little = draw(st.booleans())
    start = first if is_little else first // 8 * 8 + 7 - first % 8
    is_float = length in (16, 32, 64) and draw(st.booleans())
    return SignalPlan(
        "s", start, length, "little_endian" if is_little else "big_endian",
        is_signed=not is_float and draw(st.booleans()), is_float=is_float, scale=1.0, offset=0.0,
        minimum=None, maximum=None, unit="", spn=None, comment="",
    )  # fmt: skip


def dbc_text(signal: SignalPlan) -> str:
    order, sign = int(signal.byte_order == "little_endian"), "-" if signal.is_signed or signal.is_float else "+"
    kind = {16: 0, 32: 1, 64: 2}[signal.length] if signal.is_float else 0
    text = (
        'VERSION ""\nNS_ :\nBS_:\nBU_:\n'
        f'BO_ 1 M: {PAYLOAD_BYTES} X\n SG_ s : {signal.start}|{signal.length}@{order}{sign} (1,0) [0|0] "" X\n'
    )
    return text + (f"SIG_VALTYPE_ 1 s : {kind};\n" if signal.is_float and kind else "")


@settings(max_examples=150, deadline=None)
@given(signal=placed_signals(), payloads=st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=4))
def test_values_equal_cantools(signal: SignalPlan, payloads: list[bytes]) -> None:
    if signal.is_float and signal.length == 16:
        return  # DBC has no half-precision floats
    peer = cantools.database.load_string(dbc_text(signal), "dbc", strict=False)
    plan = MessagePlan("M", 1, False, None, PAYLOAD_BYTES, (signal,), "", "")
    (column,) = payloads_of(plan, payloads).columns()
    for payload, got in zip(payloads, as_list(column), strict=True):
        want = float(peer.decode_message(1, payload)["s"])
        assert got == (want if np.isfinite(want) else None)


HEX = "0123456789abcdefABCDEF"


@st.composite
def lines(draw: st.DrawFn) -> str:
    seconds, fraction = draw(st.integers(0, 10**11)), draw(st.text("0123456789", min_size=1, max_size=9))
    channel = draw(st.sampled_from(["can0", "can1", "vcan10"]))
    width = draw(st.sampled_from([3, 8, 8, 8]))
    identifier = draw(st.text(HEX, min_size=width, max_size=width))
    data = draw(st.one_of(st.binary(max_size=8).map(bytes.hex), st.text(HEX + "RZ# ", max_size=20)))
    ending = draw(st.sampled_from(["", "", " R", "\r"]))
    return f"({seconds}.{fraction}) {channel} {identifier}#{data}{ending}"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(lines(), st.text(max_size=30).filter(lambda text: "\n" not in text)), max_size=30))
def test_blocks_of_lines_equal_single_lines(texts: list[str]) -> None:
    stream = "\n".join(texts).encode()
    source = Source()
    blocks = list(candump_blocks(io.BytesIO(stream), "candump", source, start_us=0))
    given_lines = [line.removesuffix(b"\r") for line in stream.split(b"\n")]
    single = [read_line(line, "candump") for line in given_lines if line]
    frames = [frame for frame in single if not isinstance(frame, str)]
    reasons = [reason for reason in single if isinstance(reason, str)]
    assert sum(source.rejected.values()) == len(reasons)
    assert dict(source.rejected) == {reason: reasons.count(reason) for reason in set(reasons)}
    assert sum(len(block) for block in blocks) == len(frames)
    if frames:
        block = merged(blocks, None, source)
        assert block.time_us.tolist() == [frame.time_us for frame in frames]
        assert block.can_id.tolist() == [frame.can_id for frame in frames]
        assert block.is_extended.tolist() == [frame.is_extended for frame in frames]
        assert [block.channels[number] for number in block.channel] == [frame.channel for frame in frames]
        got = [row[:n].tobytes() for row, n in zip(block.data, block.length.tolist(), strict=True)]
        assert got == [frame.payload for frame in frames]
        assert not any(row[n:].any() for row, n in zip(block.data, block.length.tolist(), strict=True))
