"""Trouble codes of DM1 and DM2: the 19-bit SPN in its four layouts, lamps, and what gives no row."""

import numpy as np
import polars as pl
import pytest

from pm.canbus.bits import SPARE_BYTES
from pm.canbus.faults import (
    DEFAULT_OLD_CONVERSION,
    FAULT_SCHEMA,
    MAXIMUM_CODES,
    NOT_AVAILABLE,
    OLD_CONVERSION,
    SHORT_DM1,
    SHORT_DM2,
    FaultBuffer,
    fault_counts,
    fault_rows,
    new_faults,
    reset_faults,
    take_dm,
)

AT = 3
"""Where the payloads of these tests begin in their array."""


def take(buffer: FaultBuffer, payload: str, *, dm: int = 1, time_us: int = 1_000_000) -> None:
    content = bytes.fromhex(payload)
    data = np.frombuffer(b"\xaa" * AT + content + b"\x55" * SPARE_BYTES, dtype=np.uint8)
    take_dm(buffer, time_us, 0, 11, dm, data, AT, len(content))


def rows(*payloads: str, old_conversion_method: int = DEFAULT_OLD_CONVERSION) -> pl.DataFrame:
    buffer = new_faults(1000)
    for payload in payloads:
        take(buffer, payload)
    return fault_rows(buffer, ("can0",), old_conversion_method=old_conversion_method)


def counts(payload: str, *, dm: int = 1) -> dict[str, int]:
    buffer = new_faults(1000)
    take(buffer, payload, dm=dm)
    return fault_counts(buffer)


def test_codes_of_a_message_with_two_faults() -> None:
    # SPN 84 FMI 9 OC 8, and SPN 524232 (0x7FFC8) FMI 31, occurrences not available.
    found = rows("04FF" + "54000908" + "C8FFFF7F")
    assert found.schema == FAULT_SCHEMA
    assert found.select("dm", "spn", "fmi", "occurrence_count", "conversion_method").rows() == [
        (1, 84, 9, 8, 4),
        (1, 524232, 31, None, 4),
    ]
    assert found["source_address"].to_list() == [11, 11]
    assert found["time"].dt.epoch("us").to_list() == [1_000_000, 1_000_000]


def test_lamps_and_flash_are_the_raw_codes() -> None:
    lamps = ["mil", "red", "amber", "protect"]
    found = rows("E41B" + "54000908")  # 11 10 01 00, then 00 01 10 11
    assert found.select(f"lamp_{lamp}" for lamp in lamps).row(0) == (3, 2, 1, 0)
    assert found.select(f"flash_{lamp}" for lamp in lamps).row(0) == (0, 1, 2, 3)


def test_previously_active_codes_are_told_apart() -> None:
    buffer = new_faults(1000)
    take(buffer, "04FF" + "54000908", time_us=2_000_000)
    take(buffer, "00FF" + "6E000001" + "64000302", dm=2)
    found = fault_rows(buffer, ("can0",))
    assert found.select("dm", "spn", "fmi", "lamp_amber").rows() == [(2, 110, 0, 0), (2, 100, 3, 0), (1, 84, 9, 1)]


def test_no_fault_gives_no_row() -> None:
    assert rows("00FF" + "00000000").equals(rows())
    assert rows().schema == FAULT_SCHEMA
    assert counts("00FF" + "00000000FFFF") == {}
    assert rows("00FF" + "00000100")["fmi"].to_list() == [1]


def test_a_code_of_ones_is_no_fault_and_counted() -> None:
    # J1939-71, 5.1.4: all ones is not available, here also the conversion method, which is sent as 0 since 1996.
    assert rows("04FF" + "FFFFFFFF" + "54000908")["spn"].to_list() == [84]
    assert counts("04FF" + "FFFFFFFF" + "54000908") == {NOT_AVAILABLE: 1}
    # SPNs from 520192 on are the manufacturer's: with the bit 0 this is one of them.
    assert rows("04FF" + "FFFFFF7F").select("spn", "fmi").rows() == [(524287, 31)]
    assert counts("04FF" + "FFFFFF7F") == {}


@pytest.mark.parametrize(
    ("method", "code"),
    # SPN 1208 (0x4B8) FMI 3, 10 occurrences, and SPN 0x5A5C6 FMI 17, 1 occurrence: made up, written by hand from the
    # layouts that DynaGen prints (GSC400 user manual, appendix F; TOUGH series, 4.7.4), HMS for methods 1 and 2
    # (Anybus X-gateway J1939, tables 6-3 and 6-4) and github.com/mihai-demian/truck, source/saej1939_73.c.
    [
        (1, "0097038A" + "B4B8D181"),
        (2, "9700038A" + "B8B4D181"),
        (3, "B804038A" + "C6A5B181"),
        (4, "B804030A" + "C6A5B101"),
    ],
)  # fmt: skip
def test_conversion_methods(method: int, code: str) -> None:
    found = rows("00FF" + code, old_conversion_method=method if method < 4 else 1)
    assert found.select("spn", "fmi", "occurrence_count", "conversion_method").rows() == [
        (1208, 3, 10, method),
        (0x5A5C6, 17, 1, method),
    ]
    assert counts("00FF" + code) == ({OLD_CONVERSION: 2} if method < 4 else {})


def test_a_conversion_method_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected an old conversion method of \(1, 2, 3\), but got 4"):
        rows(old_conversion_method=4)


def test_bytes_that_make_no_whole_code_are_left_out() -> None:
    assert rows("00FF" + "54000908" + "FFFF").height == 1
    assert rows("00FF" + "54000908" + "540009")["spn"].to_list() == [84]


@pytest.mark.parametrize("payload", ["", "00", "00FF", "00FF540009"])
def test_a_message_without_room_for_a_code_is_counted(payload: str) -> None:
    assert rows(payload).height == 0
    assert counts(payload) == {SHORT_DM1: 1}
    assert counts(payload, dm=2) == {SHORT_DM2: 1}


def test_the_largest_message_fits_and_counts_outlive_the_rows() -> None:
    buffer = new_faults(MAXIMUM_CODES + 1)
    take(buffer, "00FF" + "54000988" * MAXIMUM_CODES + "0000")
    assert fault_rows(buffer, ("can0",)).height == MAXIMUM_CODES == 445
    take(buffer, "00FF" + "54000908")
    with pytest.raises(IndexError, match="expected room for the trouble codes"):
        take(buffer, "00FF" + "54000908")
    reset_faults(buffer)
    assert fault_rows(buffer, ("can0",)).height == 0
    assert fault_counts(buffer) == {OLD_CONVERSION: MAXIMUM_CODES}
