"""On which days failures are recorded, and on which days they are dated.

What belongs here: calendars of days without bookings (weekends, holidays, batches at the month's end),
declared by the policy or estimated from what was known, and the instants that follow from them. How long
a single record takes is `pm.labels.maturation`.

An instant belongs to the day that it ends: midnight is the end of the day before, as in (a, a + H].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import polars as pl

from pm.asof import known, latest_known, midnight
from pm.errors import ConfigError
from pm.policy import Policy

BOOKING_DAYS: Final = ("estimate", "any", "weekdays", "month_end")
"""What policy [labels] booking_days may say."""
_LINE: Final = ("source_system", "work_order_id", "line_no")
_TICK: Final = timedelta(microseconds=1)
_DAY: Final = timedelta(days=1)
_LONGEST_D: Final = 400
_WEEKEND: Final = frozenset({5, 6})
_CHANCE_OF_WEEKEND: Final = 0.05
_CHANCE_OF_WEEKDAY: Final = 0.01
"""Chance that a day without bookings is only luck, below which it is taken as closed. Weekends need less:
they are the rule, and a calendar that is wrong costs two days of waiting."""
_MONTH_SHARE: Final = 0.95
_MONTHS: Final = 3
_WIDEST_D: Final = 4


@dataclass(frozen=True)
class Calendar:
    """Days on which something can happen."""

    closed_weekdays: frozenset[int] = frozenset()
    """0 is Monday."""
    closed_days: frozenset[date] = frozenset()
    month_days: tuple[int, int] | None = None
    """A batch a month, between these days relative to the month's end: 0 is its last day, 1 the next one's first."""
    source: str = "every day"

    def is_open(self, day: date) -> bool:
        if day.weekday() in self.closed_weekdays or day in self.closed_days:
            return False
        return self.month_days is None or self.month_days[0] <= from_month_end(day) <= self.month_days[1]

    def next_booking(self, instant: datetime) -> datetime:
        """The instant by which everything due at `instant` is in: `instant` on an ordinary day.

        On a closed day, and on the first open one after it, that is the end of that open day; with a
        batch a month, the end of the next batch. It never falls as `instant` rises.
        """
        day = day_of(instant)
        if self.month_days is not None:
            return midnight(self._batch_end(day) + _DAY)
        if self.is_open(day) and self.is_open(day - _DAY):
            return instant
        return midnight(self._first_open(day) + _DAY)

    def undated_since(self, instant: datetime) -> datetime | None:
        """Where the closed days begin after which `instant` is on the first open one; None: on an ordinary day.

        What is dated there may have happened on any of them.
        """
        day = day_of(instant)
        if not self.is_open(day):
            return None
        first = day
        while not self.is_open(first - _DAY) and day - first < timedelta(days=_LONGEST_D):
            first -= _DAY
        return None if first == day else midnight(first)

    def _first_open(self, day: date) -> date:
        for ahead in range(_LONGEST_D):
            if self.is_open(day + ahead * _DAY):
                return day + ahead * _DAY
        raise ConfigError(
            f"policy [labels]: expected a day with bookings within {_LONGEST_D} days of {day}, but got none"
        )

    def _batch_end(self, day: date) -> date:
        """Last day of the batch that is running on `day` or comes next; on a closed day it is booked the day after."""
        found, last = day, (self.month_days or (0, 0))[1]
        while found - _DAY in self.closed_days:  # a batch that was due on a closed day may still be running
            found -= _DAY
        while from_month_end(found) != last:
            found += _DAY
        while found in self.closed_days:
            found += _DAY
        return found


EVERY_DAY: Final = Calendar()


@dataclass(frozen=True)
class Booking:
    """When failures are recorded, and on which days they are dated."""

    recorded: Calendar = EVERY_DAY
    dated: Calendar = EVERY_DAY


ANY_TIME: Final = Booking()


def day_of(instant: datetime) -> date:
    """The UTC day that `instant` is in or ends."""
    return (instant - _TICK).date()


def from_month_end(day: date) -> int:
    """Days from the nearest month's end: 0 on a last day, 1 on a first, -1 on a last but one."""
    last = (day.replace(day=28) + timedelta(days=4)).replace(day=1) - _DAY
    ahead = (last - day).days
    return -ahead if ahead < day.day else day.day


def estimate_booking(failures: pl.DataFrame, known_at: datetime, policy: Policy) -> Booking:
    """The calendars in force at `known_at`: declared by the policy, or estimated from what was known.

    `recorded` comes from the days on which failures first became known, `dated` from the days of
    failed_at. A weekday is closed where nothing fell on it although, at the pace of the other days,
    something should have; a batch a month where 95 % of the bookings of three months or more stand
    within four days of it.

    Args:
        failures: `FAILURE`, all versions.

    Raises:
        ConfigError: the policy leaves no day open.
    """
    closed = closed_days(policy)
    asked = policy.labels.booking_days
    if asked == "month_end":
        return Booking(Calendar(frozenset(), closed, (0, 0), "policy"), Calendar(frozenset(), closed))
    if asked == "weekdays":
        both = Calendar(_WEEKEND, closed, source="policy")
        return Booking(both, both)
    if asked == "any":
        both = Calendar(frozenset(), closed, source="policy")
        return Booking(both, both)
    seen = known(failures, known_at).filter(pl.col("kind") == "failure")
    first = seen.group_by(_LINE).agg(pl.col("known_at").min())["known_at"].to_list()
    current = latest_known(failures, known_at, _LINE).filter(pl.col("kind") == "failure")["failed_at"].to_list()
    return Booking(_estimated([day_of(one) for one in first], closed, batches=True),
                   _estimated([day_of(one) for one in current], closed, batches=False))  # fmt: skip


def closed_days(policy: Policy) -> frozenset[date]:
    """Policy [labels] holidays, and every day of its closures ("2026-08-03/2026-08-16", both included).

    Raises:
        ConfigError: a closure is no pair of days in order, or longer than 400 days.
    """
    days = set(policy.labels.holidays)
    for text in policy.labels.closures:
        days.update(_closure(text))
    return frozenset(days)


def _closure(text: str) -> list[date]:
    try:
        first, last = (date.fromisoformat(part) for part in text.split("/"))
    except ValueError:
        first, last = date.max, date.min
    n_days = (last - first).days + 1
    if not 1 <= n_days <= _LONGEST_D:
        raise ConfigError(
            f"policy [labels] closures: expected two days such as 2026-08-03/2026-08-16, at most {_LONGEST_D} days, "
            f"but got {text!r}"
        )
    return [first + ahead * _DAY for ahead in range(n_days)]


def _estimated(days: Sequence[date], closed: frozenset[date], *, batches: bool) -> Calendar:
    if batches and (window := month_batch(days)) is not None:
        return Calendar(frozenset(), closed, window, "estimate")
    weekdays = quiet_weekdays(days)
    return Calendar(weekdays, closed, None, "estimate" if weekdays else "every day")


def quiet_weekdays(days: Sequence[date]) -> frozenset[int]:
    """Weekdays (0 is Monday) that carry nothing although they should, at the pace of the other days.

    Counted are days and not bookings, for bookings of one day hang together: with a share q of the
    other days in the span carrying something, n days of a weekday stay empty by luck with chance
    (1 - q)^n. Saturday and Sunday are first tried together.
    """
    if not days:
        return frozenset()
    there = set(days)
    first, last = min(there), max(there)
    span = [first + ahead * _DAY for ahead in range((last - first).days + 1)]
    together = _WEEKEND if _chance(span, there, _WEEKEND) < _CHANCE_OF_WEEKEND else frozenset()
    working = [day for day in span if day.weekday() not in together]
    alone = {one for one in range(7) if one not in together and _chance(working, there, {one}) < _CHANCE_OF_WEEKDAY}
    return together | frozenset(alone)


def _chance(span: Sequence[date], there: set[date], weekdays: frozenset[int] | set[int]) -> float:
    """Chance that these weekdays are empty by luck; 1 where they are not empty, or nothing is beside them."""
    mine = [day for day in span if day.weekday() in weekdays]
    others = [day for day in span if day.weekday() not in weekdays]
    if not mine or not others or any(day in there for day in mine):
        return 1.0
    share = (sum(day in there for day in others) + 0.5) / (len(others) + 1.0)  # Jeffreys: a short span proves little
    return float((1.0 - share) ** len(mine))


def month_batch(days: Sequence[date]) -> tuple[int, int] | None:
    """The days relative to the month's end between which nearly all bookings stand; None: no such batch.

    Args:
        days: the day of each booking, one entry a booking.
    """
    if not days:
        return None
    offsets = sorted(from_month_end(day) for day in days)
    needed = -int(-_MONTH_SHARE * len(offsets) // 1)
    first = min(range(len(offsets) - needed + 1), key=lambda at: offsets[at + needed - 1] - offsets[at])
    window = (offsets[first], offsets[first + needed - 1])
    within = [day for day in days if window[0] <= from_month_end(day) <= window[1]]
    months = {day - timedelta(days=from_month_end(day)) for day in within}
    wide = window[1] - window[0] + 1 > _WIDEST_D
    return None if wide or len(months) < _MONTHS else window
