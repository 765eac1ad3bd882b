"""CAN frames as the text of a log file (`candump -L`).

What belongs here: writing frames, many at a time. Reading logs is `pm.canbus.logfile`.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pm.simulate.encode import Frames

CHANNEL: Final = "can1"
_FORM: Final = f"(0000000000.000000) {CHANNEL} 00000000#0000000000000000\n".encode()
LINE_BYTES: Final = len(_FORM)
_SECONDS, _MICROS = 1, 12
_ID: Final = _FORM.index(b"#") - 8
_DATA: Final = _FORM.index(b"#") + 1
_DIGITS: Final = np.array([f"{number:04d}".encode() for number in range(10_000)]).view(np.uint8).reshape(-1, 4)
_HEX: Final = np.array([f"{number:02X}".encode() for number in range(256)]).view(np.uint8).reshape(-1, 2)


def lines(frames: Frames) -> NDArray[np.uint8]:
    """One row of `LINE_BYTES` characters a frame, in the frames' order. Seconds have ten digits."""
    text = np.empty((len(frames), LINE_BYTES), np.uint8)
    text[:] = np.frombuffer(_FORM, np.uint8)
    seconds, micros = np.divmod(frames.time_us, 1_000_000)
    text[:, _SECONDS : _SECONDS + 2] = _DIGITS[seconds // 100_000_000, 2:]
    text[:, _SECONDS + 2 : _SECONDS + 6] = _DIGITS[seconds // 10_000 % 10_000]
    text[:, _SECONDS + 6 : _SECONDS + 10] = _DIGITS[seconds % 10_000]
    text[:, _MICROS : _MICROS + 2] = _DIGITS[micros // 10_000, 2:]
    text[:, _MICROS + 2 : _MICROS + 6] = _DIGITS[micros % 10_000]
    id_bytes = np.ascontiguousarray(frames.can_id.astype(">u4")).view(np.uint8).reshape(-1, 4)
    data_bytes = np.ascontiguousarray(frames.payload.astype("<u8")).view(np.uint8).reshape(-1, 8)
    text[:, _ID : _ID + 8] = _HEX[id_bytes].reshape(-1, 8)
    text[:, _DATA : _DATA + 16] = _HEX[data_bytes].reshape(-1, 16)
    return text
