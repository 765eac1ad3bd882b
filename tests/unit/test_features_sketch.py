"""Quantile sketches, worked out by hand."""

import math

import numpy as np
import polars as pl
import pytest

from pm.errors import DataError
from pm.features.sketch import Sketches, half_width, sketch_of


def sketches(*values):
    return Sketches.of(pl.Series([sketch_of(np.array(each, np.float64)) or None for each in values], dtype=pl.Binary))


def quantiles(packed, *levels):
    return [float(packed.quantiles(np.array([[0]]), q)[0]) for q in levels]


def test_buckets_of_whole_degrees_are_packed_without_their_zero_bits():
    # Level 0, ten zero bits, 60 in zigzag and its count less one, no gap before 61, one before 63.
    assert sketch_of(np.array([60.0, 63.0, 60.0, 61.0])) == bytes([0, 10, 120, 1, 0, 0, 1, 0])
    assert sketch_of(np.array([-1.0])) == bytes([0, 10, 1, 0])
    assert sketch_of(np.array([0.0, -0.0])) == bytes([0, 0, 0, 1])


def test_more_than_64_buckets_become_half_as_many_of_twice_the_width():
    step = 2.0**-10
    exact = sketch_of(np.arange(64) * step)
    wider = sketch_of(np.arange(65) * step)
    assert (exact[0], len(exact)) == (0, 2 + 2 * 64)
    # Keys 0 to 32 of width 2^-9, two values in each but the last.
    assert wider == bytes([1, 0, 0, 1, *[0, 1] * 31, 0, 0])
    assert [half_width(0), half_width(1), half_width(10)] == [2.0**-11, 2.0**-10, 0.5]


def test_a_quantile_is_the_middle_of_the_bucket_of_its_rank():
    packed = sketches([10.0, 20.0, 30.0, 40.0])
    half = half_width(0)
    assert quantiles(packed, 0, 0.33, 0.34, 0.999, 1) == [10 + half, 10 + half, 20 + half, 30 + half, 40 + half]


def test_days_count_together_and_a_vehicle_without_days_has_none():
    packed = sketches([1.0, 1.0, 1.0], [5.0], [])
    grid = np.array([[0, -1, 2], [1, -1, -1]])
    found = packed.quantiles(grid, 0.5)
    assert found[0] == 1 + half_width(0)
    assert np.isnan(found[1:]).all()
    assert packed.quantiles(grid, 1.0)[0] == 5 + half_width(0)


def test_values_that_are_not_finite_do_not_count_and_nothing_is_nothing():
    assert sketch_of(np.array([np.nan, np.inf, -np.inf, 2.0])) == sketch_of(np.array([2.0]))
    assert sketch_of(np.array([np.nan])) == b""
    assert sketches([]).series().to_list() == [None]


@pytest.mark.parametrize(
    "values", [[1e300, -1e300, 5e-324, -5e-324], [1e150] * 3, [-1e-300], [4e15, 4e15 + 1]], ids=str
)
def test_huge_and_tiny_values_are_within_half_a_width(values):
    packed = sketch_of(np.array(values))
    level = packed[0] if packed[0] < 128 else (packed[0] & 127) | packed[1] << 7
    for q in (0.0, 0.5, 1.0):
        exact = sorted(values)[math.floor(q * (len(values) - 1))]
        assert abs(quantiles(sketches(values), q)[0] - exact) <= half_width(level)


def test_a_merge_with_nothing_is_nothing():
    packed = sketches([1.0, 2.0], [], [3.0])
    merged = packed.merged(np.array([0, 0]), np.array([1, 2]))
    assert merged.series().to_list() == [None, sketch_of(np.array([1.0, 2.0, 3.0]))]
    assert packed.taken(np.array([2, 0])).series().to_list() == [
        sketch_of(np.array([3.0])),
        sketch_of(np.array([1.0, 2.0])),
    ]


def test_a_merge_may_be_much_longer_than_its_parts():
    coarse, fine = np.arange(64) * 2.0**34, np.array([2.0**-10])
    packed = sketches(coarse, fine)
    both = packed.merged(np.array([0, 1]), np.array([1, 0]))
    assert both.sizes.min() > 3 * packed.sizes.sum()
    assert both.series()[0] == both.series()[1]
    found = both.quantiles(np.array([[0]]), 1.0)[0]
    assert abs(found - coarse[-1]) <= half_width(0)


@pytest.mark.parametrize(
    "damaged",
    [b"\x00", b"\x00\x00", b"\x00\x00\x80", b"\x00\x00\x01", b"\xff\x7f\x00\x01\x01", b"\x00\x7f\x02\x00",
     b"\x00\x00" + b"\xff" * 12, b"\x00\x20" + b"\xff\xff\xff\xff\xff\xff\x7f\x00"],
    ids=bytes.hex,
)  # fmt: skip
def test_damaged_bytes_are_told_and_never_read_past(damaged):
    packed = Sketches.of(pl.Series([damaged, sketch_of(np.array([1.0]))]))
    with pytest.raises(DataError, match="quantile sketch: expected packed buckets"):
        packed.quantiles(np.array([[0]]), 0.5)
    with pytest.raises(DataError, match="quantile sketch: expected packed buckets"):
        packed.merged(np.array([1]), np.array([0]))


def test_a_level_that_is_no_share_is_told():
    with pytest.raises(DataError, match=r"expected a level from 0 to 1, but got 1\.5"):
        sketches([1.0]).quantiles(np.array([[0]]), 1.5)
