"""Label states worked out by hand, at every edge of the horizon."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from pm.errors import DataError
from pm.labels.horizon import changed_labels, label_rows
from pm.policy import Policy
from pm.tables import FAILURE, LABEL, VEHICLE

A = datetime(2025, 3, 1, tzinfo=UTC)
H, LAG = 14, 10
END = A + timedelta(days=365)
LONG_AFTER = A + timedelta(days=100)


def at(days):
    return A + timedelta(days=days)


def vehicle(vehicle_id=1, **given):
    row = {"vehicle_id": vehicle_id, "fleet": "f", "vehicle_ref": f"T{vehicle_id}", "known_at": at(-400)}
    return {**row, **given}


def failure(failed_d, known_d, *, line=1, kind="failure", component="cooling", restored_d=None, vehicle_id=1):
    return {
        "source_system": "shop", "work_order_id": "W", "line_no": line, "known_at": at(known_d),
        "vehicle_id": vehicle_id, "component": component, "kind": kind, "failed_at": at(failed_d),
        "restored_at": at(failed_d + 1 if restored_d is None else restored_d), "rule": "r",
    }  # fmt: skip


def labels(
    *failures, known_at=LONG_AFTER, as_ofs=(A,), vehicles=None, observed_until=END, lag_d=LAG, components=("cooling",)
):
    return label_rows(
        as_ofs, vehicles=VEHICLE.frame(vehicles or [vehicle()]), failures=FAILURE.frame(list(failures)),
        components=components, known_at=known_at, observed_until=observed_until, lag_d=lag_d, policy=Policy(),
    )  # fmt: skip


def only(frame):
    assert frame.height == 1
    return frame.select("state", "failed_at", "known_at").row(0)


def test_failure_in_the_horizon_is_positive_from_when_it_was_known():
    assert only(labels(failure(5, 8))) == ("positive", at(5), at(8))


def test_failure_exactly_at_the_end_of_the_horizon_counts():
    assert only(labels(failure(H, 20)))[0] == "positive"


def test_failure_just_after_the_horizon_does_not_count():
    just_after = H + 1e-6
    assert only(labels(failure(just_after, 20)))[0] == "negative"


def test_failure_exactly_at_the_as_of_is_no_row_but_the_vehicle_is_back_at_the_moment_it_is_restored():
    assert labels(failure(0, 8, restored_d=1)).is_empty()
    assert only(labels(failure(-2, 8, restored_d=0)))[0] == "negative"


def test_failure_of_another_component_puts_the_vehicle_in_the_workshop_but_is_no_positive():
    assert labels(failure(-1, 8, component="other", restored_d=2)).is_empty()
    assert only(labels(failure(3, 8, component="other")))[0] == "negative"


def test_visit_without_an_end_is_taken_to_last_no_longer_than_the_longest_lag():
    longest_d = Policy().labels.maximum_lag_d
    open_visit = {**failure(-longest_d, 8), "restored_at": None}
    assert only(labels(open_visit))[0] == "negative"
    assert labels({**open_visit, "failed_at": at(-longest_d + 1)}).is_empty()


def test_withdrawn_visit_never_happened():
    assert only(labels(failure(0, 8, kind="withdrawn")))[0] == "negative"


def test_pending_until_horizon_and_lag_are_over():
    assert only(labels(known_at=at(H + LAG) - timedelta(microseconds=1)))[0] == "pending"
    assert only(labels(known_at=at(H + LAG))) == ("negative", None, at(H + LAG))


def test_lag_may_be_a_part_of_a_day():
    assert only(labels(known_at=at(H + 0.5), lag_d=0.5)) == ("negative", None, at(H + 0.5))


def test_late_recorded_failure_is_unknown_until_recorded():
    late = failure(5, 40)
    assert only(labels(late, known_at=at(39)))[0] == "negative"
    assert only(labels(late, known_at=at(40))) == ("positive", at(5), at(40))


def test_earliest_failure_decides_and_the_state_dates_from_when_it_was_the_earliest():
    both = (failure(5, 30, line=1), failure(9, 12, line=2))
    assert only(labels(*both, known_at=at(20))) == ("positive", at(9), at(12))
    assert only(labels(*both)) == ("positive", at(5), at(30))


def test_revision_that_changes_nothing_for_the_label_keeps_its_date():
    assert only(labels(failure(5, 8, restored_d=6), failure(5, 30, restored_d=7))) == ("positive", at(5), at(8))


def test_revision_to_another_component_moves_the_failure_when_it_becomes_known():
    versions = (failure(5, 8, component="other"), failure(5, 30, component="cooling"))
    assert only(labels(*versions, known_at=at(29)))[0] == "negative"
    assert only(labels(*versions, known_at=at(30))) == ("positive", at(5), at(30))


def test_withdrawal_turns_the_label_back_at_that_instant():
    versions = (failure(5, 8), failure(5, 50, kind="withdrawn"))
    assert only(labels(*versions, known_at=at(49))) == ("positive", at(5), at(8))
    assert only(labels(*versions, known_at=at(50))) == ("negative", None, at(50))


def test_withdrawal_of_the_first_failure_leaves_the_second_from_that_instant():
    versions = (failure(5, 8, line=1), failure(9, 12, line=2), failure(5, 50, line=1, kind="withdrawn"))
    assert only(labels(*versions)) == ("positive", at(9), at(50))


def test_early_withdrawal_leaves_the_label_pending():
    versions = (failure(5, 8), failure(5, 10, kind="withdrawn"))
    assert only(labels(*versions, known_at=at(11)))[0] == "pending"


def test_no_trouble_found_is_no_failure_and_censors_nothing():
    assert only(labels(failure(5, 8, kind="no_trouble_found")))[0] == "negative"


def test_planned_replacement_in_the_horizon_censors():
    assert only(labels(failure(H, 8, kind="planned"))) == ("censored", None, LONG_AFTER)
    assert only(labels(failure(H + 1, 30, kind="planned")))[0] == "negative"
    assert only(labels(failure(5, 8, kind="planned", component="brakes_air")))[0] == "negative"


def test_failure_beats_a_planned_replacement_in_the_same_horizon():
    assert only(labels(failure(3, 8, line=1), failure(9, 12, line=2, kind="planned")))[0] == "positive"


def test_vehicle_that_leaves_within_the_horizon_is_censored_once_that_happened():
    leaving = [vehicle(left_at=at(6))]
    assert only(labels(vehicles=leaving, known_at=at(5)))[0] == "pending"
    assert only(labels(vehicles=leaving, known_at=at(6)))[0] == "censored"
    assert only(labels(failure(5, 8), vehicles=leaving))[0] == "positive"
    assert only(labels(vehicles=[vehicle(left_at=at(H))]))[0] == "negative"


def test_no_row_outside_the_time_in_the_fleet():
    assert labels(vehicles=[vehicle(left_at=A)]).is_empty()
    assert labels(vehicles=[vehicle(in_service_at=at(1))]).is_empty()
    assert labels(vehicles=[vehicle(in_service_at=A)]).height == 1
    assert labels(vehicles=[vehicle(known_at=at(200))]).is_empty()


def test_record_that_ends_within_the_horizon_censors_only_when_it_can_never_mature():
    ends = at(H - 1)
    assert only(labels(observed_until=ends, known_at=at(H) - timedelta(seconds=1)))[0] == "pending"
    assert only(labels(observed_until=ends, known_at=at(H)))[0] == "censored"
    assert only(labels(failure(5, 8), observed_until=ends))[0] == "positive"
    assert only(labels(observed_until=at(H)))[0] == "negative"


def test_one_row_a_vehicle_component_and_as_of_in_key_order():
    frame = labels(
        failure(5, 8), vehicles=[vehicle(1), vehicle(2)], as_ofs=(at(1), A), components=("cooling", "brakes_air")
    )  # fmt: skip
    assert frame.height == 8
    assert frame.equals(frame.sort(LABEL.key))
    assert frame.filter(pl.col("state") == "positive").select("vehicle_id", "component", "as_of").rows() == [
        (1, "cooling", A), (1, "cooling", at(1)),
    ]  # fmt: skip


def test_instant_without_utc_is_refused():
    with pytest.raises(DataError, match="known_at: expected a UTC instant"):
        labels(known_at=datetime(2025, 6, 1))


def test_first_labels_are_all_appended_and_the_same_again_are_not():
    now = labels(failure(5, 8), as_ofs=(A, at(1)))
    assert changed_labels(LABEL.empty(), now).equals(now)
    assert changed_labels(now, now).is_empty()


def test_pending_label_is_appended_once():
    first = labels(known_at=at(3))
    assert changed_labels(first, labels(known_at=at(4))).is_empty()


def test_change_of_state_is_appended_after_what_was_stored():
    pending = labels(known_at=at(20))
    positive = labels(failure(5, 21), known_at=at(22))
    assert only(changed_labels(pending, positive)) == ("positive", at(5), at(21))
    arrived_with_an_old_date = labels(failure(5, 8), known_at=at(22))
    assert only(changed_labels(pending, arrived_with_an_old_date))[2] == at(20) + timedelta(microseconds=1)


def test_label_whose_vehicle_was_broken_after_all_is_censored():
    stored = labels(as_ofs=(A, at(7)), known_at=at(8))
    broken = labels(failure(-1, 9, restored_d=2), as_ofs=(A, at(7)), known_at=at(9))
    assert broken["as_of"].to_list() == [at(7)]
    assert changed_labels(stored, broken).is_empty()
    gone = changed_labels(stored, broken, known_at=at(9))
    assert gone.select("as_of", "state", "known_at").rows() == [(A, "censored", at(9))]
    assert changed_labels(pl.concat([stored, gone]), broken, known_at=at(10)).is_empty()
