"""What a fold may see: boundaries, embargo, and nothing known after its cutoff."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from pm.backtest.folds import judging_labels, plan_folds, training_labels, vehicles_known
from pm.errors import DataError
from pm.policy import Backtest, Labels, Policy
from pm.tables import FAILURE, VEHICLE

START = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)
AS_OFS = [START + day * DAY for day in range(120)]
POLICY = replace(Policy(), labels=Labels(lag_d=10.0), backtest=Backtest(step_d=14))


def vehicles() -> pl.DataFrame:
    common = {"fleet": "f", "in_service_at": START - 100 * DAY, "known_at": START - 100 * DAY}
    return VEHICLE.frame(
        [
            {"vehicle_id": 1, "vehicle_ref": "A", **common},
            {"vehicle_id": 2, "vehicle_ref": "B", "left_at": START + 100 * DAY, **common},
        ]
    )


def failure(vehicle: int, failed_d: float, known_d: float, number: str = "1") -> dict[str, object]:
    return {
        "source_system": "shop", "work_order_id": number, "line_no": 1, "known_at": START + known_d * DAY,
        "vehicle_id": vehicle, "component": "cooling", "kind": "failure", "failed_at": START + failed_d * DAY,
        "restored_at": START + (failed_d + 1) * DAY, "rule": "r",
    }  # fmt: skip


def labels_at(cutoff_number: int, failures: list[dict[str, object]]) -> pl.DataFrame:
    fold = plan_folds(AS_OFS, POLICY)[cutoff_number - 1]
    return training_labels(
        fold,
        vehicles=vehicles(),
        failures=FAILURE.frame(failures),
        components=["cooling"],
        observed_until=AS_OFS[-1],
        policy=POLICY,
    )[0]


def test_folds_roll_by_the_step_and_cover_every_as_of_once() -> None:
    folds = plan_folds(AS_OFS, POLICY)
    assert [(fold.cutoff - START).days for fold in folds] == [70, 84, 98, 112]
    tested = [as_of for fold in folds for as_of in fold.test_as_ofs]
    assert tested == AS_OFS[70:]
    assert len(folds[-1].test_as_ofs) == 8


def test_the_embargo_lies_between_training_and_test() -> None:
    for fold in plan_folds(AS_OFS, POLICY):
        assert fold.test_as_ofs[0] == fold.cutoff
        assert fold.cutoff - fold.train_as_ofs[-1] == POLICY.backtest.embargo_d * DAY


def test_an_embargo_longer_than_horizon_and_lag_holds_too() -> None:
    policy = replace(POLICY, backtest=replace(POLICY.backtest, embargo_d=40))
    fold = plan_folds(AS_OFS, policy)[0]
    assert fold.train_as_ofs[-1] == START + 30 * DAY


@pytest.mark.parametrize("as_ofs", [[], AS_OFS[:70]])
def test_too_little_history_is_refused(as_ofs: list[datetime]) -> None:
    with pytest.raises(DataError, match="more than 70 days"):
        plan_folds(as_ofs, POLICY)


def test_training_labels_have_matured_by_the_cutoff() -> None:
    labels = labels_at(1, [failure(1, 30.5, 33)])
    # horizon 14 and lag 10: the last as-of that can be final on day 70 is day 46
    assert labels["as_of"].max() == START + 46 * DAY
    assert (labels["known_at"] <= START + 70 * DAY).all()
    positive = labels.filter(state="positive")
    assert (positive["as_of"].min(), positive["as_of"].max()) == (START + 17 * DAY, START + 30 * DAY)


def test_a_failure_known_after_the_cutoff_is_not_there_at_the_cutoff() -> None:
    late = labels_at(1, [failure(1, 30.5, 71)])
    assert late.filter(state="positive").is_empty()
    assert late.equals(labels_at(1, [failure(1, 200.0, 201)]))
    assert labels_at(2, [failure(1, 30.5, 71)]).filter(state="positive").height == 14


def test_an_early_positive_waits_for_the_negatives_of_its_day() -> None:
    labels = labels_at(1, [failure(1, 55.5, 56)])
    assert labels.filter(state="positive")["as_of"].max() == START + 46 * DAY


def test_that_a_vehicle_left_later_is_not_known_at_the_cutoff() -> None:
    assert vehicles_known(vehicles(), START + 99 * DAY)["left_at"].to_list() == [None, None]
    assert vehicles_known(vehicles(), START + 100 * DAY)["left_at"].to_list() == [None, START + 100 * DAY]


def test_judging_sees_what_was_known_at_the_end_and_says_what_is_open() -> None:
    fold = plan_folds(AS_OFS, POLICY)[2]  # days 98 to 111
    labels, lag = judging_labels(
        fold,
        vehicles=vehicles(),
        failures=FAILURE.frame([failure(1, 105.5, 119), failure(1, 20.0, 130, "2")]),
        components=["cooling"],
        known_until=AS_OFS[-1],
        observed_until=AS_OFS[-1],
        policy=POLICY,
    )
    assert lag.lag_d == 10.0
    states = {(row["vehicle_id"], (row["as_of"] - START).days): row["state"] for row in labels.iter_rows(named=True)}
    assert states[1, 98] == "positive"
    assert states[1, 110] == "pending"
    assert states[2, 98] == "censored"
    assert (2, 101) not in states  # it had left
