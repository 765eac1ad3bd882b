"""CAN frames as a BLF log (Vector's binary logging format).

What belongs here: writing. Vector publishes no specification; the layout is that of python-can
(`can/io/blf.py`) and vector_blf: a header, then deflated containers of objects, of which each
CAN_MESSAGE holds one frame.
"""

import struct
import zlib
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pm.simulate.encode import Frames

_HEADER: Final = struct.Struct("<4sL8B2Q2L8H8H")
"""Signature, header size, application and versions, file size, inflated size, objects, read, start, stop."""
_HEADER_BYTES: Final = 144
_VERSIONS: Final = (0, 0, 0, 0, 2, 6, 8, 1)
"""Application 0 and the version of the format that python-can writes."""
_CONTAINER: Final = struct.Struct("<4sHHLLH6xL4x")
"""Signature, header size, header version, object size, type, method, inflated size."""
_LOG_CONTAINER, _DEFLATED = 10, 2
_OBJECT_BYTES: Final = 48
_A_CONTAINER: Final = 2_730
"""Frames a container: just below the 128 KiB that Vector's tools and python-can write."""
_LEVEL: Final = 1
"""Faster levels are four times as fast and give files a tenth larger."""

_U = np.uint64
_HEAD: Final = _U(int.from_bytes(struct.pack("<4sHH", b"LOBJ", 32, 1), "little"))
_SIZE_AND_TYPE: Final = _U(_OBJECT_BYTES | 1 << 32)
"""Type 1 is CAN_MESSAGE."""
_NANOSECONDS: Final = _U(2)
_LENGTH_8: Final = _U(8 << 24)
_EXTENDED: Final = _U(1 << 63)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def blf_bytes(frames: Frames, channel: NDArray[np.uint8]) -> bytes:
    """A BLF file of the frames, at least one, in their order; bus 0 is channel 1, as Vector counts.

    The header's start is in UTC, as python-can writes it.
    """
    start_us = int(frames.time_us[0]) // 1000 * 1000
    objects = np.empty((len(frames), 6), _U)
    objects[:, 0], objects[:, 1], objects[:, 2] = _HEAD, _SIZE_AND_TYPE, _NANOSECONDS
    objects[:, 3] = (frames.time_us - start_us) * 1000
    numbers = channel.astype(_U) + _U(1)
    objects[:, 4] = numbers | _LENGTH_8 | frames.can_id.astype(_U) << _U(32) | _EXTENDED
    objects[:, 5] = frames.payload
    pieces = [_container(objects[at : at + _A_CONTAINER]) for at in range(0, len(frames), _A_CONTAINER)]
    body = b"".join(pieces)
    n_inflated = _HEADER_BYTES + _CONTAINER.size * len(pieces) + objects.nbytes
    sizes = (_HEADER_BYTES + len(body), n_inflated, len(frames), 0)
    times = (*_system_time(start_us), *_system_time(int(frames.time_us[-1])))
    header = _HEADER.pack(b"LOGG", _HEADER_BYTES, *_VERSIONS, *sizes, *times)
    return header.ljust(_HEADER_BYTES, b"\0") + body


def _container(objects: NDArray[np.uint64]) -> bytes:
    packed = zlib.compress(objects.astype("<u8", copy=False).tobytes(), _LEVEL)
    size = _CONTAINER.size + len(packed)
    head = _CONTAINER.pack(b"LOBJ", 16, 1, size, _LOG_CONTAINER, _DEFLATED, objects.nbytes)
    # As many zeros as python-can's reader passes over.
    return head + packed + bytes(size % 4)


def _system_time(time_us: int) -> tuple[int, ...]:
    """SYSTEMTIME: year, month, day of the week (0 = Sunday), day, hour, minute, second, millisecond."""
    at = _EPOCH + timedelta(microseconds=time_us)
    day = (at.year, at.month, at.isoweekday() % 7, at.day)
    return (*day, at.hour, at.minute, at.second, at.microsecond // 1000)
