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
        payload = _put(payload, signals[name], raw_values(signals[name], physical))
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


def raw_values(signal: SignalPlan, physical: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Raw numbers of `physical`, same shape."""
    if signal.byte_order != "little_endian" or signal.is_signed or signal.is_float or signal.length > 32:
        raise ConfigError(f"signal {signal.name}: expected an unsigned little-endian number of at most 32 bits")
    number = np.rint((np.nan_to_num(physical, nan=0.0, posinf=0.0) - signal.offset) / signal.scale)
    top = valid_maximum(signal.length)
    # Two-bit states have only 0 and 1 as values; wider bit fields use all but their last two codes as given.
    raw = np.clip(number, 0, top).astype(np.uint64)
    raw[np.isposinf(physical)] = _error_raw(signal.length)
    raw[np.isnan(physical)] = (1 << signal.length) - 1
    return raw


def _put(payload: NDArray[np.uint64], signal: SignalPlan, raw: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mask = np.uint64(((1 << signal.length) - 1) << signal.start)
    return np.asarray((payload & ~mask) | (raw << np.uint64(signal.start)))
