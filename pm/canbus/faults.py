"""Diagnostic trouble codes from DM1 (SAE J1939-73, 5.7.1).

What belongs here: lamps and trouble codes of DM1 messages, single frames and reassembled ones, as
rows. Which component a code speaks for is not known here.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pm.canbus.formats.block import I64, U8
from pm.schema import UTC_INSTANT

I16 = NDArray[np.int16]

LAMP_BYTES: Final = 2
DTC_BYTES: Final = 4
OCCURRENCES_NOT_AVAILABLE: Final = 127

OLD_CONVERSION: Final = "spn_conversion_1_to_3"
"""Codes with the conversion method bit set: their SPN is in one of three older layouts, which the bit
does not tell apart; it is read here in the layout of method 4 and counted."""
SHORT_DM1: Final = "dm1_too_short"

_LAMP_SHIFTS: Final = {"lamp_mil": 6, "lamp_red": 4, "lamp_amber": 2, "lamp_protect": 0}

FAULT_SCHEMA: Final = pl.Schema(
    {
        "time": UTC_INSTANT,
        "channel": pl.String(),
        "source_address": pl.Int16(),
        "spn": pl.Int32(),
        "fmi": pl.Int16(),
        "occurrence_count": pl.Int16(),
        "conversion_method": pl.Int16(),
        "lamp_mil": pl.Int16(),
        "lamp_red": pl.Int16(),
        "lamp_amber": pl.Int16(),
        "lamp_protect": pl.Int16(),
    }
)


@dataclass(frozen=True)
class CodeRows:
    """n trouble codes with what their DM1 says, one array row each."""

    time_us: I64
    channel: I16
    """Channel numbers."""
    source: I16
    lamps: U8
    """First byte of the code's DM1."""
    codes: U8
    """Shape (n, 4)."""


def codes_of_message(time_us: int, channel: int, source: int, payload: bytes) -> CodeRows:
    """The trouble codes of one DM1; bytes that make no whole code are left out."""
    n_codes = max(0, len(payload) - LAMP_BYTES) // DTC_BYTES
    codes = np.frombuffer(payload, dtype=np.uint8, count=n_codes * DTC_BYTES, offset=LAMP_BYTES if n_codes else 0)
    return CodeRows(
        np.full(n_codes, time_us, dtype=np.int64),
        np.full(n_codes, channel, dtype=np.int16),
        np.full(n_codes, source, dtype=np.int16),
        np.full(n_codes, payload[0] if payload else 0, dtype=np.uint8),
        codes.reshape(-1, DTC_BYTES),
    )


def fault_rows(parts: list[CodeRows], channels: tuple[str, ...]) -> pl.DataFrame:
    """Rows of all codes in order of time (`FAULT_SCHEMA`).

    SPN 0 with FMI 0 says that there is no fault and gives no row.
    """
    if not parts:
        return pl.DataFrame(schema=FAULT_SCHEMA)
    codes, lamps = np.concatenate([part.codes for part in parts]), np.concatenate([part.lamps for part in parts])
    high = codes[:, 2].astype(np.int32)
    named = {
        "time": np.concatenate([part.time_us for part in parts]),
        "channel": np.concatenate([part.channel for part in parts]),
        "source_address": np.concatenate([part.source for part in parts]),
        "spn": codes[:, 0].astype(np.int32) | codes[:, 1].astype(np.int32) << 8 | (high >> 5) << 16,
        "fmi": (high & 0x1F).astype(np.int16),
        "occurrence_count": (codes[:, 3] & 0x7F).astype(np.int16),
        "conversion_method": (codes[:, 3] >> 7).astype(np.int16),
    }
    named |= {name: ((lamps >> shift) & 3).astype(np.int16) for name, shift in _LAMP_SHIFTS.items()}
    count = pl.col("occurrence_count")
    channel = pl.Series(channels, dtype=pl.String).gather(named.pop("channel").astype(np.uint32))
    return (
        pl.DataFrame({**named, "channel": channel})
        .filter((pl.col("spn") != 0) | (pl.col("fmi") != 0))
        .with_columns(
            pl.col("time").cast(UTC_INSTANT),
            pl.when(count != OCCURRENCES_NOT_AVAILABLE).then(count).alias("occurrence_count"),
        )
        .sort("time", maintain_order=True)
        .select(FAULT_SCHEMA.names())
    )
