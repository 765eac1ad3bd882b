"""Reading BLF: the frames python-can reads, what it misses, and what is refused."""

import io
import random
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from can import Message
from can.io.blf import BLFReader, BLFWriter

from pm.canbus.formats import blf
from pm.canbus.formats.block import FrameBlock, Source

Row = tuple[int, str, int, bool, bytes]

CLASSIC, CLASSIC2, FD, FD64, OTHER = 1, 86, 100, 101, 65
START_US = 1_600_000_000_000_000
REAL = Path(__file__).parents[3] / "shared" / "can" / "derived" / "P5_normal_ops2.blf"


@pytest.fixture(params=["zlib", "isal.isal_zlib"], autouse=True)
def inflating(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blf, "ZLIB", pytest.importorskip(request.param))


def rows(blocks: Iterable[FrameBlock]) -> list[Row]:
    found: list[Row] = []
    for block in blocks:
        assert len(block) > 0
        assert block.data.flags.c_contiguous
        assert block.data.shape == (len(block), 64 if block.length.max() > 8 else block.data.shape[1])
        assert not (block.data * (np.arange(block.data.shape[1]) >= block.length[:, None])).any()
        assert (block.can_id <= np.where(block.is_extended, 0x1FFFFFFF, 0x7FF)).all()
        found += [
            (int(time_us), block.channels[channel], int(can_id), bool(is_extended), data[:length].tobytes())
            for time_us, channel, can_id, is_extended, length, data in zip(
                block.time_us, block.channel, block.can_id, block.is_extended, block.length, block.data, strict=True
            )
        ]
    return found


def read(content: bytes, **options: Any) -> tuple[list[Row], dict[str, int]]:
    source = Source()
    return rows(blf.blf_blocks(io.BytesIO(content), source, file_size=len(content), **options)), dict(source.rejected)


def python_can(content: bytes) -> tuple[list[Row], dict[str, int]]:
    found: list[Row] = []
    rejected: dict[str, int] = {}
    for message in BLFReader(io.BytesIO(content)):
        if message.is_error_frame or message.is_remote_frame:
            reason = "error_frame" if message.is_error_frame else "remote_frame"
            rejected[reason] = rejected.get(reason, 0) + 1
        else:
            channel, can_id, is_extended = message.channel, message.arbitration_id, message.is_extended_id
            found.append((round(message.timestamp * 1e6), str(channel + 1), can_id, is_extended, bytes(message.data)))
    return found, rejected


def written(path: Path, messages: Iterable[Message], **options: Any) -> bytes:
    writer = BLFWriter(path, **options)
    for message in messages:
        writer.on_message_received(message)
    writer.stop()
    return path.read_bytes()


def mixed(n: int, seed: int = 1) -> list[Message]:
    """Classic, FD, remote and error frames of every length on several channels."""
    rng = random.Random(seed)
    found = []
    for number in range(n):
        is_extended, kind = rng.random() < 0.7, rng.choice(("data", "data", "fd", "remote", "error"))
        size = rng.choice((0, 1, 7, 8, 12, 16, 20, 24, 32, 48, 64) if kind == "fd" else range(9))
        found.append(
            Message(
                timestamp=1.6e9 + number * 217e-6,
                arbitration_id=rng.randrange(1 << (29 if is_extended else 11)),
                is_extended_id=is_extended,
                channel=rng.choice((0, 1, 4)),
                is_fd=kind == "fd",
                is_remote_frame=kind == "remote",
                is_error_frame=kind == "error",
                dlc=size,
                data=None if kind == "remote" else rng.randbytes(size),
            )
        )
    return found


def an_object(kind: int, body: bytes, *, unit: int = 2, ticks: int = 5000, version: int = 1, size: int = 0) -> bytes:
    header = struct.pack("<LHHQ", unit, 0, 0, ticks) + (bytes(8) if version == 2 else b"")
    size = size or 16 + len(header) + len(body)
    return struct.pack("<4sHHLL", b"LOBJ", 16 + len(header), version, size, kind) + header + body


def classic(can_id: int = 0x123, dlc: int = 8, flags: int = 0, channel: int = 1, data: bytes = b"abcdefgh") -> bytes:
    return struct.pack("<HBBL", channel, flags, dlc, can_id) + data


def fd(code: int, valid: int, data: bytes, *, flags: int = 1) -> bytes:
    return struct.pack("<HBBLLBBB5x", 2, 0, code, 0x98FEF100, 0, 0, flags, valid) + data


def fd64(code: int, valid: int, data: bytes, *, flags: int = 0x1000, ext: int = 0) -> bytes:
    return struct.pack("<BBBBLLLLLLLHBBL", 3, code, valid, 0, 0x80000001, 0, flags, 0, 0, 0, 0, 0, 0, ext, 0) + data


def container(content: bytes, *, method: int = 0, claimed: int | None = None) -> bytes:
    packed = zlib.compress(content) if method == 2 else content
    head = struct.pack("<4sHHLL", b"LOBJ", 16, 1, 32 + len(packed), 10)
    head += struct.pack("<H6xL4x", method, len(content) if claimed is None else claimed)
    return head + packed + bytes(len(packed) % 4)


def header(size: int = 144, start: tuple[int, ...] = (2020, 9, 0, 13, 12, 26, 40, 0)) -> bytes:
    return struct.pack("<4sL8xQ16x8H16x", b"LOGG", 144, size, *start).ljust(144, b"\0")


def a_log(*parts: bytes, **options: Any) -> bytes:
    content = b"".join(parts)
    return header(144 + len(content), **options) + content


@pytest.mark.parametrize("level", [-1, 0, 9])
@pytest.mark.parametrize("size", [131_072, 97, 1000])
def test_same_frames_as_python_can(tmp_path: Path, level: int, size: int) -> None:
    content = written(tmp_path / "a.blf", mixed(1200), compression_level=level, max_container_size=size)
    found, rejected = read(content)
    assert (found, rejected) == python_can(content)
    assert len(found) > 600
    assert {row[1] for row in found} == {"1", "2", "5"}
    assert rejected.keys() == {"remote_frame", "error_frame"}


def test_size_of_blocks_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = written(tmp_path / "a.blf", mixed(300))
    expected = read(content)
    for n_frames in (1, 2, 7):
        monkeypatch.setattr(blf, "BLOCK_FRAMES", n_frames)
        assert read(content) == expected


@pytest.mark.skipif(not REAL.exists(), reason="needs the real logs beside the project (../shared/can)")
def test_same_frames_as_python_can_in_a_real_log() -> None:
    content = REAL.read_bytes()
    found, rejected = read(content)
    assert (found, rejected) == python_can(content)
    assert (len(found), rejected) == (39_739, {"remote_frame": 1})


def test_every_type_of_object() -> None:
    frames = [
        an_object(CLASSIC, classic(dlc=3)),
        an_object(CLASSIC2, classic(0x98FEF100, 15, channel=300) + bytes(8), version=2, ticks=1499),
        an_object(FD, fd(10, 16, b"x" * 16 + bytes(52)), unit=1, ticks=7),
        an_object(FD, fd(8, 8, b"y" * 8, flags=0)),
        an_object(FD64, fd64(15, 64, b"z" * 64)),
        an_object(FD64, fd64(8, 8, b"w" * 8, flags=0)),
    ]
    others = [an_object(kind, bytes(60)) for kind in (2, 73, 104)]
    others += [an_object(CLASSIC, classic(flags=0x80, data=bytes(8))), an_object(FD64, fd64(8, 0, b"", flags=0x10))]
    others += [an_object(OTHER, bytes(100)), an_object(OTHER, b"", version=3)]
    assert read(a_log(container(b"".join(frames + others)))) == (
        [
            (START_US + 5, "1", 0x123, False, b"abc"),
            (START_US + 1, "300", 0x18FEF100, True, b"abcdefgh"),
            (START_US + 70, "2", 0x18FEF100, True, b"x" * 16),
            (START_US + 5, "2", 0x18FEF100, True, b"y" * 8),
            (START_US + 5, "3", 1, True, b"z" * 64),
            (START_US + 5, "3", 1, True, b"w" * 8),
        ],
        {"error_frame": 3, "remote_frame": 2},
    )


@pytest.mark.parametrize(
    "body, expected",
    [
        (fd64(15, 64, b"x" * 40), b"x" * 40 + bytes(24)),  # python-can issue 1905
        (fd64(15, 64, b"x" * 48 + b"extra data", ext=32 + 40 + 48), b"x" * 48 + bytes(16)),
        (fd64(15, 64, b"x" * 64, ext=3), b"x" * 64),
        (fd64(15, 64, b"x" * 8, ext=200), b"x" * 8 + bytes(56)),
        (fd64(15, 64, b"x" * 64, flags=0), b"x" * 8),
        (fd64(9, 64, b"x" * 64), b"x" * 12),
        (fd64(15, 30, b"x" * 64), b"x" * 30),
        (fd64(40, 40, b"x" * 40), b"x" * 40),
    ],
    ids=len,
)
def test_length_of_fd_frames(body: bytes, expected: bytes) -> None:
    found, _ = read(a_log(container(an_object(FD64, body) + an_object(CLASSIC, classic()))))
    assert [row[-1] for row in found] == [expected, b"abcdefgh"]


@pytest.mark.parametrize(
    "damaged",
    [
        an_object(CLASSIC, classic(0x800)),
        an_object(CLASSIC, classic(dlc=16)),
        an_object(CLASSIC, classic(data=b"1234")),
        an_object(CLASSIC, classic()[:6]),
        an_object(CLASSIC, b"", size=16)[:16],
        an_object(CLASSIC, classic(), version=3),
        an_object(CLASSIC, classic(), unit=0),
        an_object(CLASSIC, classic(), ticks=1 << 63),
        an_object(CLASSIC, classic(), unit=1, ticks=1 << 60),
        an_object(FD, fd(15, 65, b"x" * 100)),
        an_object(FD, fd(15, 64, b"x" * 63)),
        an_object(FD64, fd64(15, 65, b"x" * 100)),
        an_object(FD64, fd64(8, 8, b"")[:39]),
        struct.pack("<4sHHLL", b"LOBJ", 300, 1, 400, CLASSIC) + bytes(384),
        container(an_object(CLASSIC, classic())),
    ],
    ids=len,
)
def test_damaged_object_is_counted(damaged: bytes) -> None:
    whole = an_object(CLASSIC, classic())
    found, rejected = read(a_log(container(whole + damaged + whole)))
    assert ([row[-1] for row in found], rejected) == ([b"abcdefgh"] * 2, {"malformed_object": 1})


@pytest.mark.parametrize("n_padding", range(9))
def test_padding_between_objects(n_padding: int) -> None:
    padded = an_object(CLASSIC, classic()) + bytes(n_padding)
    outside = an_object(OTHER, bytes(11)) + bytes(n_padding)
    log = a_log(outside, container(padded * 3), container(padded[:5]), outside, container(padded[5:]), outside)
    found, rejected = read(log)
    assert (len(found), rejected) == (4, {})


def test_objects_outside_containers_are_read_too() -> None:
    inside = an_object(CLASSIC, classic(1))
    log = a_log(container(inside[:30]), an_object(CLASSIC, classic(2)), container(inside[30:]), an_object(OTHER, b"ab"))
    assert [row[2] for row in read(log)[0]] == [2, 1]


def test_object_longer_than_a_container_is_passed_over_without_being_kept() -> None:
    long = an_object(OTHER, b"", size=3_000_000)
    content = long.ljust(3_000_000, b"x") + an_object(CLASSIC, classic())
    parts = [container(content[at : at + 400_000], method=2) for at in range(0, len(content), 400_000)]
    assert len(read(a_log(*parts))[0]) == 1
    assert len(read(a_log(container(content, method=2)))[0]) == 1
    assert len(read(a_log(content))[0]) == 1


def test_channels_beyond_the_limit_are_counted() -> None:
    objects = [an_object(CLASSIC, classic(channel=number)) for number in range(258)] * 2
    found, rejected = read(a_log(container(b"".join(objects))))
    assert (len(found), found[0][1], found[255][1], rejected) == (512, "0", "255", {"too_many_channels": 4})


def test_start_is_the_header_s_or_the_caller_s() -> None:
    one = container(an_object(CLASSIC, classic()))
    assert read(a_log(one))[0][0][0] == START_US + 5
    assert read(a_log(one), start_us=42)[0][0][0] == 47
    assert read(a_log(one, start=(0,) * 8))[0][0][0] == 5
    assert read(a_log(one, start=(2020, 13, 0, 1, 0, 0, 0, 0)), start_us=0)[0][0][0] == 5


ONE = an_object(CLASSIC, classic())


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "expected 72 bytes at byte 0, but got 0: truncated"),
        (header()[:100], "expected 72 bytes at byte 72, but got 28: truncated"),
        (header()[:40], "expected 72 bytes at byte 0, but got 40: truncated"),
        (b"LOBJ" + header()[4:], "expected a BLF file"),
        (b"LOGG" + bytes(140), "expected a header of 144 bytes, but got 0"),
        (b"LOGG\xff\xff\xff\xff" + bytes(136), "expected a header of 144 bytes, but got 4294967295"),
        (a_log(start=(2020, 13, 0, 1, 0, 0, 0, 0)), "expected a start of the measurement"),
        (header(1000) + container(ONE), "expected 1000 bytes as the header says, but got 224: truncated"),
        (header() + container(ONE)[:50], "expected 48 bytes at byte 176, but got 18: truncated"),
        (header() + container(ONE)[:10], "expected 6 bytes at byte 154, but got 0: truncated"),
        (a_log(container(ONE), b"damaged"), "expected an object (LOBJ) at byte 224, but got b'dama'"),
        (a_log(container(ONE), bytes(16)), "expected an object (LOBJ) at byte 224"),
        (a_log(an_object(OTHER, b"", size=15)), "expected an object at byte 144, but got one of 15 bytes"),
        (a_log(an_object(10, b"", size=31)), "expected a container at byte 160, but got one of 31 bytes"),
        (a_log(container(ONE, method=1)), "expected a container stored or deflated, but got method 1"),
        (a_log(container(ONE[:-1])), "expected whole objects up to the end of the file"),
        (a_log(container(ONE + b"LOBJ")), "expected whole objects up to the end of the file"),
        (a_log(container(ONE + bytes(20))), "expected an object (LOBJ)"),
        (a_log(container(ONE + an_object(OTHER, b"", size=4_000_000_000))), "expected whole objects"),
        (a_log(container(an_object(OTHER, b"1" * 30, size=15))), "expected an object (LOBJ) of at least 16 bytes"),
        (a_log(container(ONE, method=2, claimed=47)), "expected a container of 47 bytes before byte"),
        (a_log(container(ONE, method=2, claimed=0)), "expected a container of 0 bytes before byte"),
        (a_log(container(ONE, method=2, claimed=49)), "expected a container of 49 bytes, but got 48"),
        (a_log(container(ONE, method=2, claimed=1 << 31)), "expected a container of at most 1073741824 bytes"),
        (a_log(container(ONE, method=2)[:32] + bytes(60)), "expected a deflated container before byte"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damaged_file_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        read(content)
    assert str(caught.value).startswith(message)


def test_part_of_a_deflated_container_is_refused() -> None:
    packed = zlib.compress(ONE)[:-6]
    head = struct.pack("<4sHHLLH6xL4x", b"LOBJ", 16, 1, 32 + len(packed), 10, 2, len(ONE))
    with pytest.raises(ValueError, match="^expected a whole container before byte"):
        read(a_log(head, packed))


def test_size_is_checked_where_it_is_not_known_before() -> None:
    content = header(1000) + container(ONE)
    with pytest.raises(ValueError, match="^expected 1000 bytes as the header says, but got 224: truncated"):
        list(blf.blf_blocks(io.BytesIO(content), Source(), file_size=None))


def test_bomb_is_refused_before_it_is_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blf, "RATIO_FREE_BYTES", 1 << 20)
    content = an_object(OTHER, b"", size=8 << 20).ljust(8 << 20, b"\0")
    counts = []
    monkeypatch.setattr(blf._File, "check_ratio", counted(blf._File.check_ratio, counts))
    with pytest.raises(ValueError, match="^expected at most 250 times the packed size"):
        read(a_log(container(content, method=2)))
    assert sum(counts) < 4 << 20


def counted(check: Any, counts: list[int]) -> Any:
    def counting(file: Any, n: int) -> None:
        counts.append(n)
        check(file, n)

    return counting


def test_no_bytes_do_anything_but_give_frames_or_be_refused(tmp_path: Path) -> None:
    rng = random.Random(7)
    logs = [written(tmp_path / f"{n}.blf", mixed(40, n), compression_level=-n, max_container_size=900) for n in (0, 1)]
    logs.append(a_log(container(b"".join(an_object(FD64, fd64(15, 64, b"x" * n)) for n in range(65)), method=0)))
    n_refused, n_read = 0, 0
    for number in range(600):
        content = bytearray(logs[number % 3])
        for _ in range(rng.randrange(4)):
            content[rng.randrange(len(content))] = rng.choice((0, 1, 2, 10, 101, 127, 255, rng.randrange(256)))
        if rng.random() < 0.3:
            del content[rng.randrange(len(content)) :]
        try:
            rows(blf.blf_blocks(io.BytesIO(bytes(content)), Source(), file_size=rng.choice((None, len(content)))))
            n_read += 1
        except ValueError as reason:
            assert str(reason).startswith("expected ")  # noqa: PT017 - most are refused, none otherwise
            n_refused += 1
    assert n_refused > 100
    assert n_read > 100
