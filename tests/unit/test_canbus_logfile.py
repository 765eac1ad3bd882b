"""Opening logs: formats, times, what is counted, and what is refused with the file's name."""

import gzip
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from can import Message
from can.io import ASCWriter, BLFWriter

from pm.canbus.formats.block import FrameBlock, Source, merged
from pm.canbus.formats.python_can import _asc_start
from pm.canbus.logfile import LogFile, open_log
from pm.errors import DataError

LINES = (
    "(1600000000.000001) can0 18FEF100#0102030405060708\n"
    "(1600000000.000002) can1 123#AABB R\r\n"
    "(1600000000.000003) can0 18FEF100#\n"
    "(1600000000.5) can0 0CF00400#FF T\n"
)


def write(folder: Path, content: str | bytes, name: str = "a.log") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(log: LogFile) -> FrameBlock:
    return merged(list(log.blocks()), None, log.source)


def test_candump_lines(tmp_path: Path) -> None:
    log = open_log(write(tmp_path, LINES))
    block = read(log)
    assert log.format == "candump"
    assert (block.time_us - 1_600_000_000_000_000).tolist() == [1, 2, 3, 500_000]
    assert block.can_id.tolist() == [0x18FEF100, 0x123, 0x18FEF100, 0x0CF00400]
    assert block.is_extended.tolist() == [True, False, True, True]
    assert block.length.tolist() == [8, 2, 0, 1]
    assert block.data[1].tolist() == [0xAA, 0xBB, 0, 0, 0, 0, 0, 0]
    assert [block.channels[c] for c in block.channel] == ["can0", "can1", "can0", "can0"]
    assert log.rejected == {}


def test_what_is_no_data_frame_is_counted(tmp_path: Path) -> None:
    text = LINES + (
        "(1600000001.000000) can0 18FEF100#R8\n"
        "(1600000001.000000) can0 20000080#0000000000000000\n"
        "(1600000001.000000) can0 18FEF1#00\n"
        "(1600000001.000000) can0 FFF#00\n"
        "(1600000001.000000) can0 18FEF100#0G\n"
        "(1600000001.000000) can0 18FEF100#000\n"
        "\n"
        "# a remark\n" + "x" * 5000 + "\n(1600000001.00000"
    )
    log = open_log(write(tmp_path, text))
    assert len(read(log)) == 4
    assert log.rejected == {"remote_frame": 1, "error_frame": 1, "malformed_line": 6, "line_too_long": 1}


def test_line_without_end_longer_than_a_block_is_counted_once(tmp_path: Path) -> None:
    log = open_log(write(tmp_path, LINES + "y" * 3_000_000 + "\n" + LINES))
    assert len(read(log)) == 8
    assert log.rejected == {"line_too_long": 1}


def test_flexible_data_rate_frames_keep_their_bytes(tmp_path: Path) -> None:
    log = open_log(write(tmp_path, LINES + "(1600000001.000000) can0 18FEF100##1" + "0A" * 12 + "\n"))
    block = read(log)
    assert block.data.shape == (5, 64)
    assert block.length[-1] == 12
    assert block.data[-1, :13].tolist() == [10] * 12 + [0]


def test_screen_text_counts_from_1970_or_from_start(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        " (000.000000)  can0  0CF00203   [8]  C1 E0 11 FF F7 74 20 03\n"
        " (001.500000)  can0       123   [2]  0A 0b\n"
        " (001.500001)  can0       123   [0]\n"
        " (001.600000)  can0  18FEF100   [3]  remote request\n"
        " (001.600000)  can0  18FEF100   [3]  01 02\n",
    )
    log = open_log(path)
    block = read(log)
    assert log.format == "candump_screen"
    assert block.time_us.tolist() == [0, 1_500_000, 1_500_001]
    assert block.data[0].tolist() == [0xC1, 0xE0, 0x11, 0xFF, 0xF7, 0x74, 0x20, 0x03]
    assert block.length.tolist() == [8, 2, 0]
    assert log.rejected == {"remote_frame": 1, "malformed_line": 1}
    start = datetime(2024, 5, 1, 12, tzinfo=UTC)
    assert read(open_log(path, start=start)).time_us[0] == round(start.timestamp() * 1e6)


def test_start_without_zone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="start"):
        open_log(write(tmp_path, LINES), start=datetime(2024, 5, 1))


def test_gzip_is_read_as_it_is(tmp_path: Path) -> None:
    log = open_log(write(tmp_path, gzip.compress(LINES.encode()), "a.log.gz"))
    assert log.format == "candump"
    assert len(read(log)) == 4


def test_truncated_gzip_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress((LINES * 3000).encode())
    log = write(tmp_path, packed[:-20], "a.log.gz")
    with pytest.raises(DataError, match=r"a\.log\.gz"):
        list(open_log(log).blocks())


def test_gzip_that_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pm.canbus.logfile.RATIO_FREE_BYTES", 0)
    packed = gzip.compress(LINES.encode() + b"0" * 3_000_000 + b"\n")
    with pytest.raises(DataError, match="times the packed size"):
        list(open_log(write(tmp_path, packed, "bomb.gz")).blocks())


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02" * 100, b"hello\nworld\n", b"\x1f\x8bnot gzip"])
def test_unknown_content_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match=r"odd\.bin"):
        open_log(write(tmp_path, content, "odd.bin"))


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.log.*No such file"):
        open_log(tmp_path / "none.log")
    with pytest.raises(DataError, match="directory"):
        open_log(tmp_path)


def test_log_without_data_frame_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "(1600000001.000000) can0 18FEF100#R8\n")
    with pytest.raises(DataError, match=r"expected at least one CAN data frame, but got 1 remote_frame"):
        list(open_log(path).blocks())


def blf(path: Path, n_frames: int = 2000) -> Path:
    with BLFWriter(path) as writer:
        for number in range(n_frames):
            writer.on_message_received(
                Message(timestamp=1.6e9 + number / 1000, arbitration_id=0x18FEF100, data=[number & 255] * 8, channel=0)
            )
    return path


def test_blf_is_read_and_its_channels_count_from_one(tmp_path: Path) -> None:
    log = open_log(blf(tmp_path / "a.blf"))
    block = read(log)
    assert (log.format, len(block), block.channels) == ("blf", 2000, ("1",))
    assert block.data[258].tolist() == [2] * 8
    assert block.time_us[1] - block.time_us[0] == 1000


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_truncated_blf_is_refused(tmp_path: Path, share: float) -> None:
    whole = blf(tmp_path / "a.blf").read_bytes()
    path = write(tmp_path, whole[: int(len(whole) * share)], "cut.blf")
    with pytest.raises(DataError, match=r"cut\.blf.*truncated"):
        list(open_log(path).blocks())


def test_damaged_blf_is_refused(tmp_path: Path) -> None:
    whole = bytearray(blf(tmp_path / "a.blf").read_bytes())
    whole[200:260] = bytes(60)
    with pytest.raises(DataError, match=r"bad\.blf"):
        list(open_log(write(tmp_path, bytes(whole), "bad.blf")).blocks())


def test_asc_start_is_taken_as_utc_or_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.asc"
    with ASCWriter(path) as writer:
        writer.on_message_received(Message(timestamp=1.6e9, arbitration_id=0x18FEF100, data=[1, 2], channel=1))
    start = datetime(2021, 1, 1, tzinfo=UTC)
    block = read(open_log(path, start=start))
    assert block.time_us.tolist() == [round(start.timestamp() * 1e6)]
    assert block.channels == ("2",)


def test_asc_milliseconds_are_a_number() -> None:
    head = "date Fri Nov 20 15:19:59.731 2026\nBegin Triggerblock Tue May 12 11:37:26.6 pm 2020\n"
    assert _asc_start(head) == datetime(2020, 5, 12, 23, 37, 26, 6000, UTC)
    assert _asc_start("base hex") == datetime(1970, 1, 1, tzinfo=UTC)


def test_more_channels_than_allowed_are_counted(tmp_path: Path) -> None:
    text = "".join(f"(1600000000.000001) can{n} 123#00\n" for n in range(300))
    log = open_log(write(tmp_path, text))
    assert len(read(log)) == 256
    assert log.rejected == {"too_many_channels": 44}


def test_blocks_of_different_width_are_merged() -> None:
    def block(width: int) -> FrameBlock:
        one = np.ones(1, dtype=np.int64)
        return FrameBlock(
            one, one.astype(np.int16), one.astype(np.uint32), one.astype(bool), one.astype(np.uint8),
            np.ones((1, width), dtype=np.uint8), (),
        )  # fmt: skip

    assert merged([block(8), block(64)], None, Source()).data.sum(axis=1).tolist() == [8, 64]
