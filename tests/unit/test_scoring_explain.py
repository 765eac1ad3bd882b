"""Reasons: which features are named, and in which words."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

from pm.scoring.explain import describe, explain_row, reasons_json


@dataclass(frozen=True)
class Named:
    name: str
    unit: str
    meaning: str


COOLANT = Named("coolant_c_max_3d", "degC", "coolant temperature, 3-day maximum")
COUNT = Named("n_dtc_14d", "1", "trouble codes over the last 14 days")
DAYS = Named("n_days_with_data_14d", "d", "days with data over the last 14 days")


def features(n: int) -> tuple[Named, ...]:
    return tuple(Named(f"f{at}", "V", f"feature {at}") for at in range(n))


def explained(contributions: list[float]) -> list[str]:
    n = len(contributions)
    rows = explain_row(features(n), np.ones(n, dtype=np.float32), np.zeros(n), np.ones(n), np.array(contributions))
    return [reason.feature for reason in rows]


def test_sentence_names_value_unit_and_usual_range() -> None:
    assert describe(COOLANT, 109.0, 84.2, 101.0) == "Coolant temperature, 3-day maximum: 109 degC, usually 84.2 to 101"


@pytest.mark.parametrize(
    ("feature", "value", "low", "high", "sentence"),
    [
        (COOLANT, None, 84.0, 101.0, "Coolant temperature, 3-day maximum: no value, usually 84 to 101"),
        (COOLANT, 109.0, None, 101.0, "Coolant temperature, 3-day maximum: 109 degC"),
        (COUNT, 7.0, 0.0, 0.0, "Trouble codes over the last 14 days: 7, usually 0"),
        (DAYS, 1.0, 13.0, 14.0, "Days with data over the last 14 days: 1, usually 13 to 14"),
        (
            Named("x", "km", "latest odometer"),
            412345.6,
            -0.0412,
            0.00001234,
            "Latest odometer: 412,346 km, usually -0.0412 to 0.000012",
        ),
        (Named("x", "d", "age of the newest code"), 3.0, 1.0, 2.0, "Age of the newest code: 3 days, usually 1 to 2"),
    ],
)
def test_sentence_forms(
    feature: Named, value: float | None, low: float | None, high: float | None, sentence: str
) -> None:
    assert describe(feature, value, low, high) == sentence


def test_features_that_raise_come_first_and_at_most_five() -> None:
    assert explained([0.1, 0.6, -0.9, 0.2, 0.3, 0.4, 0.5]) == ["f1", "f6", "f5", "f4", "f3"]


def test_features_that_lower_fill_up_to_three() -> None:
    assert explained([0.1, -0.2, -0.9, 0.0, -0.3]) == ["f0", "f2", "f4"]


def test_a_feature_without_part_in_the_score_is_no_reason() -> None:
    assert explained([0.0, 0.0]) == []


def test_equal_contributions_keep_the_order_of_the_set() -> None:
    assert explained([0.5, 0.5, 0.5, 0.5, 0.5, 0.5]) == ["f0", "f1", "f2", "f3", "f4"]


def test_missing_values_are_null_and_never_nan_in_json() -> None:
    (reason,) = explain_row(
        (COOLANT,), np.array([np.nan], dtype=np.float32), np.array([np.nan]), np.array([101.0]), np.array([0.4])
    )
    assert json.loads(reasons_json((reason,))) == [
        {
            "feature": "coolant_c_max_3d",
            "meaning": "coolant temperature, 3-day maximum",
            "unit": "degC",
            "value": None,
            "usual_low": None,
            "usual_high": 101.0,
            "contribution": 0.4,
            "sentence": "Coolant temperature, 3-day maximum: no value",
        }
    ]


def test_float32_values_keep_their_shortest_decimal() -> None:
    (reason,) = explain_row((COOLANT,), np.array([109.3], dtype=np.float32), np.zeros(1), np.ones(1), np.ones(1))
    assert reason.value == 109.3
