"""The blocks of an MDF 4 file, and the bytes that chains of data blocks hold.

What belongs here: finding blocks by their addresses, inflating data blocks, and the bounds that keep a
damaged file from costing more time or memory than its size. What blocks mean is the business of
`mdf_layout`. Block layouts: ASAM MDF 4.1 (wiki.asam.net, "MDF file format overview"; the open
specification of the ID, HD, DG, CG, CN, CC, DT, DL, HL and DZ blocks); LD and DV: MDF 4.2.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np

from pm.canbus.bits import SPARE_BYTES
from pm.canbus.formats.block import U8
from pm.canbus.formats.inflate import ZLIB
from pm.canbus.formats.mdf_transpose import transpose

LARGEST_DATA_BLOCK: Final = 1 << 24
"""Most bytes a compressed data block may inflate to, 16 MiB; the standard allows 4 MB."""
KEPT_INFLATED: Final = 160 << 20
"""Bytes of inflated blocks that may be held at once; beyond it they are inflated again for each piece."""
LARGEST_RATIO: Final = 4000
"""Most bytes inflated, again and again included, for each byte of the file: logs pack 1:20, and forty groups
side by side need every block some thirty times. A file beyond it is an attack."""
RATIO_FREE_BYTES: Final = 1 << 30
MOST_BLOCKS: Final = 400_000
"""Most blocks of metadata; a bus log has some hundreds, a large measurement some ten thousands."""

_UNFINISHED_MAGIC: Final = b"UnFinMF "
_UNFINISHED_FLAGS_AT: Final = 60
_COUNTERS_MISSING, _LAST_LENGTH_MISSING, _LAST_LIST_MISSING, _OFFSETS_MISSING = 0x1, 0x4, 0x10, 0x40
_HEADER_AT: Final = 64
_HEAD: Final = struct.Struct("<4s4xQQ")
_LINK: Final = struct.Struct("<Q")
_PACKED: Final = struct.Struct("<2sBxIQQ")
"""Kind of the original block, compression, parameter, inflated bytes, packed bytes."""
_MOST_LINKS: Final = 4096
_FIRST_BYTES: Final = 512
"""Most blocks are no longer, so that one read is enough."""
_MOST_DATA: Final = 1 << 14
_LISTS: Final = (b"##DL", b"##LD")
_INVALIDATION_APART: Final = 1 << 31


class UnusualLayoutError(ValueError):
    """The file is laid out in a way that is allowed, but not read here."""


class Block(NamedTuple):
    """A block of metadata."""

    kind: bytes
    at: int
    links: tuple[int, ...]
    data: bytes
    """What follows the links, at most 16 KiB of it."""

    def link(self, index: int) -> int:
        """Address that the link leads to; 0 for none."""
        return self.links[index] if index < len(self.links) else 0

    def unpack(self, layout: struct.Struct, at: int = 0) -> tuple[Any, ...]:
        """Values at the beginning of the data.

        Raises:
            ValueError: there are too few bytes.
        """
        if len(self.data) < at + layout.size:
            raise ValueError(
                f"expected a whole {self.kind[2:].decode()} block at byte {self.at}, but got a part of one"
            )
        return layout.unpack_from(self.data, at)


class MdfFile:
    """An open file.

    Raises:
        ValueError: it has no header block.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.size = stream.seek(0, io.SEEK_END)
        head = self.read(0, _HEADER_AT)
        flags = int.from_bytes(head[_UNFINISHED_FLAGS_AT : _UNFINISHED_FLAGS_AT + 2], "little")
        unfinished = flags if head.startswith(_UNFINISHED_MAGIC) else 0
        if unfinished & _LAST_LIST_MISSING:
            raise UnusualLayoutError("expected a list of data blocks, but got one that was not finished")
        self.has_counters = not unfinished & _COUNTERS_MISSING
        self.has_last_length = not unfinished & _LAST_LENGTH_MISSING
        self.has_offsets = not unfinished & _OFFSETS_MISSING
        self._n_blocks_left = MOST_BLOCKS
        self.last_at = 0
        """Highest address of a block of metadata read so far."""
        self.header = self.block(_HEADER_AT, b"##HD")

    def read(self, at: int, n: int) -> bytes:
        """n bytes at `at`.

        Raises:
            ValueError: the file ends before.
        """
        if at + n > self.size:
            raise ValueError(f"expected {n} bytes at byte {at}, but got the end of the file: truncated")
        self._stream.seek(at)
        return self._stream.read(n)

    def read_into(self, at: int, out: U8) -> None:
        """Fill `out` with the bytes from `at`; callers have held them against the size of the file."""
        self._stream.seek(at)
        view, n = memoryview(out.data), 0
        while n < len(view):
            got = self._stream.readinto(view[n:])  # type: ignore[attr-defined]
            if not got:
                raise ValueError(f"expected {len(view) - n} bytes at byte {at + n}, but got the end of the file")
            n += got

    def head(self, at: int) -> tuple[bytes, int, int]:
        """(kind, length, number of links) of the block at `at`."""
        return _parsed_head(at, self.read(at, _HEAD.size))

    def block(self, at: int, *kinds: bytes) -> Block:
        """The block of metadata at `at`.

        Raises:
            ValueError: there is none of these kinds, or it is not whole.
        """
        self._n_blocks_left -= 1
        if self._n_blocks_left < 0:
            raise ValueError(f"expected at most {MOST_BLOCKS} blocks of metadata, but got more")
        first = self.read(at, min(_FIRST_BYTES, max(self.size - at, _HEAD.size)))
        kind, length, n_links = _parsed_head(at, first)
        if kind not in kinds:
            raise ValueError(f"expected a block {kinds[0][2:].decode()} at byte {at}, but got {kind[2:]!r}")
        if n_links > _MOST_LINKS:
            raise UnusualLayoutError(f"expected at most {_MOST_LINKS} links at byte {at}, but got {n_links}")
        if at + length > self.size:
            raise ValueError(f"expected a block of {length} bytes at byte {at}, but got the end of the file: truncated")
        self.last_at = max(self.last_at, at)
        n = min(length, _HEAD.size + 8 * n_links + _MOST_DATA)
        rest = (first if n <= len(first) else self.read(at, n))[_HEAD.size : n]
        return Block(kind, at, struct.unpack_from(f"<{n_links}Q", rest), rest[8 * n_links :])

    def chain(self, at: int, kind: bytes) -> Iterator[Block]:
        """The block at `at` and those its first link leads to."""
        seen: set[int] = set()
        while at:
            if at in seen:
                raise ValueError(f"expected a chain of blocks {kind[2:].decode()} with an end, but got a ring")
            seen.add(at)
            block = self.block(at, kind)
            yield block
            at = block.link(0)

    def text(self, at: int) -> str:
        """Text of a TX block; empty for none and for XML."""
        if not at:
            return ""
        block = self.block(at, b"##TX", b"##MD")
        return block.data.partition(b"\0")[0].decode("utf-8", "replace") if block.kind == b"##TX" else ""


def _parsed_head(at: int, head: bytes) -> tuple[bytes, int, int]:
    kind, length, n_links = _HEAD.unpack_from(head)
    if not kind.startswith(b"##") or length < _HEAD.size + 8 * n_links:
        raise ValueError(f"expected a block at byte {at}, but got {kind!r} of {length} bytes")
    return kind, length, n_links


class Budget:
    """What the streams of one file may cost together."""

    def __init__(self, file_size: int, n_streams: int) -> None:
        self._n_left = file_size * n_streams
        self._n_inflated_left = RATIO_FREE_BYTES + LARGEST_RATIO * file_size
        self.kept_inflated = KEPT_INFLATED // max(n_streams, 1)
        """Bytes of a block that a stream may hold inflated."""

    def spend(self, n: int) -> None:
        """Count n bytes of data blocks: a list that names blocks again and again ends here.

        Raises:
            ValueError: they are more than the file has.
        """
        self._n_left -= n
        if self._n_left < 0:
            raise ValueError("expected every data block once, but got one several times")

    def spend_inflated(self, n: int) -> None:
        """Count n bytes inflated.

        Raises:
            ValueError: they are too many for the size of the file.
        """
        self._n_inflated_left -= n
        if self._n_inflated_left < 0:
            raise ValueError(f"expected at most {LARGEST_RATIO} times the size of the file, but got more")


class _Piece(NamedTuple):
    """Bytes of one data block."""

    at: int
    n: int
    """Once inflated."""
    packed: tuple[int, int, int] | None
    """Compression, parameter, packed bytes."""


class DataStream:
    """The bytes of all data blocks that `link` leads to, one after the other.

    `kinds` names the blocks allowed: DT and DV for records, SD for signal data.
    """

    def __init__(self, file: MdfFile, link: int, kinds: tuple[bytes, ...], budget: Budget) -> None:
        self._file, self._kinds, self._budget = file, kinds, budget
        self._pieces = self._walk(link)
        self._piece: _Piece | None = None
        self._n_read = 0
        self._inflated: U8 | None = None

    def read_into(self, out: U8) -> int:
        """Fill `out`; fewer bytes than it has room for only at the end.

        Raises:
            ValueError: the blocks are truncated or damaged.
        """
        n = 0
        while n < len(out):
            if self._piece is None or self._n_read == self._piece.n:
                self._piece, self._n_read, self._inflated = next(self._pieces, None), 0, None
                if self._piece is None:
                    break
            n_now = min(len(out) - n, self._piece.n - self._n_read)
            if self._piece.packed is None:
                self._file.read_into(self._piece.at + self._n_read, out[n : n + n_now])
            else:
                if self._inflated is None:
                    self._budget.spend_inflated(self._piece.n)
                    self._inflated = _inflated(self._file, self._piece, self._piece.packed)
                out[n : n + n_now] = self._inflated[self._n_read : self._n_read + n_now]
            self._n_read += n_now
            n += n_now
        if self._inflated is not None and len(self._inflated) > self._budget.kept_inflated:
            self._inflated = None
        return n

    def _walk(self, link: int) -> Iterator[_Piece]:
        if not link:
            return
        kind, _, n_links = self._file.head(link)
        if kind == b"##HL":
            if not n_links:
                raise ValueError(f"expected a link in the block at byte {link}, but got none")
            (link,) = _LINK.unpack(self._file.read(link + _HEAD.size, _LINK.size))
            kind = self._file.head(link)[0] if link else b""
        if kind in _LISTS:
            yield from self._walk_lists(link)
        elif link:
            yield self._data_block(link)

    def _walk_lists(self, at: int) -> Iterator[_Piece]:
        while at:
            kind, length, n_links = self._file.head(at)
            if kind not in _LISTS or not n_links:
                raise ValueError(f"expected a list of data blocks at byte {at}, but got {kind[2:]!r}")
            self._budget.spend(length)
            links_at = at + _HEAD.size
            if kind == b"##LD":
                (flags,) = struct.unpack("<I", self._file.read(links_at + 8 * n_links, 4))
                if flags & _INVALIDATION_APART:
                    raise UnusualLayoutError("expected invalidation bits within the records, but got them apart")
            # One link at a time: a list may be as long as the file.
            for index in range(1, n_links):
                (link,) = _LINK.unpack(self._file.read(links_at + 8 * index, _LINK.size))
                if link:
                    yield self._data_block(link)
            (at,) = _LINK.unpack(self._file.read(links_at, _LINK.size))

    def _data_block(self, at: int) -> _Piece:
        kind, length, n_links = self._file.head(at)
        data_at = at + _HEAD.size + 8 * n_links
        if kind in self._kinds and length == data_at - at and not self._file.has_last_length:
            # The logger did not come to write the length.
            if at < self._file.last_at:
                raise ValueError(f"expected the last data block at the end of the file, but got it at byte {at}")
            length = self._file.size - at
        if at + length > self._file.size:
            raise ValueError(f"expected a block of {length} bytes at byte {at}, but got the end of the file: truncated")
        self._budget.spend(length)
        if kind in self._kinds:
            return _Piece(data_at, length - (data_at - at), None)
        if kind != b"##DZ":
            raise ValueError(f"expected a data block at byte {at}, but got {kind[2:]!r}")
        original, method, parameter, n_inflated, n_packed = _PACKED.unpack(self._file.read(data_at, _PACKED.size))
        if b"##" + original not in self._kinds:
            raise ValueError(f"expected a compressed data block at byte {at}, but got one of {original!r}")
        if n_inflated > LARGEST_DATA_BLOCK or n_packed > LARGEST_DATA_BLOCK:
            raise ValueError(
                f"expected data blocks of at most {LARGEST_DATA_BLOCK} bytes, but got {max(n_inflated, n_packed)}"
            )
        if data_at + _PACKED.size + n_packed > at + length:
            raise ValueError(f"expected {n_packed} packed bytes at byte {at}, but got fewer")
        return _Piece(data_at + _PACKED.size, n_inflated, (method, parameter, n_packed))


def _inflated(file: MdfFile, piece: _Piece, packing: tuple[int, int, int]) -> U8:
    """The bytes of a compressed data block; at most one byte more than it claims is inflated."""
    method, parameter, n_packed = packing
    kind, is_transposed = method & ~1, bool(method & 1)
    packed = file.read(piece.at, n_packed)
    try:
        if kind == 0:
            content = ZLIB.decompressobj().decompress(packed, piece.n + 1) if piece.n else b""
        elif kind in _CODECS:
            content = _decompressed(_CODECS[kind], packed, piece.n)
        else:
            raise UnusualLayoutError(f"expected a data block that deflates, but got compression {method}")
    except (zlib.error, ZLIB.error) as reason:
        raise ValueError(f"expected a deflated block at byte {piece.at}, but got: {reason}") from None
    if len(content) != piece.n:
        raise ValueError(f"expected a block of {piece.n} bytes at byte {piece.at}, but got another size")
    data = np.frombuffer(content, dtype=np.uint8)
    if not is_transposed or parameter == 0:
        return data
    out = np.empty(piece.n, dtype=np.uint8)
    with_spare = np.zeros(piece.n + SPARE_BYTES, dtype=np.uint8)
    with_spare[: piece.n] = data
    transpose(with_spare, piece.n, parameter, out)
    return out


_CODECS: Final = {2: "zstd", 4: "lz4"}
"""Compressions of MDF 4.3, by number without the lowest bit, which says that the records are transposed."""


def _decompressed(codec: str, packed: bytes, n: int) -> bytes:
    import pyarrow as pa

    try:
        return pa.Codec(codec).decompress(packed, n, asbytes=True)  # type: ignore[no-any-return]
    except OSError as reason:
        raise ValueError(f"expected a block packed by {codec}, but got: {reason}") from None
