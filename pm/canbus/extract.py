"""Physical values of one message's signals, all payloads at once.

What belongs here: taking bits out of payloads (Intel and Motorola, signed, float, text), scaling,
multiplexing, and turning codes that are no measurement into nulls with a count by reason.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pm.canbus.dbc import SignalPlan
from pm.canbus.fields import (
    WORD_BITS,
    Fields,
    Group,
    Recipe,
    byte_codes,
    bytes_needed,
    first_bit,
    ones,
    place_of,
    small_values,
    valid_bits,
)
from pm.canbus.formats.block import I64, U8, U64
from pm.canbus.jit import kernel
from pm.canbus.masks import NOT_AVAILABLE, NOT_FINITE, REASONS, UNLIMITED, Limits, limits_of

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

UNKNOWN_MULTIPLEXER: Final = "unknown_multiplexer"
_FLOATS: Final = {16: np.float16, 32: np.float32, 64: np.float64}
_RAW_OF_FLOAT: Final = {16: np.uint16, 32: np.uint32, 64: np.uint64}
_ALL_PLACES: Final = np.empty(0, dtype=np.bool_)


@dataclass(frozen=True)
class Numbers:
    """Values of a number, one a payload."""

    values: F64
    """Meaningless where null."""
    valid: U8 | None
    """One bit a value, the first lowest, as Arrow has it; None: there are no nulls."""
    n_null: int


@dataclass(frozen=True)
class Codes:
    """Codes of a number of up to eight bits."""

    codes: U8
    """Of the payloads that are not null, one behind the other."""
    table: F64
    """The value of each of the 256 codes."""
    valid: U8 | None
    """As in `Numbers`."""
    n_null: int


Column = Numbers | Codes | list[str | None]


@kernel
def _wide(
    raw: U64, is_signed: bool, unused: np.uint64, scale: float, offset: float, limits: U64, present: Mask, values: F64
) -> tuple[int, int, int]:
    """Values of any number from its raw bits; counts as `small_values`, of the payloads where `present` (empty: all).

    Without `limits` (empty) nothing is counted: all ones of 64 bits is a value then.
    """
    n_reserved, n_error, n_missing = 0, 0, 0
    for i in range(len(raw)):
        if is_signed:
            values[i] = np.float64(np.int64(raw[i] << unused) >> np.int64(unused)) * scale + offset
        else:
            values[i] = np.float64(raw[i]) * scale + offset
        if len(limits) and (len(present) == 0 or present[i]):
            n_reserved += raw[i] >= limits[0]
            n_error += raw[i] >= limits[1]
            n_missing += raw[i] >= limits[2]
    return n_reserved, n_error, n_missing


class Payloads:
    """n payloads of one message, shape (n, words) of eight-byte words, zeros beyond each one's length in bytes."""

    def __init__(self, recipe: Recipe, words: U64, length: I64, shortest: int) -> None:
        self._recipe, self.plan = recipe, recipe.plan
        self.counts: dict[str, Counter[str]] = {}
        """Nulls by signal and reason."""
        self.n_unknown_multiplexer = 0
        """Payloads with a multiplexer value for which the file declares nothing."""
        self._words, self._length, self._shortest = words, length, shortest
        self._column_of: dict[tuple[int, bool], U64] = {}
        self._raw_of: dict[str, U64] = {}
        self._signals = {signal.name: signal for signal in self.plan.signals}

    def columns(self) -> list[Column]:
        """One column a signal, in the plan's order."""
        made: dict[int, Column] = {}
        if self._shortest >= self._recipe.small.n_bytes:
            made |= self._small_columns(self._recipe.small)
        if self._shortest >= self._recipe.coded.n_bytes:
            made |= self._coded_columns(self._recipe.coded)
        columns = [made.get(place) or self._column(signal) for place, signal in enumerate(self.plan.signals)]
        self.n_unknown_multiplexer = self._count_unknown()
        return columns

    def _word(self, number: int, *, is_motorola: bool) -> U64:
        """Word `number` of every payload, with the first byte highest for Motorola."""
        key = (number, is_motorola)
        if key not in self._column_of:
            if number >= self._words.shape[1]:
                return np.zeros(len(self._words), dtype=np.uint64)
            column = np.ascontiguousarray(self._words[:, number])
            self._column_of[key] = column.byteswap() if is_motorola else column
        return self._column_of[key]

    def _raw(self, signal: SignalPlan) -> U64:
        """Unsigned bits of the signal; meaningless where the payload is too short."""
        if signal.name in self._raw_of:
            return self._raw_of[signal.name]
        is_motorola = signal.byte_order != "little_endian"
        word, shift = place_of(signal)
        raw = self._word(word, is_motorola=is_motorola)
        if shift >= 0:
            raw = raw >> np.uint64(shift)
        else:
            following = self._word(word + 1, is_motorola=is_motorola)
            if is_motorola:
                raw = raw << np.uint64(-shift) | following >> np.uint64(WORD_BITS + shift)
            else:
                raw = raw >> np.uint64(WORD_BITS + shift) | following << np.uint64(-shift)
        raw = raw & ones(signal.length)
        if signal.is_multiplexer:
            self._raw_of[signal.name] = raw
        return raw

    def _present(self, signal: SignalPlan) -> Mask | None:
        """Where the signal is in the payload; None: everywhere."""
        needed = bytes_needed(signal)
        present = None if self._shortest >= needed else self._length >= needed
        active = self._active(signal)
        if present is None or active is None:
            return active if present is None else present
        return present & active

    def _active(self, signal: SignalPlan) -> Mask | None:
        """Where the multiplexers say that the signal is there; None: it is not multiplexed."""
        if signal.multiplexer_signal is None:
            return None
        multiplexer = self._signals[signal.multiplexer_signal]
        chosen = np.isin(self._raw(multiplexer), np.array(signal.multiplexer_ids, dtype=np.uint64))
        above = self._present(multiplexer)
        return chosen if above is None else chosen & above

    def _column(self, signal: SignalPlan) -> Column:
        if signal.is_text:
            return self._texts(signal)
        present = self._present(signal)
        values = np.empty(len(self._words), dtype=np.float64)
        if present is not None and not present.any():
            return _all_null(values)
        return self._numbers(signal, limits_of(signal, is_j1939=self.plan.pgn is not None), present, values)

    def _first_words(self, fields: Fields) -> tuple[U64, U64]:
        """The payloads' first words for signals in Intel and in Motorola order."""
        intel = self._word(0, is_motorola=False)
        return intel, self._word(0, is_motorola=True) if fields.is_motorola.any() else intel

    def _small_columns(self, group: Group) -> dict[int, Column]:
        """The columns of small signals, by place in the plan."""
        if not group.places:
            return {}
        intel, motorola = self._first_words(group.fields)
        values = np.empty((len(group.places), len(intel)), dtype=np.float64)
        counts = np.zeros((len(group.places), len(REASONS)), dtype=np.int64)
        small_values(intel, motorola, group.fields, values, counts)
        columns: dict[int, Column] = {}
        for k, (place, found) in enumerate(zip(group.places, counts.tolist(), strict=True)):
            n_null = self._count(self.plan.signals[place], found) if found[0] else 0
            bits = None
            if n_null:
                bits = np.zeros(-(-len(intel) // 8), dtype=np.uint8)
                if n_null < len(intel):
                    valid_bits(motorola if group.fields.is_motorola[k] else intel, group.fields, k, bits)
            columns[place] = Numbers(values[k], bits, n_null)
        return columns

    def _coded_columns(self, group: Group) -> dict[int, Column]:
        """The columns of signals that stay codes, by place in the plan."""
        if not group.places:
            return {}
        intel, motorola = self._first_words(group.fields)
        n, n_signals = len(intel), len(group.places)
        codes = np.empty((n_signals, n), dtype=np.uint8)
        bits = np.empty((n_signals, -(-n // 8)), dtype=np.uint8)
        counts = np.zeros((n_signals, len(REASONS)), dtype=np.int64)
        byte_codes(intel, motorola, group.fields, codes, bits, counts)
        columns: dict[int, Column] = {}
        for k, (place, found) in enumerate(zip(group.places, counts.tolist(), strict=True)):
            n_null = self._count(self.plan.signals[place], found) if found[0] else 0
            valid = bits[k] if n_null else None
            columns[place] = Codes(codes[k, : n - n_null], self._recipe.tables[k], valid, n_null)
        return columns

    def _numbers(self, signal: SignalPlan, limits: Limits, present: Mask | None, values: F64) -> Numbers:
        raw = self._raw(signal)
        valid = np.ones(len(raw), dtype=np.bool_) if present is None else present.copy()
        if signal.is_float:
            with np.errstate(invalid="ignore", over="ignore"):  # what is no number is counted, not warned of
                read = raw.astype(_RAW_OF_FLOAT[signal.length]).view(_FLOATS[signal.length]).astype(np.float64)
                np.add(read * signal.scale, signal.offset, out=values)
            is_finite = np.isfinite(values)
            self._add(signal, NOT_FINITE, int((valid & ~is_finite).sum()))
            valid &= is_finite
        else:
            unused = np.uint64(WORD_BITS - signal.length)
            edges = np.array([] if limits == UNLIMITED else limits, dtype=np.uint64)
            places = _ALL_PLACES if present is None else present
            counts = _wide(raw, signal.is_signed, unused, signal.scale, signal.offset, edges, places, values)
            if self._count(signal, counts):
                valid &= raw < edges[0]
        n_null = len(raw) - int(valid.sum())
        return Numbers(values, np.packbits(valid, bitorder="little") if n_null else None, n_null)

    def _count(self, signal: SignalPlan, at_least: Sequence[int]) -> int:
        """Count what is no value by reason; how many there are."""
        n_reserved, n_error, n_missing = at_least
        for reason, count in zip(REASONS, (n_reserved - n_error, n_error - n_missing, n_missing), strict=True):
            self._add(signal, reason, count)
        return n_reserved

    def _add(self, signal: SignalPlan, reason: str, count: int) -> None:
        if count:
            self.counts.setdefault(signal.name, Counter())[reason] += count

    def _count_unknown(self) -> int:
        unknown = np.zeros(len(self._words), dtype=np.bool_)
        for multiplexer in self.plan.signals:
            if multiplexer.is_multiplexer:
                here = ~np.isin(self._raw(multiplexer), np.array(multiplexer.known_ids, dtype=np.uint64))
                present = self._present(multiplexer)
                unknown |= here if present is None else here & present
        return int(unknown.sum())

    def _texts(self, signal: SignalPlan) -> list[str | None]:
        first, n_bytes = first_bit(signal) // 8, signal.length // 8
        # Text at the end of a message is as long as the sender likes.
        last = None if first + n_bytes >= self.plan.length else first + n_bytes
        read: dict[bytes, str | None] = {}
        texts = []
        for row, length in zip(self._words, self._length.tolist(), strict=True):
            payload = row.tobytes()[:length]
            if payload not in read:
                read[payload] = _text(payload, first, last, signal.text_part)
            texts.append(read[payload])
        self._add(signal, NOT_AVAILABLE, sum(text is None for text in texts))
        return texts


def _all_null(values: F64) -> Numbers:
    values[:] = np.nan
    return Numbers(values, np.zeros(-(-len(values) // 8), dtype=np.uint8), len(values))


def _text(payload: bytes, first: int, last: int | None, part: int | None) -> str | None:
    """The text at its place or, of several that end with `*`, the one numbered `part`; None when nothing is there.

    Bytes that are no printable ASCII are written `\\xNN`; all 0xFF, zeros or spaces are nothing.
    """
    parts = payload[first:last].split(b"*") if part is None else payload.split(b"*")
    text = parts[part or 0].rstrip(b"\0\xff ") if len(parts) > (part or 0) else b""
    if not text:
        return None
    return "".join(chr(code) if 0x20 <= code < 0x7F else f"\\x{code:02x}" for code in text)


def values_of(column: Codes, n: int) -> Numbers:
    """The values of codes of n payloads."""
    if column.valid is None:
        return Numbers(column.table[column.codes], None, 0)
    values = np.full(n, np.nan)
    values[np.unpackbits(column.valid, count=n, bitorder="little").view(np.bool_)] = column.table[column.codes]
    return Numbers(values, column.valid, column.n_null)
