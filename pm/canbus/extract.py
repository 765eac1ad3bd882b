"""Physical values of one message's signals, all frames at once.

What belongs here: taking bits out of payloads (Intel and Motorola, signed, float, text), scaling,
multiplexing, and turning codes that are no measurement into nulls with a count by reason.
"""

from collections import Counter
from functools import cached_property
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pm.canbus.dbc import MessagePlan, SignalPlan
from pm.canbus.formats.block import U8, U64, widened
from pm.canbus.masks import NOT_AVAILABLE, TABLE_BITS, code_reasons, has_codes, wide_reasons

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

UNKNOWN_MULTIPLEXER: Final = "unknown_multiplexer"
WORD_BITS: Final = 64
_FLOATS: Final = {16: np.float16, 32: np.float32, 64: np.float64}
_RAW_OF_FLOAT: Final = {16: np.uint16, 32: np.uint32, 64: np.uint64}


def first_bit(signal: SignalPlan) -> int:
    """Place of the signal's first bit in the payload: from the lowest bit (Intel) or the highest (Motorola)."""
    if signal.byte_order == "little_endian":
        return signal.start
    return signal.start // 8 * 8 + 7 - signal.start % 8


def bytes_needed(signal: SignalPlan) -> int:
    """Length a payload must have to hold the whole signal."""
    return (first_bit(signal) + signal.length + 7) // 8


class Payloads:
    """n payloads of one message: array n x width of bytes, zeros beyond each one's length."""

    def __init__(self, plan: MessagePlan, data: U8, length: NDArray[np.int32]) -> None:
        needed = max((bytes_needed(signal) for signal in plan.signals), default=0)
        width = -(-max(data.shape[1], needed) // 8) * 8
        self.plan = plan
        self.data = np.ascontiguousarray(widened(data, width))
        self.length = length
        self.shortest = int(length.min(initial=width))
        self.counts: dict[str, Counter[str]] = {}
        """Nulls by signal and reason."""
        self.n_unknown_multiplexer = 0
        self._raw: dict[str, U64] = {}
        self._signals = {signal.name: signal for signal in plan.signals}

    @cached_property
    def _intel(self) -> U64:
        return self.data.view("<u8")

    @cached_property
    def _motorola(self) -> U64:
        return self.data.view(">u8").astype(np.uint64)

    def columns(self) -> list[pl.Series]:
        """One column a signal in the plan's order: Float64, String for text."""
        columns = []
        for signal in self.plan.signals:
            if signal.is_text:
                columns.append(pl.Series(signal.column, self._texts(signal), dtype=pl.String))
            else:
                columns.append(pl.Series(signal.column, self._values(signal), nan_to_null=True))
        self.n_unknown_multiplexer = self._count_unknown()
        return columns

    def raw(self, signal: SignalPlan) -> U64:
        """Unsigned bits of the signal; meaningless where the payload is too short."""
        found = self._raw.get(signal.name)
        if found is None:
            found = self._intel_bits(signal) if signal.byte_order == "little_endian" else self._motorola_bits(signal)
            if signal.is_multiplexer:
                self._raw[signal.name] = found
        return found

    def _intel_bits(self, signal: SignalPlan) -> U64:
        word, shift = divmod(signal.start, WORD_BITS)
        raw = self._intel[:, word] >> np.uint64(shift)
        if shift + signal.length > WORD_BITS:
            raw |= self._intel[:, word + 1] << np.uint64(WORD_BITS - shift)
        return raw & _ones(signal.length)

    def _motorola_bits(self, signal: SignalPlan) -> U64:
        word, skipped = divmod(first_bit(signal), WORD_BITS)
        beyond = skipped + signal.length - WORD_BITS
        if beyond <= 0:
            return self._motorola[:, word] >> np.uint64(-beyond) & _ones(signal.length)
        raw = self._motorola[:, word] << np.uint64(beyond)
        raw |= self._motorola[:, word + 1] >> np.uint64(WORD_BITS - beyond)
        return raw & _ones(signal.length)

    def _present(self, signal: SignalPlan) -> Mask | None:
        """Where the signal is in the frame; None: everywhere."""
        needed = bytes_needed(signal)
        present = None if self.shortest >= needed else self.length >= needed
        active = self._active(signal)
        if present is None or active is None:
            return active if present is None else present
        return present & active

    def _active(self, signal: SignalPlan) -> Mask | None:
        """Where the multiplexers say that the signal is there; None: it is not multiplexed."""
        if signal.multiplexer_signal is None:
            return None
        multiplexer = self._signals[signal.multiplexer_signal]
        chosen = np.isin(self.raw(multiplexer), np.array(signal.multiplexer_ids, dtype=np.uint64))
        above = self._present(multiplexer)
        return chosen if above is None else chosen & above

    def _values(self, signal: SignalPlan) -> F64:
        present = self._present(signal)
        if present is not None and not present.any():
            return np.full(len(self.data), np.nan)
        raw = self.raw(signal)
        masked = has_codes(signal, is_j1939=self.plan.pgn is not None)
        if signal.length <= TABLE_BITS and not signal.is_float:
            values = self._by_table(signal, raw, present, masked=masked)
        else:
            values = _physical(signal, raw)
            if masked:
                self._mask_wide(signal, raw, values, present)
        if present is not None:
            values[~present] = np.nan
        return values

    def _by_table(self, signal: SignalPlan, raw: U64, present: Mask | None, *, masked: bool) -> F64:
        codes = raw.astype(np.intp)
        table = _physical(signal, np.arange(1 << signal.length, dtype=np.uint64))
        reasons = code_reasons(signal.length) if masked else {}
        if reasons:
            table[list(reasons)] = np.nan
            seen = np.bincount(codes if present is None else codes[present], minlength=len(table))
            for code, reason in reasons.items():
                self._count(signal, reason, int(seen[code]))
        return table[codes]

    def _mask_wide(self, signal: SignalPlan, raw: U64, values: F64, present: Mask | None) -> None:
        bad, counts = wide_reasons(raw, signal.length)
        if not counts:
            return
        values[bad] = np.nan
        if present is not None:
            _, counts = wide_reasons(raw[present], signal.length)
        for reason, count in counts.items():
            self._count(signal, reason, count)

    def _count(self, signal: SignalPlan, reason: str, count: int) -> None:
        if count:
            self.counts.setdefault(signal.name, Counter())[reason] += count

    def _count_unknown(self) -> int:
        """Frames whose multiplexer has a value for which the DBC declares no signal."""
        unknown = np.zeros(len(self.data), dtype=np.bool_)
        for multiplexer in self.plan.signals:
            if multiplexer.is_multiplexer:
                inside = [s.multiplexer_ids for s in self.plan.signals if s.multiplexer_signal == multiplexer.name]
                known = np.array(sorted({number for ids in inside for number in ids}), dtype=np.uint64)
                here = ~np.isin(self.raw(multiplexer), known)
                present = self._present(multiplexer)
                unknown |= here if present is None else here & present
        return int(unknown.sum())

    def _texts(self, signal: SignalPlan) -> list[str | None]:
        first = signal.start // 8
        last = first + signal.length // 8
        open_ended = last >= self.plan.length  # text at the end of a message is as long as the sender likes
        texts = [
            _text(row[first : length if open_ended else min(last, length)].tobytes())
            for row, length in zip(self.data, self.length.tolist(), strict=True)
        ]
        self._count(signal, NOT_AVAILABLE, sum(text is None for text in texts))
        return texts


def _ones(length: int) -> np.uint64:
    return np.uint64((1 << length) - 1)


def _physical(signal: SignalPlan, raw: U64) -> F64:
    values: F64
    if signal.is_float:
        values = raw.astype(_RAW_OF_FLOAT[signal.length]).view(_FLOATS[signal.length]).astype(np.float64)
        values[~np.isfinite(values)] = np.nan
    elif signal.is_signed:
        unused = np.uint64(WORD_BITS - signal.length)
        values = ((raw << unused).view(np.int64) >> np.int64(unused)).astype(np.float64)
    else:
        values = raw.astype(np.float64)
    if signal.scale != 1.0:
        values *= signal.scale
    if signal.offset:
        values += signal.offset
    return values


def _text(content: bytes) -> str | None:
    """ASCII up to the delimiter `*`, other bytes written `\\xNN`; None when nothing is there (all 0xFF or zeros)."""
    text = content.partition(b"*")[0].rstrip(b"\0\xff ")
    if not text:
        return None
    return "".join(chr(code) if 0x20 <= code < 0x7F else f"\\x{code:02x}" for code in text)
