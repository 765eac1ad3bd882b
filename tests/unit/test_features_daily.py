"""Partial aggregates of a day, worked out by hand."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from pm.errors import DataError
from pm.features.daily import aggregate_faults, aggregate_signals, merge_days
from pm.features.sketch import sketch_of
from pm.schema import UTC_INSTANT
from pm.tables import DAILY_SIGNAL

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
KNOWN_AT = datetime(2025, 3, 2, 6, tzinfo=UTC)


def telemetry(samples, *, log_file_id=1, source_address=0, channel="can0", **columns):
    """`samples` are (seconds after noon, value)."""
    n = len(samples)
    return pl.DataFrame(
        {
            "vehicle_id": pl.Series([7] * n, dtype=pl.Int32),
            "log_file_id": pl.Series([log_file_id] * n, dtype=pl.Int64),
            "known_at": pl.Series([KNOWN_AT] * n, dtype=UTC_INSTANT),
            "time": pl.Series([NOON + timedelta(seconds=s) for s, _ in samples], dtype=UTC_INSTANT),
            "channel": [channel] * n,
            "source_address": pl.Series([source_address] * n, dtype=pl.Int16),
            "destination_address": pl.Series([None] * n, dtype=pl.Int16),
            "EngCoolantTemp": pl.Series([value for _, value in samples], dtype=pl.Float32),
            **columns,
        }
    )


def test_one_day_of_one_signal():
    row = aggregate_signals(telemetry([(2, 6.0), (0, 1.0), (1, 2.0)]), "ET1").row(0, named=True)
    assert row == {
        "vehicle_id": 7, "day": date(2025, 3, 1), "log_file_id": 1, "known_at": KNOWN_AT, "message": "ET1",
        "signal": "EngCoolantTemp", "channel": "can0", "source_address": 0, "n_values": 3, "mean": 3.0, "m2": 14.0,
        "minimum": 1.0, "maximum": 6.0, "first_at": NOON, "last_at": NOON + timedelta(seconds=2), "first_value": 1.0,
        "last_value": 6.0, "n_transitions": 2, "n_starts": None, "ranges_id": None, "range_us": None,
        "sketch": sketch_of(np.array([1.0, 2.0, 6.0])),
    }  # fmt: skip


def test_values_not_available_do_not_count_and_a_silent_signal_has_no_row():
    text = pl.Series(["x"] * 4)
    silent = pl.Series([None] * 4, dtype=pl.Float32)
    frame = telemetry([(0, None), (1, 5.0), (2, float("nan")), (3, float("inf"))], EngOilTemp1=silent, Vin=text)
    made = aggregate_signals(frame, "ET1")
    assert made.select("signal", "n_values", "mean", "m2", "first_at", "last_at").rows() == [
        ("EngCoolantTemp", 1, 5.0, 0.0, NOON + timedelta(seconds=1), NOON + timedelta(seconds=1))
    ]


def test_midnight_log_file_channel_and_source_address_part_the_rows():
    parts = [
        telemetry([(0, 1.0), (12 * 3600 - 1, 2.0), (12 * 3600, 3.0)]),
        telemetry([(0, 4.0)], log_file_id=2),
        telemetry([(0, 5.0)], channel="can1"),
        telemetry([(0, 6.0)], source_address=23),
    ]
    made = aggregate_signals(pl.concat(parts), "ET1")
    assert made.select("day", "log_file_id", "channel", "source_address", "n_values", "mean").rows() == [
        (date(2025, 3, 1), 1, "can0", 0, 2, 1.5),
        (date(2025, 3, 1), 1, "can0", 23, 1, 6.0),
        (date(2025, 3, 1), 1, "can1", 0, 1, 5.0),
        (date(2025, 3, 1), 2, "can0", 0, 1, 4.0),
        (date(2025, 3, 2), 1, "can0", 0, 1, 3.0),
    ]


def test_spread_survives_a_large_offset():
    made = aggregate_signals(telemetry([(0, 1e6), (1, 1e6 + 1.0), (2, 1e6 + 2.0)]), "ET1")
    assert made["m2"].to_list() == pytest.approx([2.0])


def test_nothing_in_nothing_out():
    assert aggregate_signals(telemetry([]), "ET1").equals(DAILY_SIGNAL.empty())
    assert aggregate_signals(telemetry([(0, None)]), "ET1").equals(DAILY_SIGNAL.empty())
    assert merge_days(DAILY_SIGNAL.empty()).is_empty()


def test_missing_column_is_named():
    with pytest.raises(DataError, match=r"telemetry of ET1: expected columns \['known_at'\]"):
        aggregate_signals(telemetry([(0, 1.0)]).drop("known_at"), "ET1")


def test_merged_day_is_the_whole_day():
    whole = aggregate_signals(telemetry([(0, 1.0), (1, 2.0), (2, 6.0), (3, 7.0), (4, -3.0)]), "ET1")
    parts = [
        aggregate_signals(telemetry([(2, 6.0), (3, 7.0)], log_file_id=1), "ET1"),
        aggregate_signals(telemetry([(0, 1.0), (1, 2.0)], log_file_id=2), "ET1"),
        aggregate_signals(telemetry([(4, -3.0)], log_file_id=3), "ET1"),
    ]
    merged = merge_days(pl.concat(parts))
    assert merged.height == 1
    exact = ["n_values", "minimum", "maximum", "first_at", "last_at", "first_value", "last_value", "known_at"]
    assert merged.select(exact).equals(whole.select(exact))
    assert merged["mean"][0] == pytest.approx(2.6)
    assert merged["m2"][0] == pytest.approx(whole["m2"][0])
    assert "log_file_id" not in merged.columns


def fault(seconds, *, spn=110, fmi=16, count=3, red=0, amber=1, dm=1):
    return {
        "vehicle_id": 7, "time": NOON + timedelta(seconds=seconds), "channel": "can0", "source_address": 0, "spn": spn,
        "fmi": fmi, "occurrence_count": count, "conversion_method": 4, "lamp_mil": 3, "lamp_red": red,
        "lamp_amber": amber, "lamp_protect": 3, "log_file_id": 1, "dm": dm,
    }  # fmt: skip


def faults(*rows):
    schema = {
        "vehicle_id": pl.Int32, "time": UTC_INSTANT, "channel": pl.String, "source_address": pl.Int16, "spn": pl.Int32,
        "fmi": pl.Int16, "occurrence_count": pl.Int16, "conversion_method": pl.Int16, "lamp_mil": pl.Int16,
        "lamp_red": pl.Int16, "lamp_amber": pl.Int16, "lamp_protect": pl.Int16, "log_file_id": pl.Int64,
        "dm": pl.Int16, "flash_mil": pl.Int16, "flash_red": pl.Int16, "flash_amber": pl.Int16,
        "flash_protect": pl.Int16,
    }  # fmt: skip
    return pl.DataFrame(list(rows), schema=schema).with_columns(known_at=pl.lit(KNOWN_AT, UTC_INSTANT))


def test_reports_of_a_code_are_counted_and_a_lamp_counts_only_when_on():
    made = aggregate_faults(
        faults(fault(0), fault(1, count=None, red=1), fault(2, count=5, red=3, amber=0), fault(0, spn=520_243, fmi=31))
    )
    columns = ["spn", "fmi", "n_reports", "maximum_occurrence_count", "n_red", "n_amber", "first_at", "last_at"]
    assert made.select(columns).rows() == [
        (110, 16, 3, 5, 1, 2, NOON, NOON + timedelta(seconds=2)),
        (520_243, 31, 1, 3, 0, 1, NOON, NOON),
    ]


def test_previously_active_codes_do_not_count():
    made = aggregate_faults(faults(fault(0), fault(1, dm=2, red=1), fault(2, spn=100, dm=2)))
    assert made.select("spn", "n_reports", "n_red", "last_at").rows() == [(110, 1, 0, NOON)]


def test_faults_without_known_at_are_refused():
    with pytest.raises(DataError, match="expected column known_at"):
        aggregate_faults(faults(fault(0)).drop("known_at"))
