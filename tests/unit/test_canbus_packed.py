"""Packed logs: gzip, zstd and zip read whole, bounded, and refused when damaged."""

import gzip
import io
import random
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from pm.canbus.formats import packed
from pm.canbus.logfile import open_log
from pm.errors import DataError

LINES = b"(1600000000.000001) can0 18FEF100#0102030405060708\n"


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def zipped_log(content: bytes) -> bytes:
    return zipped({"a.log": content})


def zstd(content: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(content))


PACKINGS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd, "zip": zipped_log}


def write(folder: Path, content: bytes, name: str = "a.packed") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def count(path: Path) -> int:
    return sum(len(block) for block in open_log(path).blocks())


@pytest.mark.parametrize("packing", PACKINGS)
def test_packed_logs_are_read_whatever_their_name(tmp_path: Path, packing: str) -> None:
    path = write(tmp_path, PACKINGS[packing](LINES * 60_000))
    log = open_log(path)
    assert (log.packing, log.format) == (packing, "candump")
    assert count(path) == 60_000


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_members_and_frames_follow_each_other(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    half = len(LINES) // 2
    assert count(write(tmp_path, pack(LINES * 3 + LINES[:half]) + pack(LINES[half:] + LINES))) == 5


def test_zstd_that_begins_with_a_skippable_frame(tmp_path: Path) -> None:
    skippable = b"\x5a\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"abc"
    assert count(write(tmp_path, skippable + zstd(LINES))) == 1


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("n_cut", [1, 5, 30, 4000])
def test_truncated_files_are_refused(tmp_path: Path, packing: str, n_cut: int) -> None:
    draw = random.Random(1)
    lines = b"".join(b"(16%08d.000001) can0 123#%08X\n" % (n, draw.randrange(1 << 32)) for n in range(2000))
    with pytest.raises(DataError, match=r"a\.packed"):
        count(write(tmp_path, PACKINGS[packing](lines)[:-n_cut]))


@pytest.mark.parametrize("outer", PACKINGS)
@pytest.mark.parametrize("inner", PACKINGS)
def test_one_layer_is_unpacked_and_no_more(tmp_path: Path, outer: str, inner: str) -> None:
    with pytest.raises(DataError, match=f"but got {inner} within another packing"):
        open_log(write(tmp_path, PACKINGS[outer](PACKINGS[inner](LINES))))


@pytest.mark.parametrize("packing", PACKINGS)
def test_what_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packing: str) -> None:
    monkeypatch.setattr(packed, "RATIO_FREE_BYTES", 0)
    path = write(tmp_path, PACKINGS[packing](LINES + b"0" * 5_000_000 + b"\n"))
    with pytest.raises(DataError, match="expected at most 250 times the packed size, but got more"):
        count(path)


def test_sizes_that_an_archive_claims_are_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = zipped_log(LINES * 1000)
    size = (len(LINES) * 1000).to_bytes(4, "little")
    assert whole.count(size) == 2
    for claim in (1, 10, 2**31):
        path = write(tmp_path, whole.replace(size, claim.to_bytes(4, "little")))
        with pytest.raises(DataError, match=r"a\.packed"):
            count(path)
    monkeypatch.setattr(packed, "RATIO_FREE_BYTES", 0)
    bomb = zipped_log(LINES + b"0" * 5_000_000)
    claimed = bomb.replace((len(LINES) + 5_000_000).to_bytes(4, "little"), (5_000_000).to_bytes(4, "little"))
    with pytest.raises(DataError, match="250 times"):
        count(write(tmp_path, claimed))


def test_one_log_among_what_operating_systems_add(tmp_path: Path) -> None:
    beside = {"trip/": b"", "__MACOSX/trip/._a.log": b"x", "trip/.DS_Store": b"x", "Thumbs.db": b"x"}
    assert count(write(tmp_path, zipped({**beside, "trip/a.log": LINES}))) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped({}), "expected exactly one log in the zip archive, but got none"),
        (
            zipped({"a.log": LINES, "b.log": LINES}),
            r"exactly one log in the zip archive, but got 2 \('a.log', 'b.log'\)",
        ),
        (zipped({"a.log": LINES}, zipfile.ZIP_BZIP2), "expected a zip archive that deflates, but got method 12"),
        (zipped({"a.log": b""}), "but got an empty file"),
        (gzip.compress(b""), "but got an empty file"),
        (zstd(b""), "but got an empty file"),
        (zipped({f"{n:020}": b"" for n in range(20_000)}), "bytes of directory"),
    ],
)
def test_archives_that_hold_no_single_log(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_log(write(tmp_path, content))


def test_encrypted_archives_are_refused(tmp_path: Path) -> None:
    content = bytearray(zipped_log(LINES))
    content[6] |= 1  # the flag in the member's header and in the directory
    content[content.rfind(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(DataError, match="expected a zip archive without a password, but 'a.log' is encrypted"):
        open_log(write(tmp_path, bytes(content)))


@pytest.mark.parametrize("packing", PACKINGS)
def test_copies_on_disk_are_bounded_and_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packing: packed.Packing
) -> None:
    path = write(tmp_path, PACKINGS[packing](LINES * 100))
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with packed.unpacked_copy(path, packing) as copy:
        assert copy.parent == folder
        assert copy.read_bytes() == LINES * 100
    with pytest.raises(RuntimeError, match="reader"), packed.unpacked_copy(path, packing):
        raise RuntimeError("the reader failed")
    monkeypatch.setattr(packed, "LARGEST_COPY_BYTES", 1000)
    with pytest.raises(ValueError, match="expected at most 1000 bytes unpacked"), packed.unpacked_copy(path, packing):
        pass
    assert list(folder.iterdir()) == []


def test_damaged_files_give_frames_or_a_data_error(tmp_path: Path) -> None:
    draw = random.Random(5)
    path = tmp_path / "a.packed"
    refused = []
    wholes = [pack(LINES * 40 + draw.randbytes(100)) for pack in PACKINGS.values()]
    for number in range(600):
        content = bytearray(wholes[number % 3])
        for _ in range(draw.randrange(1, 4)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        if draw.random() < 0.3:
            del content[draw.randrange(len(content)) :]
        path.write_bytes(content)
        try:
            assert count(path) <= 41
        except DataError as reason:
            refused.append(str(reason))
    assert all("a.packed" in reason for reason in refused)
    assert len(refused) > 300
