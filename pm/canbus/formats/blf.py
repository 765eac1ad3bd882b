"""Binary logging format (BLF) of Vector, as blocks of frames.

What belongs here: the file header, the containers of a BLF file and inflating them. The objects in
them are read by the kernel in `blf_objects`, which also names the sources of the format.
"""

import struct
import zlib
from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta
from typing import BinaryIO, Final

import numpy as np

from pm.canbus.bits import SPARE_BYTES
from pm.canbus.formats.blf_objects import (
    ALL_READ,
    CHANNEL,
    CHANNEL_REFUSED,
    COLUMNS_FULL,
    ERROR,
    LOG_CONTAINER,
    MALFORMED,
    MAXIMUM_PADDING_BYTES,
    N_FRAMES,
    NEEDED_BYTES,
    NEW_CHANNEL,
    NO_CHANNEL,
    OBJECT_HEAD_BYTES,
    REMOTE,
    TOO_NARROW,
    new_state,
    read_objects,
    room,
)
from pm.canbus.formats.block import (
    BLOCK_FRAMES,
    CLASSIC_BYTES,
    ERROR_FRAME,
    MAXIMUM_FRAME_BYTES,
    REMOTE_FRAME,
    TOO_MANY_CHANNELS,
    U8,
    FrameBlock,
    Source,
    count_rejected,
)
from pm.canbus.formats.inflate import ZLIB

MALFORMED_OBJECT: Final = "malformed_object"
"""Reason for an object with a frame that cannot be: identifier, length, time, size or header."""

FILE_SIGNATURE: Final = b"LOGG"
LARGEST_CONTAINER: Final = 1 << 30
"""Most bytes a container may claim to hold. Vector and python-can write 128 KiB, python-can as many as it is told."""
LARGEST_RATIO: Final = 250
"""A frame repeated without end packs 1:11 in a container; a file beyond this ratio is an attack or a mistake."""
RATIO_FREE_BYTES: Final = 1 << 26

_OBJECT_SIGNATURE: Final = b"LOBJ"
_FILE_HEADER: Final = struct.Struct("<4sL8xQ16x8H16x")
"""Signature, header size, file size, start of the measurement (SYSTEMTIME)."""
_USUAL_HEADER_BYTES: Final = 144
_LARGEST_HEADER: Final = 1 << 16
_OBJECT_HEAD: Final = struct.Struct("<4sH2xLL")
"""Signature, header size, object size, type."""
_CONTAINER: Final = struct.Struct("<H6xL4x")
"""Method, inflated size."""
_STORED, _DEFLATED = 0, 2
_PIECE_BYTES: Final = 1 << 20
"""Most bytes of a container held in memory at once, packed or inflated."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_REASONS: Final = {
    MALFORMED: MALFORMED_OBJECT,
    REMOTE: REMOTE_FRAME,
    ERROR: ERROR_FRAME,
    NO_CHANNEL: TOO_MANY_CHANNELS,
}


def blf_blocks(
    stream: BinaryIO, source: Source, *, file_size: int | None, start_us: int | None = None
) -> Iterator[FrameBlock]:
    """Read `stream` to its end, up to `BLOCK_FRAMES` frames a block; a channel is named by its number ("1").

    Times count from the start in the file's header. It has no zone: Vector's tools write local time,
    python-can writes UTC; it is taken as UTC, and a header without a start counts from 1970-01-01.
    `start_us`, microseconds since 1970-01-01 UTC, replaces it. Objects that carry no CAN frame are passed
    over. Damage within one object is counted as `malformed_object`. `file_size`, if known, is held
    against the size that the header promises before anything is read.

    Raises:
        ValueError: the file is truncated, or damaged so that its objects cannot be told apart, or it
            inflates to more than it claims, than `LARGEST_CONTAINER` a container, or than `LARGEST_RATIO`.
    """
    file = _File(stream)
    promised, header_start_us = _read_header(file, is_start_needed=start_us is None)
    if file_size is not None and file_size < promised:
        raise ValueError(f"expected {promised} bytes as the header says, but got {file_size}: truncated")
    objects = _Objects(header_start_us if start_us is None else start_us, source)
    while (head := file.next_object()) is not None:
        n_header, n_object, kind = _OBJECT_HEAD.unpack(head)[1:]
        if kind == LOG_CONTAINER:
            for piece in _container(file, n_header, n_object):
                yield from objects.read(piece)
        elif n_object < OBJECT_HEAD_BYTES:
            raise ValueError(f"expected an object at byte {file.at - len(head)}, but got one of {n_object} bytes")
        else:
            n_needed = min(n_object, NEEDED_BYTES) - len(head)
            yield from objects.read_alone(head + file.read(n_needed))
            file.skip(n_object - len(head) - n_needed)
    if file.at < promised:
        raise ValueError(f"expected {promised} bytes as the header says, but got {file.at}: truncated")
    yield from objects.finish()


class _File:
    """The bytes of the file, in order, and how many they are."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.at = 0
        self.n_inflated = 0

    def read(self, n: int) -> bytes:
        """The next n bytes; callers ask for a piece at most, so no claim takes memory before its bytes are there."""
        got = self._read_up_to(n)
        if len(got) < n:
            raise ValueError(f"expected {n} bytes at byte {self.at - len(got)}, but got {len(got)}: truncated")
        return got

    def skip(self, n: int) -> None:
        """Pass over the next n bytes."""
        while n:
            n -= len(self.read(min(n, _PIECE_BYTES)))

    def next_object(self) -> bytes | None:
        """Head of the next object behind padding; None at the end of the file."""
        head = self._read_up_to(OBJECT_HEAD_BYTES)
        n_padding = head.find(_OBJECT_SIGNATURE)
        if 0 <= n_padding <= MAXIMUM_PADDING_BYTES:
            return head[n_padding:] + self.read(OBJECT_HEAD_BYTES - len(head) + n_padding)
        if len(head) <= MAXIMUM_PADDING_BYTES and not any(head):
            return None
        raise ValueError(f"expected an object (LOBJ) at byte {self.at - len(head)}, but got {head[:4]!r}")

    def check_ratio(self, n_inflated: int) -> None:
        """Count bytes inflated; `ValueError` if they are too many for the bytes read."""
        self.n_inflated += n_inflated
        if self.n_inflated > RATIO_FREE_BYTES + LARGEST_RATIO * self.at:
            raise ValueError(f"expected at most {LARGEST_RATIO} times the packed size, but got more")

    def _read_up_to(self, n: int) -> bytes:
        got = self._stream.read(n)
        while len(got) < n and (more := self._stream.read(n - len(got))):
            got += more
        self.at += len(got)
        return got


def _read_header(file: _File, *, is_start_needed: bool) -> tuple[int, int]:
    """(file size that the header promises, start in microseconds since 1970)."""
    signature, n_header, promised, *system_time = _FILE_HEADER.unpack(file.read(_FILE_HEADER.size))
    if signature != FILE_SIGNATURE:
        raise ValueError(f"expected a BLF file (LOGG), but got {signature!r}")
    if not _FILE_HEADER.size <= n_header <= _LARGEST_HEADER:
        raise ValueError(f"expected a header of {_USUAL_HEADER_BYTES} bytes, but got {n_header}")
    file.skip(n_header - _FILE_HEADER.size)
    return max(promised, n_header), _start_us(system_time) if is_start_needed else 0


def _start_us(system_time: list[int]) -> int:
    """Microseconds since 1970 of a SYSTEMTIME."""
    year, month, _, day, hour, minute, second, milli = system_time
    if year == month == day == 0:
        return 0
    try:
        start = datetime(year, month, day, hour, minute, second, milli * 1000, UTC)
    except ValueError as reason:
        raise ValueError(f"expected a start of the measurement in the header, but got: {reason}") from None
    return (start - _EPOCH) // timedelta(microseconds=1)


def _container(file: _File, n_header: int, n_object: int) -> Iterator[bytes]:
    """The content of a container whose head was read, in pieces."""
    n_packed = n_object - n_header - _CONTAINER.size
    if n_header < OBJECT_HEAD_BYTES or n_packed < 0:
        raise ValueError(f"expected a container at byte {file.at}, but got one of {n_object} bytes")
    file.skip(n_header - OBJECT_HEAD_BYTES)
    method, n_claimed = _CONTAINER.unpack(file.read(_CONTAINER.size))
    if method == _STORED:
        while n_packed:
            piece = file.read(min(n_packed, _PIECE_BYTES))
            n_packed -= len(piece)
            yield piece
    elif method != _DEFLATED:
        raise ValueError(f"expected a container stored or deflated, but got method {method}")
    elif n_claimed > LARGEST_CONTAINER:
        raise ValueError(f"expected a container of at most {LARGEST_CONTAINER} bytes, but got {n_claimed}")
    else:
        yield from _inflated(file, n_packed, n_claimed)


def _inflated(file: _File, n_packed: int, n_claimed: int) -> Iterator[bytes]:
    """The content of a deflated container, in pieces; at most one byte more than it claims is inflated."""
    inflate = ZLIB.decompressobj()
    n_left = n_claimed
    while not inflate.eof:
        packed = inflate.unconsumed_tail
        if not packed and n_packed:
            packed = file.read(min(n_packed, _PIECE_BYTES))
            n_packed -= len(packed)
        try:
            piece = inflate.decompress(packed, min(n_left + 1, _PIECE_BYTES))
        except (zlib.error, ZLIB.error) as reason:
            raise ValueError(f"expected a deflated container before byte {file.at}, but got: {reason}") from None
        if not piece and len(inflate.unconsumed_tail) == len(packed) and not inflate.eof:
            raise ValueError(f"expected a whole container before byte {file.at}, but got a part of one")
        n_left -= len(piece)
        if n_left < 0:
            raise ValueError(f"expected a container of {n_claimed} bytes before byte {file.at}, but got more")
        file.check_ratio(len(piece))
        yield piece
    if n_left:
        raise ValueError(f"expected a container of {n_claimed} bytes, but got {n_claimed - n_left}")
    file.skip(n_packed)


class _Objects:
    """Objects as columns: what is kept between pieces of their bytes, and between blocks."""

    def __init__(self, start_us: int, source: Source) -> None:
        self._source = source
        self._state = new_state(start_us)
        self._columns = room(BLOCK_FRAMES, CLASSIC_BYTES)
        self._buffer = np.zeros(0, dtype=np.uint8)
        self._n_kept = 0
        """Bytes at the front of the buffer: the start of an object that is not whole."""
        self._n_skipped = 0
        """Bytes of the next pieces that belong to an object to pass over."""

    def read(self, piece: bytes) -> Iterator[FrameBlock]:
        """The next bytes of the containers; their objects may begin and end anywhere."""
        n_skipped = min(self._n_skipped, len(piece))
        self._n_skipped -= n_skipped
        if n_skipped == len(piece):
            return
        end = self._n_kept + len(piece) - n_skipped
        if end + SPARE_BYTES > len(self._buffer):
            longer = np.zeros(end + SPARE_BYTES, dtype=np.uint8)
            longer[: self._n_kept] = self._buffer[: self._n_kept]
            self._buffer = longer
        self._buffer[self._n_kept : end] = np.frombuffer(piece, dtype=np.uint8, offset=n_skipped)
        at = yield from self._walk(self._buffer, end)
        self._n_kept = max(end - at, 0)
        self._n_skipped += max(at - end, 0)
        self._buffer[: self._n_kept] = self._buffer[end - self._n_kept : end].copy()

    def read_alone(self, content: bytes) -> Iterator[FrameBlock]:
        """One object outside the containers, or as much of it as is needed. python-can passes over these."""
        room_for_it = bytearray(content + bytes(SPARE_BYTES))  # bytes cannot be written, a type of its own to numba
        yield from self._walk(np.frombuffer(room_for_it, dtype=np.uint8), len(content))

    def finish(self) -> Iterator[FrameBlock]:
        """The last block.

        Raises:
            ValueError: the last object is not whole.
        """
        if self._state.numbers[N_FRAMES]:
            yield self._block()
        rest = self._buffer[: self._n_kept]
        if self._n_skipped or self._n_kept > MAXIMUM_PADDING_BYTES or rest.any():
            raise ValueError("expected whole objects up to the end of the file, but got a part of one: truncated")

    def _walk(self, data: U8, end: int) -> Generator[FrameBlock, None, int]:
        """Read the objects in `data[:end]`; returns where the kernel wants to go on."""
        at, why = 0, COLUMNS_FULL
        while why != ALL_READ:
            at, why = read_objects(data, at, end, self._columns, self._state)
            if why == COLUMNS_FULL:
                yield self._block()
            elif why == NEW_CHANNEL:
                number = int(self._state.numbers[CHANNEL])
                index = self._source.channels.index(str(number))
                self._state.channel_of[number] = CHANNEL_REFUSED if index is None else index
            elif why == TOO_NARROW:
                self._widen()
            elif why != ALL_READ:
                found = data[at : min(at + OBJECT_HEAD_BYTES, end)].tobytes()
                raise ValueError(f"expected an object (LOBJ) of at least {OBJECT_HEAD_BYTES} bytes, but got {found!r}")
        count_rejected(self._state.counts, _REASONS, self._source)
        return at

    def _widen(self) -> None:
        """Give the columns room for payloads of 64 bytes."""
        n, narrow = int(self._state.numbers[N_FRAMES]), self._columns
        wide = room(BLOCK_FRAMES, MAXIMUM_FRAME_BYTES)
        words = wide.words.reshape(BLOCK_FRAMES, -1)
        words[:n, 0], words[:n, 1:] = narrow.words[:n], 0
        self._columns = narrow._replace(words=wide.words)

    def _block(self) -> FrameBlock:
        """The frames read so far; makes room for those of the next block."""
        columns, n = self._columns, int(self._state.numbers[N_FRAMES])
        self._columns = room(BLOCK_FRAMES, CLASSIC_BYTES)
        self._state.numbers[N_FRAMES] = 0
        return FrameBlock(
            time_us=columns.time_us[:n],
            channel=columns.channel[:n],
            can_id=columns.can_id[:n],
            is_extended=columns.is_extended[:n],
            length=columns.length[:n],
            data=columns.words.view(np.uint8).reshape(BLOCK_FRAMES, -1)[:n],
            channels=self._source.channels.names,
        )
