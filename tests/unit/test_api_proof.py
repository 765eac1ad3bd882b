"""The one sentence of proof on the fleet page."""

import json
from datetime import UTC, datetime
from typing import Any

import polars as pl

from pm.api.proof import proof_line
from pm.tables import BACKTEST

AT = datetime(2026, 6, 20, tzinfo=UTC)


def backtest(measures: dict[str, Any]) -> pl.DataFrame:
    row = {
        "backtest_id": "bt", "policy_id": "p", "feature_set_id": "f", "known_until": AT,
        "measures_json": json.dumps(measures), "report_sha256": "0" * 64, "created_at": AT,
    }  # fmt: skip
    return BACKTEST.frame([row])


def pooled(model: dict[str, Any], rule: dict[str, Any]) -> pl.DataFrame:
    kinds = {"gbm": {"figures": {"alert_precision": model}}, "base_rate": {"figures": {"alert_precision": rule}}}
    return backtest({"pooled": {"best_rule": "base_rate", "comparison": {"model": "gbm"}, "kinds": kinds}})


def figure(value: float | None, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "reason": None if value is not None else "no alert"}


def test_both_figures_and_their_intervals() -> None:
    assert proof_line(pooled(figure(0.5, 0.31, 0.7), figure(0.104))) == (
        "In the backtest, of 100 alerts by the trained model 50 (95 % interval 31 to 70) were right, "
        "by the best simple rule (base rate) 10. Each component is answered by the one that has earned it."
    )


def test_a_rule_without_alerts() -> None:
    assert proof_line(pooled(figure(0.5), figure(None))) == (
        "In the backtest, of 100 alerts by the trained model 50 were right; "
        "the simple rules raised none that could be judged."
    )


def test_a_figure_that_could_not_be_measured_is_not_a_number() -> None:
    line = proof_line(pooled(figure(None), figure(0.1)))
    assert line == "The backtest could not measure how many alerts were right: no alert."


def test_a_backtest_that_scored_nothing() -> None:
    empty = backtest({"pooled": {"best_rule": None, "comparison": None, "kinds": {}}})
    assert proof_line(empty).startswith("The backtest could not measure how many alerts were right: ")


def test_without_a_backtest_nothing_is_proven() -> None:
    assert "nothing on this page is proven" in proof_line(BACKTEST.empty())
