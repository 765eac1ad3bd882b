"""TRC logs: every version of PEAK's format and what python-can writes, frame by frame; damage."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from can import Message
from can.io.trc import TRCFileVersion, TRCReader, TRCWriter

from pm.canbus.formats.candump import candump_blocks
from pm.canbus.formats.trc import trc_blocks
from pm.canbus.formats.trc_header import looks_like_trc, start_of_comment, start_of_days
from tests.support.canbus_text import SmallReads, check_damaged, frames_of, read

PROJECT = Path(__file__).resolve().parents[2]
DERIVED = PROJECT.parent / "shared" / "can" / "derived"
needs_shared = pytest.mark.skipif(not DERIVED.is_dir(), reason="../shared is missing: a real log in every format")

NOON_US = 1_767_268_800_000_000  # 2026-01-01 12:00 UTC
NOON = ";$STARTTIME=46023.5\r\n"
FD_64 = " ".join(f"{n:02X}" for n in range(64))

V1_0 = (
    ";##########################################################################\n;   C:\\a.trc\n"
    ";    Start time: 01.01.2026 12:00:00.000\n;    PCAN-Net: PCI1\n;----+-   ---+---  ----+---  +  -+ -- -- ...\n"
    "     1)      1841      0001  8  00 01 02 03 04 05 06 07 \n"
    "     2)      1842      0008  4  ERROR 00 19 08 08 \n"
    "     3)      1843  FFFFFFFF  4  00 00 00 04 -- -- -- --  BUSLIGHT \n"
    "     4)      1844      0100  3  RTR \n"
    "     5)      1850  00000100  1  FF \n"
)
V1_1 = (
    ";$FILEVERSION=1.1\r\n" + NOON + ";   Start time: 24.03.2003 12:52:32.484\r\n"
    ";---+--   ----+----  --+--  ----+---  +  -+ -- -- -- -- -- -- --\r\n"
    "     1)      1841.0  Rx         0001  8  00 01 02 03 04 05 06 07 \r\n"
    "     2)      1346.8  Warng  FFFFFFFF  4  00 00 00 04  BUSLIGHT \r\n"
    "     3)      1349.2  Error      0008  4  00 19 08 08 \r\n"
    "     4)      1352.7  Rx         0100  3  RTR \r\n"
    "     5)      1850.0  Tx     00000100  1  FF \r\n"
)
V1_2 = (
    ";$FILEVERSION=1.2\n;$STARTTIME=46023.5;\n"
    "     1)      1841.000  1  Rx         0001  8  00 01 02 03 04 05 06 07\n"
    "     2)      1346.834  1  Warng  FFFFFFFF  4  00 00 00 04  BUSLIGHT\n"
    "     3)      1349.222  1  Error      0008  4  00 19 08 08\n"
    "     4)      1352.743  1  Rx         0100  3  RTR\n"
    "     5)      1850.000  1  Tx     00000100  1  FF\n"
)
V1_3 = (
    ";$FILEVERSION=1.3\n" + NOON + ";---+-- ------+------ +- --+-- ----+--- +- -+-- -+ -- -- -- -- -- -- --\n"
    "     1)      1841.000 1  Rx        0001 -  8    00 01 02 03 04 05 06 07\n"
    "     2)      1346.834 1  Warng FFFFFFFF -  4    00 00 00 04  BUSLIGHT\n"
    "     3)      1349.222 1  Error     0008 -  4    00 19 08 08\n"
    "     4)      1352.743 1  Rx        0100 -  3    RTR\n"
    "     5)      1850.000 1  Tx    00000100 -  1    FF\n"
)
V2_0 = (
    ";$FILEVERSION=2.0\n" + NOON + ";$COLUMNS=N,O,T,I,d,l,D\n"
    ";---+-- ------+------ +- --+----- +- +- +- -- -- -- -- -- -- --\n"
    "      1      1841.000 DT     0001 Rx 8  00 01 02 03 04 05 06 07\n"
    "      2      1334.522 ER          Rx    04 00 02 00 00\n"
    "      3      1334.531 ST          Rx    00 00 00 08\n"
    "      4      1336.543 RR     0100 Rx 3\n"
    "      5      1850.000 DT 00000100 Tx 1  FF\n"
)
V2_1 = (
    ";$FILEVERSION=2.1\n" + NOON + ";$COLUMNS=N,O,T,B,I,d,R,L,D\n"
    ";---+-- ------+------ +- +- --+----- +- +- +--- +- -- -- -- -- -- -- --\n"
    "      1      1841.000 DT 1      0001 Rx -  8    00 01 02 03 04 05 06 07\n"
    "      2      1334.222 ER 1         - Rx -  5    04 00 02 00 00\n"
    "      3      1334.224 EV 1  User-defined event for bus 1\n"
    "      4      1336.543 RR 1      0100 Rx -  3\n"
    "      5      1850.000 DT 1  00000100 Tx -  1    FF\n"
)
V3_0 = (
    ";$FILEVERSION=3.0\n" + NOON + ";$COLUMNS=N,O,T,B,I,d,R,V,S,A,r,s,L,D\n"
    "       1      1841.000 DT 1       001 Rx - - - -           - - 8    00 01 02 03 04 05 06 07\n"
    "       2      1900.000 ER 1         - Rx - - - -           - - 5    04 00 02 00 00\n"
    "       3      2131.122 XL 1       100 Tx - 00 03 00000456 0 0 3     03 11 22 33\n"
    "       4      2132.122 RR 1       100 Tx - - - -           - - 3\n"
    "       5      1850.000 DT 1  00000100 Tx - - - -           - - 1    FF\n"
)
FRAMES = [
    (NOON_US + 1_841_000, "1", 1, False, "0001020304050607"),
    (NOON_US + 1_850_000, "1", 0x100, True, "ff"),
]
VERSIONS = [V1_0, V1_1, V1_2, V1_3, V2_0, V2_1, V3_0]


@pytest.mark.parametrize("log", VERSIONS, ids=["1.0", "1.1", "1.2", "1.3", "2.0", "2.1", "3.0"])
def test_versions(log: str) -> None:
    """The width of an identifier tells 29 bits from 11. python-can knows no version 1.2 and 3.0, takes the
    bytes of an error in version 1.0 for a frame's, and its version 1.0 has no start."""
    for text in (log, "\ufeff" + log.replace("\r", "").replace("\n", "\r\n")):
        block, rejected = read(trc_blocks, text)
        assert frames_of(block) == FRAMES
        assert rejected == {"error_frame": 1, "other_event": 1, "remote_frame": 1}
    assert looks_like_trc(log.encode())
    assert looks_like_trc(b"\xef\xbb\xbf" + log.encode())


def test_detection_without_a_header_and_of_other_formats() -> None:
    assert looks_like_trc(b"     1)      1841      0001  8  00 01 02 03 04 05 06 07\r\n")
    assert looks_like_trc(b";\r\n\r\n     1)   1059.9  Rx   0300  7  00 00 00 00 04 00 00 \r\n")
    assert looks_like_trc(b";   a remark\n;$STARTTIME=46023.5\n")
    for head in (b"", b"; last modified\n[owner]\nname=x\n", b"(1600000000.000001) can0 18FEF100#00\n", b"date Wed\n"):
        assert not looks_like_trc(head)


def test_flexible_data_rate() -> None:
    """A length code of 9 is 12 bytes in column L and 9 bytes in column l; python-can keeps 9 in both."""
    lines = (
        "1 0.0 FD 1 0500 Tx - 9 01 02 03 04 05 06 07 08 09 0A 0B 0C\n"
        "2 0.0 FB 1 0500 Tx - 12 01 02 03 04 05 06 07 08 09 0A 0B 0C\n"  # a length, as in early logs
        f"3 0.0 FE 1 18EFC034 Rx - 15 {FD_64}\n"
        "4 0.0 BI 16 0500 Rx - 0\n"
        "5 0.0 FD 1 0500 Tx - 9 01 02 03 04 05 06 07 08 09\n"
        "6 0.0 FD 1 0500 Tx - 10 01\n"
        "7 0.0 DT 1 0500 Tx - 15 0102030405060708\n"
    )
    block, rejected = read(trc_blocks, V2_1[: V2_1.index(";---")] + lines)
    assert [(frame[1], frame[4]) for frame in frames_of(block)] == [
        ("1", "0102030405060708090a0b0c"),
        ("1", "0102030405060708090a0b0c"),
        ("1", FD_64.replace(" ", "").lower()),
        ("16", ""),
        ("1", "010203040506070809"),
        ("1", "0102030405060708"),
    ]
    assert rejected == {"malformed_line": 1}
    block, rejected = read(
        trc_blocks, V2_0[: V2_0.index(";---")] + "1 0.0 FD 0500 Tx 9 010203040506070809\n1 0 FD 0500 Tx 9 00\n"
    )
    assert frames_of(block)[0][4] == "010203040506070809"
    assert rejected == {"malformed_line": 1}


def test_damaged_lines_and_long_messages_are_counted() -> None:
    lines = (
        "1 later DT 1 0123 Rx - 1 00\n"
        "1 0.0 D 1 0123 Rx - 1 00\n"
        "1 0.0 dt 1 0123 Rx - 1 00\n"
        "1 0.0 DT - 0123 Rx - 1 00\n"
        "1 0.0 DT 99999 0123 Rx - 1 00\n"
        "1 0.0 DT 1 0G23 Rx - 1 00\n"
        "1 0.0 DT 1 0800 Rx - 1 00\n"
        "1 0.0 DT 1 3FFFFFFF Rx - 1 00\n"
        "1 0.0 DT 1 0123 Up - 1 00\n"
        "1 0.0 DT 1 0123 Rx - 2 00\n"
        "1 0.0 DT 1 0123 Rx - 1 00 01\n"
        "1 0.0 DT 1 0123 Rx - 1 0\u00e4\n"
        "1 0.0 DT 1 0123\n"
        "1 0.0\n"
        "x\n"
        "1 0.0 DT 1 18ECFF00 Rx FF 9 00 01 02 03 04 05 06 07 08\n"  # J1939, put together
        f"1 0.0 DT 1 18ECFF00 Rx FF 1785 {'00 ' * 1785}\n"
        f"1 0.0 DT 1 0123 Rx - 1 00{' ' * 9000}\n"
    )
    block, rejected = read(trc_blocks, V2_1[: V2_1.index(";---")] + lines)
    assert block is None
    assert rejected == {"malformed_line": 15, "other_event": 2, "line_too_long": 1}


def test_offsets_are_exact() -> None:
    """Up to microseconds, whatever the number of decimals; python-can adds floats to a day count."""
    text = V2_0[: V2_0.index(";---")] + "".join(
        f"1 {offset} DT 0123 Rx 0\n"
        for offset in ("0", "0.1", "0.01", "0.001", "0.0019", "1059.9", "4294967269.343", "-0.5", "86400000.0001")
    )
    block, _ = read(trc_blocks, text)
    assert block is not None
    assert (block.time_us - NOON_US).tolist() == [
        0, 100, 10, 1, 1, 1_059_900, 4_294_967_269_343, -500, 86_400_000_000,
    ]  # fmt: skip


def test_start_replaces_the_header_and_is_needed_without_one() -> None:
    for log in VERSIONS:
        block, _ = read(trc_blocks, log, 10**15)
        assert [frame[0] - 10**15 for frame in frames_of(block)] == [1_841_000, 1_850_000]
    message = r"expected the instant of time zero \(--start\), because the log's times are relative, but got none"
    for log in (V1_0.replace("01.01.2026", "01/01/2026"), V2_0.replace("46023.5", "0"), V2_0.replace(NOON, "")):
        with pytest.raises(ValueError, match=message):
            read(trc_blocks, log)


def test_logs_one_behind_the_other_keep_their_distance() -> None:
    log = V2_0 + V1_1.replace("46023.5", "46024.5")
    for start_us, first_us in ((None, NOON_US), (10**15, 10**15)):
        block, _ = read(trc_blocks, log, start_us, SmallReads)
        assert block is not None
        assert (block.time_us - first_us).tolist() == [
            1_841_000, 1_850_000, 86_401_841_000, 86_401_850_000,
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "start"),
    [
        ("46023.5", datetime(2026, 1, 1, 12, tzinfo=UTC)),
        ("43963,25", datetime(2020, 5, 12, 6, tzinfo=UTC)),
        ("44656.4982577909614", datetime(2022, 4, 5, 11, 57, 29, 473_139, UTC)),
        ("0", None),
        ("8708618495", None),
        ("3000000.5", None),
        ("1e5", None),
        ("", None),
    ],
)
def test_days_since_1899(value: str, start: datetime | None) -> None:
    assert start_of_days(value) == (start and round(start.timestamp() * 1e6))


@pytest.mark.parametrize(
    ("line", "start"),
    [
        (";    Start time: 11.09.2002 16:00:20.682", datetime(2002, 9, 11, 16, 0, 20, 682_000, UTC)),
        (";   Start time: 06.03.2009 16:15:12.317.3", datetime(2009, 3, 6, 16, 15, 12, 317_300, UTC)),
        (";   Start time: 2020-05-12 23:37:26.631333+00:00", datetime(2020, 5, 12, 23, 37, 26, 631_333, UTC)),
        (";   Start time: 2020-05-12 23:37:26+02:30", datetime(2020, 5, 12, 21, 7, 26, 0, UTC)),
        (";   Start time: 05/04/2022 11:57:29.473.1", None),
        (";   Start time: 31.02.2022 11:57:29", None),
        (";   PCAN-Net: PCI1", None),
    ],
)
def test_start_in_a_comment(line: str, start: datetime | None) -> None:
    assert start_of_comment(line) == (start and round(start.timestamp() * 1e6))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (";$FILEVERSION=1.7\n", "expected TRC version 1.0 to 1.3 or from 2.0 on, but got '1.7'"),
        (";$FILEVERSION=2.1\n" + NOON, "expected the order of the columns in the header, but got a frame"),
        (";$FILEVERSION=2.1\n;$COLUMNS=N,O,T,I,d,D\n", "expected columns O, T, I, l or L, and D at the end"),
        (";$FILEVERSION=2.1\n;$COLUMNS=N,O,I,T,d,l,D\n", "expected columns O, T, I, l or L, and D at the end"),
        (";$FILEVERSION=2.1\n;$COLUMNS=D,O,T,I,d,l\n", "expected columns O, T, I, l or L, and D at the end"),
    ],
)
def test_unusable_headers(header: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(trc_blocks, header + "1 0.0 DT 0123 Rx 1 00\n")


@pytest.mark.parametrize("version", [TRCFileVersion.V2_1, TRCFileVersion.V1_0])
def test_same_frames_as_python_can(tmp_path: Path, version: TRCFileVersion) -> None:
    """Its writer knows no remote, error and FD frames; version 1.0 has whole milliseconds and one channel."""
    path = tmp_path / "a.trc"
    writer = TRCWriter(path)
    writer.file_version = version
    for n in range(600):
        writer.on_message_received(
            Message(
                timestamp=1_700_000_000.0 + n * 0.00137,
                arbitration_id=n * (2_000 if n % 2 else 1),
                is_extended_id=n % 2 == 1,
                channel=n % 20,
                is_rx=n % 3 > 0,
                data=bytes(range(n % 9)),
            )
        )
    writer.stop()
    block, rejected = read(trc_blocks, path.read_bytes())
    shift_s = 1_700_000_000 if version is TRCFileVersion.V1_0 else 0
    expected = [
        (round((message.timestamp + shift_s) * 1e6), str(message.channel), message.arbitration_id,
         message.is_extended_id, message.data.hex())
        for message in TRCReader(path)
    ]  # fmt: skip
    found = frames_of(block)
    assert [frame[1:] for frame in found] == [frame[1:] for frame in expected]
    # python-can's start is a float of days and then of seconds: it is off by a microsecond now and then.
    assert np.abs(np.array([frame[0] for frame in found]) - [frame[0] for frame in expected]).max() <= 1
    assert rejected == {}


@needs_shared
def test_real_log_has_the_frames_of_its_candump_text() -> None:
    """The writer leaves the remote frame out, counts from it all the same, and gives as start the time of the
    first frame that it wrote: every time is late by that frame's offset, 624,398 us."""
    block, rejected = read(trc_blocks, (DERIVED / "P5_normal_ops2.trc").read_bytes())
    text, _ = read(
        lambda stream, source, start_us: candump_blocks(stream, "candump", source, start_us=start_us),
        (DERIVED / "P5_normal_ops2.log").read_bytes(),
    )
    assert text is not None
    assert block is not None
    assert [frame[2:] for frame in frames_of(block)] == [frame[2:] for frame in frames_of(text)]
    late_us = block.time_us - text.time_us
    assert np.ptp(late_us) <= 1
    assert abs(int(late_us[0]) - 624_398) <= 9  # the start has ten decimals of a day
    assert rejected == {}


def test_damage_raises_nothing_but_value_errors() -> None:
    n_refused = sum(check_damaged(trc_blocks, log.encode() * 2, 60, seed=1) for log in VERSIONS)
    assert n_refused < 7 * 40


def test_indices_stay_within_their_arrays() -> None:
    """The same on kernels that check every index."""
    code = (
        "from pm.canbus.formats.trc import trc_blocks; from tests.support.canbus_text import check_damaged;"
        "from tests.unit.test_canbus_trc import VERSIONS;"
        "[check_damaged(trc_blocks, log.encode() * 2, 40, seed=2) for log in VERSIONS]"
    )
    environment = os.environ | {"NUMBA_BOUNDSCHECK": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:].decode()
