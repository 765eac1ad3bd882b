"""Calibration: probabilities that agree with outcomes, and maps that survive storage."""

import json

import numpy as np
import pytest

from pm.errors import ModelError
from pm.models.calibration import Calibration, fit_calibration, logit, read_calibration, sigmoid


def drawn(slope: float, intercept: float, n: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    scores = rng.normal(size=n)
    return scores, rng.random(n) < sigmoid(slope * scores + intercept)


def test_platt_finds_the_map_that_made_the_data() -> None:
    scores, positive = drawn(2.0, -2.5)
    fitted = fit_calibration(scores, positive, prior=0.1, method="platt")
    assert fitted.slope == pytest.approx(2.0, abs=0.1)
    assert fitted.intercept == pytest.approx(-2.5, abs=0.1)


def test_platt_keeps_the_mean_even_over_few_failures() -> None:
    scores, positive = drawn(1.0, -3.0, 700)
    fitted = fit_calibration(scores, positive, prior=0.5, rows_per_failure=14, method="platt")
    assert fitted.apply(scores).mean() == pytest.approx(positive.mean(), rel=1e-4)


def test_platt_stays_finite_where_classes_are_apart() -> None:
    scores = np.concatenate([np.full(50, -1.0), np.full(50, 1.0)])
    fitted = fit_calibration(scores, scores > 0, prior=0.5, rows_per_failure=10, method="platt")
    assert 1.0 < fitted.slope < 10.0


def test_a_score_that_points_the_wrong_way_is_flattened_not_turned() -> None:
    scores, positive = drawn(-2.0, -1.0)
    fitted = fit_calibration(scores, positive, prior=0.3, method="platt")
    p = fitted.apply(np.array([-2.0, 2.0]))
    assert p[0] < p[1] < p[0] + 0.01
    assert p.mean() == pytest.approx(positive.mean(), abs=0.01)


def test_isotonic_agrees_with_shares_and_rises() -> None:
    scores, positive = drawn(1.5, -1.0)
    fitted = fit_calibration(scores, positive, prior=0.3)
    assert fitted.method == "isotonic"
    p = fitted.apply(np.linspace(-3, 3, 50))
    assert (np.diff(p) >= 0).all()
    assert fitted.apply(scores).mean() == pytest.approx(positive.mean(), abs=1e-3)


def test_too_few_positives_move_only_the_mean() -> None:
    scores, positive = np.linspace(-1, 1, 40), np.arange(40) >= 38
    fitted = fit_calibration(scores, positive, prior=0.07)
    assert (fitted.method, fitted.slope) == ("prior", 1.0)
    assert fitted.apply(scores).mean() == pytest.approx(0.07, abs=1e-6)


def test_extremes_are_clipped() -> None:
    p = Calibration("platt", 1.0, 0.0).apply(np.array([-1e6, 1e6]))
    assert 0 < p[0] < 1e-5
    assert 1 - 1e-5 < p[1] < 1
    assert sigmoid(logit(0.2)) == pytest.approx(0.2)


def test_json_round_trip() -> None:
    fitted = Calibration("isotonic", 1.0, 0.0, (-1.0, 0.5), (0.1, 0.4))
    assert read_calibration(json.loads(json.dumps(fitted.as_document()))) == fitted


@pytest.mark.parametrize(
    "change",
    [
        {"method": "magic"},
        {"slope": -1.0},
        {"slope": "steep"},
        {"intercept": float("inf")},
        {"method": "isotonic"},
        {"method": "isotonic", "knots_score": [1.0, 0.0], "knots_p": [0.1, 0.2]},
        {"method": "isotonic", "knots_score": [0.0, 1.0], "knots_p": [0.3, 0.2]},
        {"knots_score": None},
    ],
)
def test_a_document_that_cannot_hold_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="calibration: expected"):
        read_calibration(Calibration("platt").as_document() | change)


def test_levels_of_an_isotonic_map_keep_the_order_of_the_scores():
    flat = Calibration("isotonic", 1.0, 0.0, (-2.0, -1.0, 1.0, 2.0), (0.0, 0.2, 0.2, 1.0))
    scores = np.array([-9.0, -5.0, -0.9, 0.0, 0.9, 2.5, 9.0])
    p = flat.apply(scores)
    assert (np.diff(p) > 0).all()
    assert p == pytest.approx([0.0, 0.0, 0.2, 0.2, 0.2, 1.0, 1.0], abs=4e-6)
    assert p.min() > 0
    assert p.max() < 1
