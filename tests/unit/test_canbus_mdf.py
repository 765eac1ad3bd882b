"""Reading MF4: the frames asammdf reads, every layout of records, order of time, and what is refused."""

import struct
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from canbus_mdf import (
    FRAMES,
    RECORD,
    SIZE,
    START_US,
    USUAL,
    Channel,
    Group,
    MdfWriter,
    Row,
    a_record,
    changed,
    data_group,
    mixed,
    read,
    rows,
    simple,
    unusual,
    usual_channels,
    value,
    variable_channels,
    variable_records,
)

from pm.canbus.formats import mdf, mdf_values
from pm.canbus.formats.block import Source
from pm.errors import ConfigError

SHARED = Path(__file__).parents[3] / "shared" / "can"
REAL = ["P2_css_11111111_truck", "P3_css_asammdfbasics_truck", "P4_css_FCBF0606_vin_tp", "P9_css_17BD1DB7_kona_uds"]


def zstd(content: bytes) -> bytes:
    return pa.Codec("zstd").compress(content, asbytes=True)  # type: ignore[no-any-return]


def lz4(content: bytes) -> bytes:
    return pa.Codec("lz4").compress(content, asbytes=True)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "data",
    [
        lambda file: file.data(USUAL),
        lambda file: file.data(USUAL + b"more than the records"),
        lambda file: file.data(USUAL, 100),
        lambda file: file.data(USUAL, 7),
        lambda file: file.data(USUAL, 100, b"DV", b"LD"),
        lambda file: file.packed(USUAL),
        lambda file: file.packed(USUAL, n_columns=SIZE),
        lambda file: file.packed(USUAL, n_columns=7),
        lambda file: file.packed(USUAL, n_columns=10_000),
        lambda file: file.packed(USUAL, method=2, pack=zstd),
        lambda file: file.packed(USUAL, method=4, n_columns=SIZE, pack=lz4),
        lambda file: file.add(
            b"HL",
            [file.list_of([file.packed(USUAL[:100]), 0, file.add(b"DT"), file.packed(USUAL[100:], n_columns=9)])],
            bytes(8),
        ),
    ],
)
def test_records_in_every_kind_of_data_block(tmp_path: Path, data: Callable[[MdfWriter], int]) -> None:
    assert read(tmp_path, simple(data)) == (FRAMES, {})


def test_size_of_pieces_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sorted_log = simple(lambda file: file.packed(USUAL, n_columns=SIZE))
    mixed_log = mixed(with_values=True)
    for n_frames, n_bytes in ((3, 100), (5, 200), (7, 67)):
        monkeypatch.setattr(mdf, "BLOCK_FRAMES", n_frames)
        monkeypatch.setattr(mdf, "_MOST_BUFFER", n_bytes)
        monkeypatch.setattr(mdf_values, "_FILL_BYTES", n_bytes)
        assert read(tmp_path, sorted_log) == (FRAMES, {})
        assert read(tmp_path, mixed_log) == (FRAMES, {"error_frame": 1})


ONE: Row = (1_500_000, "7", 0x18FEF1AA, True, b"\x01\x02\x03\x04")
PLAIN = struct.pack("<dLBBB8s", 1.5, 0x18FEF1AA, 1, 7, 4, b"\x01\x02\x03\x04")
TIME, FRAME = "Timestamp", "CAN_DataFrame"


def with_time(packed: bytes) -> bytes:
    return packed.ljust(8, b"\0") + PLAIN[8:]


@pytest.mark.parametrize(
    "record, channels",
    [
        (PLAIN, {}),
        (with_time(struct.pack(">d", 1.5)), {TIME: Channel(TIME, 0, 64, kind=2, data_kind=5)}),
        (with_time(struct.pack("<f", 1.5)), {TIME: Channel(TIME, 0, 32, kind=2, data_kind=4)}),
        (
            with_time(struct.pack("<Q", 1_500_000_000)[:6]),
            {TIME: Channel(TIME, 0, 48, kind=2, conversion=(1, (0, 1e-9)))},
        ),
        (
            with_time(struct.pack(">i", -500_000)),
            {TIME: Channel(TIME, 0, 32, kind=2, data_kind=3, conversion=(1, (2.0, 1e-6)))},
        ),
        (PLAIN[:8] + struct.pack(">L", 0x18FEF1AA) + PLAIN[12:], {"ID": Channel(f"{FRAME}.ID", 8, 32, data_kind=1)}),
        (
            PLAIN[:8] + struct.pack("<L", 0x18FEF1AA << 3 | 1) + PLAIN[12:],
            {"ID": Channel(f"{FRAME}.ID", 8, 29, bit=3), "IDE": Channel(f"{FRAME}.IDE", 8, 1)},
        ),
        (
            PLAIN[:8] + struct.pack(">L", 0x18FEF1AA << 3) + PLAIN[12:],
            {"ID": Channel(f"{FRAME}.ID", 8, 29, bit=3, data_kind=1)},
        ),
        (
            PLAIN[:8] + struct.pack("<L", 0x98FEF1AA) + b"\0" + PLAIN[13:],
            {"IDE": Channel(f"{FRAME}.IDE", 12)},
        ),
        (PLAIN, {"IDE": None}),
        (PLAIN, {"IDE": Channel(f"{FRAME}.IDE", kind=6, n_bits=0, conversion=(1, (1, 0)))}),
        (PLAIN, {"ID": Channel(f"{FRAME}.ID", 8, 32, conversion=(1, (0x98FEF1AA, 0)))}),
        (PLAIN, {"ID": Channel("ID", 8, 32)}),
        (PLAIN, {"BusChannel": None}),
        (PLAIN, {"BusChannel": Channel(f"{FRAME}.BusChannel", kind=6, n_bits=0, conversion=(1, (7, 0)))}),
        (PLAIN, {"BusChannel": Channel(f"{FRAME}.BusChannel", 13, conversion=(7, (7.0,)))}),
        (
            PLAIN[:13] + b"\x03" + PLAIN[14:],
            {"BusChannel": Channel(f"{FRAME}.BusChannel", 13, conversion=(1, (1, 2)))},
        ),
        (PLAIN, {"DataLength": Channel(f"{FRAME}.DataLength", 14, 4, conversion=(5, (3, 1, 4, 4, 5, 9)))}),
        (PLAIN, {"DataLength": Channel(f"{FRAME}.DataLength", 14, 4, conversion=(4, (2, 2, 6, 6)))}),
        (PLAIN, {"DataLength": Channel(f"{FRAME}.DataLength", 14, 4, conversion=(2, (0, 2, 0, 0, 0, 2)))}),
        (PLAIN, {"DataLength": Channel(f"{FRAME}.DLC", 14, 4)}),
        (PLAIN, {"DataLength": None, "DataBytes": Channel(f"{FRAME}.DataBytes", 15, 32, data_kind=10)}),
        (PLAIN, {"DataBytes": Channel(f"{FRAME}.DataBytes", 15, 64, kind=5, data_kind=10)}),
    ],
)
def test_fields_of_every_kind(tmp_path: Path, record: bytes, channels: dict[str, Channel | None]) -> None:
    file = MdfWriter()
    group = Group(changed(**channels), 2, len(record) + 2, acquisition="CAN7_Rx")
    log = file.finish([data_group(file, file.data((record + b"\xff\xff") * 2), group)])
    assert read(tmp_path, log) == ([ONE] * 2, {})


@pytest.mark.parametrize("code, n_bytes", [(8, 8), (9, 12), (10, 16), (13, 32), (15, 64)])
def test_length_codes_of_long_frames(tmp_path: Path, code: int, n_bytes: int) -> None:
    channels = changed(
        DataLength=Channel(f"{FRAME}.DLC", 14, 4), DataBytes=Channel(f"{FRAME}.DataBytes", 15, 512, data_kind=10)
    )
    payload = bytes(range(100, 164))
    short = struct.pack("<dLBBB64s", 1, 0x123, 0, 1, 2, payload)
    long = struct.pack("<dLBBB64s", 2, 0x123, 0, 1, code, payload)
    file = MdfWriter()
    log = file.finish([data_group(file, file.data(short + long + short), Group(channels, 3, len(short)))])
    assert [row[4] for row in read(tmp_path, log)[0]] == [payload[:2], payload[:n_bytes], payload[:2]]


@pytest.mark.parametrize("size", [0, 11])
@pytest.mark.parametrize("packed", [False, True])
def test_payloads_of_variable_length_in_their_own_blocks(tmp_path: Path, size: int, packed: bool) -> None:
    frames = [*FRAMES, (99_000, "1", 5, False, bytes(range(64)))]
    values = b"".join(value(row[4]) for row in frames)
    file = MdfWriter()
    link = file.packed(values, kind=b"SD") if packed else file.data(values, size, b"SD")
    group = Group(variable_channels(link), len(frames))
    log = file.finish([data_group(file, file.data(b"".join(variable_records(frames)), size), group)])
    assert read(tmp_path, log) == (frames, {})


@pytest.mark.parametrize("order", ["frame first", "value first", "values last"])
@pytest.mark.parametrize("n_id_bytes", [1, 2, 4, 8])
@pytest.mark.parametrize("finished", [True, False])
def test_mixed_records(tmp_path: Path, order: str, n_id_bytes: int, finished: bool) -> None:
    log = mixed(with_values=True, order=order, n_id_bytes=n_id_bytes, finished=finished)
    assert read(tmp_path, log) == (FRAMES, {"error_frame": 1})


def at_times(times: Iterable[float], bus: int) -> bytes:
    return b"".join(a_record(time_s, bus, bytes([number & 255]), bus=bus) for number, time_s in enumerate(times))


def order_of(found: list[Row]) -> list[tuple[int, str]]:
    return [(row[0] // 1_000_000, row[1]) for row in found]


@pytest.mark.parametrize("n_frames", [1, 2, 3, 65_536])
def test_groups_are_merged_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_frames: int) -> None:
    monkeypatch.setattr(mdf, "BLOCK_FRAMES", n_frames)
    monkeypatch.setattr(mdf, "_LEAST_PIECE", n_frames)
    file = MdfWriter()
    groups = [[1, 3, 3, 8, 9, 9], [], [2, 3, 5, 5, 9, 9, 10, 11], [3, 4, 9]]
    at = [
        data_group(file, file.packed(at_times(times, bus), n_columns=5), Group(n_records=len(times)))
        for bus, times in enumerate(groups)
    ]
    expected = sorted((time_s, str(bus)) for bus, times in enumerate(groups) for time_s in times)
    assert order_of(read(tmp_path, file.finish(at))[0]) == expected


def test_clock_set_back_shows_as_a_step(tmp_path: Path) -> None:
    file = MdfWriter()
    first = data_group(file, file.data(at_times([1, 2, 9, 4, 5, 12], 1)), Group(n_records=6))
    one = [(1, "1"), (2, "1"), (9, "1"), (4, "1"), (5, "1"), (12, "1")]
    assert order_of(read(tmp_path, file.finish([first]))[0]) == one
    second = data_group(file, file.data(at_times([3, 10], 2)), Group(n_records=2))
    two = [*one[:2], (3, "2"), *one[2:5], (10, "2"), one[5]]
    assert order_of(read(tmp_path, file.finish([first, second]))[0]) == two


def test_mixed_groups_are_put_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = MdfWriter()
    late = [1, 2, 3, 4, 9, 5, 6]
    records = [(1, 1), (1, 4), (1, 5), (2, 1), (2, 2), (2, 3), (1, 9), (2, 4), (2, 10)]
    content = b"".join(bytes([bus]) + at_times([time_s], bus) for bus, time_s in records)
    groups = [Group(n_records=len(late), record_id=1), Group(n_records=len(late), record_id=2)]
    log = file.finish([data_group(file, file.data(content), *groups, n_id_bytes=1)])
    in_order = [(1, "1"), (1, "2"), (2, "2"), (3, "2"), (4, "1"), (4, "2"), (5, "1"), (9, "1"), (10, "2")]
    assert order_of(read(tmp_path, log)[0]) == in_order
    # A frame further from its place than what is held back comes late; none is lost.
    monkeypatch.setattr(mdf, "BLOCK_FRAMES", 1)
    found = order_of(read(tmp_path, log)[0])
    assert found != in_order
    assert sorted(found) == in_order


def test_remote_and_error_frames_are_counted(tmp_path: Path) -> None:
    for finished in (True, False):
        file = MdfWriter() if finished else MdfWriter(b"UnFinMF ", 0x1)
        at = [
            data_group(
                file,
                file.data(USUAL[: n * SIZE]),
                Group(usual_channels(name), n if finished else 0, frame=name),
            )
            for name, n in (("CAN_RemoteFrame", 3), ("CAN_DataFrame", 5), ("CAN_ErrorFrame", 2))
        ]
        assert read(tmp_path, file.finish(at)) == (FRAMES[:5], {"remote_frame": 3, "error_frame": 2})


def test_what_cannot_be_a_frame_is_counted(tmp_path: Path) -> None:
    good = a_record(1, 0x7FF, b"x", is_extended=False)
    bad = a_record(1, 0x800, b"x", is_extended=False)
    found, rejected = read(tmp_path, simple(lambda file: file.data(good * 5 + bad * 20)))
    assert (len(found), rejected) == (5, {"malformed_record": 20})
    wide = changed(BusChannel=Channel(f"{FRAME}.BusChannel", 12, 16, data_kind=1))
    file = MdfWriter()
    records = [RECORD.pack(1, 1, number >> 8, number & 255, 0, b"") for number in range(300)]
    group = Group(wide | {"IDE": Channel(f"{FRAME}.IDE", 8, 1)}, 300)
    found, rejected = read(tmp_path, file.finish([data_group(file, file.data(b"".join(records)), group)]))
    assert (len(found), found[255][1], rejected) == (256, "255", {"too_many_channels": 44})


def asammdf_rows(path: Path) -> tuple[list[Row], dict[str, int]]:
    """Frames in order of time, by asammdf."""
    package = pytest.importorskip("asammdf")
    found: list[Row] = []
    rejected = {}
    with package.MDF(path) as file:
        start_us = round(file.header.start_time.timestamp() * 1e6)
        for index, group in enumerate(file.groups):
            names, n = {channel.name for channel in group.channels}, group.channel_group.cycles_nr
            for name, reason in (("CAN_RemoteFrame", "remote_frame"), ("CAN_ErrorFrame", "error_frame")):
                if name in names and n:
                    rejected[reason] = n
            if "CAN_DataFrame" in names and n:
                parts = {
                    part: file.get(f"CAN_DataFrame.{part}", group=index)
                    for part in ("ID", "IDE", "BusChannel", "DataLength", "DataBytes")
                }
                times = start_us - START_US + np.rint(parts["ID"].timestamps * 1e6).astype(np.int64)
                columns = [part.samples for part in parts.values()]
                found += [
                    (time_us, str(int(bus)), int(can_id), bool(ide), bytes(data[: int(length)]))
                    for time_us, can_id, ide, bus, length, data in zip(times.tolist(), *columns, strict=True)
                ]
    return sorted(found, key=lambda row: row[0]), rejected


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real logs beside the project (../shared/can)")
@pytest.mark.parametrize("name", [*(f"logs/{name}.mf4" for name in REAL), "derived/P5_normal_ops2.mf4"])
def test_same_frames_as_asammdf_in_real_logs(name: str) -> None:
    source = Source()
    found = rows(mdf.mdf_blocks(SHARED / name, source))
    assert (found, dict(source.rejected)) == asammdf_rows(SHARED / name)


def test_same_frames_as_asammdf_in_made_logs(tmp_path: Path) -> None:
    for log in (
        mixed(with_values=False),
        simple(lambda file: file.packed(USUAL, n_columns=SIZE)),
        simple(lambda file: file.data(USUAL, 100)),
    ):
        assert read(tmp_path, log) == asammdf_rows(tmp_path / "a.mf4")


def test_unusual_layout_is_rewritten_by_asammdf(tmp_path: Path) -> None:
    pytest.importorskip("asammdf")
    assert read(tmp_path, unusual()) == (FRAMES, {})
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.mf4"]


def test_unusual_layout_without_asammdf_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asammdf", None)
    assert read(tmp_path, simple(lambda file: file.data(USUAL)))[0] == FRAMES
    with pytest.raises(ConfigError, match=r"record ids up to 65535.*pm\[mdf\]"):
        read(tmp_path, unusual())
