"""What vectors were made from, as a hash: is a stored row still what would be computed now?

What belongs here: putting hashes of source rows together for one as-of. A hash of a set of rows is the exclusive or
of the rows' hashes: rows have keys, so no two are alike, and their order is nothing. This finds what changed; it is
no protection against somebody who forges rows.
"""

from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import polars as pl
import polars.selectors as cs

from pm.asof import known


@dataclass(frozen=True)
class SourceDigests:
    """Of the rows known by one as-of."""

    sources: str
    """Dailies of the lookback, events of the horizon, failures and vehicles."""
    readings: str | None
    """Readings after repairs; None: not looked at."""


@dataclass(frozen=True)
class RowDigests:
    """Hashes of rows by day and known_at, columns day, known_at and digest; `fixed` has no days."""

    daily: pl.DataFrame
    events: pl.DataFrame
    fixed: pl.DataFrame
    readings: pl.DataFrame | None = None

    def at(self, as_of: datetime, *, first_day: date, first_event_day: date) -> SourceDigests:
        """The digests of one as-of, whose dailies begin with `first_day`."""
        parts = (
            _together(self.daily.filter(pl.col("day") < as_of.date()), as_of, first_day),
            _together(self.events, as_of, first_event_day),
            _together(self.fixed, as_of, None),
        )
        readings = None if self.readings is None else _together(self.readings, as_of, None)
        return SourceDigests(".".join(parts), readings)


def of_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """Hashes of the rows of a frame that has known_at: known_at and digest, a row each; of its plain columns."""
    plain = rows.select(~cs.nested() & ~cs.binary())
    return rows.select("known_at", digest=plain.hash_rows(seed=1))


def _together(hashes: pl.DataFrame, as_of: datetime, first_day: date | None) -> str:
    rows = known(hashes, as_of)
    if first_day is not None:
        rows = rows.filter(pl.col("day") >= first_day, pl.col("day") <= as_of.date())
    if rows.is_empty():
        return "0"
    return f"{np.bitwise_xor.reduce(rows['digest'].to_numpy().view(np.uint64)):016x}"
