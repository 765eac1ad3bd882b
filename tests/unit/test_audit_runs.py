"""Rows found again by day, labels shuffled, and what chance reaches."""

import numpy as np
import pytest

from pm.backtest.audit_features import all_alone, identities
from pm.backtest.audit_rows import FoldRows, Grid, Labelled
from pm.backtest.audit_runs import Scored, above_chance, chance, pr_auc, shuffled_positions

VEHICLES, DAYS = 20, 30


def rows(seed: int = 0) -> Labelled:
    """Every vehicle on every day; a few vehicles have a fortnight of positive days."""
    rng = np.random.default_rng(seed)
    vehicle, day = (part.ravel() for part in np.meshgrid(np.arange(1, VEHICLES + 1), np.arange(100, 100 + DAYS)))
    begins = {1: 100, 4: 110, 9: 112, 15: 105, 18: 103}
    positive = np.array([begins.get(v, 999) <= d < begins.get(v, 999) + 14 for v, d in zip(vehicle, day, strict=True)])
    order = rng.permutation(vehicle.size) if seed else np.lexsort((vehicle, day))
    return Labelled(vehicle[order].astype(np.int64), day[order].astype(np.int64), positive[order])


def grid(columns: np.ndarray) -> Grid:
    made = rows()
    key = made.vehicle * 2**32 + made.day
    return Grid(columns[np.argsort(key)].astype(np.float32), np.sort(key))


def test_vectors_are_found_by_vehicle_and_day() -> None:
    made = rows()
    held = grid(np.column_stack([made.vehicle, made.day]))
    assert (held.matrix(made)[:, 0] == made.vehicle).all()
    later = made.take(made.day < 100 + DAYS - 2)
    assert (held.matrix(later, 2)[:, 1] == later.day + 2).all()
    assert held.find(np.array([1, 1, 99]), np.array([100, 99, 100])).tolist()[1:] == [-1, -1]
    assert held.spacing_d == 1


@pytest.mark.parametrize("seed", [0, 3])
def test_shuffling_within_days_keeps_each_days_number_of_positives(seed: int) -> None:
    made = rows(seed)
    kept, source = shuffled_positions(made, "as_of", np.random.default_rng(1))
    assert kept.size == made.day.size
    assert sorted(source.tolist()) == list(range(made.day.size))
    assert (made.day[source] == made.day).all()
    assert (made.positive[source] != made.positive).any()


def test_shuffling_vehicles_gives_each_the_whole_history_of_another() -> None:
    made = rows(2)
    kept, source = shuffled_positions(made, "vehicle", np.random.default_rng(1))
    assert kept.size == made.day.size
    assert (made.day[source] == made.day[kept]).all()
    pairs = {(int(a), int(b)) for a, b in zip(made.vehicle[kept], made.vehicle[source], strict=True)}
    assert len(pairs) == VEHICLES


def test_days_on_which_the_other_vehicle_has_no_row_are_left_out() -> None:
    made = rows().take((rows().vehicle != 1) | (rows().day < 105))
    kept, source = shuffled_positions(made, "vehicle", np.random.default_rng(1))
    assert kept.size == made.day.size - (DAYS - 5)
    assert (made.day[source] == made.day[kept]).all()


def test_a_perfect_score_is_above_chance_and_noise_is_not() -> None:
    made = rows()
    perfect, noise = made.positive.astype(float), np.random.default_rng(4).normal(size=made.day.size)
    for score, is_above in ((perfect, True), (noise, False)):
        scored = Scored(made, score)
        value = pr_auc(scored, 20, 1)[0].value
        assert value is not None
        assert (above_chance(value, chance(scored, "vehicle", 100, 1)) < 0.02) is is_above


def test_a_p_value_is_never_zero_and_counts_ties() -> None:
    assert above_chance(2.0, np.array([1.0, 1.0, np.nan])) == pytest.approx(1 / 3)
    assert above_chance(1.0, np.array([1.0, 0.5])) == pytest.approx(2 / 3)


def test_a_feature_of_any_shape_is_found_alone() -> None:
    made = rows()
    rng = np.random.default_rng(5)
    middle = np.where(made.positive, rng.uniform(-0.2, 0.2, made.day.size), rng.choice([-1, 1], made.day.size))
    missing = np.where(made.positive, np.nan, rng.normal(size=made.day.size))
    held = grid(np.column_stack([rng.normal(size=made.day.size), middle, missing]))
    first = made.day < 115
    ranked = all_alone(held, [FoldRows(1, "c", made.take(first), made.take(~first))])
    assert {one.position for one in ranked[:2]} == {1, 2}
    assert all(one.pr_auc > 0.9 for one in ranked[:2])
    assert ranked[2].pr_auc < 0.5


def test_constants_are_told_from_what_changes_and_correlated_with_failing_days() -> None:
    made = rows()
    names = np.arange(1, VEHICLES + 1)
    share = {int(v): float(made.positive[made.vehicle == v].mean()) for v in names}
    encoded = np.array([share[int(v)] for v in made.vehicle])
    rng = np.random.default_rng(6)
    plate = rng.permutation(VEHICLES)[made.vehicle - 1]
    held = grid(np.column_stack([encoded, plate, rng.normal(size=made.day.size), np.full(made.day.size, np.nan)]))
    found = {one.position: one for one in identities(held, share)}
    assert set(found) == {0, 1}
    assert found[0].correlation == pytest.approx(1.0)
    assert found[1].distinct_share == 1.0
    assert found[1].correlation is not None
    assert found[1].correlation < 0.8
    few = identities(grid(np.column_stack([plate])), {1: 0.5, 2: 0.0})
    assert few[0].correlation is None
