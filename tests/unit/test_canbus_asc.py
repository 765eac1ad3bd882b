"""ASC logs: what Vector's tools and python-can write, frame by frame; what is counted; damage."""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from can import Message
from can.io.asc import ASCReader, ASCWriter

from pm.canbus.formats.asc import asc_blocks
from pm.canbus.formats.asc_header import looks_like_asc, read_header_line
from pm.canbus.formats.candump import candump_blocks
from tests.support.canbus_text import SmallReads, check_damaged, frames_of, read

PROJECT = Path(__file__).resolve().parents[2]
DERIVED = PROJECT.parent / "shared" / "can" / "derived"
needs_shared = pytest.mark.skipif(not DERIVED.is_dir(), reason="../shared is missing: a real log in every format")

HEADER = (
    "date Wed Apr 16 09:21:13.159 am 2014\nbase hex  timestamps absolute\ninternal events logged\n// version 8.2.1\n"
)
ZERO_US = 1_397_640_073_159_000
FD_64 = " ".join(f"{n:02x}" for n in range(64))

SAMPLE = HEADER + (
    "Begin Triggerblock Wed Apr 16 09:21:13.159 am 2014\r\n"
    "   0.000000 Start of measurement\r\n"
    "   0.003040 1  123             Tx   d 2 00 0A  Length = 768000 BitCount = 67 ID = 291\r\n"
    "   0.003050 2  18EBFF00x       Rx   d 8 01 A0 0F A6 60 3B D1 40    Length = 273910 BitCount = 141\n"
    "   0.004 1  7FF             Rx   d 0\n"
    "   0.0050 1  7FF             Rx   d D 1 2 3 4 5 6 7 8\n"
    "   0.006000123 255  1x              Rx   d 3 0a0b0C\n"
    f"   0.007000 CANFD   4 Rx        1C4D80A7x  Name_2                 0 1 f 64 {FD_64} 64 1331984 11 0 0 0 0 0\n"
    "   0.008000 CANFD  12 Tx         c9                1 0 9 12 29 00 00 00 0b 2a 00 00 00 00 00 01  164000 167\n"
    "   0.008500 CANFD  12 Rx         c9                               0 0 0  0  164000 167 1000 0 0 0 0 0\n"
    "   0.009000 CANFD 1  101             Tx   1 0 d 8 8 F1 F2 F3 F4 F5 F6 F7 F8  Length = 209000\n"
    "End TriggerBlock\n"
)
FRAMES = [
    (3_040, "1", 0x123, False, "000a"),
    (3_050, "2", 0x18EBFF00, True, "01a00fa6603bd140"),
    (4_000, "1", 0x7FF, False, ""),
    (5_000, "1", 0x7FF, False, "0102030405060708"),
    (6_000, "255", 1, True, "0a0b0c"),
    (7_000, "4", 0x1C4D80A7, True, FD_64.replace(" ", "")),
    (8_000, "12", 0xC9, False, "290000000b2a000000000001"),
    (8_500, "12", 0xC9, False, ""),
    (9_000, "1", 0x101, False, "f1f2f3f4f5f6f7f8"),
]


def at(zero_us: int) -> list[tuple[int, str, int, bool, str]]:
    return [(zero_us + time_us, *frame) for time_us, *frame in FRAMES]  # type: ignore[misc]


def test_frames_of_classic_and_flexible_buses() -> None:
    """python-can keeps the DLC of 13 as 32 bytes, takes a CAN FD frame without data for a remote frame and
    cannot read the early layout of CANFD events; the bytes on the bus decide here."""
    block, rejected = read(asc_blocks, SAMPLE)
    assert frames_of(block) == at(ZERO_US)
    assert rejected == {}


def test_pieces_of_a_stream_do_not_change_the_frames() -> None:
    text = HEADER + SAMPLE.removeprefix(HEADER) * 40
    whole, _ = read(asc_blocks, text)
    pieces, rejected = read(asc_blocks, text, stream=SmallReads)
    assert frames_of(pieces) == frames_of(whole) == at(ZERO_US) * 40
    assert rejected == {}


def test_what_is_no_data_frame_is_counted() -> None:
    block, rejected = read(
        asc_blocks,
        HEADER + "0.1 1  100 Rx r\n"
        "0.1 1  18FEF100x Tx r 8 Length = 1704000 BitCount = 145 ID = 88888888x\n"
        "0.1 CANFD   3 Tx     50005x     0 1 5 0 140000 73 200050 7a60 46500250\n"
        "0.1 CANFD   3 Tx     50005x     0 1 0 0 140000 73 200050 7a60 46500250\n"
        "0.1 CANFD 1  100             Tx   1 0 r 8  Length = 138000 BitCount = 57 ID = 256\n"
        "0.2 1 ErrorFrame\n"
        "0.2 2 ErrorFrame Flags = 0xe CodeExt = 0x20a2 Code = 0x82 ID = 0 DLC = 0 Position = 5\n"
        "0.2 CANFD   5 Tx ErrorFrame Not Acknowledge error, dominant error flag fffe c7\n"
        "0.3 1  Statistic: D 0 R 0 XD 0 XR 0 E 0 O 0 B 0.00%\n"
        "0.3 CAN 1 Status:chip status error passive - TxErr: 132 RxErr: 0\n"
        "0.3 1  J1939TP FEE3p        6    0  0   -   Rx   d 23 A0 0F A6 60 3B D1 40\n"
        "0.3 Li 1 2a Rx 2 01 02\n"
        "0.4 1  123 TxRq d 1 00\n"
        "0.4 CANFD 1 TxRq 123 0 0 1 1 00\n"
        "0.5 1  EngineData Rx d 1 00\n"  # a symbolic name
        "0.5 1  800 Rx d 1 00\n"
        "0.5 1  20000000x Rx d 1 00\n"
        "0.5 1  123 Rx d 2 00\n"
        "0.5 1  123 Rx d 2 00 0G\n"
        "0.5 1  123 Rx d 1 100\n"
        "0.5 1  123 Rx\n"
        "0.5 1\n"
        "0.5\n"
        "99999999999.0 1  123 Rx d 1 00\n"
        "0.5 CANFD 1 Rx 123 0 0 f 65 00\n"
        "some remark\n" + "0.6 1  123 Rx d 1 00" + " " * 9000 + "\n",
    )
    assert block is None
    assert rejected == {
        "remote_frame": 5,
        "error_frame": 3,
        "other_event": 4,
        "transmit_request": 2,
        "malformed_line": 12,
        "line_too_long": 1,
    }


def test_decimal_base() -> None:
    text = (
        HEADER.replace("hex", "dec")
        + "1.5 1  1792  Tx   d 8   2  16   0   0   0   0   0 255  Length = 0\n1.5 1 255 Rx d 1 256\n"
    )
    block, rejected = read(asc_blocks, text)
    assert frames_of(block) == [(ZERO_US + 1_500_000, "1", 1792, False, "02100000000000ff")]
    assert rejected == {"malformed_line": 1}


def test_relative_times_count_from_the_event_before() -> None:
    """Every event moves the clock, statistics and error frames as well; python-can takes the times as they are."""
    text = HEADER.replace("absolute", "relative") + (
        "0.5 1 123 Rx d 0\n0.25 1  Statistic: D 0\n0.0000004 1 ErrorFrame\n0.0000006 1 123 Rx d 0\n"
        "Begin Triggerblock Wed Apr 16 09:22:13.159 am 2014\n0.125 1 123 Rx d 0\n"
    )
    block, _ = read(asc_blocks, text)
    assert block is not None
    assert (block.time_us - ZERO_US).tolist() == [500_000, 750_001, 60_125_000]


def test_trigger_blocks_count_from_their_own_start() -> None:
    text = HEADER + (
        "Begin Triggerblock Wed Apr 16 09:22:13.159 am 2014\n1.0 1 123 Rx d 0\nEnd TriggerBlock\n"
        "Begin Triggerblock Wed Apr 16 09:30:13.159 am 2014\n-0.5 1 123 Rx d 0\nEnd TriggerBlock\n"
    )
    for start_us, zero_us in ((None, ZERO_US + 60_000_000), (10**15, 10**15)):
        block, _ = read(asc_blocks, text, start_us)
        assert block is not None
        assert (block.time_us - zero_us).tolist() == [1_000_000, 479_500_000]


def test_start_replaces_the_header_and_is_needed_without_one() -> None:
    block, _ = read(asc_blocks, SAMPLE, 10**15)
    assert frames_of(block) == at(10**15)
    headless = "base hex  timestamps absolute\n0.5 1 123 Rx d 0\n"
    block, _ = read(asc_blocks, headless, 10**15)
    assert frames_of(block)[0][0] == 10**15 + 500_000
    message = r"expected the instant of time zero \(--start\), because the log's times are relative, but got none"
    with pytest.raises(ValueError, match=message):
        read(asc_blocks, headless)


def test_microseconds_are_exact() -> None:
    """No binary fraction holds these times; python-can's floats are off where a day count is added."""
    times = [0, 1, 123_456, 999_999, 4_503_599_627_370_497, 300_000_000_000_001]
    lines = "".join(f"{t // 1_000_000}.{t % 1_000_000:06d} 1 123 Rx d 0\n" for t in times)
    block, _ = read(asc_blocks, HEADER + lines)
    assert block is not None
    # The fifth is longer than any log: a time since 1970.
    assert (block.time_us - ZERO_US).tolist()[:4] == times[:4]
    assert block.time_us.tolist()[4:] == [times[4], times[5] + ZERO_US]


@pytest.mark.parametrize(
    ("line", "start"),
    [
        ("date Wed Apr 16 12:21:13.159 am 2014", datetime(2014, 4, 16, 0, 21, 13, 159_000, UTC)),
        ("date Sam Sep 30 15:06:13.191 2017", datetime(2017, 9, 30, 15, 6, 13, 191_000, UTC)),
        ("Begin Triggerblock Tue May 12 23:37:26.6 2020", datetime(2020, 5, 12, 23, 37, 26, 6_000, UTC)),
        ("Begin TriggerBlock Mon Mar 7 01:21:51 pm 2005", datetime(2005, 3, 7, 13, 21, 51, 0, UTC)),
        ("date Die Dez 21 11:29:01 2004", datetime(2004, 12, 21, 11, 29, 1, 0, UTC)),
        ("date Mit M\u00e4r 3 11:29:01.25 2021", datetime(2021, 3, 3, 11, 29, 1, 25_000, UTC)),
        ("date Fri Okt 1 11:29:01.123456 2021", datetime(2021, 10, 1, 11, 29, 1, 123_456, UTC)),
        ("date Wed Feb 30 09:21:13 2014", None),
        ("date Wed Foo 3 09:21:13 2014", None),
        ("date Wed Apr 16 13:21:13 pm 2014", None),
        ("date yesterday", None),
    ],
)
def test_dates(line: str, start: datetime | None) -> None:
    """Milliseconds are a number: python-can writes 6 ms as `.6`, and reads it back as 600 ms."""
    for text in (line.encode(), line.encode("latin-1")):
        said = read_header_line(text)
        assert (said and said.start_us) == (start and round(start.timestamp() * 1e6))


def test_other_header_lines() -> None:
    said = read_header_line(b"base dec  timestamps relative")
    assert said is not None
    assert (said.base, said.is_relative) == (10, True)
    assert read_header_line(b"Begin Triggerblock") == (None, None, None)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (SAMPLE.encode(), True),
        (b"\xef\xbb\xbf" + SAMPLE.encode(), True),
        (b"// a remark\r\nbase hex  timestamps absolute\r\n", True),
        (b"   0.003040 1  123             Tx   d 2 00 0A\n", True),
        (b"0.5 CANFD 1 Rx 123 0 0 1 1 00\n", True),
        (b"(1600000000.000001) can0 18FEF100#00\n", False),
        (b"date,temperature\n2020-01-01,5\n", False),
        (b";$FILEVERSION=2.1\n      1     1059.900 DT 1      0300 Rx -  1    00\n", False),
        (b"", False),
    ],
)
def test_detection(head: bytes, expected: bool) -> None:
    assert looks_like_asc(head) is expected


def test_byte_order_mark_and_carriage_returns() -> None:
    block, rejected = read(asc_blocks, b"\xef\xbb\xbf" + SAMPLE.replace("\r", "").replace("\n", "\r\n").encode())
    assert frames_of(block) == at(ZERO_US)
    assert rejected == {}


def test_more_channels_than_allowed_are_counted() -> None:
    block, rejected = read(asc_blocks, HEADER + "".join(f"0.1 {n} 123 Rx d 0\n" for n in range(300)))
    assert block is not None
    assert block.channels == tuple(str(n) for n in range(256))
    assert rejected == {"too_many_channels": 44}


def python_can_messages() -> list[Message]:
    start = 1_700_000_000.006_25
    messages = []
    for n in range(600):
        kind, when = n % 6, start + n * 0.001_37
        message = Message(timestamp=when, arbitration_id=n, is_extended_id=n % 2 == 1, channel=n % 20, is_rx=n % 3 > 0)
        match kind:
            case 0 | 1 | 2:
                message.data = bytearray(range(n % 9))
                message.dlc = n % 9
            case 3:
                message.is_fd = True
                message.dlc = (1, 8, 12, 16, 20, 24, 32, 48, 64)[n % 9]
                message.data = bytearray((n + i) % 256 for i in range(message.dlc))
            case 4:
                message.is_remote_frame, message.dlc = True, n % 9
            case _:
                message.is_error_frame = True
        messages.append(message)
    return messages


def test_same_frames_as_python_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")  # python-can writes local time
    time.tzset()
    path = tmp_path / "a.asc"
    with ASCWriter(path) as writer:
        for message in python_can_messages():
            writer.on_message_received(message)
    block, rejected = read(asc_blocks, path.read_bytes())
    expected = [
        (round(message.timestamp * 1e6), str(message.channel + 1), message.arbitration_id, message.is_extended_id,
         message.data.hex())
        for message in ASCReader(path, relative_timestamp=True)
        if not message.is_error_frame and not message.is_remote_frame
    ]  # fmt: skip
    zero_us = 1_700_000_000_006_000
    assert [(time_us - zero_us, *frame) for time_us, *frame in frames_of(block)] == expected
    assert rejected == {"remote_frame": 100, "error_frame": 100}


@needs_shared
def test_real_log_has_the_frames_of_its_candump_text() -> None:
    """The writer cut the start to milliseconds (and wrote .006 as .6): every time is early by the same 935 us."""
    block, rejected = read(asc_blocks, (DERIVED / "P5_normal_ops2.asc").read_bytes())
    text, _ = read(
        lambda stream, source, start_us: candump_blocks(stream, "candump", source, start_us=start_us),
        (DERIVED / "P5_normal_ops2.log").read_bytes(),
    )
    assert text is not None
    assert block is not None
    assert [frame[2:] for frame in frames_of(block)] == [frame[2:] for frame in frames_of(text)]
    assert set((text.time_us - block.time_us).tolist()) <= {934, 935, 936}
    assert rejected == {"remote_frame": 1}


def test_damage_raises_nothing_but_value_errors() -> None:
    n_refused = check_damaged(asc_blocks, SAMPLE.encode() * 2, 300, seed=1)
    assert n_refused < 100


def test_indices_stay_within_their_arrays() -> None:
    """The same on kernels that check every index."""
    code = (
        "from pm.canbus.formats.asc import asc_blocks; from tests.support.canbus_text import check_damaged;"
        "from tests.unit.test_canbus_asc import SAMPLE; check_damaged(asc_blocks, SAMPLE.encode() * 2, 100, seed=2);"
        "check_damaged(asc_blocks, SAMPLE.replace('hex', 'dec').encode(), 50, seed=3)"
    )
    environment = os.environ | {"NUMBA_BOUNDSCHECK": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:].decode()
