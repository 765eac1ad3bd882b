"""The one guard between the two clocks.

`time`-like columns say when something happened, `known_at` when we could know it. A decision at
`as_of` sees only rows with `known_at <= as_of`: every read for a decision goes through `known`,
and every computation that is handed rows may insist with `require_known`.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

import polars as pl

from pm.errors import ConfigError, DataError, LeakageError


def require_instant(instant: datetime, name: str) -> datetime:
    """Return `instant` unchanged.

    Raises:
        DataError: it carries no UTC offset of zero; a naive time has no place on either clock.
    """
    if instant.utcoffset() != timedelta(0):
        raise DataError(f"{name}: expected a UTC instant, but got {instant.isoformat()}")
    return instant


def midnight(day: date) -> datetime:
    """Start of a UTC day: the daily batch decides at it."""
    return datetime.combine(day, time(), UTC)


def daily_as_ofs(first: datetime, last: datetime) -> list[datetime]:
    """Daily instants from `first` to `last`, both included.

    Raises:
        ConfigError: `first` is after `last`.
    """
    if first > last:
        raise ConfigError(f"first as-of: expected one up to the last, {last.isoformat()}, but got {first.isoformat()}")
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def known(frame: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """The rows of `frame` that were known at `as_of` (`known_at <= as_of`)."""
    require_instant(as_of, "as_of")
    return frame.filter(pl.col("known_at") <= as_of)


def latest_known(frame: pl.DataFrame, as_of: datetime, key: Sequence[str]) -> pl.DataFrame:
    """For each `key`, its newest version known at `as_of`, in key order."""
    return known(frame, as_of).sort([*key, "known_at"]).unique(list(key), keep="last", maintain_order=True)


def require_known(frame: pl.DataFrame, as_of: datetime, what: str) -> pl.DataFrame:
    """Return `frame` unchanged.

    Raises:
        LeakageError: a row became known only after `as_of`.
    """
    require_instant(as_of, "as_of")
    late = frame.filter(pl.col("known_at") > as_of)
    if late.height:
        last = late.select(pl.col("known_at").max()).item()
        expected = f"{what}: expected rows known by {as_of.isoformat()}"
        raise LeakageError(f"{expected}, but got {late.height} known later, the last at {last}")
    return frame
