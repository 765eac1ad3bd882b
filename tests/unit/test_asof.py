"""The guard between the two clocks."""

from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest

from pm.asof import known, latest_known, require_known
from pm.errors import DataError, LeakageError

T0 = datetime(2026, 3, 1, tzinfo=UTC)


def facts(*known_after_h: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "line": ["a"] * len(known_after_h),
            "version": list(range(len(known_after_h))),
            "known_at": [T0 + timedelta(hours=hours) for hours in known_after_h],
        },
        schema_overrides={"known_at": pl.Datetime("us", "UTC")},
    )


def test_the_instant_itself_is_known():
    assert known(facts(0, 1, 2), T0 + timedelta(hours=1)).height == 2


def test_a_microsecond_later_is_not():
    assert known(facts(1), T0 + timedelta(hours=1) - timedelta(microseconds=1)).is_empty()


def test_the_newest_version_known_then_is_the_one_that_counts():
    found = latest_known(facts(5, 1, 3), T0 + timedelta(hours=4), ["line"])
    assert found["version"].to_list() == [2]


def test_a_row_from_the_future_is_a_leak_that_names_how_many_and_how_late():
    with pytest.raises(LeakageError, match="telemetry: expected rows known by .*, but got 1 known later"):
        require_known(facts(0, 9), T0, "telemetry")
    assert require_known(facts(0), T0, "telemetry").height == 1


@pytest.mark.parametrize("instant", [datetime(2026, 3, 1), datetime(2026, 3, 1, tzinfo=timezone(timedelta(hours=2)))])
def test_a_decision_without_utc_is_refused(instant):
    with pytest.raises(DataError, match="as_of: expected a UTC instant"):
        known(facts(0), instant)
