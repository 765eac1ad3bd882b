"""CAN frames as the text of a log file (`candump -L`).

What belongs here: writing frames, many at a time. Reading logs is `pm.canbus.logfile`.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pm.canbus.jit import kernel
from pm.simulate.encode import Frames

_FORM: Final = b"(0000000000.000000) can0 00000000#0000000000000000\n"
LINE_BYTES: Final = len(_FORM)
MAXIMUM_CHANNELS: Final = 10
"""Names of one length keep every line as long: can0 to can9."""
_SECONDS, _MICROS = 1, 12
_CHANNEL: Final = _FORM.index(b"can0") + 3
_ID: Final = _FORM.index(b"#") - 8
_DATA: Final = _FORM.index(b"#") + 1
_LINE: Final = np.frombuffer(_FORM, np.uint8).copy()
_HEX: Final = np.frombuffer(b"0123456789ABCDEF", np.uint8).copy()
_ZERO: Final = np.uint8(ord("0"))


def candump_bytes(frames: Frames, channel: NDArray[np.uint8]) -> bytes:
    """One line of `LINE_BYTES` characters a frame, in the frames' order; bus 0 is called `can0`.

    Seconds have ten digits, which is so from 2001 to 2286.
    """
    text = np.empty((len(frames), LINE_BYTES), np.uint8)
    _write_lines(frames.time_us, frames.can_id, frames.payload, channel, text)
    return text.tobytes()


@kernel
def _write_lines(
    time_us: NDArray[np.int64],
    can_id: NDArray[np.uint32],
    payload: NDArray[np.uint64],
    channel: NDArray[np.uint8],
    text: NDArray[np.uint8],
) -> None:
    for row in range(len(time_us)):
        for at in range(LINE_BYTES):
            text[row, at] = _LINE[at]
        seconds, micros = time_us[row] // 1_000_000, time_us[row] % 1_000_000
        for at in range(_SECONDS + 9, _SECONDS - 1, -1):
            text[row, at] += seconds % 10
            seconds //= 10
        for at in range(_MICROS + 5, _MICROS - 1, -1):
            text[row, at] += micros % 10
            micros //= 10
        text[row, _CHANNEL] = _ZERO + channel[row]
        number = np.uint64(can_id[row])
        for at in range(8):
            text[row, _ID + at] = _HEX[(number >> np.uint64(28 - 4 * at)) & np.uint64(15)]
        data = payload[row]
        for at in range(8):
            text[row, _DATA + 2 * at] = _HEX[(data >> np.uint64(8 * at + 4)) & np.uint64(15)]
            text[row, _DATA + 2 * at + 1] = _HEX[(data >> np.uint64(8 * at)) & np.uint64(15)]
