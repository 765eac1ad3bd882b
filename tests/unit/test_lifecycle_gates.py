"""A model earns its place on matured evidence, or the simple rule answers."""

from dataclasses import replace
from typing import Any

import pytest

from pm.lifecycle.gates import decide
from pm.policy import Gates, Policy


def figure(value: float | None, low: float | None = None, high: float | None = None, **other: Any) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "n_rows": 900, "n_positives": 40, "reason": None} | other


def measures(
    verdict: str | None, *, gbm: float | None = 0.41, rule: float | None = 0.2, difference: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The part of a backtest's measures that a decision reads."""
    return {
        "components": {
            "cooling": {
                "kinds": {
                    "gbm": {"figures": {"pr_auc": figure(gbm)}, "reason": None},
                    "fault_count": {"figures": {"pr_auc": figure(rule)}, "reason": None},
                },
                "best_rule": "fault_count",
                "comparison": {
                    "model": "gbm",
                    "rule": "fault_count",
                    "difference": difference or figure(0.21, 0.08, 0.3),
                    "verdict": verdict,
                },
            }
        }
    }


def test_a_booster_that_beats_the_rule_serves_and_the_reason_names_both_figures() -> None:
    decision = decide(measures("better"), "cooling", Policy())
    assert (decision.serve_kind, decision.to_stage, decision.fallback_kind) == ("gbm", "champion", "fault_count")
    assert decision.reason == (
        "gbm with PR-AUC 0.410 beats fault_count with 0.200 on the same 900 rows "
        "(difference +0.080 to +0.300): it serves"
    )


@pytest.mark.parametrize(
    ("verdict", "stage", "verb"),
    [("comparable", "shadow", "is not clearly better than"), ("worse", "candidate", "is worse than")],
)
def test_a_booster_that_does_not_beat_the_rule_does_not_serve(verdict: str, stage: str, verb: str) -> None:
    found = measures(verdict, gbm=0.19, difference=figure(-0.01, -0.1, 0.05))
    decision = decide(found, "cooling", Policy())
    assert (decision.serve_kind, decision.to_stage, decision.serves) == ("fault_count", stage, False)
    assert verb in decision.reason
    assert "0.190" in decision.reason
    assert "0.200" in decision.reason


def test_too_few_positives_prove_nothing() -> None:
    few = measures("better", difference=figure(0.21, 0.08, 0.3, n_positives=9))
    decision = decide(few, "cooling", replace(Policy(), gates=Gates(minimum_positives=10)))
    assert (decision.serve_kind, decision.to_stage) == ("fault_count", "candidate")
    assert decision.reason == "9 positive rows in the backtest, 10 needed: the rule fault_count answers"


def test_without_a_verdict_the_reason_is_passed_on() -> None:
    missing = measures(None, gbm=None, difference=figure(None, reason="one class only: 0 positive of 900 rows"))
    decision = decide(missing, "cooling", Policy())
    assert (decision.serve_kind, decision.to_stage) == ("fault_count", "candidate")
    assert "one class only: 0 positive of 900 rows" in decision.reason


def test_a_component_the_backtest_could_not_score_gets_the_last_resort() -> None:
    empty = {"components": {"cooling": {"kinds": {"gbm": {"figures": {}, "reason": "no score"}}, "comparison": None}}}
    decision = decide(empty, "cooling", Policy())
    assert (decision.serve_kind, decision.to_stage) == ("base_rate", "candidate")
    assert "no row of the backtest could be judged" in decision.reason


def test_without_any_rule_the_last_resort_answers() -> None:
    alone = measures(None, difference=figure(None, reason="no score of every simple rule on these rows"))
    alone["components"]["cooling"]["comparison"]["rule"] = None
    assert decide(alone, "cooling", Policy()).serve_kind == "base_rate"


def test_a_component_not_in_the_backtest_gets_the_last_resort() -> None:
    decision = decide(measures("better"), "fuel_supply", Policy())
    assert (decision.serve_kind, decision.model_kind) == ("base_rate", "gbm")
    assert decision.reason == "no backtest of this component, so the rule base_rate answers"
