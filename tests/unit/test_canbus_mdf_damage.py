"""Damaged and hostile MF4: what is refused, and that nothing else ever happens."""

import random
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from canbus_mdf import (
    FRAMES,
    RECORD,
    SIZE,
    USUAL,
    Group,
    MdfWriter,
    a_record,
    data_group,
    mixed,
    read,
    simple,
    value,
    variable_channels,
)

from pm.canbus.formats import mdf, mdf_file
from pm.canbus.formats.block import Source


def zstd(content: bytes) -> bytes:
    return pa.Codec("zstd").compress(content, asbytes=True)  # type: ignore[no-any-return]


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


@pytest.mark.parametrize("is_far", [True, False])
def test_payloads_far_from_their_records_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_far: bool
) -> None:
    file = MdfWriter()
    values = value(b"first") + value(bytes(60_000)) * 40 + value(b"last")
    link = file.data(values, kind=b"SD")
    records = b"".join(RECORD.pack(1, 1, 0, 1, 7, struct.pack("<Q", at)) for at in (len(values) - 8, 0))
    log = file.finish([data_group(file, file.data(records), Group(variable_channels(link), 2))])
    assert [row[4] for row in read(tmp_path, log)[0]] == [b"last", b"first"]
    if is_far:
        monkeypatch.setattr(mdf, "_WINDOWS_SIDE_BY_SIDE", 4000)
        monkeypatch.setattr(mdf, "_LEAST_WINDOW", 1000)
    else:
        monkeypatch.setattr(mdf, "BLOCK_FRAMES", 1)
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
        (simple(lambda file: file.packed(USUAL, pack=bytes.upper)), "expected a deflated block at byte"),
        (simple(lambda file: file.packed(USUAL, method=2, pack=bytes.lower)), "expected a block packed by"),
        (simple(lambda file: file.packed(USUAL, pack=zstd)), "expected a deflated block"),
        (simple(lambda file: file.add(b"HL")), "expected a link in the block"),
        (simple(lambda file: file.add(b"DL")), "expected a list of data blocks"),
        (simple(lambda _: 1 << 60), "expected 24 bytes at byte"),
        (mixed(with_values=True, tail=b"\x63"), "expected a record at byte 1016 of the data, but got id 99"),
        (mixed(with_values=True, tail=b"\x03abc"), "expected whole records up to the end, but got 4 bytes"),
        (mixed(with_values=True, tail=b"\x07\0\0\xff\xff"), "expected 4294901760 more bytes of a record"),
        (mixed(with_values=True, finished=False, tail=b"\x03abc"), "expected whole records up to the end"),
        (beyond(1), "expected payloads of at most 65536 bytes, but got 1879048192"),
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


def test_blocks_that_may_not_be_kept_are_inflated_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = simple(lambda file: file.packed(USUAL, n_columns=SIZE))
    monkeypatch.setattr(mdf_file, "KEPT_INFLATED", 100)
    monkeypatch.setattr(mdf, "BLOCK_FRAMES", 3)
    assert read(tmp_path, log) == (FRAMES, {})
    monkeypatch.setattr(mdf_file, "RATIO_FREE_BYTES", 0)
    monkeypatch.setattr(mdf_file, "LARGEST_RATIO", 1)
    with pytest.raises(ValueError, match="^expected at most 1 times the size of the file"):
        read(tmp_path, log)


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
