"""Raw numbers that are no measurement (SAE J1939-71, 5.1.4 "range of transmitted values").

What belongs here: from which raw code of a width on a number is reserved, error or not available.
Whether a signal has such codes at all is part of its plan (`pm.canbus.dbc`).
"""

from typing import Final, NamedTuple

from pm.canbus.dbc import SignalPlan

RESERVED: Final = "reserved"
ERROR: Final = "error"
NOT_AVAILABLE: Final = "not_available"
REASONS: Final = (RESERVED, ERROR, NOT_AVAILABLE)
"""In rising order of their codes."""
NOT_FINITE: Final = "not_finite"
"""An IEEE float that is no number."""

NO_LIMIT: Final = (1 << 64) - 1
_FIRST_RESERVED, _ERROR_TOP, _NOT_AVAILABLE_TOP = 0xFB, 0xFE, 0xFF


class Limits(NamedTuple):
    """The lowest raw code of each range; a range ends where the next begins, and the last with the width."""

    reserved: int
    error: int
    not_available: int


UNLIMITED: Final = Limits(NO_LIMIT, NO_LIMIT, NO_LIMIT)
"""Every code is a value."""


def limits_of_width(length: int) -> Limits:
    """The ranges of an unsigned J1939 number of `length` bits.

    Whole bytes go by their top byte. A single bit has both of its codes for states; two bits are off,
    on, error, not available; of every other width only all ones say not available.
    """
    if length == 1:
        return UNLIMITED
    if length == 2:
        return Limits(2, 2, 3)
    if length % 8:
        ones = (1 << length) - 1
        return Limits(ones, ones, ones)
    below = length - 8
    return Limits(_FIRST_RESERVED << below, _ERROR_TOP << below, _NOT_AVAILABLE_TOP << below)


def limits_of(signal: SignalPlan, *, is_j1939: bool) -> Limits:
    """The ranges of a signal: those of its width if it is an unsigned number of a J1939 message, unless exempt."""
    has_ranges = is_j1939 and signal.is_masked and not (signal.is_signed or signal.is_float or signal.is_text)
    return limits_of_width(signal.length) if has_ranges else UNLIMITED
