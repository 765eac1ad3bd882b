"""Does the model beat the simple rule? A paired answer on the same rows.

What belongs here: the comparison and its verdict. What follows from it is `pm.lifecycle`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pm.backtest.figures import Figure
from pm.backtest.metrics import Judged
from pm.backtest.resampling import ranking
from pm.models.baselines import RULES

Verdict = Literal["better", "comparable", "worse"]


@dataclass(frozen=True)
class Comparison:
    """PR-AUC of `model` less PR-AUC of `rule` on the same rows."""

    model: str
    rule: str | None
    difference: Figure
    verdict: Verdict | None
    """None where there is no interval to decide by; `difference.reason` says why."""

    def as_document(self) -> dict[str, Any]:
        """JSON-able content."""
        return {
            "model": self.model,
            "rule": self.rule,
            "difference": self.difference.as_document(),
            "verdict": self.verdict,
        }


def best_rule(pr_auc: Mapping[str, Figure]) -> str | None:
    """The simple rule with the highest PR-AUC; the first in the order of RULES where equal.

    Taken after the fact on the same rows, which favours the rules: the model must beat the best.
    """
    values = {rule: pr_auc[rule].value for rule in RULES if rule in pr_auc}
    known = {rule: value for rule, value in values.items() if value is not None}
    return max(known, key=lambda rule: known[rule]) if known else None


def compare(rows: Judged, model: str, rule: str | None, scores: Mapping[str, np.ndarray]) -> Comparison:
    """Paired bootstrap over vehicles of the difference in PR-AUC.

    Verdict: better where the whole 95 % interval lies above 0, worse where it lies below, else
    comparable.
    """
    if rule is None or model not in scores:
        missing = model if model not in scores else "every simple rule"
        counts = (int(rows.positive.size), int(rows.positive.sum()))
        return Comparison(model, rule, Figure(None, None, None, *counts, f"no score of {missing} on these rows"), None)
    of_model, of_rule = (ranking(rows.positive, scores[kind], rows.vehicle, rows.weights)[0] for kind in (model, rule))
    difference = rows.figure(
        of_model - of_rule,
        f"one class only: {int(rows.positive.sum())} positive of {rows.positive.size} rows",
    )
    return Comparison(model, rule, difference, _verdict(difference))


def _verdict(difference: Figure) -> Verdict | None:
    if difference.low is None or difference.high is None:
        return None
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else "comparable"
