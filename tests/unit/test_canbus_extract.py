"""Bits to values: widths, byte orders, codes that are no measurement, multiplexing, text."""

import math

import pytest
from canbus_payloads import as_list, payloads_of

from pm.canbus.dbc import MessagePlan, SignalPlan
from pm.canbus.extract import Payloads
from pm.canbus.masks import limits_of_width


def signal(name: str = "s", start: int = 0, length: int = 8, **more: object) -> SignalPlan:
    given: dict[str, object] = {
        "byte_order": "little_endian", "is_signed": False, "is_float": False, "scale": 1.0, "offset": 0.0,
        "minimum": None, "maximum": None, "unit": "", "spn": None, "comment": "",
    }  # fmt: skip
    return SignalPlan(name, start, length, **(given | more))  # type: ignore[arg-type]


def decode(signals: list[SignalPlan], *payloads: str, pgn: int | None = 61444, length: int = 8) -> Payloads:
    plan = MessagePlan("M", 0, True, pgn, length, tuple(signals), "", "")
    raw = [bytes.fromhex(payload) for payload in payloads]
    return payloads_of(plan, raw)


def values(payloads: Payloads) -> dict[str, list[object]]:
    return {signal.name: as_list(c) for signal, c in zip(payloads.plan.signals, payloads.columns(), strict=True)}


def test_eight_bits() -> None:
    made = decode([signal(scale=0.5, offset=-10)], "00", "FA", "FB", "FD", "FE", "FF")
    assert values(made) == {"s": [-10.0, 115.0, None, None, None, None]}
    assert made.counts == {"s": {"reserved": 2, "error": 1, "not_available": 1}}


@pytest.mark.parametrize(("length", "nibbles"), [(16, 4), (24, 6), (32, 8)])
def test_whole_bytes_go_by_the_top_byte(length: int, nibbles: int) -> None:
    def little(top: str) -> str:
        return "00" * (nibbles // 2 - 1) + top

    made = decode([signal(length=length)], little("FA"), little("FB"), little("FE"), "FF" * (nibbles // 2))
    assert values(made)["s"] == [float(0xFA << (length - 8)), None, None, None]
    assert made.counts == {"s": {"reserved": 1, "error": 1, "not_available": 1}}


def test_two_bits() -> None:
    made = decode([signal(length=2)], "00", "01", "02", "03")
    assert values(made) == {"s": [0.0, 1.0, None, None]}
    assert made.counts == {"s": {"error": 1, "not_available": 1}}


@pytest.mark.parametrize("length", [3, 4, 5, 6, 7])
def test_other_widths_below_eight(length: int) -> None:
    ones = (1 << length) - 1
    assert limits_of_width(length) == (ones, ones, ones)
    made = decode([signal(length=length)], f"{ones:02X}", f"{ones - 1:02X}")
    assert values(made) == {"s": [None, float(ones - 1)]}


def test_a_single_bit_has_two_states() -> None:
    assert values(decode([signal(length=1)], "00", "01")) == {"s": [0.0, 1.0]}


def test_widths_between_bytes_are_null_only_when_all_ones() -> None:
    made = decode([signal(length=12)], "FF0F", "B00F", "FE0F")
    assert values(made) == {"s": [None, float(0xFB0), float(0xFFE)]}
    assert made.counts == {"s": {"not_available": 1}}


def test_exempt_and_other_protocols_keep_their_codes() -> None:
    assert values(decode([signal(is_masked=False)], "FE", "FF")) == {"s": [254.0, 255.0]}
    assert values(decode([signal()], "FE", "FF", pgn=None)) == {"s": [254.0, 255.0]}


def test_signed_numbers_are_not_masked() -> None:
    assert values(decode([signal(length=16, is_signed=True)], "FFFF", "0080")) == {"s": [-1.0, -32768.0]}
    assert values(decode([signal(length=64, is_signed=True)], "FF" * 8)) == {"s": [-1.0]}
    assert values(decode([signal(length=64)], "FF" * 8, pgn=None)) == {"s": [float(2**64)]}


def test_bits_across_a_word() -> None:
    made = decode([signal(start=60, length=8)], "000000000000005003", length=9)
    assert values(made) == {"s": [float(0x35)]}


def test_motorola() -> None:
    big = {"byte_order": "big_endian"}
    made = decode([signal("a", 7, 16, **big), signal("b", 3, 8, **big)], "1234", "0FF0", pgn=None)
    assert values(made) == {"a": [float(0x1234), float(0x0FF0)], "b": [float(0x23), float(0xFF)]}


def test_floats() -> None:
    made = decode([signal(length=32, is_float=True)], "0000C03F", "0000C07F", "0000807F", pgn=None)
    assert values(made) == {"s": [1.5, None, None]}
    assert made.counts == {"s": {"not_finite": 2}}


def test_short_frame_gives_only_the_bits_it_has() -> None:
    made = decode([signal("a"), signal("b", 8, 16)], "0102", "010203", "")
    assert values(made) == {"a": [1.0, 1.0, None], "b": [None, float(0x0302), None]}
    assert made.counts == {}


def test_missing_bits_are_not_counted_as_codes() -> None:
    made = decode([signal("b", 8, 16)], "00", "00FFFF")
    assert values(made) == {"b": [None, None]}
    assert made.counts == {"b": {"not_available": 1}}


def test_multiplexed_signals_and_unknown_multiplexers() -> None:
    plans = [
        signal("m", is_multiplexer=True, known_ids=(1, 2)),
        signal("a", 8, multiplexer_signal="m", multiplexer_ids=(1,)),
        signal("n", 16, is_multiplexer=True, known_ids=(5, 6), multiplexer_signal="m", multiplexer_ids=(2,)),
        signal("b", 24, multiplexer_signal="n", multiplexer_ids=(5, 6)),
    ]
    made = decode(plans, "010A0000", "02000514", "02000700", "03000000", pgn=None)
    assert values(made) == {
        "m": [1.0, 2.0, 2.0, 3.0],
        "a": [10.0, None, None, None],
        "n": [None, 5.0, 7.0, None],
        "b": [None, 20.0, None, None],
    }
    assert made.n_unknown_multiplexer == 2


def test_text_ends_at_the_star_and_may_be_longer_than_the_plan() -> None:
    plan = signal("vin", 0, 24, is_text=True, is_masked=False)
    made = decode([plan], b"ABCDE*rest".hex(), b"A\xe9\x05*".hex(), b"\xff\xff\xff".hex(), b"AB ".hex(), length=3)
    assert values(made) == {"vin": ["ABCDE", "A\\xe9\\x05", None, "AB"]}
    assert made.counts["vin"]["not_available"] >= 1


def test_physical_scale() -> None:
    made = decode([signal(start=24, length=16, scale=0.125)], "000000689300FFFF")
    (speed,) = values(made)["s"]
    assert isinstance(speed, float)
    assert math.isclose(speed, 0x9368 * 0.125)
