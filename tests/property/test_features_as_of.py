"""Vectors against time: arrivals after an as-of, their order, and the way of computing change nothing."""

from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pm.features.cells import cell_versions, select_days
from pm.features.daily import aggregate_signals, merge_days
from pm.features.featureset import default_feature_set
from pm.features.quantities import QUANTITIES
from pm.features.ranges import BY_QUANTITY, STARTED, ranges_by_source
from pm.features.sketch import sketch_of
from pm.features.statistics import WindowStatistics
from pm.features.windows import build_vectors
from pm.policy import Policy
from pm.schema import UTC_INSTANT
from pm.tables import COMPONENTS, DAILY_FAULT, DAILY_SIGNAL, FAILURE, VEHICLE

DAY_0 = date(2025, 1, 1)
N_DAYS = 45
START = datetime(2025, 1, 1, tzinfo=UTC)
SET = default_feature_set(Policy())
RANGES = ranges_by_source()
SOURCES = [source.split(".") for quantity in QUANTITIES for source in quantity.sources]
VEHICLES = VEHICLE.frame([
    {"vehicle_id": i, "fleet": "f", "vehicle_ref": str(i), "model": "AB"[i % 2], "model_year": 2020, "known_at": START}
    for i in range(1, 8)
])  # fmt: skip


@cache
def arrivals(seed):
    """Dailies, codes and repairs of seven trucks: days missing, several files a day, up to 15 days late."""
    generator = np.random.default_rng(seed)
    signals, codes, visits, log_file_id = [], [], [], 0
    for vehicle_id in VEHICLES["vehicle_id"]:
        for number in np.flatnonzero(generator.random(N_DAYS) < 0.8).tolist():
            day = DAY_0 + timedelta(days=number)
            for _ in range(generator.integers(1, 4)):
                log_file_id += 1
                known_at = START + timedelta(days=number + 1 + int(generator.integers(0, 60)) / 4)
                ids = {"vehicle_id": vehicle_id, "day": day, "log_file_id": log_file_id, "known_at": known_at}
                signals += [partial(generator, number, message, signal) | ids for message, signal in SOURCES]
                if generator.random() < 0.3:
                    codes.append(dtc(generator, number) | ids)
        visits += [visit(generator, vehicle_id, order) for order in range(6)]
    return DAILY_SIGNAL.frame(signals), DAILY_FAULT.frame(codes), FAILURE.frame(visits)


def partial(generator, number, message, signal):
    low, mean, high = np.sort(generator.normal(80, 7, 3))
    first_at = START + timedelta(days=number, hours=int(generator.integers(0, 12)))
    return {
        "message": message, "signal": signal, "channel": "can0", "source_address": int(generator.choice([0, 23])),
        "n_values": int(generator.integers(1, 30_000)), "mean": mean, "m2": generator.random() * 1e5, "minimum": low,
        "maximum": high, "first_at": first_at, "last_at": first_at + timedelta(hours=5),
        "first_value": generator.normal(80, 7), "last_value": generator.normal(80, 7),
        **counts(generator, f"{message}.{signal}"),
    }  # fmt: skip


def counts(generator, source):
    """What partials carry besides moments, and now and then lack: rows from before it was kept, other edges."""
    made = {"n_transitions": int(generator.integers(0, 50)), "sketch": sketch_of(generator.normal(80, 7, 12))}
    if source in RANGES:
        ranges = RANGES[source]
        made["ranges_id"] = ranges.ranges_id + int(generator.random() < 0.05)
        made["range_us"] = generator.integers(0, 10**9, len(ranges.edges) + 1).tolist()
        made["n_starts"] = int(generator.integers(0, 5)) if ranges.start else None
    return made if generator.random() < 0.95 else {}


def dtc(generator, number):
    first_at = START + timedelta(days=number)
    return {
        "channel": "can0", "source_address": 0, "spn": int(generator.choice([110, 111, 46, 520_243])),
        "fmi": int(generator.integers(0, 3)), "n_reports": 5, "first_at": first_at, "last_at": first_at,
        "n_red": int(generator.integers(0, 2)), "n_amber": 1,
    }  # fmt: skip


def visit(generator, vehicle_id, order):
    failed_at = START + timedelta(hours=int(generator.integers(0, N_DAYS * 24)))
    return {
        "source_system": "s", "work_order_id": f"{vehicle_id}/{order % 4}", "line_no": 1, "vehicle_id": vehicle_id,
        "component": str(generator.choice(COMPONENTS)), "rule": "r",
        "failed_at": failed_at,
        "kind": str(generator.choice(["failure", "planned", "no_trouble_found"])),
        "restored_at": failed_at + timedelta(days=1),
        "known_at": failed_at + timedelta(hours=order, days=int(generator.integers(0, 20))),
    }  # fmt: skip


AS_OFS = [START + timedelta(days=day) for day in range(1, N_DAYS + 5)]


def vectors(tables, as_ofs, vehicles=VEHICLES):
    signals, codes, visits = tables
    return build_vectors(
        SET, as_ofs, vehicles=vehicles, daily_signals=signals, daily_faults=codes, failures=visits, policy=Policy()
    )  # fmt: skip


def known_by(tables, as_of):
    return tuple(table.filter(pl.col("known_at") <= as_of) for table in tables)


def shuffled(tables, seed):
    return tuple(table.sample(fraction=1.0, shuffle=True, seed=seed + i) for i, table in enumerate(tables))


@cache
def full(case):
    return vectors(arrivals(case), AS_OFS)


def test_the_cases_hold_every_feature():
    values = full(0)["features"].list.to_array(len(SET.features)).to_numpy()
    assert np.isfinite(values).any(axis=0).all()
    assert np.isnan(values).any()
    assert full(0)["inputs_hash"].n_unique() == full(0).height


@settings(max_examples=25, deadline=None)
@given(case=st.integers(0, 1), position=st.integers(0, len(AS_OFS) - 1), seed=st.integers(0, 10_000))
def test_later_arrivals_and_order_of_arrival_change_nothing(case, position, seed):
    as_of = AS_OFS[position]
    expected = full(case).filter(pl.col("as_of") == as_of)
    then = shuffled(known_by(arrivals(case), as_of), seed)
    assert vectors(then, [as_of]).equals(expected)


@settings(max_examples=4, deadline=None)
@given(case=st.integers(0, 1), cuts=st.sets(st.integers(1, len(AS_OFS) - 1), max_size=4))
def test_incremental_is_from_scratch_bit_for_bit(case, cuts):
    edges = [0, *sorted(cuts), len(AS_OFS)]
    parts = []
    for first, last in pairwise(edges):
        as_ofs = AS_OFS[first:last]
        lookback = as_ofs[0].date() - timedelta(days=SET.lookback_d)
        signals, codes, visits = known_by(arrivals(case), as_ofs[-1])
        recent = (signals.filter(pl.col("day") >= lookback), codes.filter(pl.col("day") >= lookback), visits)
        parts.append(vectors(recent, as_ofs))
    assert pl.concat(parts).equals(full(case))


@settings(max_examples=15, deadline=None)
@given(case=st.integers(0, 1), model=st.integers(0, 1), position=st.integers(0, len(AS_OFS) - 1))
def test_trucks_of_another_model_change_nothing(case, model, position):
    mine = VEHICLES.filter(pl.col("vehicle_id") % 2 == model)
    alone = vectors(arrivals(case), [AS_OFS[position]], mine)
    together = full(case).filter(pl.col("as_of") == AS_OFS[position])
    assert alone.equals(together.join(mine, on="vehicle_id", how="semi", maintain_order="left"))


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=60),
    files=st.lists(st.integers(0, 4), min_size=60, max_size=60),
    seed=st.integers(0, 1000),
)
def test_merged_partials_are_the_whole_day(values, files, seed):
    n = len(values)
    frame = pl.DataFrame(
        {
            "vehicle_id": pl.Series([1] * n, dtype=pl.Int32),
            "log_file_id": pl.Series(files[:n], dtype=pl.Int64),
            "known_at": pl.Series([START] * n, dtype=UTC_INSTANT),
            "time": pl.Series([START + timedelta(seconds=i) for i in range(n)], dtype=UTC_INSTANT),
            "channel": ["can0"] * n,
            "source_address": pl.Series([0] * n, dtype=pl.Int16),
            "destination_address": pl.Series([None] * n, dtype=pl.Int16),
            "s": pl.Series(values, dtype=pl.Float64),
        }
    )
    parts = aggregate_signals(frame, "M")
    assert parts.equals(aggregate_signals(frame.sample(fraction=1.0, shuffle=True, seed=seed), "M"))
    merged = merge_days(parts.sample(fraction=1.0, shuffle=True, seed=seed)).row(0, named=True)
    scale = max(1.0, float(np.abs(values).max()))
    assert merged["n_values"] == n
    assert abs(merged["mean"] - np.mean(values)) <= 1e-9 * scale
    assert abs(merged["m2"] - n * np.var(values)) <= 1e-9 * n * scale**2
    assert (merged["minimum"], merged["maximum"]) == (min(values), max(values))
    assert (merged["first_value"], merged["last_value"]) == (values[0], values[-1])


NAMES = [quantity.name for quantity in QUANTITIES]


def asked(signals, as_of):
    """Every statistic of counts, times and sketches at one as-of."""
    days = select_days(
        cell_versions(signals, QUANTITIES), as_of, vehicle_ids=VEHICLES["vehicle_id"].to_list(),
        n_quantities=len(QUANTITIES), lookback_d=28,
    )  # fmt: skip
    statistics = WindowStatistics(days, np.zeros(VEHICLES.height, np.int64))
    found = [statistics.starts(NAMES.index(STARTED), 14)]
    for number, name in enumerate(NAMES):
        found += [statistics.quantile(number, d, q) for d, q in ((1, 0.5), (7, 0.05), (28, 0.95))]
        found.append(statistics.transitions(number, 7))
        n_ranges = len(BY_QUANTITY[name].edges) + 1 if name in BY_QUANTITY else 0
        shares = [statistics.share_in_range(number, i, 7) for i in range(n_ranges)]
        if shares:
            assert np.allclose(np.sum(shares, axis=0)[np.isfinite(shares[0])], 1)
        found += shares
    return np.stack(found)


@settings(max_examples=15, deadline=None)
@given(case=st.integers(0, 1), position=st.integers(0, len(AS_OFS) - 1), seed=st.integers(0, 10_000))
def test_counts_times_and_quantiles_as_of_do_not_know_what_came_later(case, position, seed):
    as_of = AS_OFS[position]
    signals = arrivals(case)[0]
    expected = asked(signals, as_of)
    then = signals.filter(pl.col("known_at") <= as_of).sample(fraction=1.0, shuffle=True, seed=seed)
    assert np.array_equal(asked(then, as_of), expected, equal_nan=True)


def test_most_counts_times_and_quantiles_are_there_in_the_middle_of_the_data():
    assert np.isfinite(asked(arrivals(0)[0], AS_OFS[30])).mean() > 0.5


@settings(max_examples=30, deadline=None)
@given(
    files=st.lists(
        st.lists(st.tuples(st.integers(0, 4 * 86_400), st.floats(-1e3, 1e3)), min_size=1, max_size=12),
        min_size=1, max_size=6,
    ),
    order=st.randoms(use_true_random=False),
)  # fmt: skip
def test_dailies_made_after_each_arrival_are_those_made_at_once(files, order):
    """As `pm.pipelines.dailies` does it: each file marks its days, and what they have is made again."""
    ranges = {"M.s": BY_QUANTITY["engine_rpm"]}
    rows = [readings(number, file) for number, file in enumerate(files)]
    arriving = list(range(len(files)))
    order.shuffle(arriving)
    stored, daily = rows[0].clear(), DAILY_SIGNAL.empty()
    for number in arriving:
        stored = pl.concat([stored, rows[number]])
        dirty = rows[number]["time"].dt.date().unique()
        again = stored.filter(pl.col("time").dt.date().is_in(dirty.implode()))
        daily = pl.concat([
            daily.filter(~pl.col("day").is_in(dirty.implode())), aggregate_signals(again, "M", ranges)
        ])  # fmt: skip
    assert daily.sort(DAILY_SIGNAL.key).equals(aggregate_signals(pl.concat(rows), "M", ranges))


def readings(number, file):
    n = len(file)
    return pl.DataFrame(
        {
            "vehicle_id": pl.Series([1] * n, dtype=pl.Int32),
            "log_file_id": pl.Series([number] * n, dtype=pl.Int64),
            "known_at": pl.Series([START + timedelta(days=number)] * n, dtype=UTC_INSTANT),
            "time": pl.Series([START + timedelta(seconds=s) for s, _ in file], dtype=UTC_INSTANT),
            "channel": ["can0"] * n,
            "source_address": pl.Series([0] * n, dtype=pl.Int16),
            "destination_address": pl.Series(range(n), dtype=pl.Int16),
            "s": pl.Series([value for _, value in file], dtype=pl.Float64),
        }
    )
