"""Records of an MDF 4 file, one after the other in a data block.

What belongs here: the kernels that walk over records of mixed kinds, for those of frames and for payloads
of variable length. What lies in a record is read in `mdf_frames`. Records: ASAM MDF 4.1, DG and CG blocks.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pm.canbus.bits import load32, load64
from pm.canbus.formats.block import I64, U8
from pm.canbus.jit import kernel

ALL_WALKED, COLUMNS_FULL, UNKNOWN_RECORD, TOO_LONG = range(4)
"""Why a walk stopped."""
VARIABLE: Final = -1
"""Size of a record whose own head says its length."""
LONGEST_VALUE: Final = 1 << 16
"""Bytes of the longest payload of variable length; no bus has longer frames."""

_U = np.uint64
_8, _64 = _U(8), _U(64)
_ALL_BITS: Final = _U(0xFFFFFFFFFFFFFFFF)


class Records(NamedTuple):
    """What is known of the records of a data group, by record id."""

    n_id_bytes: int
    kind_of: I64
    """Number of the channel group; -1 for an unknown record id."""
    size: I64
    """Bytes after the record id, or `VARIABLE`; by channel group."""
    target: I64
    """Layout of a channel group's frames; -1 for records that are passed over."""
    counts: I64
    """Records of each channel group so far."""


@kernel
def _next_record(data: U8, at: int, end: int, records: Records) -> tuple[int, int]:
    """(channel group, bytes with id) of the record at `at`; (-1, 0) for an unknown id, (-2, 0) if its head is cut."""
    n_head = records.n_id_bytes
    if at + n_head > end:
        return -2, 0
    record_id = load64(data, at) & (_ALL_BITS >> (_64 - _8 * _U(n_head)))
    if record_id >= _U(len(records.kind_of)):
        return -1, 0
    kind = records.kind_of[np.int64(record_id)]
    if kind < 0:
        return -1, 0
    size = records.size[kind]
    if size == VARIABLE:
        if at + n_head + 4 > end:
            return -2, 0
        size = 4 + np.int64(load32(data, at + n_head))
    return kind, n_head + size


@kernel
def walk(data: U8, at: int, end: int, records: Records, starts: I64, groups: NDArray[np.int32]) -> tuple[int, int, int]:
    """Find the records with frames in `data[at:end]`, whose first byte is that of a record.

    Returns (byte to go on at, frames found, why it stopped). The byte lies beyond `end` when the last record
    does and is passed over.
    """
    n = 0
    while True:
        kind, size = _next_record(data, at, end, records)
        if kind == -1:
            return at, n, UNKNOWN_RECORD
        if kind == -2:
            return at, n, ALL_WALKED
        target = records.target[kind]
        if target >= 0:
            if n == len(starts):
                return at, n, COLUMNS_FULL
            if at + size > end:
                return at, n, ALL_WALKED
            starts[n] = at + records.n_id_bytes
            groups[n] = target
            n += 1
        records.counts[kind] += 1
        at += size
        if at > end:
            return at, n, ALL_WALKED


@kernel
def gather(data: U8, at: int, end: int, records: Records, wanted: int, out: U8) -> tuple[int, int, int]:
    """Put the payloads of variable length of the channel group `wanted`, with their lengths, into `out`.

    Returns (byte to go on at, bytes put, why it stopped), as `walk` does.
    """
    n = 0
    while True:
        kind, size = _next_record(data, at, end, records)
        if kind == -1:
            return at, n, UNKNOWN_RECORD
        if kind == -2:
            return at, n, ALL_WALKED
        if kind == wanted:
            n_value = size - records.n_id_bytes
            if n_value > LONGEST_VALUE + 4:
                return at, n, TOO_LONG
            if at + size > end:
                return at, n, ALL_WALKED
            if n + n_value > len(out):
                return at, n, COLUMNS_FULL
            start = at + records.n_id_bytes
            for k in range(n_value):
                out[n + k] = data[start + k]
            n += n_value
        at += size
        if at > end:
            return at, n, ALL_WALKED


def positions(n: int, size: int) -> I64:
    """Where n records of one size begin."""
    return np.arange(n, dtype=np.int64) * size
