"""Opening logs: formats, times, what is counted, and what is refused with the file's name."""

import codecs
import gzip
import os
import random
import tempfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from can import Message
from can.io import ASCWriter, BLFWriter, CanutilsLogWriter, CSVWriter, MF4Writer, TRCWriter
from canbus_mdf import unusual

from pm.canbus.formats.block import FrameBlock, Source, merged
from pm.canbus.logfile import LogFile, open_log
from pm.errors import ConfigError, DataError

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


SCREEN = (
    " (000.000000)  can0  0CF00203   [8]  C1 E0 11 FF F7 74 20 03\n"
    " (001.500000)  can0       123   [2]  0A 0b\n"
    " (001.500001)  can0       123   [0]\n"
    " (001.600000)  can0  18FEF100   [3]  remote request\n"
    " (001.600000)  can0  18FEF100   [3]  01 02\n"
)
START = datetime(2024, 5, 1, 12, tzinfo=UTC)
START_US = round(START.timestamp() * 1e6)
NEEDS_START = (
    r"a\.log: expected the instant of time zero \(--start\), because the log's times are relative, but got none"
)


def test_screen_text_counts_from_start(tmp_path: Path) -> None:
    log = open_log(write(tmp_path, SCREEN), start=START)
    block = read(log)
    assert log.format == "candump_screen"
    assert (block.time_us - START_US).tolist() == [0, 1_500_000, 1_500_001]
    assert block.data[0].tolist() == [0xC1, 0xE0, 0x11, 0xFF, 0xF7, 0x74, 0x20, 0x03]
    assert block.length.tolist() == [8, 2, 0]
    assert log.rejected == {"remote_frame": 1, "malformed_line": 1}


TRC_1_0 = (
    ";##########\n;   C:\\Traces\\a.trc\n;   CAN activities imported from Database\n;   Start time: {start}\n"
    ";   Message Number\n;   |         Time Offset (ms)\n"
    "     1)      1841 0001 8 00 00 00 00 00 00 00 00\n"
)


@pytest.mark.parametrize(
    ("text", "format"),
    [
        (SCREEN, "candump_screen"),
        ("(000.000000) can0 123#00\n", "candump"),
        ("base hex  timestamps absolute\n 0.5 1  123             Rx   d 1 00\n", "asc"),
        ("timestamp,arbitration_id,extended,remote,error,dlc,data\n1.5,0x123,0,0,0,1,AA==\n", "csv"),
        ("Time,Chn,ID,Dir,DLC,Data\n1.5,1,123,Rx,1,00\n", "csv"),
    ],
)
def test_relative_times_need_a_start(tmp_path: Path, text: str, format: str) -> None:
    path = write(tmp_path, text)
    assert open_log(path).format == format
    with pytest.raises(DataError, match=NEEDS_START):
        list(open_log(path).blocks())
    assert 0 <= read(open_log(path, start=START)).time_us[0] - START_US <= 1_500_000


@pytest.mark.parametrize(
    "text",
    [
        LINES,
        " (2026-11-21 13:38:44.123456)  can0  123   [1]  00\n",
        "timestamp,arbitration_id,extended,remote,error,dlc,data\n1600000000.5,0x123,0,0,0,1,AA==\n",
        "Time,Chn,ID,Dir,DLC,Data\n2026-11-21T13:38:44Z,1,123,Rx,1,00\n",
    ],
)
def test_start_is_not_applied_to_absolute_times(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    assert read(open_log(path, start=START)).time_us[0] == read(open_log(path)).time_us[0]


def test_start_without_zone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="start"):
        open_log(write(tmp_path, LINES), start=datetime(2024, 5, 1))


WRITERS = {
    "candump": CanutilsLogWriter,
    "asc": ASCWriter,
    "blf": BLFWriter,
    "trc": TRCWriter,
    "csv": CSVWriter,
    "mf4": MF4Writer,
}
SUFFIXES = {"candump": "log"}


def written(folder: Path, format: str, n_frames: int = 20) -> bytes:
    """A log written by python-can."""
    if format == "mf4":
        pytest.importorskip("asammdf", reason="asammdf (extra pm[mdf]) is not installed")
    path = folder / f"written.{SUFFIXES.get(format, format)}"
    with WRITERS[format](path) as writer:
        for number in range(n_frames):
            writer.on_message_received(
                Message(timestamp=1.6e9 + number, arbitration_id=0x18FEF100, data=[number] * 8, channel=1)
            )
    return path.read_bytes()


def zipped(content: bytes, folder: Path) -> bytes:
    path = folder / "written.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", content)
    return path.read_bytes()


@pytest.mark.parametrize("packing", [None, "gzip", "zip"])
@pytest.mark.parametrize("format", WRITERS)
def test_formats_are_told_apart_by_content_packed_or_not(
    tmp_path: Path, format: str, packing: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = written(tmp_path, format)
    if packing is not None:
        content = gzip.compress(content) if packing == "gzip" else zipped(content, tmp_path)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    log = open_log(write(tmp_path, content, "a.txt"))
    block = read(log)
    assert (log.format, log.packing) == (format, packing)
    assert block.data[:, 0].tolist() == list(range(20))
    assert set(block.can_id.tolist()) == {0x18FEF100}
    assert np.all(np.diff(block.time_us) == 1_000_000)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_packed_mf4_without_its_reader_names_the_packed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, gzip.compress(unusual()), "a.mf4.gz")
    monkeypatch.setitem(__import__("sys").modules, "asammdf", None)
    with pytest.raises(ConfigError, match=r"a\.mf4\.gz"):
        list(open_log(path).blocks())


def test_trc_1_0_has_no_version_line(tmp_path: Path) -> None:
    log = open_log(write(tmp_path, TRC_1_0.format(start="01.05.2024 12:00:00.000")))
    assert (log.format, read(log).time_us.tolist()) == ("trc", [START_US + 1_841_000])


@pytest.mark.parametrize("text", [LINES, SCREEN, "Time,Chn,ID,Dir,DLC,Data\n1.5,1,123,Rx,1,00\n"])
def test_mark_of_utf8_is_passed_over(tmp_path: Path, text: str) -> None:
    plain = open_log(write(tmp_path, text), start=START)
    marked = open_log(write(tmp_path, codecs.BOM_UTF8 + text.encode(), "marked.log"), start=START)
    assert np.array_equal(read(marked).time_us, read(plain).time_us)
    assert marked.rejected == plain.rejected


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "an empty file"),
        (b"\x00\x01\x02" * 100, "other binary data"),
        (b"hello\nworld\n", "text that begins with 'hello'"),
        (LINES.encode("utf-16"), "UTF-16 text"),
        (LINES.encode("utf-16-be"), "UTF-16 text"),
        (b"day,odometer,fuel\n1,2,3\n", "a table with 'day,odometer,fuel' in place of columns for time"),
        (b"  can0  123   [1]  00\n", "candump text without times"),
        (b"\xfd7zXZ\x00\x00\x04", "xz"),
        (b"icsbin\x01\x01", "Vehicle Spy binary"),
    ],
)
def test_unknown_content_is_named(tmp_path: Path, content: bytes, what: str) -> None:
    with pytest.raises(DataError, match=r"odd\.bin: expected candump, ASC, .* but got " + what):
        open_log(write(tmp_path, content, "odd.bin"))


def test_what_is_no_readable_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.log.*No such file"):
        open_log(tmp_path / "none.log")
    with pytest.raises(DataError, match="expected a file, but got a directory"):
        open_log(tmp_path)
    os.mkfifo(tmp_path / "pipe.log")  # opening it for reading would wait for a writer
    with pytest.raises(DataError, match=r"pipe\.log: expected a file"):
        open_log(tmp_path / "pipe.log")


def test_damaged_logs_give_frames_or_a_data_error(tmp_path: Path) -> None:
    draw = random.Random(11)
    refused: list[str] = []
    wholes = [written(tmp_path, format) for format in ("candump", "asc", "blf", "trc", "csv")]
    path = tmp_path / "a.log"
    for number in range(300):
        content = bytearray(wholes[number % len(wholes)])
        for _ in range(draw.randrange(1, 8)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        if draw.random() < 0.4:
            del content[draw.randrange(len(content)) :]
        path.write_bytes(draw.randbytes(draw.randrange(300)) if number % 10 == 9 else content)
        try:
            block = read(open_log(path, start=START))
        except DataError as reason:
            refused.append(str(reason))
        else:
            assert len(block) <= 40
    assert all("a.log" in reason and len(reason) < 600 for reason in refused)
    assert len(refused) > 20


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
