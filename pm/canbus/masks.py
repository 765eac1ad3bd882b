"""Raw numbers that are no measurement (SAE J1939-71, 5.1.4 "range of transmitted values").

What belongs here: which raw codes of a width mean reserved, error or not available. Whether a signal
has such codes at all is part of its plan (`pm.canbus.dbc`).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pm.canbus.dbc import SignalPlan
from pm.canbus.formats.block import U64

RESERVED: Final = "reserved"
ERROR: Final = "error"
NOT_AVAILABLE: Final = "not_available"

TABLE_BITS: Final = 8
"""Signals up to this width are decoded by a table of all their codes."""

_FIRST_RESERVED, _ERROR_TOP, _NOT_AVAILABLE_TOP = 0xFB, 0xFE, 0xFF


def code_reasons(length: int) -> dict[int, str]:
    """Codes of a width of 1 to 8 bits that are no value.

    A single bit has both of its codes for states; two bits are off, on, error, not available; between
    three and seven bits only all ones say not available.
    """
    if length == 8:
        reserved = dict.fromkeys(range(_FIRST_RESERVED, _ERROR_TOP), RESERVED)
        return reserved | {_ERROR_TOP: ERROR, _NOT_AVAILABLE_TOP: NOT_AVAILABLE}
    if length == 1:
        return {}
    return {2: ERROR, 3: NOT_AVAILABLE} if length == 2 else {(1 << length) - 1: NOT_AVAILABLE}


def has_codes(signal: SignalPlan, *, is_j1939: bool) -> bool:
    """True when the signal's highest codes are no values: an unsigned number of a J1939 message, unless exempt."""
    return is_j1939 and signal.is_masked and not (signal.is_signed or signal.is_float or signal.is_text)


def wide_reasons(raw: U64, length: int) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Which of the raw numbers (wider than 8 bits) are no value, and how many by reason.

    Whole bytes go by the top byte; of other widths only all ones say not available.
    """
    if length % 8:
        missing = raw == np.uint64((1 << length) - 1)
        n_missing = int(missing.sum())
        return missing, {NOT_AVAILABLE: n_missing} if n_missing else {}
    top = raw >> np.uint64(length - 8)
    bad = top >= _FIRST_RESERVED
    n_bad = int(bad.sum())
    if n_bad == 0:
        return bad, {}
    n_missing, n_error = int((top == _NOT_AVAILABLE_TOP).sum()), int((top == _ERROR_TOP).sum())
    counts = {RESERVED: n_bad - n_missing - n_error, ERROR: n_error, NOT_AVAILABLE: n_missing}
    return bad, {reason: count for reason, count in counts.items() if count}
