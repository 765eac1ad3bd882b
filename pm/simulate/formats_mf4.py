"""CAN frames as an MF4 log (ASAM MDF 4.1 with bus logging).

What belongs here: writing the few blocks that such a file needs: one group of records of one size
(time, and the structure `CAN_DataFrame` with its parts), not packed. The layout is that of ASAM MDF
4.1.1 and of its associated standard for bus logging, as asammdf and our reader read it.
"""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pm.simulate.encode import Frames

_IDENTIFICATION: Final = b"MDF     4.11    pm      " + struct.pack("<4xH34x", 411)
_COMMENT: Final = (
    '<FHcomment xmlns="http://www.asam.net/mdf/v4"><TX>simulated</TX><tool_id>pm</tool_id>'
    "<tool_vendor>pm</tool_vendor><tool_version>1</tool_version></FHcomment>"
)
_RECORD_BYTES: Final = 24
_BUS_EVENTS: Final = 6
"""Channel group flags: bus event, plain bus event."""
_SOURCE_BUS, _BUS_CAN = 2, 2
_VALUE, _MASTER, _TIME = 0, 2, 1
_UNSIGNED, _FLOAT, _BYTES = 0, 4, 10
_U = np.uint64


class _Channel(NamedTuple):
    name: str
    byte: int
    n_bits: int
    data_type: int = _UNSIGNED


_FRAME: Final = _Channel("CAN_DataFrame", 8, 128, _BYTES)
_PARTS: Final = (
    _Channel("CAN_DataFrame.ID", 8, 29),
    _Channel("CAN_DataFrame.BusChannel", 12, 8),
    _Channel("CAN_DataFrame.IDE", 13, 1),
    _Channel("CAN_DataFrame.DLC", 14, 4),
    _Channel("CAN_DataFrame.DataLength", 15, 7),
    _Channel("CAN_DataFrame.DataBytes", 16, 64, _BYTES),
)


def mf4_bytes(frames: Frames, channel: NDArray[np.uint8]) -> bytes:
    """An MF4 file of the frames, at least one, in their order; bus 0 is bus channel 1.

    Times are seconds (a double) since the whole second in the header, UTC.
    """
    start_us = int(frames.time_us[0]) // 1_000_000 * 1_000_000
    file = _Blocks()
    comment, group = file.add(b"MD", data=_COMMENT.encode() + b"\0"), file.group(len(frames))
    history = file.add(b"FH", [0, comment], struct.pack("<QhhB3x", start_us * 1000, 0, 0, 0))
    data = file.add(b"DT", data=_records(frames, channel, start_us).astype("<u8", copy=False).tobytes())
    data_group = file.add(b"DG", [0, group, data, 0], bytes(8))
    file.set_header([data_group, history, 0, 0, 0, 0], start_us * 1000)
    return b"".join(file.pieces)


def _records(frames: Frames, channel: NDArray[np.uint8], start_us: int) -> NDArray[np.uint64]:
    """Records of `_RECORD_BYTES`: time, identifier, bus, extended, length code, length, payload."""
    records = np.empty((len(frames), _RECORD_BYTES // 8), _U)
    records[:, 0] = ((frames.time_us - start_us) / 1e6).view(_U)
    fixed = _U(1 << 40 | 8 << 48 | 8 << 56)
    records[:, 1] = frames.can_id.astype(_U) | (channel.astype(_U) + _U(1)) << _U(32) | fixed
    records[:, 2] = frames.payload
    return records


class _Blocks:
    """The file's pieces in order; the header block, which stands first, is filled in at the end."""

    def __init__(self) -> None:
        self.pieces = [_IDENTIFICATION, b""]
        self._end = len(_IDENTIFICATION) + len(_block(b"HD", [0] * 6, bytes(32)))

    def set_header(self, links: Sequence[int], start_ns: int) -> None:
        self.pieces[1] = _block(b"HD", links, struct.pack("<QhhBBBxdd", start_ns, 0, 0, 0, 0, 0, 0.0, 0.0))

    def add(self, kind: bytes, links: Sequence[int] = (), data: bytes = b"") -> int:
        """Append a block; returns its address."""
        at = self._end
        block = _block(kind, links, data)
        self.pieces += [block, bytes(-len(block) % 8)]
        self._end += len(block) + len(self.pieces[-1])
        return at

    def text(self, text: str) -> int:
        return self.add(b"TX", data=text.encode() + b"\0")

    def channel(self, channel: _Channel, following: int, *, parts: int = 0, kind: int = _VALUE, sync: int = 0,
                unit: int = 0) -> int:  # fmt: skip
        links = [following, parts, self.text(channel.name), 0, 0, 0, unit, 0]
        fixed = struct.pack("<4B4L", kind, sync, channel.data_type, 0, channel.byte, channel.n_bits, 0, 0)
        return self.add(b"CN", links, fixed.ljust(72, b"\0"))

    def group(self, n_records: int) -> int:
        """The channel group with its channels and its source, a CAN bus."""
        parts = 0
        for part in reversed(_PARTS):
            parts = self.channel(part, parts)
        frame = self.channel(_FRAME, 0, parts=parts)
        time = _Channel("Timestamp", 0, 64, _FLOAT)
        first = self.channel(time, frame, kind=_MASTER, sync=_TIME, unit=self.text("s"))
        name = self.text("CAN")
        source = self.add(b"SI", [name, 0, 0], struct.pack("<3B5x", _SOURCE_BUS, _BUS_CAN, 0))
        fixed = struct.pack("<QQHH4xLL", 0, n_records, _BUS_EVENTS, ord("."), _RECORD_BYTES, 0)
        return self.add(b"CG", [0, first, name, source, 0, 0], fixed)


def _block(kind: bytes, links: Sequence[int], data: bytes) -> bytes:
    """Header (id, length, number of links), links, data."""
    size = 24 + 8 * len(links) + len(data)
    return struct.pack(f"<4s4xQQ{len(links)}Q", b"##" + kind, size, len(links), *links) + data
