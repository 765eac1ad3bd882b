"""Messages longer than 8 bytes: broadcast announce (BAM) of SAE J1939-21, 5.10.

What belongs here: cutting one payload into an announcement and data packets. `pm.canbus.transport`
puts them together again and is written without this.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pm.simulate.encode import Frames

PACKET_GAP_US: Final = 60_000
"""Broadcast packets are 50 to 200 ms apart (J1939-21, 5.10.3.4)."""
_TP_CM, _TP_DT = 0x1CEC_FF00, 0x1CEB_FF00
_BAM = 32


def broadcast(pgn: int, source_address: int, payload: bytes, time_us: NDArray[np.int64]) -> Frames:
    """`payload` (9 to 1785 bytes) sent once at each of `time_us`, packets in order for each."""
    n_packets = -(-len(payload) // 7)
    announcement = bytes([_BAM, len(payload) & 0xFF, len(payload) >> 8, n_packets, 0xFF]) + pgn.to_bytes(3, "little")
    padded = payload + b"\xff" * (7 * n_packets - len(payload))
    packets = [bytes([number + 1]) + padded[7 * number : 7 * number + 7] for number in range(n_packets)]
    words = np.array([int.from_bytes(each, "little") for each in [announcement, *packets]], np.uint64)
    ids = np.array([_TP_CM | source_address] + [_TP_DT | source_address] * n_packets, np.uint32)
    times = time_us[:, None] + PACKET_GAP_US * np.arange(n_packets + 1)[None, :]
    return Frames(times.reshape(-1), np.tile(ids, len(time_us)), np.tile(words, len(time_us)))
