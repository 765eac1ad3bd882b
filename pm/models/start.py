"""Where a booster starts: the log odds that the simple rule gives a row.

What belongs here: the rule with its calibration, as one term of the score. Trees then learn only what the rule does
not say, so that few failures need not teach them the rule again. Which rule this is, `pm.models.train` says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pm.errors import ModelError
from pm.models.baselines import RuleModel, read_rule
from pm.models.calibration import fit_calibration, read_calibration


@dataclass(frozen=True)
class Start:
    """slope x rule + intercept, in log odds."""

    rule: RuleModel
    slope: float
    intercept: float

    def raw(self, features: np.ndarray) -> np.ndarray:
        """Log odds of each row of `features` (n, f), shape (n,), float64."""
        return np.asarray(self.slope * self.rule.raw(features) + self.intercept)

    def contributions(self, features: np.ndarray) -> np.ndarray:
        """What the rule's feature adds in log odds, without the intercept, in its own column; shape (n, f)."""
        return np.asarray(self.slope * self.rule.contributions(features))

    def as_document(self) -> dict[str, Any]:
        """JSON-able content."""
        return {"rule": self.rule.as_document(), "slope": self.slope, "intercept": self.intercept}


def fit_start(
    rule: RuleModel, features: np.ndarray, positive: np.ndarray, *, prior: float, rows_per_failure: float
) -> Start:
    """The rule's log odds on the rows that the booster will learn from; arguments as of `fit_calibration`."""
    scores = rule.raw(features)
    fitted = fit_calibration(scores, positive, prior=prior, rows_per_failure=rows_per_failure, method="platt")
    return Start(rule, fitted.slope, fitted.intercept)


def read_start(document: Any, n_features: int) -> Start:
    """A start from its JSON content.

    Raises:
        ModelError: it is no such content, its numbers are not finite, or its slope falls.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("rule"), Mapping):
        raise ModelError(f"gbm: expected a rule to start from, but got {type(document).__name__}")
    line = {"method": "platt", "knots_score": [], "knots_p": []}
    fitted = read_calibration({**line, "slope": document.get("slope"), "intercept": document.get("intercept")})
    return Start(read_rule(document["rule"], n_features), fitted.slope, fitted.intercept)
