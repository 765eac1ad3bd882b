"""The report's table of truck models.

What belongs here: the model and the best simple rule a truck model, over all components.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from pm.backtest.report_table import table
from pm.backtest.report_words import Measure, figure_text, kind_name, measures_shown
from pm.policy import Policy

_SHOWN: Final = ("pr_auc", "roc_auc", "brier", "calibration_error", "alert_precision", "alert_recall", "saving")


def truck_models(pooled: Mapping[str, Any], kinds: Sequence[str], policy: Policy) -> str:
    """A section; nothing where no truck model is known."""
    if not pooled["models"]:
        return ""
    pairs = [kind for kind in dict.fromkeys((kinds[0], pooled["best_rule"])) if kind]
    shown = {one.key: one for one in measures_shown(policy.alerts.lead_days, policy.horizon.days)}
    columns = [shown[key] for key in _SHOWN]
    heads = ("truck model", "rows", "failures", "kind", *(one.name for one in columns))
    lines = [_line(name, section, kind, columns) for name, section in pooled["models"].items() for kind in pairs]
    caption = "The model and the best simple rule a truck model, over all components; small: 95 % interval"
    return (
        "<section><h2>Truck models</h2>"
        + table(caption, [f'<th scope="col">{escape(head)}</th>' for head in heads], lines)
        + "</section>"
    )


def _line(name: str, section: Mapping[str, Any], kind: str, columns: Sequence[Measure]) -> str:
    rows, figures = section["rows"], section["kinds"][kind]["figures"]
    cells = "".join(_cell(figures.get(one.key), one) for one in columns)
    return (
        f'<tr><th scope="row">{escape(name)}</th><td>{rows["n_rows"]:,}</td><td>{rows["n_failures"]:,}</td>'
        f'<td class="text">{escape(kind_name(kind))}</td>{cells}</tr>'
    )


def _cell(figure: Mapping[str, Any] | None, measure: Measure) -> str:
    value, below = figure_text(figure, measure.style)
    return f'<td>{escape(value)}<small class="why">{escape(below)}</small></td>'
