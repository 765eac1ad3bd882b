"""Diagnostic trouble codes from DM1 and DM2 (SAE J1939-73, 5.7.1 and 5.7.2).

What belongs here: lamps and trouble codes of both messages, single frames and reassembled ones, as
rows. Which component a code speaks for is not known here.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pm.canbus.bits import load32
from pm.canbus.formats.block import I64, U8, U32
from pm.canbus.jit import kernel
from pm.canbus.transport import LARGEST_MESSAGE_BYTES
from pm.schema import UTC_INSTANT

LAMP_BYTES: Final = 2
DTC_BYTES: Final = 4
MAXIMUM_CODES: Final = (LARGEST_MESSAGE_BYTES - LAMP_BYTES) // DTC_BYTES
"""Trouble codes in the largest message."""
OCCURRENCES_NOT_AVAILABLE: Final = 127

ACTIVE, PREVIOUSLY_ACTIVE = 1, 2
"""Values of `dm`: the code came in a DM1 or in a DM2."""

STANDARD_CONVERSION: Final = 4
OLD_CONVERSIONS: Final = (1, 2, 3)
DEFAULT_OLD_CONVERSION: Final = 3
"""Its layout is that of method 4, so that an SPN is not changed without being asked for."""

SHORT_DM1: Final = "dm1_too_short"
SHORT_DM2: Final = "dm2_too_short"
NOT_AVAILABLE: Final = "dtc_not_available"
"""Codes of 32 one bits (SPN 524287, FMI 31, 127 occurrences, method 1): the older way of sending that there
is no fault. With the method bit 0, SPN 524287 is one that a manufacturer may give out, and a fault."""
OLD_CONVERSION: Final = "spn_conversion_1_to_3"
"""Codes whose conversion method bit is set: their SPN is in one of three older layouts, which the bit
does not tell apart."""

_REASONS: Final = (SHORT_DM1, SHORT_DM2, NOT_AVAILABLE, OLD_CONVERSION)
_SHORT_DM1, _SHORT_DM2, _NOT_AVAILABLE, _OLD_CONVERSION = range(len(_REASONS))

_NO_CODE: Final = np.uint64(0xFFFFFFFF)
_SPN_AND_FMI: Final = np.uint64(0x00FFFFFF)
_METHOD_BIT: Final = np.uint64(0x80000000)
_NOTHING: Final = np.uint64(0)

_LAMP_SHIFTS: Final = {"mil": 6, "red": 4, "amber": 2, "protect": 0}

FAULT_SCHEMA: Final = pl.Schema(
    {
        "time": UTC_INSTANT,
        "channel": pl.String(),
        "source_address": pl.Int16(),
        "dm": pl.Int16(),
        "spn": pl.Int32(),
        "fmi": pl.Int16(),
        "occurrence_count": pl.Int16(),
        "conversion_method": pl.Int16(),
        "lamp_mil": pl.Int16(),
        "lamp_red": pl.Int16(),
        "lamp_amber": pl.Int16(),
        "lamp_protect": pl.Int16(),
        "flash_mil": pl.Int16(),
        "flash_red": pl.Int16(),
        "flash_amber": pl.Int16(),
        "flash_protect": pl.Int16(),
    }
)
"""`dm` 1 active, 2 previously active. `conversion_method` 1 to 4, the one the SPN was read by. Lamps: 0 off,
1 on, 2 error, 3 not available. Flash: 0 slow (1 Hz), 1 fast (2 Hz), 2 reserved, 3 does not flash or not available."""


class FaultBuffer(NamedTuple):
    """Trouble codes that wait to become rows, in the order of the log, and what was counted in this log."""

    time_us: I64
    channel: NDArray[np.int16]
    """Channel numbers."""
    source: NDArray[np.int16]
    dm: U8
    lamps: U8
    """First byte of the code's message."""
    flash: U8
    """Second byte of the code's message."""
    code: U32
    """The four bytes, the first one lowest."""
    n: I64
    """One number: how many codes wait."""
    counts: I64
    """In the order of `_REASONS`."""


def new_faults(capacity: int = 16_384) -> FaultBuffer:
    """Room for `capacity` codes, at least `MAXIMUM_CODES`; nothing counted."""
    return FaultBuffer(
        np.empty(capacity, dtype=np.int64),
        np.empty(capacity, dtype=np.int16),
        np.empty(capacity, dtype=np.int16),
        np.empty(capacity, dtype=np.uint8),
        np.empty(capacity, dtype=np.uint8),
        np.empty(capacity, dtype=np.uint8),
        np.empty(capacity, dtype=np.uint32),
        np.zeros(1, dtype=np.int64),
        np.zeros(len(_REASONS), dtype=np.int64),
    )


@kernel
def take_dm(
    buffer: FaultBuffer, time_us: int, channel: int, source: int, dm: int, data: U8, at: int, length: int
) -> None:
    """Take the codes of one DM1 or DM2 (`dm` 1 or 2): `length` bytes of `data` from `at` on.

    SPN 0 with FMI 0 says that there is no fault, and so does `NOT_AVAILABLE`; neither is kept. Bytes that
    make no whole code are left out; a message without room for one code is counted as too short.

    Raises:
        IndexError: there is no room. The caller sees to `MAXIMUM_CODES` free places before each message.
    """
    n_codes = (length - LAMP_BYTES) // DTC_BYTES
    if n_codes <= 0:
        buffer.counts[_SHORT_DM1 if dm == ACTIVE else _SHORT_DM2] += 1
        return
    n = buffer.n[0]
    if n + n_codes > len(buffer.code):
        raise IndexError("expected room for the trouble codes of a message, but got a full buffer")
    for i in range(n_codes):
        code = load32(data, at + LAMP_BYTES + DTC_BYTES * i)
        if code == _NO_CODE:
            buffer.counts[_NOT_AVAILABLE] += 1
            continue
        if code & _SPN_AND_FMI == _NOTHING:
            continue
        if code & _METHOD_BIT != _NOTHING:
            buffer.counts[_OLD_CONVERSION] += 1
        buffer.time_us[n] = time_us
        buffer.channel[n] = channel
        buffer.source[n] = source
        buffer.dm[n] = dm
        buffer.lamps[n] = data[at]
        buffer.flash[n] = data[at + 1]
        buffer.code[n] = np.uint32(code)
        n += 1
    buffer.n[0] = n


def fault_rows(
    buffer: FaultBuffer, channels: tuple[str, ...], *, old_conversion_method: int = DEFAULT_OLD_CONVERSION
) -> pl.DataFrame:
    """The waiting codes in order of time, then of the log (`FAULT_SCHEMA`); they go on waiting.

    Args:
        channels: names by channel number.
        old_conversion_method: 1, 2 or 3, the layout of SPNs whose conversion method bit is set. Only the
            manufacturer of the sender knows which.

    Raises:
        ValueError: the method is none of these.
    """
    if old_conversion_method not in OLD_CONVERSIONS:
        raise ValueError(f"expected an old conversion method of {OLD_CONVERSIONS}, but got {old_conversion_method}")
    n = int(buffer.n[0])
    if not n:
        return pl.DataFrame(schema=FAULT_SCHEMA)
    code = buffer.code[:n]
    method = np.where(code >> 31, old_conversion_method, STANDARD_CONVERSION).astype(np.int16)
    columns: dict[str, NDArray[Any]] = {
        "time": buffer.time_us[:n],
        "channel": buffer.channel[:n].astype(np.uint32),
        "source_address": buffer.source[:n],
        "dm": buffer.dm[:n].astype(np.int16),
        "spn": _spns(code, method),
        "fmi": (code >> 16 & 0x1F).astype(np.int16),
        "occurrence_count": (code >> 24 & 0x7F).astype(np.int16),
        "conversion_method": method,
    }
    for prefix, byte in (("lamp", buffer.lamps[:n]), ("flash", buffer.flash[:n])):
        columns |= {f"{prefix}_{lamp}": (byte >> shift & 3).astype(np.int16) for lamp, shift in _LAMP_SHIFTS.items()}
    count = pl.col("occurrence_count")
    names = pl.Series(channels, dtype=pl.String)
    return (
        pl.LazyFrame(columns)
        .with_columns(
            pl.col("time").cast(UTC_INSTANT),
            pl.col("channel").map_batches(names.gather, return_dtype=pl.String()),
            pl.when(count != OCCURRENCES_NOT_AVAILABLE).then(count).alias("occurrence_count"),
        )
        .sort("time", maintain_order=True)
        .select(FAULT_SCHEMA.names())
        .collect()
    )


def reset_faults(buffer: FaultBuffer) -> None:
    """Forget the waiting codes; what was counted in this log stays."""
    buffer.n[0] = 0


def fault_counts(buffer: FaultBuffer) -> dict[str, int]:
    """What gave no row or another SPN, by reason, since the buffer was made; reasons that did not occur are left out.

    `SHORT_DM1` and `SHORT_DM2` count messages, `NOT_AVAILABLE` and `OLD_CONVERSION` codes; the latter have rows.
    """
    return {reason: count for reason, count in zip(_REASONS, buffer.counts.tolist(), strict=True) if count}


def _spns(code: U32, method: NDArray[np.int16]) -> NDArray[np.int32]:
    """The 19-bit SPN of each code by its conversion method (J1939-73, 5.7.1.11).

    Methods 4 and 3: bytes 1 and 2 are the low 16 bits, low byte first, the top of byte 3 the high 3 bits. Methods
    1 and 2: the top of byte 3 holds the low 3 bits, bytes 1 and 2 the high 16, in method 1 high byte first.
    """
    one, two, three = code & 0xFF, code >> 8 & 0xFF, code >> 21 & 7
    by_method = {1: one << 11 | two << 3 | three, 2: two << 11 | one << 3 | three}
    spn = one | two << 8 | three << 16
    for number, other in by_method.items():
        spn = np.where(method == number, other, spn)
    return spn.astype(np.int32)
