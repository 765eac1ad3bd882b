"""Values outside what the DBC declares, or what a quantity can be.

What belongs here: the extremes of the last days against the narrower of the two ranges.
"""

from typing import Final

import numpy as np

from pm.features.checks.days import Numbers, SubjectDays
from pm.features.checks.finding import Checked, Finding, number, of_subject
from pm.policy import Assumptions

_EXACT: Final = 1e-6
"""Stored values have seven digits."""


def check_range(
    subject_days: SubjectDays, low: Numbers, high: Numbers, units: tuple[str, ...], policy: Assumptions
) -> Checked:
    """Subjects with a value below `low` or above `high` [subject] on the last or new days; NaN: no end is known."""
    looked_at = subject_days.is_new.copy()
    looked_at[: policy.recent_d] = True
    least = _extreme(np.where(looked_at, subject_days.minimum, np.nan), np.inf, np.minimum)
    most = _extreme(np.where(looked_at, subject_days.maximum, np.nan), -np.inf, np.maximum)
    there = np.isfinite(least)
    slack = _EXACT * np.maximum(np.abs(np.nan_to_num(low)), np.abs(np.nan_to_num(high)))
    with np.errstate(invalid="ignore"):
        below, above = there & (least < low - slack), there & (most > high + slack)
    can_say = there & (np.isfinite(low) | np.isfinite(high))
    found = [
        _finding(subject_days, int(at), float(least[at] if below[at] else most[at]), (low[at], high[at]), units[at])
        for at in np.flatnonzero(below | above)
    ]
    n_rows = int(((subject_days.n > 0) & looked_at)[:, can_say].sum())
    return Checked(tuple(found), int(can_say.sum()), n_rows, int((there & ~can_say).sum()), "no range is declared")


def _extreme(values: Numbers, empty: float, pick: np.ufunc) -> Numbers:
    return np.asarray(pick.reduce(np.where(np.isfinite(values), values, empty), axis=0))


def _finding(subject_days: SubjectDays, at: int, value: float, limits: tuple[float, float], unit: str) -> Finding:
    ends = [None if np.isnan(end) else float(end) for end in limits]
    expected = " to ".join("any" if end is None else number(end) for end in ends)
    return Finding(
        **of_subject(subject_days.subjects, at),
        reason=f"expected {expected} {unit}".rstrip() + f", but got {number(value)}",
        n_rows=1, value=value, expected_low=ends[0], expected_high=ends[1],
        unit=unit,
    )  # fmt: skip
