"""What the blocks of an MDF 4 file say of its CAN frames: which records hold them, and where in them.

What belongs here: data groups, channel groups, the channels of `CAN_DataFrame`, and conversions. Sources:
ASAM MDF 4.1 (DG, CG, CN and CC blocks) and the names of the ASAM bus logging standard.
"""

import re
import struct
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pm.canbus.formats.block import ERROR_FRAME, MAXIMUM_FRAME_BYTES, REMOTE_FRAME
from pm.canbus.formats.mdf_file import Block, MdfFile, UnusualLayoutError
from pm.canbus.formats.mdf_frames import (
    BUS,
    CONVERTED,
    DOUBLE,
    FLOAT,
    HAS_IDE,
    HOW,
    ID,
    IDE,
    LENGTH,
    N_FIELDS,
    N_GROUP_PLACES,
    N_PLACES,
    NO_STREAM,
    OFFSET,
    PAYLOAD_AT,
    PAYLOAD_BYTES,
    SIGNED,
    STREAM,
    SWAPPED,
    TABLE_SIZE,
    TIME,
    TIME_KIND,
    UNSIGNED,
    Layouts,
)
from pm.canbus.formats.mdf_records import VARIABLE

MOST_GROUPS: Final = 2048
"""Most channel groups with frames; a logger writes one for each channel, width and direction, some hundreds."""
LARGEST_RECORD: Final = 1 << 16

_FRAME: Final = "CAN_DataFrame"
_PREFIX: Final = "CAN_DataFrame."
_TIME_NAME: Final = "time of the group"
_COUNTED: Final = {"CAN_RemoteFrame": REMOTE_FRAME, "CAN_ErrorFrame": ERROR_FRAME}
_START: Final = struct.Struct("<Q")
_ID_BYTES: Final = struct.Struct("<B")
_GROUP: Final = struct.Struct("<QQHH4xII")
"""Record id, records, flags, path separator, bytes of data, bytes of invalidation bits."""
_CHANNEL: Final = struct.Struct("<BBBBIIII")
"""Kind, kind of master, kind of data, bit, byte, bits, flags, place of the invalidation bit."""
_CONVERSION: Final = struct.Struct("<B5xHdd")
"""Kind, values; what lies between is the precision, flags, references and the range."""
_VARIABLE_RECORDS, _REMOTE_MASTER = 0x1, 0x8
_FIXED, _VARIABLE_LENGTH, _MASTER, _VIRTUAL_MASTER, _SYNCHRONISATION, _MOST_LENGTH, _VIRTUAL = range(7)
_UNSIGNED_LOW, _UNSIGNED_HIGH, _SIGNED_LOW, _SIGNED_HIGH, _FLOAT_LOW, _FLOAT_HIGH = range(6)
_WHOLE_NUMBERS: Final = (_UNSIGNED_LOW, _UNSIGNED_HIGH, _SIGNED_LOW, _SIGNED_HIGH)
_HIGH_FIRST: Final = (_UNSIGNED_HIGH, _SIGNED_HIGH, _FLOAT_HIGH)
_NO_MASTER, _TIME_MASTER = 0, 1
_BYTES: Final = 10
_LARGEST_VALUE: Final = 0xFFFFFFFF
_SAME, _LINEAR, _RATIONAL, _INTERPOLATED, _NEAREST, _TO_TEXT, _RANGE_TO_TEXT = 0, 1, 2, 4, 5, 7, 8
_FLEXIBLE_LENGTHS: Final = (*range(9), 12, 16, 20, 24, 32, 48, 64)
"""Bytes of each data length code (ISO 11898-1, CAN FD)."""


class _Channel(NamedTuple):
    kind: int
    master_kind: int
    data_kind: int
    bit: int
    byte: int
    n_bits: int
    conversion: int
    data_link: int

    @property
    def n_bytes(self) -> int:
        return (self.bit + self.n_bits + 7) // 8


@dataclass
class FrameGroup:
    """A channel group of CAN frames: a row of `Layouts`."""

    fields: dict[int, tuple[int, int, int, int]] = field(default_factory=dict)
    """`PLACE`, `SHIFT`, `MASK` and `HOW`; a field that is missing is 0, or the first of its table."""
    tables: dict[int, NDArray[np.int64]] = field(default_factory=dict)
    time_kind: int = UNSIGNED
    time_scale: tuple[float, float] = (1.0, 0.0)
    has_ide: bool = False
    payload_at: int = 0
    payload_bytes: int = 0
    signal_link: int = 0
    """Where payloads of variable length lie: an SD, DL, HL or DZ block, or a CG block; 0 for none."""


class ChannelGroup(NamedTuple):
    """A channel group: whose records are of one size."""

    at: int
    record_id: int
    n_records: int | None
    """None where the logger did not come to write it."""
    record_bytes: int
    """`VARIABLE` for records that say their length."""
    frames: FrameGroup | None
    """None for records that are no data frames."""
    counted: str | None
    """Reason under which the records are counted."""


class DataGroup(NamedTuple):
    """A data group: the channel groups whose records lie in the same data blocks."""

    n_id_bytes: int
    data_link: int
    groups: tuple[ChannelGroup, ...]


def start_us(file: MdfFile) -> int:
    """Microseconds since 1970 when the times of the log begin; a local time is taken as UTC."""
    (start_ns,) = file.header.unpack(_START)
    return int(start_ns + 500) // 1000


def data_groups(file: MdfFile) -> list[DataGroup]:
    """Those data groups that have frames of any kind.

    Raises:
        UnusualLayoutError: frames are laid out in a way that is not read here.
        ValueError: the blocks are truncated or damaged.
    """
    found, n_groups = [], 0
    for block in file.chain(file.header.link(0), b"##DG"):
        (n_id_bytes,) = block.unpack(_ID_BYTES)
        if n_id_bytes not in (0, 1, 2, 4, 8):
            raise ValueError(f"expected record ids of 0, 1, 2, 4 or 8 bytes, but got {n_id_bytes}")
        groups = tuple(_channel_group(file, group) for group in file.chain(block.link(1), b"##CG"))
        n_groups += sum(group.frames is not None for group in groups)
        if n_groups > MOST_GROUPS:
            raise ValueError(f"expected at most {MOST_GROUPS} groups of frames, but got more")
        if not n_id_bytes and len(groups) > 1:
            raise ValueError(f"expected record ids in a data group of {len(groups)} channel groups, but got none")
        if any(group.frames or group.counted for group in groups):
            found.append(DataGroup(n_id_bytes, block.link(2), groups))
    return found


def layouts_of(groups: list[FrameGroup]) -> Layouts:
    """Rows of `groups`, without their streams."""
    n = len(groups)
    layouts = Layouts(
        fields=np.zeros((n, N_FIELDS, N_PLACES), dtype=np.uint64),
        tables=np.zeros((n, N_FIELDS, TABLE_SIZE), dtype=np.int64),
        groups=np.zeros((n, N_GROUP_PLACES), dtype=np.int64),
        time_scale=np.array([group.time_scale for group in groups], dtype=np.float64),
    )
    for row, group in enumerate(groups):
        for which, places in group.fields.items():
            layouts.fields[row, which] = places
        for which, values in group.tables.items():
            layouts.fields[row, which, HOW] |= np.uint64(CONVERTED)
            layouts.tables[row, which] = values
        layouts.groups[row, TIME_KIND] = group.time_kind
        layouts.groups[row, HAS_IDE] = group.has_ide
        layouts.groups[row, PAYLOAD_AT : PAYLOAD_BYTES + 1] = group.payload_at, group.payload_bytes
        layouts.groups[row, STREAM] = NO_STREAM
    return layouts


def _channel_group(file: MdfFile, block: Block) -> ChannelGroup:
    record_id, n_records, flags, _, n_data, n_invalid = block.unpack(_GROUP)
    counter = n_records if file.has_counters else None
    if flags & _VARIABLE_RECORDS:
        return ChannelGroup(block.at, record_id, counter, VARIABLE, None, None)
    record_bytes = n_data + n_invalid
    counted, frames = None, None
    if counter != 0:
        channels = _channels(file, block)
        counted = next((reason for name, reason in _COUNTED.items() if name in channels), None)
        if _FRAME in channels:
            if flags & _REMOTE_MASTER:
                raise UnusualLayoutError("expected times beside the frames, but got them in another group")
            if record_bytes > LARGEST_RECORD:
                raise ValueError(f"expected records of at most {LARGEST_RECORD} bytes, but got {record_bytes}")
            frames = _frame_group(file, channels, n_data, _bus_of(file.text(block.link(2))))
    return ChannelGroup(block.at, record_id, counter, record_bytes, frames, counted)


def _bus_of(acquisition: str) -> int:
    """Number in a name such as "CAN2_Rx"; 0 if it has none."""
    number = re.search(r"CAN\D*(\d{1,9})", acquisition)
    return int(number[1]) if number else 0


def _channels(file: MdfFile, group: Block) -> dict[str, _Channel]:
    """Channels by name; the time is named `_TIME_NAME`, parts of a frame have their names in full."""
    found: dict[str, _Channel] = {}
    for block in file.chain(group.link(1), b"##CN"):
        name, channel = file.text(block.link(2)), _channel(block)
        if channel.kind in (_MASTER, _VIRTUAL_MASTER):
            name = _TIME_NAME if channel.master_kind in (_NO_MASTER, _TIME_MASTER) else ""
        found.setdefault(name, channel)
        if name == _FRAME and block.link(1):
            for part in file.chain(block.link(1), b"##CN"):
                found.setdefault(_PREFIX + file.text(part.link(2)).removeprefix(_PREFIX), _channel(part))
    return found


def _channel(block: Block) -> _Channel:
    kind, master_kind, data_kind, bit, byte, n_bits, _, _ = block.unpack(_CHANNEL)
    return _Channel(kind, master_kind, data_kind, bit, byte, n_bits, block.link(4), block.link(5))


def _frame_group(file: MdfFile, channels: dict[str, _Channel], n_data: int, bus: int) -> FrameGroup:
    group = FrameGroup()
    parts = {name.removeprefix(_PREFIX): channel for name, channel in channels.items() if name.startswith(_PREFIX)}
    for needed in (_TIME_NAME, _PREFIX + "ID", _PREFIX + "DataBytes"):
        if needed not in channels:
            raise UnusualLayoutError(f"expected {needed} beside every {_FRAME}, but got a group without")
    _set_time(file, group, channels[_TIME_NAME], n_data)
    _set_field(file, group, ID, parts["ID"], n_data)
    group.has_ide = "IDE" in parts
    if group.has_ide:
        _set_field(file, group, IDE, parts["IDE"], n_data)
    if "BusChannel" in parts:
        _set_field(file, group, BUS, parts["BusChannel"], n_data)
    else:
        group.tables[BUS] = _table([bus])
    if "DataLength" in parts:
        _set_field(file, group, LENGTH, parts["DataLength"], n_data)
    elif "DLC" in parts:
        _set_field(file, group, LENGTH, parts["DLC"], n_data)
        codes = group.tables.get(LENGTH, np.arange(TABLE_SIZE, dtype=np.int64))
        group.tables[LENGTH] = np.array(_FLEXIBLE_LENGTHS, dtype=np.int64)[np.minimum(codes, 15)]
    else:
        group.tables[LENGTH] = _table([MAXIMUM_FRAME_BYTES])
    _set_payload(file, group, parts["DataBytes"], n_data)
    return group


def _place(group: FrameGroup, which: int, channel: _Channel, n_data: int) -> None:
    """Where the bits of a field lie."""
    if channel.byte + channel.n_bytes > n_data:
        raise ValueError(f"expected fields within records of {n_data} bytes, but got one at byte {channel.byte}")
    if not 0 < channel.n_bits <= 64 or channel.n_bytes > 8:
        raise UnusualLayoutError(f"expected fields of 1 to 64 bits, but got {channel.n_bits}")
    is_swapped = channel.data_kind in _HIGH_FIRST
    shift = channel.bit + (64 - 8 * channel.n_bytes if is_swapped else 0)
    group.fields[which] = channel.byte, shift, (1 << channel.n_bits) - 1, SWAPPED if is_swapped else 0


def _set_time(file: MdfFile, group: FrameGroup, channel: _Channel, n_data: int) -> None:
    if channel.kind != _MASTER:
        raise UnusualLayoutError("expected times in the records, but got none")
    _place(group, TIME, channel, n_data)
    if channel.data_kind in (_FLOAT_LOW, _FLOAT_HIGH):
        if channel.n_bits not in (32, 64):
            raise UnusualLayoutError(f"expected times of 32 or 64 bits, but got {channel.n_bits}")
        group.time_kind = DOUBLE if channel.n_bits == 64 else FLOAT
    elif channel.data_kind in (_SIGNED_LOW, _SIGNED_HIGH):
        group.time_kind = SIGNED
    elif channel.data_kind not in (_UNSIGNED_LOW, _UNSIGNED_HIGH):
        raise UnusualLayoutError(f"expected times as numbers, but got data of kind {channel.data_kind}")
    kind, values = _conversion(file, channel)
    if kind == _LINEAR:
        group.time_scale = values[1], values[0]
    elif kind != _SAME:
        raise UnusualLayoutError(f"expected times in seconds or with a factor, but got a conversion of kind {kind}")


def _set_field(file: MdfFile, group: FrameGroup, which: int, channel: _Channel, n_data: int) -> None:
    """A field that is a whole number, with its conversion."""
    kind, values = _conversion(file, channel)
    is_converted = kind not in (_SAME, _TO_TEXT, _RANGE_TO_TEXT)
    if channel.kind in (_VIRTUAL, _VIRTUAL_MASTER):
        # The raw value is the number of the record, so only a factor of 0 gives a field that we know of.
        if kind != _LINEAR or values[1] != 0:
            raise UnusualLayoutError("expected a virtual channel with one value, but got one that counts records")
        group.tables[which] = _table([values[0]])
        return
    if channel.kind not in (_FIXED, _MOST_LENGTH) or channel.data_kind not in _WHOLE_NUMBERS:
        raise UnusualLayoutError(f"expected whole numbers in the records, but got data of kind {channel.data_kind}")
    _place(group, which, channel, n_data)
    if not is_converted or (kind == _LINEAR and tuple(values[:2]) == (0.0, 1.0)):
        return
    if kind == _LINEAR and values[1] == 0:
        del group.fields[which]
        group.tables[which] = _table([values[0]])
    elif channel.n_bits <= 8:
        group.tables[which] = _table(_converted(kind, values, np.arange(TABLE_SIZE, dtype=np.float64)))
    else:
        raise UnusualLayoutError(f"expected no conversion of {channel.n_bits} bits, but got one of kind {kind}")


def _set_payload(file: MdfFile, group: FrameGroup, channel: _Channel, n_data: int) -> None:
    if channel.data_kind != _BYTES:
        raise UnusualLayoutError(f"expected payloads as bytes, but got data of kind {channel.data_kind}")
    if channel.kind == _VARIABLE_LENGTH:
        if not channel.data_link or not file.has_offsets:
            raise UnusualLayoutError("expected payloads with their places, but got none")
        _place(group, OFFSET, channel, n_data)
        group.signal_link = channel.data_link
        return
    if channel.kind not in (_FIXED, _MOST_LENGTH) or channel.bit or channel.n_bits % 8:
        raise UnusualLayoutError("expected payloads as whole bytes in the records, but got others")
    if channel.byte + channel.n_bytes > n_data:
        raise ValueError(f"expected payloads within records of {n_data} bytes, but got one at byte {channel.byte}")
    group.payload_at, group.payload_bytes = channel.byte, min(channel.n_bytes, MAXIMUM_FRAME_BYTES)


def _conversion(file: MdfFile, channel: _Channel) -> tuple[int, list[float]]:
    """(kind, parameters); a channel without conversion has that which changes nothing."""
    if not channel.conversion:
        return _SAME, []
    block = file.block(channel.conversion, b"##CC")
    kind, n_values, _, _ = block.unpack(_CONVERSION)
    if kind in (_TO_TEXT, _RANGE_TO_TEXT):
        return kind, []
    values = [float(value) for value in block.unpack(struct.Struct(f"<{n_values}d"), _CONVERSION.size)]
    if kind not in (_SAME, _LINEAR, _RATIONAL, _INTERPOLATED, _NEAREST):
        raise UnusualLayoutError(f"expected a linear conversion or a table, but got one of kind {kind}")
    if n_values < {_SAME: 0, _RATIONAL: 6}.get(kind, 2):
        raise ValueError(f"expected the parameters of a conversion at byte {block.at}, but got {n_values}")
    return kind, values


def _converted(kind: int, values: list[float], raw: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a conversion makes of raw values."""
    if kind == _LINEAR:
        return np.asarray(values[1] * raw + values[0])
    if kind == _RATIONAL:
        with np.errstate(all="ignore"):
            return np.asarray(np.polyval(values[:3], raw) / np.polyval(values[3:6], raw))
    n = len(values) // 2 * 2
    keys, results = np.array(values[0:n:2]), np.array(values[1:n:2])
    if kind == _INTERPOLATED:
        return np.asarray(np.interp(raw, keys, results))
    return np.asarray(results[np.abs(raw[:, None] - keys).argmin(axis=1)])


def _table(values: "NDArray[np.float64] | list[float] | list[int]") -> NDArray[np.int64]:
    """Whole numbers by raw value; 0 where a value is none."""
    numbers = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0.0)
    table = np.zeros(TABLE_SIZE, dtype=np.int64)
    table[: len(numbers)] = np.clip(np.trunc(numbers), 0, _LARGEST_VALUE).astype(np.int64)
    return table
