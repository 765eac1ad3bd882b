"""Reading MF4: the frames asammdf reads, every layout of records, order of time, and what is refused."""

import random
import struct
import sys
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from canbus_mdf import (
    RECORD,
    START_US,
    Channel,
    Group,
    MdfWriter,
    a_record,
    data_group,
    usual_channels,
    variable_group,
)

from pm.canbus.formats import mdf, mdf_groups, mdf_merge
from pm.canbus.formats.block import FrameBlock, Source
from pm.errors import ConfigError

Row = tuple[int, str, int, bool, bytes]

SHARED = Path(__file__).parents[3] / "shared" / "can"
REAL = ["P2_css_11111111_truck", "P3_css_asammdfbasics_truck", "P4_css_FCBF0606_vin_tp", "P9_css_17BD1DB7_kona_uds"]


def rows(blocks: Iterable[FrameBlock]) -> list[Row]:
    found: list[Row] = []
    for block in blocks:
        assert len(block) > 0
        assert block.data.flags.c_contiguous
        assert block.data.shape[1] in (8, 64)
        assert not (block.data * (np.arange(block.data.shape[1]) >= block.length[:, None])).any()
        found += [
            (int(time_us) - START_US, block.channels[channel], int(can_id), bool(is_extended), data[:length].tobytes())
            for time_us, channel, can_id, is_extended, length, data in zip(
                block.time_us, block.channel, block.can_id, block.is_extended, block.length, block.data, strict=True
            )
        ]
    return found


def read(folder: Path, content: bytes) -> tuple[list[Row], dict[str, int]]:
    path, source = folder / "a.mf4", Source()
    path.write_bytes(content)
    found = rows(mdf.mdf_blocks(path, source))
    return found, dict(source.rejected)


FRAMES: list[Row] = [
    (number * 1000, str(1 + number % 3), 0x18FEF100 + number if number % 4 else number, number % 4 > 0, payload)
    for number, payload in enumerate(bytes(range(n, 2 * n)) for n in [0, 1, 7, 8, 3] * 5)
]


def records_of(frames: Iterable[Row]) -> bytes:
    return b"".join(
        a_record(time_us / 1e6, can_id, payload, is_extended=is_extended, bus=int(bus))
        for time_us, bus, can_id, is_extended, payload in frames
    )


def simple(data: Callable[[MdfWriter], int], **options: Any) -> bytes:
    """A log of one group, whose n records lie where `data` puts them."""
    file = MdfWriter()
    return file.finish([data_group(file, data(file), Group(n_records=len(FRAMES), **options))])


USUAL = records_of(FRAMES)
SIZE = RECORD.size


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
    for n_frames, n_bytes in ((1, 90_000), (2, 70_000), (7, 66_000)):
        monkeypatch.setattr(mdf, "BLOCK_FRAMES", n_frames)
        monkeypatch.setattr(mdf_groups, "_BUFFER_BYTES", n_bytes)
        monkeypatch.setattr(mdf_merge, "WAITING_FRAMES", 3 * n_frames)
        assert read(tmp_path, sorted_log) == (FRAMES, {})
        assert read(tmp_path, mixed_log) == (FRAMES, {"error_frame": 1})


def changed(**changes: Channel | None) -> dict[str, Channel]:
    """The usual channels, some of them others or none."""
    found = usual_channels() | {name: channel for name, channel in changes.items() if channel}
    return {name: channel for name, channel in found.items() if name not in changes or changes[name]}


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


def value(payload: bytes) -> bytes:
    return struct.pack("<L", len(payload)) + payload


def variable_records(frames: Iterable[Row]) -> list[bytes]:
    """Records whose payload is the place of one in another stream."""
    found, at = [], 0
    for time_us, bus, can_id, is_extended, payload in frames:
        found.append(RECORD.pack(time_us / 1e6, can_id, is_extended, int(bus), len(payload), struct.pack("<Q", at)))
        at += 4 + len(payload)
    return found


def variable_channels(link: int) -> dict[str, Channel]:
    return changed(DataBytes=Channel(f"{FRAME}.DataBytes", 15, 64, kind=1, data_kind=10, data_link=link))


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


def mixed(
    *, with_values: bool, order: str = "frame first", n_id_bytes: int = 1, finished: bool = True, tail: bytes = b""
) -> bytes:
    """A log whose groups lie in one data block: short payloads in the records, long ones (if asked for) beside them."""
    file = MdfWriter() if finished else MdfWriter(b"UnFinMF ", 0x25)

    def record(record_id: int, content: bytes) -> bytes:
        return record_id.to_bytes(n_id_bytes, "little") + content

    beside = [row for row in FRAMES if row[1] == "2"] if with_values else []
    places = iter(variable_records(beside))
    records, late = [], []
    for row in FRAMES:
        if row in beside:
            pair = [record(4, next(places)), record(5, value(row[4]))]
            records += pair if order == "frame first" else pair[:1] if order == "values last" else pair[::-1]
            late += pair[1:] if order == "values last" else []
        else:
            records.append(record(3, records_of([row])))
    records += [*late, record(9, b"\0" * 30), record(7, value(b"x" * 300)), record(6, b"\0" * 9)]
    content = b"".join(records) + tail
    groups = [
        Group(n_records=len(FRAMES) - len(beside) if finished else 0, record_id=3),
        variable_group(5),
        variable_group(7),
        Group({"x": Channel("CAN_ErrorFrame")}, int(finished), 9, 6, frame="CAN_ErrorFrame"),
        Group({"x": Channel("something else")}, int(finished), 30, 9, frame="else"),
    ]
    link = 0
    following = 0
    for group in reversed(groups):
        following = at = group.add_to(file, following)
        link = at if group.record_id == 5 else link
    own = Group(variable_channels(link), len(beside) if finished else 0, record_id=4).add_to(file, following)
    group_at = file.add(b"DG", [0, own, 0, 0], struct.pack("<B7x", n_id_bytes))
    file.link(group_at, 2, file.add(b"DT", data=content, length=None if finished else 24))
    return file.finish([group_at])


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
    monkeypatch.setattr(mdf_merge, "WAITING_FRAMES", 1)
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


def unusual() -> bytes:
    """Record ids that no table holds."""
    file = MdfWriter()
    content = b"".join(struct.pack("<L", 70_000) + USUAL[at : at + SIZE] for at in range(0, len(USUAL), SIZE))
    group = Group(n_records=len(FRAMES), record_id=70_000)
    return file.finish([data_group(file, file.data(content), group, n_id_bytes=4)])


def test_unusual_layout_is_rewritten_by_asammdf(tmp_path: Path) -> None:
    pytest.importorskip("asammdf")
    assert read(tmp_path, unusual()) == (FRAMES, {})
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.mf4"]


def test_unusual_layout_without_asammdf_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asammdf", None)
    assert read(tmp_path, simple(lambda file: file.data(USUAL)))[0] == FRAMES
    with pytest.raises(ConfigError, match=r"record ids up to 65535.*pm\[mdf\]"):
        read(tmp_path, unusual())


def ring(kind: str) -> bytes:
    """A log with a chain that leads back to itself."""
    file = MdfWriter()
    if kind == "DL":
        data = file.add(b"DL", [0, file.data(USUAL)], bytes(8))
        file.link(data, 0, data)
        return file.finish([data_group(file, data, Group(n_records=1 << 40))])
    at = data_group(file, file.data(USUAL), Group(n_records=len(FRAMES)))
    log = bytearray(file.finish([at]))
    found = log.index(b"##" + kind.encode())
    struct.pack_into("<Q", log, found + 24, found)
    return bytes(log)


def one_group(record: bytes = USUAL, **options: Any) -> bytes:
    file = MdfWriter()
    return file.finish([data_group(file, file.data(record), Group(n_records=1, **options))])


def beyond(at: int) -> bytes:
    """A log whose only payload lies at `at` of a stream with one."""
    file = MdfWriter()
    link = file.data(value(b"payload"), kind=b"SD")
    record = RECORD.pack(1, 1, 0, 1, 7, struct.pack("<Q", at))
    return file.finish([data_group(file, file.data(record), Group(variable_channels(link), 1))])


def named_twice() -> bytes:
    file = MdfWriter()
    block = file.data(USUAL)
    return file.finish([data_group(file, file.list_of([block] * 9), Group(n_records=9 * len(FRAMES)))])


@pytest.mark.parametrize("limit", [{"LARGEST_WINDOW": 1000}, {"_KEPT_BEHIND": 0}])
def test_payloads_far_from_their_records_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: dict[str, int]
) -> None:
    file = MdfWriter()
    values = value(b"first") + value(bytes(60_000)) * 40 + value(b"last")
    link = file.data(values, kind=b"SD")
    records = b"".join(RECORD.pack(1, 1, 0, 1, 7, struct.pack("<Q", at)) for at in (len(values) - 8, 0))
    log = file.finish([data_group(file, file.data(records), Group(variable_channels(link), 2))])
    assert [row[4] for row in read(tmp_path, log)[0]] == [b"last", b"first"]
    for name, limited in limit.items():
        monkeypatch.setattr(mdf_groups, name, limited)
    monkeypatch.setattr(mdf, "BLOCK_FRAMES", 1 if "_KEPT_BEHIND" in limit else 2)
    with pytest.raises(ValueError, match="^expected payloads in the order of their records"):
        read(tmp_path, log)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"MDF     4.10    ", "expected 64 bytes at byte 0"),
        (simple(lambda file: file.data(USUAL))[:64], "expected 24 bytes at byte 64, but got the end"),
        (simple(lambda file: file.data(USUAL))[:-300], "expected"),
        (b"MDF     ".ljust(64, b"\0") + b"HD" * 100, "expected a block at byte 64"),
        (one_group(USUAL[: SIZE - 1]), "expected 1 whole records, but got 0 and 22 bytes"),
        (one_group(b""), "expected 1 whole records, but got 0 and 0 bytes"),
        (one_group(record_bytes=20), "expected payloads within records of 20 bytes"),
        (one_group(record_bytes=11), "expected fields within records of 11 bytes"),
        (one_group(record_bytes=1 << 20), "expected records of at most 65536 bytes"),
        (one_group(a_record(float("nan"), 1, b"")), "expected a time from 1970 to 9999"),
        (one_group(a_record(float("inf"), 1, b"")), "expected a time from 1970 to 9999"),
        (one_group(a_record(-1.7e9, 1, b"")), "expected a time from 1970 to 9999"),
        (one_group(a_record(1e17, 1, b"")), "expected a time from 1970 to 9999"),
        (ring("DG"), "expected a chain of blocks DG with an end"),
        (ring("CG"), "expected a chain of blocks CG with an end"),
        (ring("CN"), "expected a chain of blocks CN with an end"),
        (ring("DL"), "expected every data block once"),
        (named_twice(), "expected every data block once"),
        (simple(lambda file: file.add(b"SD", data=USUAL)), "expected a data block at byte"),
        (simple(lambda file: file.packed(USUAL, kind=b"SD")), "expected a compressed data block at byte"),
        (simple(lambda file: file.packed(USUAL, pack=lambda content: b"nothing")), "expected a deflated block at byte"),
        (simple(lambda file: file.packed(USUAL, method=2, pack=lambda content: b"no")), "expected a block packed by"),
        (simple(lambda file: file.packed(USUAL, pack=lambda content: zstd(content))), "expected a deflated block"),
        (simple(lambda file: file.add(b"HL")), "expected a link in the block"),
        (simple(lambda file: file.add(b"DL")), "expected a list of data blocks"),
        (simple(lambda file: 1 << 60), "expected 24 bytes at byte"),
        (mixed(with_values=True, tail=b"\x63"), "expected a record at byte 1016 of the data, but got id 99"),
        (mixed(with_values=True, tail=b"\x03abc"), "expected whole records up to the end, but got 4 bytes"),
        (mixed(with_values=True, tail=b"\x07\0\0\xff\xff"), "expected 4294901760 more bytes of a record"),
        (mixed(with_values=True, finished=False, tail=b"\x03abc"), "expected whole records up to the end"),
        (beyond(1), "expected"),
        (beyond(8), "expected a payload before byte 12 of its stream"),
        (beyond(1 << 62), "expected the place of a payload"),
        (beyond(1 << 50), "expected a payload before byte"),
    ],
)
def test_damaged_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        read(tmp_path, content)
    assert str(caught.value).startswith(message)


def test_claims_of_compressed_blocks_are_bounded(tmp_path: Path) -> None:
    log = bytearray(simple(lambda file: file.packed(USUAL)))
    at = log.index(b"##DZ") + 24 + 8
    for claim in (len(USUAL) - 1, len(USUAL) + 1, 0, 1 << 26, 1 << 27, 1 << 63):
        struct.pack_into("<Q", log, at, claim)
        with pytest.raises(ValueError, match="^expected"):
            read(tmp_path, bytes(log))


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def peak(n: int) -> int:
        file = MdfWriter()
        content = USUAL * (n // len(FRAMES))
        log = file.finish([data_group(file, file.data(content, 1 << 20), Group(n_records=n))])
        (tmp_path / "big.mf4").write_bytes(log)
        del log, content, file
        tracemalloc.start()
        assert sum(len(block) for block in mdf.mdf_blocks(tmp_path / "big.mf4", Source())) == n
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    small, large = peak(200_000), peak(800_000)
    assert large < 1.1 * small


def test_no_bytes_do_anything_but_give_frames_or_be_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, folder: Path, reason: ValueError) -> Path:
        raise ValueError(str(reason))

    monkeypatch.setattr(mdf, "_rewritten", refuse)
    rng = random.Random(7)
    logs = [
        mixed(with_values=True),
        mixed(with_values=True, finished=False, order="value first"),
        simple(lambda file: file.packed(USUAL, n_columns=SIZE)),
        simple(lambda file: file.data(USUAL, 100)),
        beyond(0),
    ]
    n_refused, n_read = 0, 0
    for number in range(500):
        content = bytearray(logs[number % len(logs)])
        for _ in range(rng.randrange(1, 4)):
            content[rng.randrange(len(content))] = rng.choice((0, 1, 2, 6, 127, 255, rng.randrange(256)))
        if rng.random() < 0.2:
            del content[rng.randrange(len(content)) :]
        try:
            read(tmp_path, bytes(content))
            n_read += 1
        except ValueError as reason:
            assert str(reason).startswith("expected ")  # noqa: PT017 - most are refused, none otherwise
            n_refused += 1
    assert n_refused > 100
    assert n_read > 100
