"""Writing small MDF 4 files in tests, block by block, in every layout that a reader has to know; reading them."""

import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pm.canbus.formats.block import FrameBlock, Source
from pm.canbus.formats.mdf import mdf_blocks

Row = tuple[int, str, int, bool, bytes]
"""Microseconds since the start, channel, identifier, is it extended, payload."""

START_NS = 1_600_000_000_000_000_000
START_US = START_NS // 1000
RECORD = struct.Struct("<dLBBB8s")
"""Time, identifier, IDE, bus, length and payload of the channels that `usual_channels` names."""


class MdfWriter:
    """Blocks one after the other; every block is written after those it links to."""

    def __init__(self, magic: bytes = b"MDF     ", flags: int = 0, start_ns: int = START_NS) -> None:
        self.content = bytearray((magic + b"4.11    ").ljust(28, b"\0") + struct.pack("<H30xHH", 411, flags, 0))
        self.add(b"HD", [0] * 6, struct.pack("<Q24x", start_ns))

    def add(self, kind: bytes, links: Sequence[int] = (), data: bytes = b"", *, length: int | None = None) -> int:
        """Append a block; returns its address."""
        self.content += bytes(-len(self.content) % 8)
        at = len(self.content)
        size = 24 + 8 * len(links) + len(data) if length is None else length
        self.content += struct.pack("<4s4xQQ", b"##" + kind, size, len(links)) + struct.pack(f"<{len(links)}Q", *links)
        self.content += data
        return at

    def link(self, at: int, index: int, to: int) -> None:
        """Set a link of the block at `at`."""
        struct.pack_into("<Q", self.content, at + 24 + 8 * index, to)

    def finish(self, data_groups: Sequence[int]) -> bytes:
        """Chain the data groups and return the file."""
        for index, at in enumerate(data_groups):
            self.link(at, 0, data_groups[index + 1] if index + 1 < len(data_groups) else 0)
        self.link(64, 0, data_groups[0] if data_groups else 0)
        return bytes(self.content)

    def text(self, text: str) -> int:
        return self.add(b"TX", data=text.encode() + b"\0")

    def conversion(self, kind: int, values: Sequence[float], n_references: int = 0) -> int:
        packed = struct.pack(f"<BBHHH2d{len(values)}d", kind, 0, 0, n_references, len(values), 0, 0, *values)
        return self.add(b"CC", [0] * (4 + n_references), packed)

    def data(self, records: bytes, n_piece: int = 0, kind: bytes = b"DT", lists: bytes = b"DL") -> int:
        """Records in one block, or in a list of blocks of n_piece bytes."""
        if not n_piece:
            return self.add(kind, data=records)
        pieces = [self.add(kind, data=records[at : at + n_piece]) for at in range(0, len(records), n_piece)]
        return self.list_of(pieces, lists)

    def list_of(self, pieces: Sequence[int], kind: bytes = b"DL") -> int:
        """Two lists of data blocks, one after the other."""
        offsets, end = [], 0
        for at in pieces:
            offsets.append(end)
            is_packed = at and self.content[at : at + 4] == b"##DZ"
            end += int.from_bytes(self.content[at + 32 : at + 40], "little") if is_packed else self._length(at) - 24
        half, following = len(pieces) // 2, 0
        for part in (slice(half, None), slice(0, half)):
            n = len(pieces[part])
            following = self.add(kind, [following, *pieces[part]], struct.pack(f"<LL{n}Q", 0, n, *offsets[part]))
        return following

    def _length(self, at: int) -> int:
        return int.from_bytes(self.content[at + 8 : at + 16], "little") if at else 24

    def packed(
        self,
        content: bytes,
        *,
        n_columns: int = 0,
        method: int = 0,
        kind: bytes = b"DT",
        pack: Callable[[bytes], bytes] = zlib.compress,
    ) -> int:
        """A DZ block; with n_columns, its records are turned before."""
        if n_columns:
            whole = len(content) // n_columns * n_columns
            content_turned = b"".join(content[column:whole:n_columns] for column in range(n_columns)) + content[whole:]
            method |= 1
        else:
            content_turned = content
        body = pack(content_turned)
        head = struct.pack("<2sBxLQQ", kind, method, n_columns, len(content), len(body))
        return self.add(b"DZ", data=head + body)


@dataclass
class Channel:
    """A channel; parts of a frame are named in full."""

    name: str
    byte: int = 0
    n_bits: int = 8
    bit: int = 0
    kind: int = 0
    data_kind: int = 0
    master: int = 0
    conversion: tuple[int, Sequence[float]] | None = None
    data_link: int = 0

    def add_to(self, file: MdfWriter, following: int, composition: int = 0) -> int:
        conversion = file.conversion(*self.conversion) if self.conversion else 0
        links = [following, composition, file.text(self.name), 0, conversion, self.data_link, 0, 0]
        fixed = (self.kind, self.master, self.data_kind, self.bit, self.byte, self.n_bits, 0, 0)
        return file.add(b"CN", links, struct.pack("<BBBBLLLL", *fixed).ljust(72, b"\0"))


def usual_channels(frame: str = "CAN_DataFrame") -> dict[str, Channel]:
    """Channels of `RECORD`, by the last part of their names."""
    found = [
        Channel("Timestamp", 0, 64, kind=2, data_kind=4, master=1),
        Channel(f"{frame}.ID", 8, 32),
        Channel(f"{frame}.IDE", 12),
        Channel(f"{frame}.BusChannel", 13),
        Channel(f"{frame}.DataLength", 14),
        Channel(f"{frame}.DataBytes", 15, 64, data_kind=10),
    ]
    return {channel.name.rpartition(".")[2]: channel for channel in found}


@dataclass
class Group:
    """A channel group."""

    channels: dict[str, Channel] = field(default_factory=usual_channels)
    n_records: int = 0
    record_bytes: int = RECORD.size
    record_id: int = 0
    flags: int = 6
    frame: str = "CAN_DataFrame"
    acquisition: str = ""

    def add_to(self, file: MdfWriter, following: int) -> int:
        first, parts = 0, 0
        for channel in reversed(list(self.channels.values())):
            if channel.kind == 2:
                continue
            parts = channel.add_to(file, parts)
        if parts:
            whole = Channel(self.frame, 8, 8 * (self.record_bytes - 8), data_kind=10)
            first = whole.add_to(file, 0, parts)
        for channel in self.channels.values():
            if channel.kind == 2:
                first = channel.add_to(file, first)
        acquisition = file.text(self.acquisition) if self.acquisition else 0
        fixed = (self.record_id, self.n_records, self.flags, 46, self.record_bytes, 0)
        return file.add(b"CG", [following, first, acquisition, 0, 0, 0], struct.pack("<QQHH4xLL", *fixed))


def variable_group(record_id: int) -> Group:
    """A channel group for payloads of variable length."""
    return Group(channels={}, record_id=record_id, flags=1, record_bytes=0)


def data_group(file: MdfWriter, data: int, *groups: Group, n_id_bytes: int = 0) -> int:
    """Append a data group with its channel groups; returns its address."""
    following = 0
    for group in reversed(groups):
        following = group.add_to(file, following)
    return file.add(b"DG", [0, following, data, 0], struct.pack("<B7x", n_id_bytes))


def a_record(time_s: float, can_id: int, payload: bytes, *, is_extended: bool = True, bus: int = 1) -> bytes:
    """A record of the usual channels."""
    return RECORD.pack(time_s, can_id, is_extended, bus, len(payload), payload)


def rows(blocks: Iterable[FrameBlock]) -> list[Row]:
    """All frames; what every block promises is checked."""
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
    """(frames of a log, what was rejected)."""
    path, source = folder / "a.mf4", Source()
    path.write_bytes(content)
    found = rows(mdf_blocks(path, source))
    return found, dict(source.rejected)


FRAMES: list[Row] = [
    (number * 1000, str(1 + number % 3), 0x18FEF100 + number if number % 4 else number, number % 4 > 0, payload)
    for number, payload in enumerate(bytes(range(n, 2 * n)) for n in [0, 1, 7, 8, 3] * 5)
]


def records_of(frames: Iterable[Row]) -> bytes:
    """Records of the usual channels."""
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


def changed(**changes: Channel | None) -> dict[str, Channel]:
    """The usual channels, some of them others or none."""
    found = usual_channels() | {name: channel for name, channel in changes.items() if channel}
    return {name: channel for name, channel in found.items() if name not in changes or changes[name]}


def value(payload: bytes) -> bytes:
    """A payload of variable length."""
    return struct.pack("<L", len(payload)) + payload


def variable_records(frames: Iterable[Row]) -> list[bytes]:
    """Records whose payload is the place of one in another stream."""
    found, at = [], 0
    for time_us, bus, can_id, is_extended, payload in frames:
        found.append(RECORD.pack(time_us / 1e6, can_id, is_extended, int(bus), len(payload), struct.pack("<Q", at)))
        at += 4 + len(payload)
    return found


def variable_channels(link: int) -> dict[str, Channel]:
    """The usual channels, with payloads in the stream that `link` leads to."""
    return changed(DataBytes=Channel("CAN_DataFrame.DataBytes", 15, 64, kind=1, data_kind=10, data_link=link))


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


def unusual() -> bytes:
    """Record ids that no table holds."""
    file = MdfWriter()
    content = b"".join(struct.pack("<L", 70_000) + USUAL[at : at + SIZE] for at in range(0, len(USUAL), SIZE))
    group = Group(n_records=len(FRAMES), record_id=70_000)
    return file.finish([data_group(file, file.data(content), group, n_id_bytes=4)])
