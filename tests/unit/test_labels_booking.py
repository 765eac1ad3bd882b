"""Days without bookings: calendars worked out by hand, their estimates, and what they do to labels."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from pm.errors import ConfigError
from pm.labels.booking import (
    Booking,
    Calendar,
    closed_days,
    day_of,
    estimate_booking,
    from_month_end,
    month_batch,
    quiet_weekdays,
)
from pm.labels.horizon import label_rows
from pm.labels.maturation import matured, matured_at
from pm.policy import Labels, Policy
from pm.tables import FAILURE, VEHICLE

WEEKEND = frozenset({5, 6})
WORKING = Calendar(WEEKEND)
# 2025-03-01 is a Saturday.
FRIDAY, SATURDAY, SUNDAY, MONDAY, TUESDAY = (datetime(2025, 2, 28, tzinfo=UTC) + timedelta(days=i) for i in range(5))


def hours(instant, n):
    return instant + timedelta(hours=n)


def days_from(first, offsets):
    return [first + timedelta(days=offset) for offset in offsets]


def test_midnight_ends_a_day():
    assert day_of(MONDAY) == date(2025, 3, 2)
    assert day_of(hours(MONDAY, 1)) == date(2025, 3, 3)


@pytest.mark.parametrize(
    ("due", "booked"),
    [
        (hours(FRIDAY, 15), hours(FRIDAY, 15)),  # an ordinary day
        (SATURDAY, SATURDAY),  # the end of Friday
        (hours(SATURDAY, 1), TUESDAY),
        (MONDAY, TUESDAY),  # nobody has booked since Friday
        (hours(MONDAY, 9), TUESDAY),  # the first open day takes in what waited
        (TUESDAY, TUESDAY),
        (hours(TUESDAY, 9), hours(TUESDAY, 9)),
    ],
)
def test_what_is_due_on_a_weekend_is_booked_by_the_end_of_monday(due, booked):
    assert WORKING.next_booking(due) == booked


def test_holidays_lengthen_the_weekend_and_an_open_calendar_changes_nothing():
    assert replace(WORKING, closed_days=frozenset({date(2025, 3, 3)})).next_booking(SUNDAY) == hours(TUESDAY, 24)
    assert Calendar().next_booking(SUNDAY) == SUNDAY


@pytest.mark.parametrize(
    ("day", "offset"),
    [
        (date(2025, 2, 28), 0), (date(2025, 3, 1), 1), (date(2025, 2, 26), -2), (date(2024, 2, 28), -1),
        (date(2025, 3, 14), 14), (date(2025, 3, 20), -11), (date(2025, 12, 31), 0), (date(2025, 4, 30), 0),
    ],
)  # fmt: skip
def test_days_from_the_month_end(day, offset):
    assert from_month_end(day) == offset


@pytest.mark.parametrize(
    ("due", "booked"),
    [
        (datetime(2025, 3, 1, tzinfo=UTC), datetime(2025, 3, 1, tzinfo=UTC)),  # the end of February
        (datetime(2025, 3, 1, 1, tzinfo=UTC), datetime(2025, 4, 1, tzinfo=UTC)),
        (datetime(2025, 3, 30, tzinfo=UTC), datetime(2025, 4, 1, tzinfo=UTC)),
        (datetime(2025, 4, 1, tzinfo=UTC), datetime(2025, 4, 1, tzinfo=UTC)),
    ],
)
def test_batch_at_the_month_end(due, booked):
    assert Calendar(month_days=(-1, 0)).next_booking(due) == booked


def test_batch_on_a_closed_day_is_booked_after_it():
    calendar = Calendar(month_days=(0, 0), closed_days=frozenset({date(2025, 3, 31), date(2025, 4, 1)}))
    assert calendar.next_booking(datetime(2025, 3, 20, tzinfo=UTC)) == datetime(2025, 4, 3, tzinfo=UTC)


def test_weekends_are_found_empty_and_a_short_or_sparse_record_proves_nothing():
    workdays = [day for day in days_from(date(2025, 1, 6), range(28)) if day.weekday() not in WEEKEND]
    assert quiet_weekdays(workdays) == WEEKEND
    assert quiet_weekdays(workdays[:4]) == frozenset()
    assert quiet_weekdays(days_from(date(2025, 1, 6), (0, 17, 44, 59, 78))) == frozenset()
    assert quiet_weekdays([]) == frozenset()
    assert quiet_weekdays([*workdays, date(2025, 1, 11), date(2025, 1, 19)]) == frozenset()


def test_a_weekly_batch_leaves_one_day_once_it_has_gone_on_long_enough():
    mondays = days_from(date(2025, 1, 6), range(0, 7 * 40, 7))
    assert quiet_weekdays(mondays) == frozenset({1, 2, 3, 4, 5, 6})
    assert quiet_weekdays(mondays[:2]) == frozenset()


def test_many_bookings_of_few_days_count_as_few():
    assert quiet_weekdays([date(2025, 1, 6)] * 500 + [date(2025, 1, 9)] * 500) == frozenset()


def test_month_batches_are_found_over_three_months():
    ends = [date(2025, 1, 31), date(2025, 2, 28), date(2025, 3, 31)]
    assert month_batch(ends * 10) == (0, 0)
    assert month_batch([*(ends * 10), date(2025, 2, 14)]) == (0, 0)
    assert month_batch([date(2025, 1, 30), date(2025, 2, 28), date(2025, 4, 1)] * 5) == (-1, 1)
    assert month_batch(ends[:2] * 10) is None
    assert month_batch([*(ends * 10), *days_from(date(2025, 2, 5), range(10))]) is None


def failures_on(pairs):
    """(failed_at, known_at) pairs, a line each."""
    return FAILURE.frame([
        {
            "source_system": "s", "work_order_id": str(i), "line_no": 1, "vehicle_id": 1, "component": "cooling",
            "kind": "failure", "failed_at": failed_at, "rule": "r", "known_at": known_at,
        }
        for i, (failed_at, known_at) in enumerate(pairs)
    ])  # fmt: skip


def test_estimate_reads_both_clocks_and_nothing_known_later():
    first = datetime(2025, 1, 6, 12, tzinfo=UTC)
    every_day = days_from(first, range(28))
    booked = [one + timedelta(days={5: 2, 6: 1}.get(one.weekday(), 0), hours=1) for one in every_day]
    failures = failures_on(zip(every_day, booked, strict=True))
    end = first + timedelta(days=40)
    found = estimate_booking(failures, end, Policy())
    assert found.recorded.closed_weekdays == WEEKEND
    assert found.dated.closed_weekdays == frozenset()
    noise = failures_on([(one, end + timedelta(days=2)) for one in every_day]).with_columns(source_system=pl.lit("t"))
    assert estimate_booking(pl.concat([failures, noise]), end, Policy()) == found


@pytest.mark.parametrize(
    ("asked", "recorded", "dated"),
    [
        ("any", Calendar(source="policy"), Calendar(source="policy")),
        ("weekdays", Calendar(WEEKEND, source="policy"), Calendar(WEEKEND, source="policy")),
        ("month_end", Calendar(month_days=(0, 0), source="policy"), Calendar()),
    ],
)
def test_policy_overrides(asked, recorded, dated):
    policy = Policy(labels=Labels(booking_days=asked))
    assert estimate_booking(FAILURE.empty(), MONDAY, policy) == Booking(recorded, dated)


def test_holidays_and_closures_are_declared():
    policy = Policy(labels=Labels(holidays=(date(2026, 12, 25),), closures=("2026-08-03/2026-08-05",)))
    assert closed_days(policy) == {date(2026, 12, 25), *(date(2026, 8, day) for day in (3, 4, 5))}


@pytest.mark.parametrize("text", ["2026-08-03", "2026-08-05/2026-08-03", "soon/later", "2020-01-01/2026-01-01", ""])
def test_closure_that_is_no_span_is_refused(text):
    with pytest.raises(ConfigError, match="two days such as"):
        closed_days(Policy(labels=Labels(closures=(text,))))


# ---- labels: as_of a Saturday, a + H ends on a Saturday too, lag 1 day: due at the end of that day ----
A, H = SATURDAY, timedelta(days=14)
DUE = A + H + timedelta(days=1)


def state(*failures, known_at, booking, lag_d=1.0, as_of=A):
    frame = label_rows(
        [as_of],
        vehicles=VEHICLE.frame([
            {"vehicle_id": 1, "fleet": "f", "vehicle_ref": "T1", "known_at": A - timedelta(days=400)}
        ]),
        failures=failures_on(failures),
        components=("cooling",), known_at=known_at, observed_until=A + timedelta(days=300), lag_d=lag_d,
        policy=Policy(), booking=booking,
    )  # fmt: skip
    return frame.select("state", "known_at").row(0)


def test_label_due_on_a_weekend_stays_pending_until_monday_is_over():
    weekly = Booking(recorded=WORKING)
    end_of_monday = A + H + timedelta(days=3)
    assert state(known_at=DUE, booking=Booking())[0] == "negative"
    assert state(known_at=DUE, booking=weekly)[0] == "pending"
    assert state(known_at=end_of_monday - timedelta(microseconds=1), booking=weekly)[0] == "pending"
    assert state(known_at=end_of_monday, booking=weekly) == ("negative", end_of_monday)


def test_label_waits_for_the_batch_of_the_month_end():
    batch = Booking(recorded=Calendar(month_days=(0, 0)))
    end_of_march = datetime(2025, 4, 1, tzinfo=UTC)
    late = (A + timedelta(days=3), end_of_march - timedelta(hours=1))
    assert state(known_at=end_of_march - timedelta(hours=2), booking=batch)[0] == "pending"
    assert state(known_at=end_of_march, booking=batch) == ("negative", end_of_march)
    assert state(late, known_at=end_of_march - timedelta(hours=2), booking=batch)[0] == "pending"
    assert state(late, known_at=end_of_march, booking=batch)[0] == "positive"


def test_rows_are_trained_on_after_the_bookings_that_were_due():
    weekly = Booking(recorded=WORKING)
    end_of_monday = A + H + timedelta(days=3)
    labels = label_rows(
        [A], vehicles=VEHICLE.frame([{"vehicle_id": 1, "fleet": "f", "vehicle_ref": "T1", "known_at": A}]),
        failures=failures_on([(A + timedelta(days=2), A + timedelta(days=3))]), components=("cooling",),
        known_at=end_of_monday, observed_until=end_of_monday, lag_d=1.0, policy=Policy(), booking=weekly,
    )  # fmt: skip
    assert labels["state"].to_list() == ["positive"]
    assert matured_at(labels, 1.0, booking=weekly)["matured_at"].to_list() == [end_of_monday]
    assert matured(labels, DUE, 1.0, Policy(), booking=weekly).is_empty()
    assert matured(labels, end_of_monday, 1.0, Policy(), booking=weekly).height == 1


def test_failure_dated_on_monday_may_have_happened_before_the_horizon_ended_on_the_weekend():
    dated = Booking(dated=WORKING)
    sunday = A + timedelta(days=1)  # its horizon ends with a Saturday
    monday_failure = (sunday + H + timedelta(days=1, hours=9), sunday + H + timedelta(days=1, hours=10))
    after = A + timedelta(days=60)
    assert state(monday_failure, known_at=after, booking=Booking(), as_of=sunday)[0] == "negative"
    assert state(monday_failure, known_at=after, booking=dated, as_of=sunday)[0] == "censored"
    # The horizon of Saturday 00:00 ends with Friday: Monday's failure was after it for sure.
    assert state(monday_failure, known_at=after, booking=dated)[0] == "negative"
    tuesday_failure = tuple(instant + timedelta(days=1) for instant in monday_failure)
    assert state(tuesday_failure, known_at=after, booking=dated, as_of=sunday)[0] == "negative"
    inside = tuple(instant - timedelta(days=4) for instant in monday_failure)
    assert state(inside, known_at=after, booking=dated, as_of=sunday)[0] == "positive"


def test_failure_dated_on_a_closed_day_is_taken_at_its_word():
    assert WORKING.undated_since(hours(SUNDAY, 9)) is None
    assert WORKING.undated_since(hours(MONDAY, 9)) == SATURDAY
    assert WORKING.undated_since(hours(TUESDAY, 9)) is None
