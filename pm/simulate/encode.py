"""Physical values to CAN payloads, many frames at a time.

What belongs here: the reverse of decoding for little-endian messages of up to 8 bytes, with the
ranges of SAE J1939-71 for "not available" and "error". Messages that span several frames are
`pm.simulate.transport`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pm.canbus.dbc import MessagePlan, SignalPlan
from pm.canbus.jit import kernel
from pm.errors import ConfigError

ALL_ONES = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


@dataclass(frozen=True)
class Frames:
    """CAN frames with 29-bit ids and 8 bytes; the first payload byte is the lowest of the integer."""

    time_us: NDArray[np.int64]
    """Microseconds of the Unix epoch."""
    can_id: NDArray[np.uint32]
    payload: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.time_us)

    def select(self, which: NDArray[np.bool_] | NDArray[np.int64] | slice) -> "Frames":
        return Frames(self.time_us[which], self.can_id[which], self.payload[which])


def join(parts: list[Frames]) -> Frames:
    """All frames in time order; those of one microsecond keep the order of `parts`."""
    joined = Frames(
        np.concatenate([np.zeros(0, np.int64), *(part.time_us for part in parts)]),
        np.concatenate([np.zeros(0, np.uint32), *(part.can_id for part in parts)]),
        np.concatenate([np.zeros(0, np.uint64), *(part.payload for part in parts)]),
    )
    return joined.select(np.argsort(joined.time_us, kind="stable"))


def encode(message: MessagePlan, source_address: int, time_us: NDArray[np.int64],
           values: Mapping[str, NDArray[np.float64]]) -> Frames:  # fmt: skip
    """Frames of one message, one for each entry of `time_us`.

    Args:
        values: physical values by signal name; NaN is sent as not available, +inf as error; what is
            outside of the signal's valid range is sent as its end. Signals not named are not available.

    Raises:
        ConfigError: the message or a signal is not one this can encode (big-endian, longer than 8 bytes).
    """
    if message.length > 8 or not message.is_extended:
        raise ConfigError(f"message {message.name}: expected an extended id and at most 8 bytes")
    signals = {signal.name: signal for signal in message.signals}
    payload = np.full(len(time_us), ALL_ONES)
    for name, physical in values.items():
        if name not in signals:
            raise ConfigError(f"message {message.name}: expected signal {name} in the DBC, but got {sorted(signals)}")
        _put(payload, signals[name], physical)
    can_id = np.full(len(time_us), (message.frame_id & 0x1FFF_FF00) | source_address, np.uint32)
    return Frames(time_us, can_id, payload)


def valid_maximum(length: int) -> int:
    """Greatest raw value that is a measurement (J1939-71, 5.1.4): 0xFA in the top byte, or all but the codes."""
    if length % 8 == 0:
        return (0xFB << (length - 8)) - 1
    return 1 if length == 2 else (1 << length) - 2


def _error_raw(length: int) -> int:
    if length % 8 == 0:
        return 0xFE << (length - 8)
    return (1 << length) - 2


def _put(payload: NDArray[np.uint64], signal: SignalPlan, physical: NDArray[np.float64]) -> None:
    """Write a signal's raw numbers into its bits of `payload`."""
    if signal.byte_order != "little_endian" or signal.is_signed or signal.is_float or signal.length > 32:
        raise ConfigError(f"signal {signal.name}: expected an unsigned little-endian number of at most 32 bits")
    length = signal.length
    numbers = np.array([signal.start, valid_maximum(length), _error_raw(length), (1 << length) - 1], np.uint64)
    values = np.ascontiguousarray(physical, np.float64)
    _put_values(payload, values, float(signal.scale), float(signal.offset), numbers)


@kernel
def _put_values(
    payload: NDArray[np.uint64],
    physical: NDArray[np.float64],
    scale: float,
    offset: float,
    numbers: NDArray[np.uint64],
) -> None:
    """`numbers`: first bit; greatest raw value that is a measurement; the raw values for error and not available."""
    start, top, error, absent = numbers
    others = ~(absent << start)
    for i in range(len(payload)):
        value = physical[i]
        raw = absent
        if value == np.inf:
            raw = error
        elif not np.isnan(value):
            number = np.rint((value - offset) / scale)
            # What is outside of the valid range is sent as its end.
            raw = top if number >= top else np.uint64(max(number, 0.0))
        payload[i] = (payload[i] & others) | (raw << start)
