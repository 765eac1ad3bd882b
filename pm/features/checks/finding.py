"""What a check says.

What belongs here: the words that checks share. What of it is stored, and what it leads to, is
`pm.features.assumptions`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl


@dataclass(frozen=True)
class Finding:
    """One subject of which an assumption does not hold; an empty message or signal means all of them."""

    vehicle_id: int
    message: str
    signal: str
    source_address: int
    reason: str
    n_rows: int
    known_at: datetime
    value: float | None = None
    expected_low: float | None = None
    expected_high: float | None = None
    unit: str = ""
    conversion: str | None = None


@dataclass(frozen=True)
class Checked:
    """Findings of one check, how many subjects it looked at, and of how many it can say nothing, and why."""

    findings: tuple[Finding, ...]
    n_checked: int
    n_rows: int = 0
    """Daily values looked at."""
    n_not_checked: int = 0
    why_not: str = ""
    whole_fleet: bool = False
    """The findings are of the fleet as a whole, not of single vehicles."""


def of_subject(subjects: pl.DataFrame, at: int) -> dict[str, Any]:
    """The fields of a Finding that name subject number `at`."""
    names = ("vehicle_id", "message", "signal", "source_address", "known_at")
    return dict(zip(names, subjects.select(names).row(at), strict=True))


def number(value: float) -> str:
    """Three significant digits, whole from 100 on: for sentences."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def days(n: int) -> str:
    """`1 day` or `3 days`."""
    return "1 driving day" if n == 1 else f"{n} driving days"
