"""The clocks of labels against failures and work orders, and the gap between training and test rows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from pm.backtest.audit_labels import label_check, separation_check
from pm.backtest.audit_rows import FoldLabels
from pm.backtest.folds import Fold
from pm.labels.maturation import LagEstimate
from pm.policy import Policy
from pm.tables import FAILURE, LABEL, WORK_ORDER

CUTOFF = datetime(2026, 4, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LAG_D = 5.0


def label(
    ago: int, *, known_ago: float | None = None, failed_ago: float | None = None, vehicle: int = 1
) -> dict[str, object]:
    """A label `ago` days before the cutoff; known when it matured unless said."""
    known = ago - 14 - LAG_D if known_ago is None else known_ago
    return {
        "vehicle_id": vehicle, "component": "cooling", "as_of": CUTOFF - ago * DAY, "horizon_d": 14,
        "known_at": CUTOFF - known * DAY, "state": "negative" if failed_ago is None else "positive",
        "failed_at": None if failed_ago is None else CUTOFF - failed_ago * DAY,
    }  # fmt: skip


def line(failed_ago: float, known_ago: float, order: str = "W") -> dict[str, object]:
    return {
        "source_system": "shop", "work_order_id": order, "line_no": 1, "known_at": CUTOFF - known_ago * DAY,
        "vehicle_id": 1,
    }  # fmt: skip


def failure(failed_ago: float, known_ago: float, order: str = "W") -> dict[str, object]:
    failed_at = CUTOFF - failed_ago * DAY
    return {
        **line(failed_ago, known_ago, order), "component": "cooling", "kind": "failure", "failed_at": failed_at,
        "restored_at": failed_at + DAY, "rule": "r",
    }  # fmt: skip


def fold(*training: dict[str, object], judged: tuple[dict[str, object], ...] = ()) -> FoldLabels:
    return FoldLabels(
        Fold(1, CUTOFF, (), ()), LagEstimate(LAG_D, "policy", 0), LABEL.frame(list(training)), LABEL.frame(list(judged))
    )


def order(failed_ago: float, known_ago: float, name: str = "W") -> dict[str, object]:
    opened = CUTOFF - failed_ago * DAY
    return {**line(failed_ago, known_ago, name), "opened_at": opened, "description": "d", "withdrawn": False}


FAILURES = FAILURE.frame([failure(30, 27)])
ORDERS = WORK_ORDER.frame([order(30, 27)])
GOOD = fold(label(40, known_ago=27, failed_ago=30), label(40, vehicle=2), label(19, vehicle=2))


def test_labels_that_matured_and_were_known_pass() -> None:
    check = label_check([GOOD], FAILURES, Policy(), work_orders=ORDERS, stored=GOOD.training)
    assert check.status == "pass"
    assert "All 3 training labels had matured" in check.sentence


@pytest.mark.parametrize(
    ("training", "said"),
    [
        (label(18), "1 training labels that had not matured by the cutoff"),
        (label(19, known_ago=-1), "1 training labels known only after the cutoff"),
        (label(40, known_ago=28, failed_ago=30), "1 training labels positive before the failure was known"),
        (label(40, known_ago=20, failed_ago=31), "1 training labels positive before the failure was known"),
    ],
)
def test_a_label_used_too_early_fails(training: dict[str, object], said: str) -> None:
    check = label_check([fold(label(40, vehicle=3), training)], FAILURES, Policy())
    assert check.status == "fail"
    assert said in check.sentence


def test_a_positive_taken_before_it_matured_fails_though_it_was_known() -> None:
    early = fold(label(15, known_ago=2, failed_ago=5))
    check = label_check([early], FAILURE.frame([failure(5, 2)]), Policy())
    assert check.details["counts"]["training labels that had not matured by the cutoff"] == 1
    assert check.details["counts"]["training labels positive before the failure was known"] == 0
    assert check.status == "fail"


def test_a_failure_known_before_its_work_order_fails() -> None:
    check = label_check([GOOD], FAILURES, Policy(), work_orders=WORK_ORDER.frame([order(30, 20)]))
    assert "1 failures known before their work order was" in check.sentence
    assert check.status == "fail"


def test_a_failure_known_days_before_it_happened_fails_and_one_of_the_same_day_does_not() -> None:
    hours = FAILURE.frame([failure(30, 30.5), failure(60, 50, "V")])
    shown = label_check([fold(label(40, vehicle=2))], hours, Policy())
    assert shown.status == "pass"
    days = FAILURE.frame([failure(30, 33), failure(60, 50, "V")])
    assert "1 failures known before they happened" in label_check([fold(label(40, vehicle=2))], days, Policy()).sentence


def test_a_stored_label_known_before_its_failure_fails_but_one_that_rules_read_otherwise_now_does_not() -> None:
    stored = LABEL.frame([label(40, known_ago=29, failed_ago=30)])
    assert "1 stored labels" in label_check([GOOD], FAILURES, Policy(), stored=stored).sentence
    gone = LABEL.frame([label(40, known_ago=29, failed_ago=33)])
    assert label_check([GOOD], FAILURES, Policy(), stored=gone).status == "pass"


def test_records_without_a_clock_of_their_own_are_pointed_at() -> None:
    at_once = FAILURE.frame([failure(30, 30), failure(60, 60, "V")])
    good = fold(label(40, known_ago=27, failed_ago=30))
    check = label_check([good], at_once, Policy())
    assert check.status == "warn"
    assert check.details["known_at_once"] == 1.0


def test_no_training_label_is_not_possible() -> None:
    assert label_check([fold()], FAILURES, Policy()).status == "not_possible"
    assert separation_check([fold()], Policy()).status == "not_possible"


def test_training_rows_whose_horizon_reaches_past_the_cutoff_overlap() -> None:
    assert separation_check([GOOD], Policy()).status == "pass"
    check = separation_check([fold(label(14), label(13))], Policy())
    assert check.status == "fail"
    assert check.figures["overlapping_rows"].value == 1.0


def test_a_row_on_both_sides_fails() -> None:
    both = replace(GOOD, judged=GOOD.training.head(1))
    check = separation_check([both], Policy())
    assert (check.status, check.figures["rows_on_both_sides"].value) == ("fail", 1.0)
    assert pl.Series([check.sentence]).str.contains("1 rows stand on both sides").all()
