"""Units of columns and spans of time, by hand."""

from datetime import timedelta

import pytest

from pm.errors import ConfigError
from pm.pipelines.imports.mapping_spans import Span, read_span
from pm.pipelines.imports.mapping_units import SAME, UNITS, conversion


@pytest.mark.parametrize(
    ("value", "given", "wanted", "expected"),
    [
        (212, "degF", "degC", 100),
        (-40, "°F", "degC", -40),
        (273.15, "K", "degC", 0),
        (0, "degC", "degF", 32),
        (60, "mph", "km/h", 96.56064),
        (10, "m/s", "km/h", 36),
        (100, "psi", "kPa", 689.4757293168361),
        (8.5, "bar", "kPa", 850),
        (250_000, "Pa", "kPa", 250),
        (1, "MPa", "psi", 145.03773773),
        (10, "gal", "l", 37.85411784),
        (1500, "ml", "L", 1.5),
        (100, "mi", "km", 160.9344),
        (123_456, "m", "km", 123.456),
        (80_000, "lb", "kg", 36287.3896),
        (5400, "s", "h", 1.5),
        (0.25, "ratio", "%", 25),
        (12_600, "mV", "V", 12.6),
    ],
)
def test_a_number_in_one_unit_is_this_number_in_another(value, given, wanted, expected):
    scale = conversion(given, wanted)
    assert value * scale.factor + scale.offset == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_every_unit_becomes_itself_and_back():
    assert all(conversion(unit, unit) == SAME for unit in UNITS)
    there, back = conversion("degF", "K"), conversion("K", "degF")
    assert (50 * there.factor + there.offset) * back.factor + back.offset == pytest.approx(50)


def test_a_unit_nobody_knows_needs_no_conversion_into_itself():
    assert conversion("furlong", "furlong") == SAME


@pytest.mark.parametrize(
    ("given", "wanted", "said"),
    [
        ("psi", "km", r"expected a unit of length for 'km', but got 'psi', of pressure"),
        ("furlong", "km", r"one of \[.*'mi'.*\], but got 'furlong'"),
        ("km", "furlong", r"but got 'km'"),
    ],
)
def test_units_that_do_not_become_each_other_are_named(given, wanted, said):
    with pytest.raises(ConfigError, match=said):
        conversion(given, wanted)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30h", Span(0, timedelta(hours=30))),
        ("1d 6h", Span(1, timedelta(hours=6))),
        ("-5min", Span(0, timedelta(minutes=-5))),
        ("-1d 30 s", Span(-1, timedelta(seconds=-30))),
        ("0s", Span()),
        ("1.5h", Span(0, timedelta(minutes=90))),
        ("250ms", Span(0, timedelta(milliseconds=250))),
    ],
)
def test_a_span_has_days_of_the_calendar_and_elapsed_time(text, expected):
    assert read_span(text) == expected


@pytest.mark.parametrize("text", ["", "30", "h", "1.5d", "1w", "5 min!", "9999999d", "1h 99999999999h"])
def test_what_is_no_span_is_refused(text):
    with pytest.raises(ConfigError, match="expected a span"):
        read_span(text)
