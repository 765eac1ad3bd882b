"""The 29-bit J1939 identifier (SAE J1939-21).

What belongs here: splitting an identifier into its fields. Reassembling messages that span several
frames is `pm.canbus.transport`.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

GLOBAL_ADDRESS: Final = 255
"""Destination of every message that is not addressed to one controller."""
NO_ADDRESS: Final = -1
"""Source and destination of a frame whose identifier carries none (11-bit ids)."""
FIRST_PDU2_FORMAT: Final = 240
"""From this PDU format on, the PDU specific field belongs to the PGN."""

PGN_DM1: Final = 65226
PGN_DM2: Final = 65227
PGN_TP_CM: Final = 60416
PGN_TP_DT: Final = 60160


@dataclass(frozen=True)
class Identifiers:
    """The fields of n identifiers, one array of n each."""

    priority: NDArray[np.uint8]
    pgn: NDArray[np.int32]
    source: NDArray[np.int16]
    destination: NDArray[np.int16]
    """255 where the message goes to all (PDU2)."""


def pgn_of_id(frame_id: int) -> int:
    """PGN of one 29-bit identifier: extended data page, data page, PDU format and, in PDU2, PDU specific."""
    pdu_format = (frame_id >> 16) & 0xFF
    return (frame_id >> 8) & (0x3FFFF if pdu_format >= FIRST_PDU2_FORMAT else 0x3FF00)


def split_ids(ids: NDArray[np.uint32]) -> Identifiers:
    """Split 29-bit identifiers into priority, PGN, source and destination address (J1939-21, 5.2)."""
    addressed = ((ids >> np.uint32(16)) & np.uint32(0xFF)) < FIRST_PDU2_FORMAT
    wide = (ids >> np.uint32(8)) & np.uint32(0x3FFFF)
    specific = (wide & np.uint32(0xFF)).astype(np.int16)
    return Identifiers(
        priority=((ids >> np.uint32(26)) & np.uint32(7)).astype(np.uint8),
        pgn=np.where(addressed, wide & np.uint32(0x3FF00), wide).astype(np.int32),
        source=(ids & np.uint32(0xFF)).astype(np.int16),
        destination=np.where(addressed, specific, np.int16(GLOBAL_ADDRESS)).astype(np.int16),
    )
