"""Feature sets against time and against each other: a feature's value does not depend on what else is wanted."""

import tempfile
from dataclasses import replace
from datetime import timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from feature_fleet import N_DAYS, START, sources, vehicles, write_file
from hypothesis import given, settings
from hypothesis import strategies as st

from pm.errors import DataError
from pm.features.cells import cell_versions, select_days
from pm.features.featurefile import load_feature_set
from pm.features.grid import SpanGrid, span_days
from pm.features.peers import against_others
from pm.features.vectors import as_vectors
from pm.features.windows import build_batches
from pm.policy import Policy

AS_OFS = [START + timedelta(days=day) for day in range(5, N_DAYS + 4, 9)]


@cache
def machine():
    with tempfile.TemporaryDirectory() as folder:
        return load_feature_set(write_file(Path(folder)), Policy())


def vectors(given_sources, as_ofs, wanted=None):
    return [as_vectors("set", batch) for batch in build_batches(machine(), as_ofs, given_sources, wanted=wanted)]


@cache
def full(seed):
    return vectors(sources(seed), AS_OFS)


def changed(given_sources, change):
    frames = {
        name: change(getattr(given_sources, name)) for name in ("daily_signals", "daily_faults", "failures", "events")
    }
    return replace(given_sources, **frames)


def test_the_cases_hold_every_feature():
    rows = pl.concat(full(0))
    values = rows["features"].list.to_array(len(machine().names)).to_numpy()
    silent = [name for name, there in zip(machine().names, np.isfinite(values).any(axis=0), strict=True) if not there]
    assert silent == []


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1), position=st.integers(0, len(AS_OFS) - 1), shuffle=st.integers(0, 1000))
def test_later_arrivals_and_their_order_change_nothing(seed, position, shuffle):
    as_of = AS_OFS[position]

    def known_then(frame):
        return frame.filter(pl.col("known_at") <= as_of).sample(fraction=1.0, shuffle=True, seed=shuffle)

    assert vectors(changed(sources(seed), known_then), [as_of])[0].equals(full(seed)[position])


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 1), cuts=st.sets(st.integers(1, len(AS_OFS) - 1), max_size=4))
def test_incremental_is_from_scratch_bit_for_bit(seed, cuts):
    parts = []
    for first, last in pairwise([0, *sorted(cuts), len(AS_OFS)]):
        span = AS_OFS[first:last]
        lookback = span[0].date() - timedelta(days=machine().lookback_d)
        all_rows = sources(seed)
        recent = replace(
            all_rows,
            daily_signals=all_rows.daily_signals.filter(pl.col("day") >= lookback),
            daily_faults=all_rows.daily_faults.filter(pl.col("day") >= lookback),
            readings=all_rows.daily_signals.filter(pl.col("signal") == "counter"),
        )
        parts += vectors(changed(recent, lambda frame, end=span[-1]: frame.filter(pl.col("known_at") <= end)), span)
    assert pl.concat(parts).equals(pl.concat(full(seed)))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1), places=st.sets(st.integers(0, len(machine().features) - 1), min_size=1))
def test_a_feature_alone_is_the_same_bits_as_among_all(seed, places):
    order = sorted(places)
    wanted = [machine().features[place] for place in order]
    for some, everything in zip(
        build_batches(machine(), AS_OFS, sources(seed), wanted=wanted),
        build_batches(machine(), AS_OFS, sources(seed)),
        strict=True,
    ):
        assert some.values.tobytes() == np.ascontiguousarray(everything.values[:, order]).tobytes()
        assert some.data_until.equals(everything.data_until)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 1), n=st.integers(1, 6))
def test_a_truck_without_peers_in_the_fleet_has_the_same_other_values(seed, n):
    alone = vehicles().filter(pl.col("vehicle_id") == n)
    mine = replace(sources(seed), vehicles=alone)
    others = [f for f in machine().features if f.recipe.kind != "peers"]
    for some, rows in zip(
        build_batches(machine(), AS_OFS, mine, wanted=others),
        build_batches(machine(), AS_OFS, sources(seed), wanted=others),
        strict=True,
    ):
        row = rows.vehicle_ids.to_list().index(n)
        assert some.values.tobytes() == np.ascontiguousarray(rows.values[[row]]).tobytes()


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=1, max_size=12),
    groups=st.lists(st.integers(0, 2), min_size=12, max_size=12),
)
def test_median_of_others_is_the_plain_one(values, groups):
    given_values, group = np.array(values), np.array(groups[: len(values)])
    found = against_others(given_values, (group, np.zeros_like(group)))
    for place, value in enumerate(given_values):
        others = np.delete(np.arange(len(values)), place)
        close = given_values[[i for i in others if group[i] == group[place]]]
        peers = next(
            (seen for each in (close, given_values[others]) if (seen := each[np.isfinite(each)]).size >= 3), None
        )
        expected = np.nan if peers is None else value - np.median(peers)
        np.testing.assert_equal(found[place], expected)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1), gap=st.integers(1, 12), n_vehicles=st.integers(1, 6))
def test_cells_brought_forward_are_those_selected_anew(seed, gap, n_vehicles):
    rows, lookback_d = sources(seed).daily_signals, 28
    versions = cell_versions(rows, machine().quantities)
    as_ofs = [START + timedelta(days=day) for day in range(lookback_d, N_DAYS, gap)]
    first_day, n_days = span_days(as_ofs[0], as_ofs[-1], lookback_d)
    ids = vehicles()["vehicle_id"].to_list()
    within = versions.rows.filter(pl.col("day").is_between(first_day, as_ofs[-1].date(), closed="left"))
    kinds = frozenset(("std", "min", "max", "gain", "transitions", "starts", "quantile"))
    grid = SpanGrid(
        replace(versions, rows=within), vehicle_ids=ids, n_quantities=3, first_day=first_day, n_days=n_days, kinds=kinds
    )
    for as_of in as_ofs:
        some = ids[:n_vehicles]
        fast = grid.at(as_of, vehicle_ids=some, lookback_d=lookback_d)
        anew = select_days(versions, as_of, vehicle_ids=some, n_quantities=3, lookback_d=lookback_d)
        assert (anew.n > 0).any()
        for name in ("n", "mean", "m2", "minimum", "maximum", "first_value", "last_value", "n_transitions", "n_starts"):
            np.testing.assert_array_equal(getattr(fast, name), getattr(anew, name), name)
        np.testing.assert_array_equal(fast.sketch >= 0, anew.sketch >= 0)


def test_cells_are_brought_forward_only():
    versions = cell_versions(sources(0).daily_signals, machine().quantities)
    grid = SpanGrid(versions, vehicle_ids=[1], n_quantities=3, first_day=START.date(), n_days=60, kinds=frozenset())
    grid.at(START + timedelta(days=40), vehicle_ids=[1], lookback_d=7)
    with pytest.raises(DataError, match="expected ascending"):
        grid.at(START + timedelta(days=30), vehicle_ids=[1], lookback_d=7)
