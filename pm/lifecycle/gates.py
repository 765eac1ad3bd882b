"""Gates: from evidence and policy to a decision with its reason.

What belongs here: deciding. What was measured comes from `pm.backtest`, which moves exist is
`stages`, and `pm.store.registry` writes them down.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pm.policy import Policy

MODEL_KIND: Final = "gbm"
LAST_RESORT: Final = "base_rate"
"""The rule that can always be computed: it stands in where no rule was measured."""


@dataclass(frozen=True)
class Decision:
    """What serves for a component, and why."""

    component: str
    model_kind: str
    """The kind that was judged."""
    to_stage: str
    """Where it goes: champion, shadow (not yet better), candidate (refused, or no evidence)."""
    fallback_kind: str
    """The best simple rule; it stands in when the model cannot answer."""
    reason: str
    """Evidence in a sentence, with both figures."""

    @property
    def serves(self) -> bool:
        """Whether the model itself serves."""
        return self.to_stage == "champion"

    @property
    def serve_kind(self) -> str:
        """The kind that answers: the model that has earned it, else the simple rule."""
        return self.model_kind if self.serves else self.fallback_kind


def decide(measures: Mapping[str, Any], component: str, policy: Policy) -> Decision:
    """Whether the model of `component` has earned its place, from a backtest's measures.

    A booster serves only where it beats the best simple rule on the same matured rows: the whole
    95 % interval of the paired difference in PR-AUC lies above 0, over at least
    `policy.gates.minimum_positives` positive rows. Comparable: it goes on as a shadow. Worse, or
    no evidence: it stays a candidate. In each of these cases the rule answers.

    Args:
        measures: the document of `pm.backtest.measure`.
    """
    section = measures.get("components", {}).get(component)
    compared = section.get("comparison") if section else None
    model = compared["model"] if compared else MODEL_KIND
    rule = (compared["rule"] if compared else None) or LAST_RESORT
    if section is None or compared is None:
        why = "no backtest of this component" if section is None else "no row of the backtest could be judged"
        return Decision(component, model, "candidate", rule, f"{why}, so the rule {rule} answers")
    stage, why = _judge(compared, _figure(section, model), _figure(section, rule), policy)
    ending = "it serves" if stage == "champion" else f"the rule {rule} answers"
    return Decision(component, model, stage, rule, f"{why}: {ending}")


def _judge(compared: Mapping[str, Any], model: float | None, rule: float | None, policy: Policy) -> tuple[str, str]:
    """Stage and sentence of one comparison."""
    difference = compared["difference"]
    if compared["verdict"] is None or model is None or rule is None:
        told = difference["reason"] or "the difference could not be measured"
        return "candidate", f"{compared['model']} against {compared['rule'] or 'the rules'}: no verdict ({told})"
    needed = policy.gates.minimum_positives
    if difference["n_positives"] < needed:
        return "candidate", f"{difference['n_positives']} positive rows in the backtest, {needed} needed"
    outcome = {
        "better": ("champion", "beats"),
        "comparable": ("shadow", "is not clearly better than"),
        "worse": ("candidate", "is worse than"),
    }
    stage, verb = outcome[compared["verdict"]]
    return stage, (
        f"{compared['model']} with PR-AUC {model:.3f} {verb} {compared['rule']} with {rule:.3f} on the same "
        f"{difference['n_rows']} rows (difference {difference['low']:+.3f} to {difference['high']:+.3f})"
    )


def _figure(section: Mapping[str, Any], kind: str) -> float | None:
    value = section["kinds"].get(kind, {}).get("figures", {}).get("pr_auc", {}).get("value")
    return None if value is None else float(value)
