"""The report's words: names of kinds and measures, numbers as text, verdicts as sentences.

What belongs here: text made from the measures document, not escaped. Layout is `pm.backtest.report`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

Style = Literal["plain", "share", "money", "rate"]

KIND_NAMES: Final[Mapping[str, str]] = {
    "gbm": "gradient boosting (LightGBM)",
    "panel": "time series forest (sktime)",
    "base_rate": "rule: base rate",
    "fault_count": "rule: fault count",
    "days_since_repair": "rule: time since repair",
    "last_score": "last score carried forward",
}


@dataclass(frozen=True)
class Measure:
    """How one measure is shown."""

    key: str
    name: str
    meaning: str
    style: Style = "plain"


def measures_shown(lead_days: tuple[int, ...], horizon_d: int) -> tuple[Measure, ...]:
    """Rows of the table of measures, in order."""
    leads = tuple(
        Measure(
            f"alert_recall_{lead}d",
            f"failures warned of {lead} days ahead",
            f"of the failures that could be seen {lead} days before, the share that an alert announced in time",
            "share",
        )
        for lead in lead_days
    )
    return (
        Measure("pr_auc", "PR-AUC", "average precision over all thresholds; the base rate is what chance reaches"),
        Measure("roc_auc", "ROC-AUC", "chance that a failing truck ranks above one that does not; 0.5 is guessing"),
        Measure("lift_top5", "lift of the daily top 5", "failures among the five highest of a day, against chance"),
        Measure(
            "precision_top5", "precision of the daily top 5", "share of the five highest that fail in time", "share"
        ),
        Measure("brier", "Brier score", "mean squared error of the probability; lower is better"),
        Measure("brier_skill", "Brier skill", "gain over the base rate's Brier score; 0 is no gain"),
        Measure("calibration_error", "calibration error", "mean gap of predicted and observed share; lower is better"),
        Measure(
            "alert_precision",
            "alerts that were right",
            f"episodes followed by the failure within {horizon_d} days",
            "share",
        ),
        Measure(
            "alert_rate", "alerts a 100 trucks and week", "judged alert episodes; the budget is set before", "rate"
        ),
        Measure("alert_recall", "failures warned of", "share of failures announced by an alert, however late", "share"),
        *leads,
        Measure("cost", "cost a 100 trucks and week", "breakdowns, planned repairs and needless visits", "money"),
        Measure("saving", "saving against run to failure", "share of the cost of never acting", "share"),
        Measure(
            "saving_fixed",
            "saving against fixed intervals",
            "share of the cost of replacing by the calendar, at the interval that looked best before the cutoff",
            "share",
        ),
    )


def number_text(value: float, style: Style) -> str:
    """A figure's value as text; what rounds to 0 has no sign."""
    if style == "share":
        return f"{100 * value:z.0f} %"
    if style == "money":
        return f"{value:z,.0f}"
    return f"{value:z.2f}" if style == "rate" else f"{value:z.3f}"


def figure_text(figure: Mapping[str, Any] | None, style: Style) -> tuple[str, str]:
    """Value and interval; without value a dash and the reason."""
    if figure is None:
        return "–", ""
    if figure["value"] is None:
        return "–", str(figure["reason"] or "not computable")
    value = number_text(figure["value"], style)
    if figure["low"] is None:
        return value, str(figure["reason"] or "no interval")
    return value, f"{number_text(figure['low'], style)} to {number_text(figure['high'], style)}"


def kind_name(kind: str) -> str:
    """A kind in words."""
    return KIND_NAMES.get(kind, kind)


def component_name(component: str) -> str:
    """A component class in words."""
    return component.replace("_", " ")


def verdict_sentence(component: str, section: Mapping[str, Any]) -> str:
    """Does the model earn its place? One sentence."""
    name = component_name(component).capitalize()
    comparison = section["comparison"]
    if comparison is None or comparison["verdict"] is None:
        return f"{name}: no verdict, because {_why_none(section)}."
    rule = kind_name(comparison["rule"]).removeprefix("rule: ")
    kinds = section["kinds"]
    of_model = kinds[comparison["model"]]["figures"]["pr_auc"]["value"]
    of_rule = kinds[comparison["rule"]]["figures"]["pr_auc"]["value"]
    numbers = f"PR-AUC of the model {of_model:.3f}, of the rule {of_rule:.3f}, {_difference(comparison)}"
    said = {
        "better": f"the model beats the best simple rule ({rule})",
        "worse": f"the simple rule ({rule}) beats the model",
        "comparable": f"the model is not shown to beat the simple rule ({rule}), so the rule should serve",
    }
    return f"{name}: {said[comparison['verdict']]}: {numbers}."


def _difference(comparison: Mapping[str, Any]) -> str:
    """Model less rule, with its interval or why there is none."""
    gap = comparison["difference"]
    if gap["low"] is None:
        return f"difference {gap['value']:+z.3f} ({gap['reason'] or 'no interval'})"
    return f"difference {gap['value']:+z.3f} (95 % interval {gap['low']:+z.3f} to {gap['high']:+z.3f})"


def first_line(measures: Mapping[str, Any], model: str) -> str:
    """Which kind was best over all components, in a sentence; where a simple rule beats the model it says so.

    "Beats" is by the value; the interval of the difference, which stands beside it, says whether that is more
    than chance.
    """
    pooled = measures["pooled"]
    values = {kind: one["figures"].get("pr_auc", {}).get("value") for kind, one in pooled["kinds"].items()}
    known = {kind: value for kind, value in values.items() if value is not None}
    if not known:
        return f"Nothing could be measured: {_why_none(pooled)}."
    best = max(known, key=lambda kind: known[kind])
    told = f"Best over {_listed(pooled['components_used'])}: {_plain(best)} with PR-AUC {known[best]:.3f}"
    if model not in known:
        return f"{told}; {kind_name(model)} was not measured ({pooled['kinds'][model]['reason']})."
    rule = pooled["best_rule"]
    if rule is None or rule == model:
        return f"{told}."
    if known[rule] > known[model]:
        return (
            f"A simple rule beats the model: {_plain(rule)} reaches PR-AUC {known[rule]:.3f}, {kind_name(model)} "
            f"{known[model]:.3f}, over {_listed(pooled['components_used'])}; {_difference(pooled['comparison'])}."
            f"{_beaten(measures, model)}"
        )
    others = f"; the best simple rule ({_plain(rule)}) reaches {known[rule]:.3f}, {_difference(pooled['comparison'])}"
    if best != model:
        others = f", {kind_name(model)} with {known[model]:.3f}{others}"
    return f"{told}{others}.{_beaten(measures, model)}"


def _beaten(measures: Mapping[str, Any], model: str) -> str:
    """The components in which a simple rule has the higher PR-AUC; empty where there is none."""
    lost = []
    for component, section in measures["components"].items():
        rule = section["best_rule"]
        of = {kind: one["figures"].get("pr_auc", {}).get("value") for kind, one in section["kinds"].items()}
        if rule and of.get(model) is not None and of[rule] > of[model]:
            lost.append(f"{component_name(component)} ({_plain(rule)})")
    return f" A simple rule has the higher PR-AUC for {', '.join(lost)}." if lost else ""


def _plain(kind: str) -> str:
    return kind_name(kind).removeprefix("rule: ")


def _listed(components: Sequence[str]) -> str:
    return ", ".join(component_name(name) for name in components)


def _why_none(section: Mapping[str, Any]) -> str:
    comparison = section["comparison"]
    if comparison is not None and comparison["difference"]["reason"]:
        return str(comparison["difference"]["reason"])
    reasons = [kind["reason"] for kind in section["kinds"].values() if kind["reason"]]
    return str(reasons[0]) if reasons else "nothing could be measured"


def plain_sentence(section: Mapping[str, Any], model: str, horizon_d: int) -> str:
    """What the alerts were worth, for the person who pays for them."""
    kind = section["kinds"].get(model, {})
    alerts = kind.get("alerts")
    if not alerts:
        return "No alert could be judged."
    rows = section["rows"]
    caught = (
        f"{alerts['n_failures_caught']} of {alerts['n_failures']} failures had an alert in the {horizon_d} days before"
    )
    right = f"{alerts['n_hits']} of {alerts['n_judged_episodes']} judged alerts were followed by the failure"
    chance = f"a truck taken at random fails within {horizon_d} days in {rows['n_positives']} of {rows['n_rows']} cases"
    return f"{caught}; {right}; {chance}."
