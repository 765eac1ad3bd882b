"""Alert episodes and the threshold that keeps the budget, by hand."""

import numpy as np

from pm.models.threshold import alert_threshold, allowed_episodes, episode_starts


def test_episodes_begin_where_no_alert_stood_the_day_before() -> None:
    vehicle = np.array([1, 1, 1, 1, 1, 2, 2, 2])
    day = np.array([0, 1, 2, 3, 5, 5, 6, 7])
    alert = np.array([True, True, False, True, True, True, True, False])
    # vehicle 1: days 0-1, day 3, and day 5 after a missing day 4; vehicle 2: days 5-6
    assert episode_starts(vehicle, day, alert, 1).tolist() == [True, False, False, True, True, True, False, False]


def test_a_weekly_grid_joins_weekly_rows() -> None:
    vehicle, day = np.array([1, 1, 1]), np.array([0, 7, 14])
    assert episode_starts(vehicle, day, np.array([True] * 3), 7).sum() == 1


def test_allowed_episodes_scale_with_fleet_and_time() -> None:
    assert allowed_episodes(4.0, 50, 14) == 4.0


def test_the_threshold_is_the_lowest_that_keeps_the_budget() -> None:
    vehicle = np.repeat(np.arange(10), 7)
    day = np.tile(np.arange(7), 10)
    p = np.repeat(np.linspace(0.05, 0.5, 10), 7)  # a level a vehicle: one episode a vehicle
    threshold = alert_threshold(p, vehicle, day, budget=30.0, step_d=1)  # 10 vehicles, a week: 3 episodes
    assert threshold == np.unique(p)[-3]


def test_flickering_scores_cost_budget() -> None:
    vehicle, day = np.repeat(np.arange(10), 8), np.tile(np.arange(8), 10)
    p = np.where((vehicle == 0) & (day % 2 == 0), 0.9, 0.1 + 0.001 * vehicle)
    steady = np.where(vehicle == 0, 0.9, 0.1 + 0.001 * vehicle)
    assert alert_threshold(p, vehicle, day, budget=20.0, step_d=1) > 0.9
    assert alert_threshold(steady, vehicle, day, budget=20.0, step_d=1) < 0.9


def test_equal_scores_alert_nobody() -> None:
    vehicle, day = np.repeat(np.arange(20), 7), np.tile(np.arange(7), 20)
    assert alert_threshold(np.full(140, 0.1), vehicle, day, budget=5.0, step_d=1) > 0.1
