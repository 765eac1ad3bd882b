"""Payloads given as bytes, and decoded columns as lists."""

import numpy as np

from pm.canbus.dbc import MessagePlan
from pm.canbus.extract import Column, Numbers, Payloads
from pm.canbus.fields import recipe_of


def payloads_of(plan: MessagePlan, raw: list[bytes]) -> Payloads:
    """Payloads of any lengths, as the decoder stages them."""
    width = -(-max(8, *(len(payload) for payload in raw)) // 8) * 8
    words = np.frombuffer(b"".join(payload.ljust(width, b"\0") for payload in raw), dtype=np.uint64)
    length = np.array([len(payload) for payload in raw])
    return Payloads(recipe_of(plan), words.reshape(len(raw), -1), length, int(length.min()))


def as_list(column: Column) -> list[object]:
    """The values of a column, None where null."""
    if isinstance(column, list):
        return list(column)
    assert isinstance(column, Numbers)
    values: list[object] = column.values.tolist()
    if column.valid is None:
        return values
    bits = np.unpackbits(column.valid, bitorder="little")[: len(values)]
    return [value if bit else None for value, bit in zip(values, bits.tolist(), strict=True)]
