"""Writing small MDF 4 files in tests, block by block, in every layout that a reader has to know."""

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

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
