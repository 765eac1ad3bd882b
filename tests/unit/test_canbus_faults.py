"""Trouble codes: the 19-bit SPN, lamps, and what gives no row."""

import polars as pl

from pm.canbus.faults import FAULT_SCHEMA, codes_of_message, fault_rows


def rows(payload: str) -> pl.DataFrame:
    return fault_rows([codes_of_message(1_000_000, 0, 11, bytes.fromhex(payload))], ("can0",))


def test_codes_of_a_message_with_two_faults() -> None:
    # SPN 84 FMI 9 OC 8, and SPN 524232 (0x7FFC8) FMI 31, occurrences not available.
    found = rows("04FF" + "54000908" + "C8FFFF7F")
    assert found.schema == FAULT_SCHEMA
    assert found.select("spn", "fmi", "occurrence_count", "conversion_method").rows() == [
        (84, 9, 8, 0),
        (524232, 31, None, 0),
    ]
    assert found["source_address"].to_list() == [11, 11]
    assert found["time"].dt.epoch("us").to_list() == [1_000_000, 1_000_000]


def test_lamps_are_the_raw_codes() -> None:
    found = rows("E4FF" + "54000908")  # 11 10 01 00
    assert found.select("lamp_mil", "lamp_red", "lamp_amber", "lamp_protect").row(0) == (3, 2, 1, 0)


def test_no_fault_gives_no_row() -> None:
    assert rows("00FF" + "00000000").height == 0
    assert rows("00FF").height == 0
    assert rows("").height == 0
    assert fault_rows([], ()).schema == FAULT_SCHEMA


def test_conversion_method_bit_is_kept() -> None:
    assert rows("00FF" + "54000988")["conversion_method"].to_list() == [1]


def test_bytes_that_make_no_whole_code_are_left_out() -> None:
    assert rows("00FF" + "54000908" + "FFFF").height == 1
