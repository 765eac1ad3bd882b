"""What proves the models: the latest backtest, read for people and for programs.

What belongs here: reading the measures document (`pm.backtest.measure`). Nothing is computed; a
figure that is missing stays missing, with its reason.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from pm.api.responses import MeasureOut, ModelList, ModelOut, ProofOut
from pm.lifecycle.stages import current_stages
from pm.tables import BACKTEST, MODEL_VERSION

MEASURES: Final = ("pr_auc", "roc_auc", "brier", "calibration_error", "alert_precision")
"""Measures shown of every model; recall with a lead (`alert_recall_*`) is shown for each lead there is."""


def proof_line(backtest: pl.DataFrame) -> str:
    """One sentence for people: of 100 alerts in the backtest, how many were right.

    Args:
        backtest: BACKTEST, one row or none.
    """
    if backtest.is_empty():
        return "There is no backtest yet, so nothing on this page is proven."
    pooled = json.loads(BACKTEST.check(backtest)["measures_json"][0]).get("pooled", {})
    compared = pooled.get("comparison") or {}
    model, rule = compared.get("model"), pooled.get("best_rule")
    of_model = _figure(pooled, model, "alert_precision")
    if of_model["value"] is None:
        return f"The backtest could not measure how many alerts were right: {of_model['reason']}."
    said = f"In the backtest, of 100 alerts by the trained model {_hundred(of_model)} were right"
    of_rule = _figure(pooled, rule, "alert_precision")
    if of_rule["value"] is None:
        return f"{said}; the simple rules raised none that could be judged."
    both = f"{said}, by the best simple rule ({_words(rule)}) {_hundred(of_rule)}"
    return f"{both}. Each component is answered by the one that has earned it."


def model_list(models: pl.DataFrame, moves: pl.DataFrame, backtest: pl.DataFrame) -> ModelList:
    """Models on record that are not retired, champions first, each with its backtest.

    Args:
        models: MODEL_VERSION. moves: STAGE_TRANSITION. backtest: BACKTEST, one row or none.
    """
    stands = current_stages(moves).filter(pl.col("stage") != "retired")
    rows = MODEL_VERSION.check(models).join(stands, on=["component", "model_id"])
    champions_first = rows.sort((pl.col("stage") != "champion"), "component", "model_id")
    measures = json.loads(backtest["measures_json"][0]) if backtest.height else None
    return ModelList(models=[_model(row, backtest, measures) for row in champions_first.iter_rows(named=True)])


def _model(row: Mapping[str, Any], backtest: pl.DataFrame, measures: Mapping[str, Any] | None) -> ModelOut:
    fields = {name: row[name] for name in ModelOut.model_fields if name in row}
    return ModelOut(**fields, since=row["moved_at"], proof=_proof(row, backtest, measures))


def _proof(row: Mapping[str, Any], backtest: pl.DataFrame, measures: Mapping[str, Any] | None) -> ProofOut | None:
    if measures is None:
        return None
    section = measures.get("components", {}).get(row["component"], {})
    head = backtest.row(0, named=True)
    return ProofOut(
        backtest_id=head["backtest_id"], known_until=head["known_until"], measures=_measures(section, row["kind"])
    )


def _measures(section: Mapping[str, Any], kind: str) -> list[MeasureOut]:
    """Each measure of `kind` beside the same measure of the best simple rule on the same rows."""
    rule = section.get("best_rule")
    measured = section.get("kinds", {}).get(kind, {}).get("figures", {})
    leads = sorted(name for name in measured if name.startswith("alert_recall_"))
    made = []
    for name in (*MEASURES, *leads):
        own, other = _figure(section, kind, name), _figure(section, rule, name)
        made.append(
            MeasureOut(
                name=name,
                value=own["value"],
                low=own["low"],
                high=own["high"],
                baseline=rule,
                baseline_value=other["value"],
                reason=own["reason"],
            )
        )
    return made


def _figure(section: Mapping[str, Any], kind: str | None, name: str) -> Mapping[str, Any]:
    """The figure, or one without a value that says why."""
    part = section.get("kinds", {}).get(kind, {})
    found = part.get("figures", {}).get(name)
    if found is not None:
        return dict(found)
    why = part.get("reason") or f"the backtest has no {name} of {kind or 'any kind'}"
    return {"value": None, "low": None, "high": None, "reason": why}


def _hundred(figure: Mapping[str, Any]) -> str:
    """`42`, with the interval where there is one: `42 (31 to 55)`."""
    said = f"{100 * figure['value']:.0f}"
    if figure["low"] is None or figure["high"] is None:
        return said
    return f"{said} (95 % interval {100 * figure['low']:.0f} to {100 * figure['high']:.0f})"


def _words(rule: str | None) -> str:
    return (rule or "none").replace("_", " ")
