"""Payloads, transport packets, trouble codes and log lines against values worked out by hand."""

from pathlib import Path

import numpy as np
import pytest

from pm.canbus.dbc import SignalDatabase, load_dbc
from pm.errors import ConfigError
from pm.simulate.candump import candump_bytes
from pm.simulate.codes import Episode, dm1_payload
from pm.simulate.components import Code
from pm.simulate.encode import Frames, encode
from pm.simulate.fleet import _check_digit
from pm.simulate.transport import broadcast

DBC = Path(__file__).parents[2] / "dbc" / "j1939_open_subset.dbc"


@pytest.fixture(scope="module")
def database() -> SignalDatabase:
    return load_dbc([DBC])


def payload(database: SignalDatabase, message: str, **values: float) -> str:
    arrays = {name: np.array([value]) for name, value in values.items()}
    frames = encode(database.message(message), 0x0B, np.array([0]), arrays)
    return int(frames.payload[0]).to_bytes(8, "little").hex().upper()


def test_values_stand_where_the_dbc_says(database: SignalDatabase) -> None:
    # 90 degC + 40 = 130 = 0x82; (100 degC + 273) / 0.03125 = 11936 = 0x2EA0, low byte first.
    assert payload(database, "ET1", EngCoolantTemp=90.0, EngOilTemp1=100.0) == "82FFA02EFFFFFFFF"


@pytest.mark.parametrize(
    ("value", "first_byte"), [(np.nan, "FF"), (np.inf, "FE"), (1000.0, "FA"), (-300.0, "00"), (210.0, "FA")]
)
def test_what_is_no_measurement_takes_the_reserved_codes(
    database: SignalDatabase, value: float, first_byte: str
) -> None:
    assert payload(database, "ET1", EngCoolantTemp=value)[:2] == first_byte


def test_error_and_range_of_wide_signals_go_by_the_top_byte(database: SignalDatabase) -> None:
    assert payload(database, "EEC1", EngSpeed=np.inf)[6:10] == "00FE"
    assert payload(database, "EEC1", EngSpeed=1e9)[6:10] == "FFFA"
    assert payload(database, "VD", TotalVehicleDistance=np.inf)[8:] == "000000FE"


def test_two_bit_states_have_two_values_error_and_not_available(database: SignalDatabase) -> None:
    states = {value: payload(database, "AIR1", AirCompressorStatus=value)[12:14] for value in (0.0, 1.0, np.inf)}
    assert states == {0.0: "FC", 1.0: "FD", np.inf: "FE"}


def test_the_id_keeps_priority_and_pgn_and_takes_the_source_address(database: SignalDatabase) -> None:
    frames = encode(database.message("EEC1"), 0x00, np.array([5]), {})
    assert (hex(frames.can_id[0]), frames.time_us[0], hex(frames.payload[0])) == ("0xcf00400", 5, "0x" + "f" * 16)


def test_a_signal_the_dbc_lacks_is_an_error(database: SignalDatabase) -> None:
    with pytest.raises(ConfigError, match="expected signal Nonsense in the DBC"):
        payload(database, "ET1", Nonsense=1.0)


def test_a_message_of_many_frames_is_no_single_frame(database: SignalDatabase) -> None:
    with pytest.raises(ConfigError, match="VI: expected an extended id and at most 8 bytes"):
        encode(database.message("VI"), 0, np.array([0]), {})


def test_broadcast_cuts_a_payload_into_announcement_and_packets() -> None:
    frames = broadcast(0xFECA, 0x0B, bytes(range(10)), np.array([1_000_000]))
    assert [hex(each) for each in frames.can_id] == ["0x1cecff0b", "0x1cebff0b", "0x1cebff0b"]
    assert [int(word).to_bytes(8, "little").hex() for word in frames.payload] == [
        "200a0002ffcafe00",
        "0100010203040506",
        "02070809ffffffff",
    ]
    assert np.diff(frames.time_us).tolist() == [60_000, 60_000]


def test_dm1_packs_an_spn_of_19_bits() -> None:
    # 520243 = 0x7F033; its high three bits stand over the FMI of five.
    one = dm1_payload([Episode(Code(0x31, 520243, 31), 0.0, 1.0, 5)])
    assert one.hex() == "04ff33f0ff05ffff"


def test_dm1_without_codes_and_with_two() -> None:
    severe = Episode(Code(0, 110, 0), 0.0, 1.0, 1)
    mild = Episode(Code(0, 111, 17), 0.0, 1.0, 126)
    assert dm1_payload([]).hex() == "00ff00000000ffff"
    assert dm1_payload([severe, mild]).hex() == "10ff" + "6e000001" + "6f00117e"


def test_a_log_line_is_what_candump_writes() -> None:
    frames = Frames(
        np.array([1589326646_006935]), np.array([0x18FEF100], np.uint32), np.array([0xF0FF_0123_4567_89AB], np.uint64)
    )
    text = candump_bytes(frames, np.array([1], np.uint8))
    assert text == b"(1589326646.006935) can1 18FEF100#AB8967452301FFF0\n"


def test_check_digit_of_the_example_in_the_regulation() -> None:
    # 49 CFR 565.15 works the example 1G4AH59H45G118341, whose ninth character is 4.
    assert _check_digit("1G4AH59H05G118341") == "4"
