"""Text logs as whole lines, about a megabyte at a time.

What belongs here: reading a stream into one buffer that is used again, so that kernels can go through
its lines without copying them. What a line means is the business of the text formats.
"""

from collections.abc import Iterator
from typing import BinaryIO, Final, cast

import numpy as np

from pm.canbus.bits import SPARE_BYTES
from pm.canbus.formats.block import LINE_TOO_LONG, U8, Source

READ_BYTES: Final = 1 << 20
MAXIMUM_LINE: Final = 512
"""Longest line read, in bytes; a CAN FD frame on candump's screen needs about 240."""

_NEWLINE: Final = ord("\n")


def whole_lines(stream: BinaryIO, source: Source, *, maximum: int = MAXIMUM_LINE) -> Iterator[tuple[U8, int]]:
    """(buffer, n): the first n bytes of `buffer` are whole lines, the last byte is a newline.

    The buffer is used again for the next piece, and `SPARE_BYTES` beyond its content may be read. A last
    line without a newline gets one. The rest of a line longer than `maximum` bytes that does not end
    within a piece is skipped and counted as `line_too_long`; longer ones that do are left to the reader.
    """
    room = bytearray(maximum + READ_BYTES + 1 + SPARE_BYTES)
    buffer, view = np.frombuffer(room, dtype=np.uint8), memoryview(room)
    n_kept, skipping = 0, False
    while n_read := cast("int", stream.readinto(view[n_kept : n_kept + READ_BYTES])):  # type: ignore[attr-defined]
        n, begin = n_kept + n_read, 0
        if skipping:
            begin = room.find(b"\n", 0, n) + 1
            skipping, n_kept = not begin, 0
            if skipping:
                continue
        end = room.rfind(b"\n", begin, n) + 1 or begin
        if end > begin:
            if begin:  # a kernel begins at the first byte
                buffer[: n - begin] = buffer[begin:n].copy()
                n, end = n - begin, end - begin
            yield buffer, end
        n_kept = n - end
        if n_kept > maximum:
            source.rejected[LINE_TOO_LONG] += 1
            n_kept, skipping = 0, True
        else:
            buffer[:n_kept] = buffer[end:n].copy()
    if n_kept:
        buffer[n_kept] = _NEWLINE
        yield buffer, n_kept + 1
