"""Quantiles, time in ranges, transitions and starts over days, worked out by hand."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from pm.features.cells import cell_versions, select_days
from pm.features.daily import aggregate_signals
from pm.features.quantities import BY_NAME
from pm.features.ranges import BY_QUANTITY, Ranges, ranges_by_source
from pm.features.sketch import half_width
from pm.features.statistics import WindowStatistics
from pm.schema import UTC_INSTANT

AS_OF = datetime(2025, 3, 10, tzinfo=UTC)
QUANTITIES = (BY_NAME["engine_rpm"], BY_NAME["coolant_c"], BY_NAME["compressor_share"])
RPM, COOLANT, COMPRESSOR = range(3)
COLUMNS = {RPM: ("EEC1", "EngSpeed"), COOLANT: ("ET1", "EngCoolantTemp"), COMPRESSOR: ("AIR1", "AirCompressorStatus")}
TRUCK = 7


def readings(quantity, days_ago, samples, *, log_file_id=1, known_d=0.0, ranges=None):
    """DAILY_SIGNAL of samples (second, value) of one day, known so many days after it."""
    message, signal = COLUMNS[quantity]
    day, n = AS_OF - timedelta(days=days_ago), len(samples)
    frame = pl.DataFrame(
        {
            "vehicle_id": pl.Series([TRUCK] * n, dtype=pl.Int32),
            "log_file_id": pl.Series([log_file_id] * n, dtype=pl.Int64),
            "known_at": pl.Series([day + timedelta(days=1 + known_d)] * n, dtype=UTC_INSTANT),
            "time": pl.Series([day + timedelta(seconds=s) for s, _ in samples], dtype=UTC_INSTANT),
            "channel": ["can0"] * n,
            "source_address": pl.Series([0] * n, dtype=pl.Int16),
            signal: pl.Series([value for _, value in samples], dtype=pl.Float32),
        }
    )
    return aggregate_signals(frame, message, ranges_by_source() if ranges is None else ranges)


def statistics(*parts, as_of=AS_OF):
    days = select_days(
        cell_versions(pl.concat(parts), QUANTITIES), as_of, vehicle_ids=[TRUCK, 8], n_quantities=3, lookback_d=7
    )
    return WindowStatistics(days, np.zeros(2, np.int64))


def test_each_day_and_file_counts_once():
    asked = statistics(
        readings(COOLANT, 1, [(0, 60.0), (10, 80.0), (20, 110.0), (25, 110.0)]),
        readings(COOLANT, 1, [(100, 110.0), (110, 111.0)], log_file_id=2),
        readings(COOLANT, 2, [(0, 80.0), (500, 80.0)]),
    )
    # Day 1: 10 s cold, 10 s warm, 5 + 10 s hot; day 2: 60 s warm, the longest gap.
    np.testing.assert_array_equal(asked.share_in_range(COOLANT, 2, 1), [15 / 35, np.nan])
    np.testing.assert_array_equal(asked.share_in_range(COOLANT, 1, 7), [70 / 95, np.nan])
    np.testing.assert_array_equal(asked.transitions(COOLANT, 1), [3, np.nan])
    half = half_width(0)
    np.testing.assert_array_equal(asked.quantile(COOLANT, 1, 0.5), [110 + half, np.nan])
    np.testing.assert_array_equal(asked.quantile(COOLANT, 7, 0.25), [80 + half, np.nan])
    # Never outside what was seen.
    np.testing.assert_array_equal(asked.quantile(COOLANT, 7, 1.0), [111, np.nan])
    np.testing.assert_array_equal(asked.quantile(COOLANT, 7, 0.0), [60 + half, np.nan])


def test_an_engine_that_cranks_and_runs_has_started_and_one_that_falls_back_has_not():
    asked = statistics(
        readings(RPM, 1, [(0, 0.0), (1, 150.0), (2, 620.0), (3, 350.0), (4, 700.0), (5, 0.0), (6, 350.0), (7, 0.0)]),
        readings(RPM, 2, [(0, 600.0), (1, 900.0)]),
    )
    np.testing.assert_array_equal(asked.starts(RPM, 1), [1, np.nan])
    np.testing.assert_array_equal(asked.starts(RPM, 7), [1, np.nan])
    np.testing.assert_array_equal(statistics(readings(RPM, 2, [(0, 600.0)])).starts(RPM, 7), [0, np.nan])


def test_transitions_of_a_discrete_signal_and_what_was_never_declared():
    asked = statistics(readings(COMPRESSOR, 3, [(0, 0.0), (1, 1.0), (2, 1.0), (3, 0.0)]))
    np.testing.assert_array_equal(asked.transitions(COMPRESSOR, 7), [2, np.nan])
    np.testing.assert_array_equal(asked.transitions(COMPRESSOR, 1), [np.nan, np.nan])
    assert np.isnan(asked.share_in_range(COMPRESSOR, 0, 7)).all()
    assert np.isnan(asked.starts(COMPRESSOR, 7)).all()
    assert np.isnan(asked.quantile(COOLANT, 7, 0.5)).all()


@pytest.mark.parametrize("range_index", [-1, 3, 9])
def test_a_range_that_is_not_there_is_null(range_index):
    asked = statistics(readings(COOLANT, 1, [(0, 60.0), (10, 80.0)]))
    assert np.isnan(asked.share_in_range(COOLANT, range_index, 1)).all()


def test_a_single_value_has_no_time_and_no_share():
    asked = statistics(readings(COOLANT, 1, [(0, 60.0)]))
    assert np.isnan(asked.share_in_range(COOLANT, 0, 1)).all()
    assert asked.transitions(COOLANT, 1)[0] == 0


def test_time_counted_by_other_edges_and_rows_from_before_are_unknown():
    others = {"ET1.EngCoolantTemp": Ranges("coolant_c", "°C", (50.0, 90.0), ("a", "b", "c"))}
    samples = [(0, 60.0), (10, 80.0)]
    asked = statistics(readings(COOLANT, 1, samples, ranges=others), readings(COOLANT, 2, samples))
    assert np.isnan(asked.share_in_range(COOLANT, 0, 1)[0])
    assert asked.share_in_range(COOLANT, 0, 7)[0] == 1
    assert asked.transitions(COOLANT, 7)[0] == 2
    before = readings(COOLANT, 1, samples).with_columns(
        pl.lit(None, pl.Int32).alias("n_transitions"), pl.lit(None, pl.Binary).alias("sketch"),
        pl.lit(None, pl.Int32).alias("ranges_id"), pl.lit(None, pl.List(pl.Int64)).alias("range_us"),
    )  # fmt: skip
    asked = statistics(before)
    for found in (asked.quantile(COOLANT, 1, 0.5), asked.transitions(COOLANT, 1), asked.share_in_range(COOLANT, 0, 1)):
        assert np.isnan(found[0])
    assert asked.mean(COOLANT, 1)[0] == 70


def test_a_file_that_arrives_later_changes_later_as_ofs_alone():
    first = readings(COOLANT, 3, [(0, 60.0), (10, 60.0)])
    late = readings(COOLANT, 3, [(100, 110.0), (130, 110.0)], log_file_id=2, known_d=1.5)
    for as_of, share, median in ((AS_OF - timedelta(days=1), 0.0, 60), (AS_OF, 0.75, 60)):
        asked = statistics(first, late, as_of=as_of)
        assert asked.share_in_range(COOLANT, 2, 7)[0] == share
        assert asked.quantile(COOLANT, 7, 0.5)[0] == pytest.approx(median, abs=half_width(0))
    assert BY_QUANTITY["coolant_c"].words[2] == "over 105 °C"
