"""What an audit adds up to, its section of the report, and what it allows to be registered."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

import pytest

from pm.backtest import audit_verdicts as verdicts
from pm.backtest.audit_features import Identity
from pm.backtest.audit_report import audit_page, audit_rows, audit_section
from pm.backtest.audit_result import AuditResult, Check, Status, worst
from pm.backtest.figures import Figure
from pm.errors import LifecycleError
from pm.lifecycle.audited import not_audited, require_audited
from pm.policy import Audit, Policy

REQUIRED = replace(Policy(), audit=Audit(required=True))
NOT_REQUIRED = replace(Policy(), audit=replace(Policy().audit, required=False))


def figure(value: float, half: float = 0.02) -> Figure:
    return Figure(value, value - half, value + half, 1000, 100)


def result(*checks: Check) -> AuditResult:
    return AuditResult("p", "f", datetime(2026, 5, 1, tzinfo=UTC), 1, ("2026-03-01",), ("cooling", "turbo"), checks)


def check(status: Status, component: str | None = "cooling", name: str = "honest", sentence: str = "said") -> Check:
    return Check(name, component, status, sentence, {"pr_auc": figure(0.4)})


def row(found: AuditResult) -> Mapping[str, Any]:
    return {"audit_id": "a", "status": found.status, "audit_json": json.dumps(found.as_document())}


def test_the_worst_status_counts_and_what_was_not_possible_says_nothing() -> None:
    assert worst(["pass", "warn", "not_possible"]) == "warn"
    assert worst(["not_possible"]) == worst([]) == "not_possible"
    found = result(check("pass", None, "separation"), check("pass"), check("not_possible", "turbo"))
    assert (found.status, found.status_of("cooling"), found.status_of("turbo")) == ("pass", "pass", "not_possible")
    leaky = result(check("fail", None, "arrivals"), check("pass"), check("not_possible", "turbo"))
    assert (leaky.status_of("cooling"), leaky.status_of("turbo")) == ("fail", "fail")


def test_alarms_come_first_and_what_was_not_possible_is_said() -> None:
    found = result(
        check("pass", sentence="fine"), check("not_possible", "turbo", sentence="too few"),
        check("warn", sentence="hm"), check("fail", sentence="leak"),
    )  # fmt: skip
    assert found.verdicts == ("leak", "hm", "too few")
    assert result(check("pass")).verdicts == ("No leak was found.",)


def test_the_section_escapes_what_came_from_data_and_is_well_formed() -> None:
    mean = '<script>alert("x")</script>'
    shifted = Check(
        "time_shift", "cooling", "pass", mean, {"-7d": figure(0.2), "+0d": figure(0.4), "base_rate": figure(0.1)}
    )
    found = result(shifted, check("fail", None, "arrivals", mean))
    section = audit_section(found)
    assert "<script>" not in section
    assert "Is every feature known at its as-of?" in section
    assert "0.400 [0.380 to 0.420]" in section
    assert "PR-AUC by the day of the features" in section
    ElementTree.fromstring(audit_page(found, title="<b>").partition("\n")[2])  # noqa: S314 - our own page
    assert [cells[2] for cells in audit_rows(found)] == ["pass", "fail"]


def test_registration_needs_an_audit_that_did_not_fail_where_the_policy_says_so() -> None:
    good, leaky = result(check("pass")), result(check("fail", sentence="n_repairs carries it"))
    require_audited(None, "b", NOT_REQUIRED)
    require_audited(row(leaky), "b", NOT_REQUIRED)
    require_audited(row(good), "b", REQUIRED)
    require_audited(row(result(check("warn"))), "b", REQUIRED)
    with pytest.raises(LifecycleError, match="expected a leak audit before a model is registered"):
        require_audited(None, "b", REQUIRED)
    with pytest.raises(LifecycleError, match="n_repairs carries it"):
        require_audited(row(leaky), "b", REQUIRED)


def test_a_component_that_could_not_be_audited_gets_no_model() -> None:
    found = row(result(check("pass"), check("not_possible", "turbo", sentence="too few failures")))
    assert not_audited(found, "cooling", REQUIRED) is None
    assert "too few failures" in (not_audited(found, "turbo", REQUIRED) or "")
    assert "did not cover it" in (not_audited(found, "brakes_air", REQUIRED) or "")
    assert not_audited(found, "turbo", NOT_REQUIRED) is None


@pytest.mark.parametrize(
    ("now", "older", "oldest", "arrivals_pass", "status"),
    [
        (0.50, 0.47, 0.20, False, "pass"),
        (0.50, 0.15, 0.12, False, "fail"),
        (0.50, 0.15, 0.12, True, "warn"),
        (0.50, 0.49, 0.48, True, "warn"),
    ],
)
def test_a_sudden_loss_and_none_at_all_are_alarms(
    now: float, older: float, oldest: float, arrivals_pass: bool, status: Status
) -> None:
    by_shift = {-28: figure(oldest), -1: figure(older), 0: figure(now), 7: figure(0.6)}
    found = verdicts.shift_check(
        "cooling", by_shift, figure(0.1), figure(now - older, 0.01), is_result=True, policy=Policy(),
        arrivals_pass=arrivals_pass,
    )  # fmt: skip
    assert found.status == status


def test_an_unsure_loss_and_a_result_at_chance_are_no_alarm() -> None:
    by_shift = {-28: figure(0.12), -1: figure(0.15), 0: figure(0.5)}
    arguments: dict[str, Any] = {"policy": Policy(), "arrivals_pass": False}
    unsure = verdicts.shift_check("c", by_shift, figure(0.1), figure(0.35, 0.4), is_result=True, **arguments)
    chance = verdicts.shift_check("c", by_shift, figure(0.1), figure(0.35), is_result=False, **arguments)
    assert (unsure.status, chance.status) == ("pass", "pass")


def test_one_feature_that_holds_the_answer_fails_and_one_that_carries_the_result_is_pointed_at() -> None:
    def judged(alone: float, model: float, share: float) -> Check:
        return verdicts.single_check(
            "cooling", {"n_repairs": figure(alone)}, figure(model), figure(0.1), gain_share={"n_repairs": share},
            dropped={"n_repairs": share}, is_result=True, policy=Policy(),
        )  # fmt: skip

    assert (judged(0.95, 0.97, 0.3).status, judged(0.95, 0.97, 0.3).features) == ("fail", ("n_repairs",))
    assert judged(0.39, 0.40, 0.8).status == "warn"
    assert judged(0.39, 0.40, 0.2).status == "pass"
    assert judged(0.20, 0.40, 0.8).status == "pass"


def test_shuffled_labels_above_chance_fail_by_the_middle_run() -> None:
    figures = {"as_of_1": figure(0.3)}

    def judged(*p_values: float) -> Status:
        return verdicts.shuffled_check("c", figures, {"as_of": p_values}, figure(0.1), Policy()).status

    assert judged(0.005, 0.005, 0.5) == "fail"
    assert judged(0.005, 0.5, 0.5) == "pass"
    assert judged() == "not_possible"


def test_a_constant_that_carries_the_result_fails_and_vehicles_never_seen_are_compared() -> None:
    plate = {"plate": Identity(0, 40, 1.0, 0.2)}
    assert verdicts.identity_check("c", plate, {"plate": 0.7}, is_result=True, policy=Policy()).status == "fail"
    assert verdicts.identity_check("c", plate, {"plate": 0.1}, is_result=True, policy=Policy()).status == "pass"
    lost = figure(0.3)
    found = verdicts.new_vehicles_check(
        "c", figure(0.12), figure(0.5), figure(0.1), lost, is_result=True, policy=Policy()
    )  # fmt: skip
    assert (found.status, "rests on knowing the vehicles" in found.sentence) == ("warn", True)
