"""Tables of CAN frames: python-can, Vehicle Spy and Vector headers, cells, times, and what is counted."""

import io
import random
import string
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import numpy as np
import pytest
from can import Message
from can.io.csv import CSVReader, CSVWriter

from pm.canbus.formats import lines
from pm.canbus.formats.block import FrameBlock, Source, merged
from pm.canbus.formats.csv_header import csv_layout
from pm.canbus.formats.csv_rows import csv_blocks

SHARED = Path(__file__).resolve().parents[3] / "shared" / "can" / "derived"
PYTHON_CAN = "timestamp,arbitration_id,extended,remote,error,dlc,data\n"
SPY_ROWS = (
    "Line,Abs Time(Sec),Rel Time (Sec),Status,Er,Tx,Description,Network,Node,ID,Cycle,Ch,B1-256,Dyn,Value,Trigger\r\n"
    "Line,Abs Time(Sec),Rel Time (Sec),Status,Er,Tx,Description,Network,Node,Arb ID,Remote/EDL-BRS-ESI,Xtd,"
    "B1,B2,B3,B4,B5,B6,B7,B8,Value,Trigger,Signals\r\n"
    "Line,Abs Time(Sec),Rel Time (Sec),Status,Er,Tx,Description,Network,Node,PT,Trgt,Src,"
    "B1,B2,B3,B4,B5,B6,B7,B8,Value,Trigger,Signals\r\n"
    '1,1.90E-05,0,67371012,F,F,"HS CAN $18FEF100, fast",HS CAN,,18FEF100,F,T,11,F7,0,3E,E2,B1,5,C9,,,\r\n'
    "2,2550.368293675,0.003818174999651092,67371008,F,F,HS CAN $119,HS CAN 2,,119,F,F,01,02,,,,,,,,,\r\n"
    "3,2550.4,0,4,F,F,J1708 $80,J1708,,80,FE,0F,01,02,03,,,,,,04 05,,\r\n"
    "4,2550.5,0,4,T,F,error,HS CAN,,0,F,F,,,,,,,,,,,\r\n"
    "5,2550.6,0,4,F,F,remote,HS CAN,,123,T,F,,,,,,,,,,,\r\n"
    "6,2550.7,0,4,F,F,flexible,HS CAN,,123,F,F,00,01,02,03,04,05,06,07,08 09 0A 0B,,\r\n"
    "7,2550.8,0,4,F,F,a gap,HS CAN,,123,F,F,00,,02,03,04,05,06,07,,,\r\n"
)
SPY = (
    "Vehicle Spy 3 Bus Traffic File\r\nStart Date,6/29/2018\r\nStart Time,1:00:47 PM\r\nNotes,\r\n\r\n"
    "Network Description,Hardware,Network,Protocol,Baud Rate\r\nHS CAN,Default,HS CAN,CAN,250000,\r\n"
    "J1708,Default,J1708,J1708,9600,\r\n\r\n" + SPY_ROWS
)


def read(text: str | bytes, start_us: int | None = None) -> tuple[FrameBlock, dict[str, int]]:
    content = text.encode() if isinstance(text, str) else text
    source = Source()
    block = merged(list(csv_blocks(io.BytesIO(content), source, start_us=start_us)), None, source)
    return block, dict(source.rejected)


def one(header: str, row: str, start_us: int | None = 0) -> tuple[int, str, int, bool, bytes] | None:
    """Time, channel, identifier, extended and payload of a table of one row; None if it was refused."""
    source = Source()
    for block in csv_blocks(io.BytesIO(f"{header}\n{row}\n".encode()), source, start_us=start_us):
        payload = block.data[0, : block.length[0]].tobytes()
        name = block.channels[block.channel[0]]
        return int(block.time_us[0]), name, int(block.can_id[0]), bool(block.is_extended[0]), payload
    assert sum(source.rejected.values()) == 1
    return None


def same_as_python_can(path: Path) -> int:
    block, _ = read(path.read_bytes())
    messages = [m for m in CSVReader(path) if not m.is_remote_frame and not m.is_error_frame]
    assert len(messages) == len(block)
    for row, message in enumerate(messages):
        exact_us = Decimal(repr(message.timestamp)) * 1_000_000  # a float is too coarse to be multiplied
        assert block.time_us[row] == exact_us.to_integral_value(ROUND_HALF_UP)
        assert (block.can_id[row], block.is_extended[row]) == (message.arbitration_id, message.is_extended_id)
        assert block.data[row, : block.length[row]].tobytes() == bytes(message.data)
    assert block.channels == ("unknown",)
    return len(messages)


def test_same_frames_as_python_cans_own_reader(tmp_path: Path) -> None:
    draw = random.Random(7)
    path = tmp_path / "a.csv"
    with CSVWriter(path) as writer:
        for number in range(3000):
            is_extended = draw.random() < 0.5
            n = draw.choice([0, 1, 2, 7, 8]) if draw.random() < 0.9 else draw.choice([12, 48, 64])
            kind = draw.random()
            writer.on_message_received(
                Message(
                    timestamp=1.6e9 + number / 997,
                    arbitration_id=draw.randrange(1 << (29 if is_extended else 11)),
                    is_extended_id=is_extended,
                    is_fd=n > 8,
                    is_remote_frame=n <= 8 and kind < 0.02,
                    is_error_frame=0.02 < kind < 0.04,
                    dlc=n,
                    data=None if n <= 8 and kind < 0.02 else draw.randbytes(n),
                )
            )
    assert same_as_python_can(path) > 2500


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is missing: real logs in other formats")
def test_same_frames_as_python_cans_own_reader_of_a_real_log() -> None:
    assert same_as_python_can(SHARED / "P5_normal_ops2.csv") == 39_739


def test_vehicle_spy_frames() -> None:
    block, rejected = read(SPY)
    start_us = round(datetime(2018, 6, 29, 13, 0, 47, tzinfo=UTC).timestamp() * 1e6)
    assert (block.time_us - start_us).tolist() == [19, 2_550_368_294]
    assert block.can_id.tolist() == [0x18FEF100, 0x119]
    assert block.is_extended.tolist() == [True, False]
    assert block.length.tolist() == [8, 2]
    assert block.data[0].tolist() == [0x11, 0xF7, 0, 0x3E, 0xE2, 0xB1, 5, 0xC9]
    assert [block.channels[index] for index in block.channel] == ["HS CAN", "HS CAN 2"]
    assert rejected == {"other_event": 1, "error_frame": 1, "remote_frame": 1, "malformed_line": 2}


@pytest.mark.parametrize(
    ("above", "start"),
    [
        ("ISO8601 Timestamp,2018/06/29T13:00:47.000019,,,,\n", datetime(2018, 6, 29, 13, 0, 47, 19, tzinfo=UTC)),
        ("Start Date,29/6/2018\nStart Time,12:00:01 AM\n", datetime(2018, 6, 29, 0, 0, 1, tzinfo=UTC)),
        ("Start Date,6/7/2018\nStart Time,1:00:47 PM\n", None),  # June or July
        ("Start Date,31/31/2018\nStart Time,1:00:47 PM\n", None),
        ("Start Date,2018\nStart Time,\n", None),
        ("", None),
    ],
)
def test_start_above_a_vehicle_spy_header(above: str, start: datetime | None) -> None:
    if start is None:
        with pytest.raises(ValueError, match="--start"):
            read(above + SPY_ROWS)
    else:
        assert read(above + SPY_ROWS)[0].time_us[0] == round(start.timestamp() * 1e6) + 19
    assert read(above + SPY_ROWS, start_us=10**15)[0].time_us[0] == 10**15 + 19


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("Time,Chn,ID,Name,Event Type,Dir,DLC,Data length,Data", "1.5,CAN 1,18FEF100x,EEC1,CAN Frame,Rx,8,2,0A FF"),
        ('"Time";"Chn";"ID";"Dir";"DLC";"Data"', '"1,5";"CAN 1";"0x18FEF100";"Rx";"2";"0AFF"'),
        ("Time [ms]\tCAN Channel\tID (hex)\tDLC\tData", "1500\tCAN 1\t18FEF100h\t2\ta ff"),
        ("ID (dec),Time (us),Channel,Data0,Data1,DLC", "419361024,1500000,CAN 1,0A,FF,2"),
        ("Identifier,IDE,Timestamp[s],Bus,Len,D1,D2,D3", "18FEF100,Ext,0.15e1,CAN 1,2,A,FF,"),
    ],
)
def test_columns_are_found_by_name(header: str, row: str) -> None:
    assert one(header, row) == (1_500_000, "CAN 1", 0x18FEF100, True, b"\x0a\xff")


@pytest.mark.parametrize(
    ("time", "time_us"),
    [
        ("1600000000", 1_600_000_000_000_000),
        ("1600000000.0000005", 1_600_000_000_000_001),
        ("1.6e9", 1_600_000_000_000_000),
        ("1600000000.12345678901234567890", 1_600_000_000_123_457),
        ("2026-11-21T13:38:44.123456Z", 1_795_268_324_123_456),
        ("2026-11-21 14:38:44.123456+01:00", 1_795_268_324_123_456),
        ("2026/11/21 09:08:44,1234567-0430", 1_795_268_324_123_456),
        ("2026-11-21 13:38:44", 1_795_268_324_000_000),
        ("", None),
        ("-1", None),
        ("1.2.3", None),
        ("1e99", None),
        ("9" * 25, None),
        ("1e-400", None),
        ("nan", None),
        ("2026-13-21 13:38:44", None),
        ("2026-11-21 13:38:44.", None),
        ("2026-11-21 13:38:44+1", None),
        ("13:38:44.123", None),
    ],
)
def test_times(time: str, time_us: int | None) -> None:
    found = one("Time;ID;DLC;Data", f"{time};123;1;00")
    assert (None if found is None else found[0]) == time_us


@pytest.mark.parametrize(
    ("name", "can_id", "is_extended"),
    [
        ("7FF", 0x7FF, False),
        ("800", 0x800, True),
        ("12x", 0x12, True),
        ("00000012", 0x12, True),
        ("0X12", 0x12, False),
        ("1FFFFFFFx", 0x1FFFFFFF, True),
        ("20000000x", None, None),
        ("12y", None, None),
        ("x", None, None),
        ("", None, None),
        ("111111111", None, None),
    ],
)
def test_identifiers(name: str, can_id: int | None, is_extended: bool | None) -> None:
    found = one("Time,ID,DLC,Data", f"1,{name},1,00")
    assert (None, None) if found is None else found[2:4] == (can_id, is_extended)
    assert (found is None) == (can_id is None)


@pytest.mark.parametrize(
    "row",
    [
        "1600000000.5,0x123,0,0,0,2,AA8",  # base64 that was cut
        "1600000000.5,0x123,0,0,0,2,AA==",  # one byte of two
        "1600000000.5,0x123,0,0,0,1,A*==",
        "1600000000.5,0x123,0,0,0,1",
        "1600000000.5,0x800,0,0,0,1,AA==",
        "1600000000.5,0x20000000,1,0,0,1,AA==",
        "1600000000.5,0x123,?,0,0,1,AA==",
        "1600000000.5,0x123,0,0,0,,AA==",
        "1600000000.5,0x123,0,0,0,65," + "A" * 88,
        "1600000000.5,0x123,0,0,0,66," + "A" * 88,
        "1600000000.5,0x123,0,0,0,1,A",
        '1600000000.5,"0x123,0,0,0,1,AA==',
        "x",
    ],
)
def test_malformed_rows_are_counted_and_the_others_stay(row: str) -> None:
    good = "1600000000.5,0x123,0,0,0,1,AA==\n"
    block, rejected = read(f"{PYTHON_CAN}{good}{row}\r\n\n{good}")
    assert (len(block), rejected) == (2, {"malformed_line": 1})


def test_data_length_codes_of_flexible_data_rate() -> None:
    header = "Time,Chn,ID,DLC,Data"
    assert one(header, "1,1,123,9," + "0A " * 12) == (1_000_000, "1", 0x123, False, b"\x0a" * 12)
    assert one(header, "1,1,123,15," + "0A" * 8) == (1_000_000, "1", 0x123, False, b"\x0a" * 8)
    assert one(header, "1,1,123,16," + "0A" * 16) is None
    assert one(header, "1,1,123,3,0A 0B") is None
    many = ",".join(f"B{n}" for n in range(1, 65))
    assert one(f"Time,Arb ID,{many}", "1,123," + "7F," * 63 + "1") == (
        1_000_000, "unknown", 0x123, False, b"\x7f" * 63 + b"\x01",
    )  # fmt: skip


def test_what_is_no_can_frame_is_counted_by_kind() -> None:
    rows = (
        "1,CAN 1,123,CAN Frame,Rx,1,00\n1,CAN 1,,Error Frame,Rx,,\n1,CAN 1,123,Remote Frame,Rx,1,\n"
        "1,LIN 1,3C,LIN Frame,Rx,1,00\n1,LIN 1,3C,,Rx,1,00\n1,,123,System Variable,,1,00\n"
        "1,CAN 1,123,CAN Frame,TxRq,1,00\n"
    )
    block, rejected = read("Time,Chn,ID,Event Type,Dir,DLC,Data\n" + rows, start_us=0)
    assert len(block) == 1
    assert rejected == {"error_frame": 1, "remote_frame": 1, "other_event": 3, "transmit_request": 1}


@pytest.mark.parametrize(
    "header",
    [
        "Time Stamp,ID,Extended,Dir,Bus,LEN,D1,D2",  # SavvyCAN: microseconds that the header does not tell
        "time,id,data",  # nothing says that it is CAN
        "Time,ID,DLC",
        "Time (min),ID,DLC,Data",
        "Time,ID,DLC,Data (dec)",
        "Time,ID,DLC,B2,B3",
        "Time[s],CAN1::EEC1::EngineSpeed,CAN1::CCVS1::Speed",
    ],
)
def test_tables_whose_header_does_not_tell_enough(header: str) -> None:
    assert csv_layout(f"{header}\n1,2,3,4\n".encode()) is None


def test_more_channels_than_allowed_and_long_rows_are_counted() -> None:
    rows = "".join(f"1,{n},123,1,00\n" for n in range(300)) + f"1,{'n' * 65},123,1,00\n" + "x" * 9000 + "\n"
    block, rejected = read("Time,Chn,ID,DLC,Data\n" + rows, start_us=0)
    assert len(set(block.channel.tolist())) == 256
    assert rejected == {"too_many_channels": 44, "malformed_line": 1, "line_too_long": 1}


def test_block_size_does_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    text = SPY + "".join(SPY.splitlines(keepends=True)[-7:]) * 50 + "8,2550.9,0,4,F,F,,HS CAN,,7FF,F,F" + "," * 11
    whole, rejected = read(text)
    for n_bytes in (1, 7, 100, 3001):
        monkeypatch.setattr(lines, "READ_BYTES", n_bytes)
        again, again_rejected = read(text)
        assert again_rejected == rejected
        for column in ("time_us", "channel", "can_id", "is_extended", "length", "data"):
            assert np.array_equal(getattr(again, column), getattr(whole, column)), column


def check_block(block: FrameBlock) -> None:
    assert np.all(block.can_id <= np.where(block.is_extended, 0x1FFFFFFF, 0x7FF))
    assert np.all(block.length <= block.data.shape[1])
    assert not block.data[np.arange(block.data.shape[1]) >= block.length[:, None]].any()
    assert block.channel.min(initial=0) >= 0
    assert block.channel.max(initial=0) < max(len(block.channels), 1)


def test_damaged_tables_give_frames_or_a_value_error() -> None:
    draw = random.Random(3)
    python_can = PYTHON_CAN + "1600000000.5,0x18FEF100,1,0,0,8,AQIDBAUGBwg=\n" * 20
    vector = '"Time";"Chn";"ID";"Event Type";"DLC";"Data"\n' + '"1,5";"CAN 1";"12x";"CAN Frame";"2";"0AFF"\n' * 20
    refused = []
    characters = string.printable.encode() + b"\0\xff"
    for number in range(600):
        content = bytearray((SPY, python_can, vector)[number % 3].encode())
        for _ in range(draw.randrange(1, 12)):
            content[draw.randrange(len(content))] = draw.choice(characters)
        if draw.random() < 0.5:
            del content[draw.randrange(len(content)) :]
        if draw.random() < 0.2:
            content += draw.randbytes(200)
        try:
            for block in csv_blocks(io.BytesIO(bytes(content)), Source(), start_us=draw.choice([None, 0])):
                check_block(block)
        except ValueError as reason:
            refused.append(str(reason))
    assert all(reason.startswith("expected ") for reason in refused)
    assert 50 < len(refused) < 550
