"""The compiled aggregates of a day against a plain model, and sketches in any order and tree of merges."""

import math
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise

import numpy as np
import polars as pl
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pm.features.daily import aggregate_signals, merge_days
from pm.features.ranges import Ranges
from pm.features.sketch import Sketches, half_width, sketch_of
from pm.schema import UTC_INSTANT

START = datetime(2025, 1, 1, tzinfo=UTC)
RANGES = Ranges("x", "1", (-5.0, 0.0, 50.0), ("a", "b", "c", "d"), start=(0.0, 10.0), longest_gap_s=60)
NUMBERS = st.one_of(
    st.none(),
    st.floats(),
    st.sampled_from([0.0, -0.0, -5.0, 10.0, 50.0, 1e150, -1e150, 1e200, 5e-324]),
    st.floats(-100, 100),
    st.integers(-3, 3).map(float),
)


def telemetry(values, seconds, files):
    n = len(values)
    return pl.DataFrame(
        {
            "vehicle_id": pl.Series([1] * n, dtype=pl.Int32),
            "log_file_id": pl.Series(files, dtype=pl.Int64),
            "known_at": pl.Series([START] * n, dtype=UTC_INSTANT),
            "time": pl.Series([START + timedelta(seconds=s) for s in seconds], dtype=UTC_INSTANT),
            "channel": ["can0"] * n,
            "source_address": pl.Series([0] * n, dtype=pl.Int16),
            "destination_address": pl.Series(range(n), dtype=pl.Int16),
            "s": pl.Series(values, dtype=pl.Float64),
        }
    )


def model(rows):
    """What stands in the row of one log file's values: (second, value), in order."""
    kept = [(second, value) for second, value in rows if value is not None and abs(value) <= 1e150]
    if not kept:
        return None
    values = [value for _, value in kept]
    range_us, n_starts, is_standing = [0, 0, 0, 0], 0, False
    for (second, value), (after, _) in pairwise(kept):
        range_us[sum(value >= edge for edge in RANGES.edges)] += min(after - second, 60) * 1_000_000
    for value in values:
        if value < 0:
            is_standing = True
        elif value >= 10:
            n_starts, is_standing = n_starts + is_standing, False
    return {
        "n_values": len(values), "minimum": min(values), "maximum": max(values), "first_value": values[0],
        "last_value": values[-1], "first_at": START + timedelta(seconds=kept[0][0]),
        "last_at": START + timedelta(seconds=kept[-1][0]), "range_us": range_us, "n_starts": n_starts,
        "n_transitions": sum(a != b for a, b in pairwise(values)),
    }  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(NUMBERS, st.integers(0, 86_399), st.integers(0, 2)), min_size=1, max_size=80),
    seed=st.integers(0, 1000),
)
@example(rows=[(1.0, 5, 0)], seed=0)
@example(rows=[(3.0, 5, 0), (3.0, 5, 0), (3.0, 5, 0)], seed=0)
@example(rows=[(None, 5, 0), (math.nan, 6, 0), (math.inf, 7, 1)], seed=0)
@example(rows=[(-1.0, 1, 0), (20.0, 2, 0), (5.0, 3, 0), (-1.0, 4, 0), (10.0, 500, 0)], seed=0)
def test_a_day_is_what_a_plain_loop_counts(rows, seed):
    values, seconds, files = map(list, zip(*rows, strict=True))
    frame = telemetry(values, seconds, files)
    made = aggregate_signals(frame, "M", {"M.s": RANGES})
    assert made.equals(aggregate_signals(frame.sample(fraction=1.0, shuffle=True, seed=seed), "M", {"M.s": RANGES}))
    # Rows of one instant go by destination address, which is the row's number here.
    ordered = sorted(range(len(rows)), key=lambda i: (seconds[i], i))
    expected = {file: model([(seconds[i], values[i]) for i in ordered if files[i] == file]) for file in range(3)}
    assert set(made["log_file_id"]) == {file for file, row in expected.items() if row}
    for row in made.iter_rows(named=True):
        wanted = expected[row["log_file_id"]]
        assert {name: row[name] for name in wanted} == wanted
        there = [
            v for i, v in enumerate(values) if files[i] == row["log_file_id"] and v is not None and abs(v) <= 1e150
        ]
        exact = [Fraction(value) for value in there]
        mean = sum(exact) / len(exact)
        scale = max(abs(value) for value in exact) or Fraction(1)
        assert abs(Fraction(row["mean"]) - mean) <= scale * len(exact) * Fraction(1, 2**50) + Fraction(1, 2**1000)
        m2 = sum((value - mean) ** 2 for value in exact)
        # Squares of the tiniest numbers are no float64.
        assert abs(Fraction(row["m2"]) - m2) <= scale**2 * len(exact) ** 2 * Fraction(1, 2**48) + Fraction(1, 2**1000)
        assert row["sketch"] == sketch_of(np.array(there))
    check_merged(made, expected, seed)


def check_merged(made, expected, seed):
    merged = merge_days(made.sample(fraction=1.0, shuffle=True, seed=seed))
    there = [row for row in expected.values() if row]
    if not there:
        assert merged.height == 0
        return
    row = merged.row(0, named=True)
    for name in ("n_values", "n_starts", "n_transitions"):
        assert row[name] == sum(each[name] for each in there)
    assert row["range_us"] == [sum(parts) for parts in zip(*(each["range_us"] for each in there), strict=True)]
    assert row["ranges_id"] == RANGES.ranges_id


VALUES = st.lists(
    st.one_of(st.floats(-1e150, 1e150), st.floats(-100, 100), st.integers(-300, 300).map(lambda i: i / 8)), max_size=150
)


def level_of(packed):
    return packed[0] if packed[0] < 128 else (packed[0] & 127) | packed[1] << 7


def buckets_of(values, level):
    """{bucket: count} by exact arithmetic."""
    width, found = Fraction(2) ** (level - 10), {}
    for value in values:
        key = math.floor(Fraction(value) / width)
        found[key] = found.get(key, 0) + 1
    return found


@settings(max_examples=60, deadline=None)
@given(values=VALUES.filter(bool), q=st.floats(0, 1), seed=st.integers(0, 1000))
def test_a_sketch_is_the_finest_histogram_of_64_buckets(values, q, seed):
    packed = sketch_of(np.array(values))
    level = level_of(packed)
    assert len(buckets_of(values, level)) <= 64
    first = max(0, math.frexp(max(map(abs, values)))[1] + 10 - 50)
    assert level == first or len(buckets_of(values, level - 1)) > 64
    assert packed == sketch_of(np.random.default_rng(seed).permutation(np.array(values)))
    rank = math.floor(q * (len(values) - 1))
    found = float(Sketches.of(pl.Series([packed])).quantiles(np.array([[0]]), q)[0])
    # The middle itself is a float64, so it is off by a rounding more.
    assert abs(found - sorted(values)[rank]) <= half_width(level) * (1 + 1e-9) + abs(found) * 1e-15


@settings(max_examples=50, deadline=None)
@given(parts=st.lists(VALUES.filter(bool), min_size=2, max_size=6), q=st.floats(0, 1), seed=st.integers(0, 1000))
def test_sketches_merge_to_the_same_bytes_in_any_tree(parts, q, seed):
    generator = np.random.default_rng(seed)

    def merged_at_random():
        left = [sketch_of(np.array(part)) for part in parts]
        while len(left) > 1:
            a, b = generator.choice(len(left), 2, replace=False).tolist()
            both = Sketches.of(pl.Series([left[a], left[b]])).merged(np.array([0]), np.array([1])).series()[0]
            left = [one for i, one in enumerate(left) if i not in (a, b)] + [both]
        return left[0]

    whole = merged_at_random()
    assert whole == merged_at_random()
    level = max(level_of(sketch_of(np.array(part))) for part in parts)
    assert level_of(whole) == level
    assert level <= level_of(sketch_of(np.concatenate(parts)))
    # A grid of days is asked as if it were one sketch.
    days = Sketches.of(pl.Series([*(sketch_of(np.array(part)) for part in parts), whole]))
    grid = np.array([[i, -1] for i in range(len(parts))] + [[-1, -1]])
    grid[-1, 1] = len(parts)
    one_by_one, together = days.quantiles(grid, q).tolist()
    assert one_by_one == together
