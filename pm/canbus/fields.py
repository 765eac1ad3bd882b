"""Where the signals of a message stand in its payloads, and the kernels for those of the usual kind.

What belongs here: places of bits, and reading all unsigned and signed numbers of up to 30 bits of a
payload's first eight bytes in one go: nearly every signal there is. The others, multiplexing and what a
payload is too short for are the business of `pm.canbus.extract`.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pm.canbus.dbc import MessagePlan, SignalPlan
from pm.canbus.formats.block import I64, U8, U64
from pm.canbus.jit import kernel
from pm.canbus.masks import NO_LIMIT, limits_of

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]

WORD_BITS: Final = 64
_SMALL_BITS: Final = 30
"""Signals up to this width, and a limit above them, fit a signed number of 32 bits: the fastest arithmetic."""
_CODE_BITS: Final = 8


class Fields(NamedTuple):
    """Small signals of one message, one row each."""

    is_motorola: NDArray[np.bool_]
    shift: U64
    mask: U64
    sign: I32
    """The sign's bit, 0 for unsigned numbers."""
    scale: F64
    offset: F64
    limits: I32
    """Shape (n, 3): the lowest code that is reserved, error, not available (`pm.canbus.masks`)."""


@dataclass(frozen=True)
class Group:
    """Small signals that are read together."""

    places: tuple[int, ...]
    """In the plan."""
    n_bytes: int
    """Length a payload must have to hold all of them."""
    fields: Fields


@dataclass(frozen=True)
class Recipe:
    """How the payloads of one message are decoded; made once a message."""

    plan: MessagePlan
    small: Group
    """Small signals that become values."""
    coded: Group
    """Signals of up to eight bits that stay codes; empty unless asked for."""
    tables: F64
    """Shape (coded signals, 256): the value of each code."""


def first_bit(signal: SignalPlan) -> int:
    """Place of the signal's first bit in the payload: from the lowest bit (Intel) or the highest (Motorola)."""
    if signal.byte_order == "little_endian":
        return signal.start
    return signal.start // 8 * 8 + 7 - signal.start % 8


def bytes_needed(signal: SignalPlan) -> int:
    """Length a payload must have to hold the whole signal."""
    return (first_bit(signal) + signal.length + 7) // 8


def place_of(signal: SignalPlan) -> tuple[int, int]:
    """(word, places the signal's lowest bit is shifted in it); negative where the signal goes on in the next.

    A word is eight bytes of the payload, for Motorola with the first byte highest.
    """
    word, bit = divmod(first_bit(signal), WORD_BITS)
    if signal.byte_order == "little_endian":
        return word, bit if bit + signal.length <= WORD_BITS else bit - WORD_BITS
    return word, WORD_BITS - bit - signal.length


def ones(length: int) -> np.uint64:
    """A number of so many one bits."""
    return np.uint64(NO_LIMIT if length == WORD_BITS else (1 << length) - 1)


def recipe_of(plan: MessagePlan, *, keeps_codes: bool = False) -> Recipe:
    """The recipe of a message; with `keeps_codes` signals of up to eight bits stay codes."""
    small = [place for place, signal in enumerate(plan.signals) if _is_small(signal)]
    coded = [place for place in small if keeps_codes and plan.signals[place].length <= _CODE_BITS]
    fields = _group(plan, coded)
    codes = np.arange(1 << _CODE_BITS, dtype=np.int64) & fields.fields.mask.astype(np.int64)[:, None]
    sign = fields.fields.sign.astype(np.int64)[:, None]
    tables = ((codes ^ sign) - sign) * fields.fields.scale[:, None] + fields.fields.offset[:, None]
    return Recipe(plan, _group(plan, [place for place in small if place not in coded]), fields, tables)


def _group(plan: MessagePlan, places: list[int]) -> Group:
    signals = [plan.signals[place] for place in places]
    limits = [[min(n, 1 << _SMALL_BITS) for n in limits_of(s, is_j1939=plan.pgn is not None)] for s in signals]
    fields = Fields(
        np.array([s.byte_order != "little_endian" for s in signals], dtype=np.bool_),
        np.array([place_of(s)[1] for s in signals], dtype=np.uint64),
        np.array([ones(s.length) for s in signals], dtype=np.uint64),
        np.array([1 << (s.length - 1) if s.is_signed else 0 for s in signals], dtype=np.int32),
        np.array([s.scale for s in signals], dtype=np.float64),
        np.array([s.offset for s in signals], dtype=np.float64),
        np.array(limits, dtype=np.int32).reshape(-1, 3),
    )
    return Group(tuple(places), max(map(bytes_needed, signals), default=0), fields)


def _is_small(signal: SignalPlan) -> bool:
    if signal.is_text or signal.is_float or signal.multiplexer_signal is not None or signal.length > _SMALL_BITS:
        return False
    word, shift = place_of(signal)
    return word == 0 and shift >= 0


@kernel
def small_values(intel: U64, motorola: U64, fields: Fields, values: F64, counts: I64) -> None:
    """Fill `values`, shape (signals, payloads), from the payloads' first words.

    `counts`, shape (signals, 3), becomes how many codes are reserved or above, error or above, not available.
    """
    for k in range(len(fields.shift)):
        words = motorola if fields.is_motorola[k] else intel
        shift, mask, sign = fields.shift[k], fields.mask[k], fields.sign[k]
        scale, offset = fields.scale[k], fields.offset[k]
        reserved, error, missing = fields.limits[k, 0], fields.limits[k, 1], fields.limits[k, 2]
        n_reserved, n_error, n_missing = 0, 0, 0
        for i in range(len(words)):
            raw = np.int32((words[i] >> shift) & mask)
            values[k, i] = np.float64(np.int32(np.int32(raw ^ sign) - sign)) * scale + offset
            n_reserved += raw >= reserved
            n_error += raw >= error
            n_missing += raw >= missing
        counts[k, 0], counts[k, 1], counts[k, 2] = n_reserved, n_error, n_missing


@kernel
def valid_bits(words: U64, fields: Fields, k: int, bits: U8) -> None:
    """One bit a payload, the first lowest: whether signal k is a value; `bits` must be zeros."""
    shift, mask, limit = fields.shift[k], fields.mask[k], np.uint64(fields.limits[k, 0])
    n = len(words)
    for byte in range(n // 8):
        found = 0
        for bit in range(8):
            raw = (words[byte * 8 + bit] >> shift) & mask
            found |= np.int64(raw < limit) << bit
        bits[byte] = found
    for i in range(n // 8 * 8, n):
        if (words[i] >> shift) & mask < limit:
            bits[i // 8] |= np.uint8(1 << (i % 8))


@kernel
def byte_codes(intel: U64, motorola: U64, fields: Fields, codes: U8, bits: U8, counts: I64) -> None:
    """The codes of signals of up to eight bits that are values, one behind the other, and which payloads they are of.

    `codes` has the shape (signals, payloads); the first of a row are filled. `bits`, shape (signals,
    payloads / 8 rounded up), are as in `valid_bits`. `counts` as in `small_values`.
    """
    n = len(intel)
    for k in range(len(fields.shift)):
        words = motorola if fields.is_motorola[k] else intel
        shift, mask = fields.shift[k], fields.mask[k]
        reserved, error, missing = fields.limits[k, 0], fields.limits[k, 1], fields.limits[k, 2]
        n_error, n_missing, n_valid = 0, 0, 0
        for byte in range((n + 7) // 8):
            found = 0
            for bit in range(min(8, n - 8 * byte)):
                raw = np.int32((words[8 * byte + bit] >> shift) & mask)
                codes[k, n_valid] = raw
                is_valid = np.int64(raw < reserved)
                n_valid += is_valid
                found |= is_valid << bit
                n_error += raw >= error
                n_missing += raw >= missing
            bits[k, byte] = found
        counts[k, 0], counts[k, 1], counts[k, 2] = n - n_valid, n_error, n_missing
