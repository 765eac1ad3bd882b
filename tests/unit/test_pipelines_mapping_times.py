"""Instants as files write them: offsets, zones, clock changes, numbers."""

from datetime import UTC, date, datetime

import polars as pl
import pytest

from pm.pipelines.imports.mapping import TIME, Cell
from pm.pipelines.imports.mapping_spans import read_span
from pm.pipelines.imports.mapping_times import read_instants


def read(values, *, reading="earliest", dtype=None, shift="0s", **cell):
    made = Cell(TIME, ("at",), shift=read_span(shift), **cell)
    return read_instants(pl.Series("at", values, dtype=dtype), made, reading).to_list()


def at(*parts):
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T10:00:00Z",
        "2026-03-01 10:00:00Z",
        "2026-03-01T12:00:00+02:00",
        "2026-03-01 12:00:00 +02:00".replace(" +", "+"),
        "2026-03-01T12:00:00+0200",
        "2026-03-01T12:00+02:00",
        "2026-03-01T10:00:00.000000Z",
        "2026-03-01T05:00:00-05:00",
    ],
)
def test_an_instant_with_an_offset_needs_no_zone(text):
    assert read([text]) == [at(2026, 3, 1, 10)]


def test_a_time_without_offset_is_one_of_its_zone_and_none_without_one():
    texts = ["2026-03-01T10:00:00", "2026-03-01 10:00", "2026-03-01", "2026-03-01T10:00:00.5"]
    assert read(texts, time_zone="America/Toronto") == [
        at(2026, 3, 1, 15),
        at(2026, 3, 1, 15),
        at(2026, 3, 1, 5),
        at(2026, 3, 1, 15, 0, 0, 500_000),
    ]
    assert read(texts) == [None] * 4


def test_an_offset_in_the_text_counts_more_than_the_zone():
    assert read(["2026-03-01T10:00:00Z"], time_zone="America/Toronto") == [at(2026, 3, 1, 10)]


def test_an_hour_that_comes_twice_is_earlier_as_an_event_and_later_as_knowledge():
    text = ["2024-11-03T01:30:00"]
    assert read(text, time_zone="America/Toronto") == [at(2024, 11, 3, 5, 30)]
    assert read(text, time_zone="America/Toronto", reading="latest") == [at(2024, 11, 3, 6, 30)]


def test_an_hour_that_a_clock_change_leaves_out_is_no_instant():
    assert read(["2024-03-10T02:30:00", "2024-03-10T03:30:00"], time_zone="America/Toronto") == [
        None,
        at(2024, 3, 10, 7, 30),
    ]


def test_a_day_of_shift_is_one_of_the_calendar_and_24_hours_are_elapsed():
    day = [date(2024, 3, 9)]  # the day before Toronto's clocks go forward
    later = [date(2024, 3, 10)]
    assert read(later, shift="1d", time_zone="America/Toronto") == [at(2024, 3, 11, 4)]
    assert read(later, shift="24h", time_zone="America/Toronto") == [at(2024, 3, 11, 5)]
    assert read(day, shift="30h", time_zone="UTC") == [at(2024, 3, 10, 6)]
    assert read(["2024-03-09T00:00:00Z"], shift="1d 6h") == [at(2024, 3, 10, 6)]


def test_dates_and_instants_of_typed_columns():
    assert read([date(2026, 1, 5)], time_zone="UTC") == [at(2026, 1, 5)]
    assert read([datetime(2026, 1, 5, 8)], time_zone="Europe/Berlin") == [at(2026, 1, 5, 7)]
    assert read([at(2026, 1, 5, 8)], dtype=pl.Datetime("ns", "UTC")) == [at(2026, 1, 5, 8)]
    assert read([datetime(2026, 1, 5, 8)]) == [None]


@pytest.mark.parametrize(
    ("format", "number"),
    [("unix_s", 1_767_571_200), ("unix_ms", 1_767_571_200_000), ("unix_us", 1_767_571_200_000_000)],
)
def test_numbers_since_1970(format, number):
    assert read([number], format=format) == [at(2026, 1, 5)]
    assert read([str(number)], format=format) == [at(2026, 1, 5)]


def test_fractions_of_seconds_are_kept():
    assert read([1_767_571_200.25], format="unix_s") == [at(2026, 1, 5, 0, 0, 0, 250_000)]


def test_another_format():
    assert read(["6/21/2005 10:54"], format="%m/%d/%Y %H:%M", time_zone="America/Denver") == [at(2005, 6, 21, 16, 54)]
    assert read(["21.06.2005 10:54 +0200"], format="%d.%m.%Y %H:%M %z") == [at(2005, 6, 21, 8, 54)]


@pytest.mark.parametrize(
    "text", ["yesterday", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00Z", "+99999-01-01T00:00:00Z"]
)
def test_what_is_no_instant_of_our_time_is_none(text):
    assert read([text], time_zone="UTC") == [None]


@pytest.mark.parametrize("number", [1e30, -1e30, float("nan"), float("inf"), 9_000_000_000])
def test_a_number_out_of_bounds_is_none(number):
    assert read([number], format="unix_s") == [None]
