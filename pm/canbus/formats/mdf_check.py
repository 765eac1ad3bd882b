"""Is an unfinished MF4 file whole?

What belongs here: walking the blocks of a file that a logger never finished (`UnFinMF`: its lengths
and counts were not filled in) far enough to see whether its last record is complete. asammdf reads
such a file up to wherever it ends. Block layouts: ASAM MDF 4.1, 5.4 to 5.14.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

UNFINISHED_MAGIC: Final = b"UnFinMF "

_HEADER_AT: Final = 64
_BLOCK: Final = struct.Struct("<4s4xQQ")
_VARIABLE_LENGTH: Final = 1
_READ_BYTES: Final = 1 << 20


class _Block(NamedTuple):
    kind: bytes
    length: int
    links: tuple[int, ...]
    data_at: int


def check_whole(path: Path) -> None:
    """Return for a finished file and for one whose records end with the file.

    Raises:
        ValueError: the file has no header block, or ends within a record.
    """
    with path.open("rb") as stream:
        unfinished = stream.read(8) == UNFINISHED_MAGIC
        header = _read_block(stream, _HEADER_AT)
        if header.kind != b"##HD":
            raise ValueError("expected a header block, but got none: truncated")
        if unfinished:
            for group in _chain(stream, header.links[0]):
                _check_group(stream, group, path.stat().st_size)


def _read_block(stream: BinaryIO, at: int) -> _Block:
    stream.seek(at)
    head = stream.read(_BLOCK.size)
    if len(head) < _BLOCK.size:
        raise ValueError(f"expected a block at byte {at}, but got the end of the file: truncated")
    kind, length, n_links = _BLOCK.unpack(head)
    if n_links > 64:
        raise ValueError(f"expected a block at byte {at}, but got damaged data")
    packed = stream.read(8 * n_links)
    if len(packed) < 8 * n_links:
        raise ValueError(f"expected a whole block at byte {at}, but got the end of the file: truncated")
    return _Block(kind, length, struct.unpack(f"<{n_links}Q", packed), at + _BLOCK.size + 8 * n_links)


def _chain(stream: BinaryIO, at: int) -> Iterator[_Block]:
    """The block at `at` and those its first link leads to."""
    seen: set[int] = set()
    while at and at not in seen:
        seen.add(at)
        block = _read_block(stream, at)
        yield block
        at = block.links[0] if block.links else 0


def _check_group(stream: BinaryIO, group: _Block, file_size: int) -> None:
    """Walk the records of a data group whose block of data runs to the end of the file."""
    stream.seek(group.data_at)
    id_bytes = stream.read(1)[0]
    data = _read_block(stream, group.links[2]) if group.links[2] else None
    if data is None or data.kind != b"##DT" or data.length > _BLOCK.size:
        return  # no data, or a length that asammdf checks itself
    sizes = {}
    for channel_group in _chain(stream, group.links[1]):
        stream.seek(channel_group.data_at)
        record_id, _, flags, _, n_data, n_invalid = struct.unpack("<QQHH4xII", stream.read(32))
        sizes[record_id] = None if flags & _VARIABLE_LENGTH else n_data + n_invalid
    n_left = file_size - data.data_at
    if len(sizes) == 1 and None not in sizes.values():
        (size,) = sizes.values()
        over = n_left % (id_bytes + (size or 0))
    else:
        over = _left_over(stream, data.data_at, file_size, id_bytes, sizes)
    if over:
        raise ValueError(f"expected records up to the end of the file, but got {over} bytes of another: truncated")


def _left_over(stream: BinaryIO, at: int, end: int, id_bytes: int, sizes: dict[int, int | None]) -> int:
    """Bytes after the last whole record; walked in pieces, so memory does not grow with the file."""
    piece, piece_at = b"", at
    while at < end:
        if at + id_bytes + 4 > piece_at + len(piece):
            stream.seek(at)
            piece, piece_at = stream.read(_READ_BYTES), at
        here = at - piece_at
        record_id = int.from_bytes(piece[here : here + id_bytes], "little")
        if record_id not in sizes:
            raise ValueError(f"expected a record at byte {at}, but got unknown record id {record_id}")
        size = sizes[record_id]
        if size is None:
            size = 4 + int.from_bytes(piece[here + id_bytes : here + id_bytes + 4], "little")
        if at + id_bytes + size > end:
            return end - at
        at += id_bytes + size
    return 0
