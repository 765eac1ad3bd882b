"""Simple rules that always stand beside the model: base rate, fault count, time since repair.

What belongs here: scores a workshop could compute by hand. They find their feature by name; a
tiny calibration (`pm.models.calibration`) turns them into probabilities. `LAST_SCORE` names the baseline
that the backtest makes of the model itself.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from pm.errors import ModelError

RULES: Final = ("base_rate", "fault_count", "days_since_repair")
LAST_SCORE: Final = "last_score"
"""Persistence: the score that the model gave a vehicle at its last as-of before the cutoff, carried forward
until the next cutoff, as if the fleet were scored only when models are retrained. It stands beside the
model in a backtest, and says what the days since then add. It is no rule that could serve: it needs the model.
A vehicle without such a score gets the model's base rate. R. J. Hyndman, G. Athanasopoulos, "Forecasting:
principles and practice", 3rd ed. 2021, 5.2, call a forecast by the last value naive."""

_LOOKED_AT: Final = {
    "fault_count": (
        "n_dtc_{component}_14d", "n_dtc_days_28d", r"n_events_(?!{component}_)[a-z0-9_]+_14d", "n_events_14d",
        "n_events_28d", r"n_failures_{component}_[0-9]+d", "n_failures_[0-9]+d", "n_failures_{component}",
    ),
    "days_since_repair": ("days_since_repair_{component}", r"days_since_event_{component}_[0-9]+d"),
}  # fmt: skip
"""What a rule looks at, the first that the set has. Without trouble codes a plain count is one of events, and
without events one of earlier failures; events about the component itself are its replacements or failures."""


@dataclass(frozen=True)
class RuleModel:
    """log1p(feature), or 0 for the base rate; more is riskier.

    A missing value takes `fill`: no fault reported counts as 0 faults, no known repair as the
    longest time since repair that was seen in training.
    """

    column: int | None
    fill: float = 0.0
    usual: float = 0.0
    """Mean raw score of the training rows: a contribution is the difference from it, as TreeSHAP's are."""

    def raw(self, features: np.ndarray) -> np.ndarray:
        """Raw scores, shape (n,), float64; higher is riskier."""
        if self.column is None:
            return np.zeros(features.shape[0])
        value = features[:, self.column].astype(np.float64)
        return np.asarray(np.log1p(np.maximum(np.where(np.isnan(value), self.fill, value), 0.0)))

    def contributions(self, features: np.ndarray) -> np.ndarray:
        """Raw score less the usual one in the rule's own column, zero elsewhere; shape (n, f).

        So a truck without a trouble code has that as the reason of its low score.
        """
        made = np.zeros(features.shape, dtype=np.float64)
        if self.column is not None:
            made[:, self.column] = self.raw(features) - self.usual
        return made

    def as_document(self) -> dict[str, Any]:
        """JSON-able content."""
        return {"column": self.column, "fill": self.fill, "usual": self.usual}


def rule_feature(kind: str, component: str, names: Sequence[str]) -> str | None:
    """The feature a rule looks at; None for the base rate.

    Raises:
        ModelError: the feature set has none of the names the rule knows.
    """
    if kind == "base_rate":
        return None
    for pattern in _LOOKED_AT[kind]:
        wanted = re.compile(pattern.format(component=re.escape(component)))
        for name in names:
            if wanted.fullmatch(name):
                return name
    raise ModelError(
        f"rule {kind}, component {component}: expected one of the features "
        f"{[pattern.format(component=component) for pattern in _LOOKED_AT[kind]]}, but got none of them"
    )


def fit_rule(kind: str, component: str, names: Sequence[str], features: np.ndarray) -> RuleModel:
    """The rule for `features` (n, f) named `names`.

    The direction is part of the rule, not fitted: more faults, and a longer time since the last
    repair, are riskier.
    """
    name = rule_feature(kind, component, names)
    if name is None:
        return RuleModel(None)
    column = list(names).index(name)
    known = features[:, column][~np.isnan(features[:, column])].astype(np.float64)
    longest = float(known.max()) if kind == "days_since_repair" and known.size else 0.0
    rule = RuleModel(column, max(longest, 0.0))
    scores = rule.raw(features)
    return replace(rule, usual=float(scores.mean()) if scores.size else 0.0)


def read_rule(document: Mapping[str, Any], n_features: int) -> RuleModel:
    """A rule from its JSON content.

    Raises:
        ModelError: it is no such content, or its column is outside the features.
    """
    column = document.get("column")
    numbers = [document.get("fill", "nothing"), document.get("usual", 0.0)]
    fits = column is None or (type(column) is int and 0 <= column < n_features)
    if not fits or not all(isinstance(one, int | float) and math.isfinite(one) for one in numbers):
        raise ModelError(f"rule: expected a column below {n_features}, a fill and a usual, but got {dict(document)}")
    return RuleModel(column, *map(float, numbers))
