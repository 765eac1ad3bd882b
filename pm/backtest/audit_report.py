"""The audit as HTML: a section for the backtest's report, and a page of its own.

What belongs here: order and markup. The sentences are the checks' own. Everything that comes from data
is escaped.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from pm.backtest.audit_result import NAMES, AuditResult, Check, number_text
from pm.charts import STYLE, Series, line_chart

_WORDS: Final = {"pass": "passed", "warn": "look at it", "fail": "failed", "not_possible": "not possible"}
_INTERVAL: Final = "with their 95 % interval over vehicles"
_STYLE: Final = """
.audit .status{font-weight:600;white-space:nowrap}.audit .fail{color:#c0262d}.audit .warn{color:#96500a}
.audit .not_possible{opacity:.75}.audit td,.audit th{text-align:left;vertical-align:top;padding:.35rem .5rem}
.audit table{border-collapse:collapse;width:100%}.audit tr{border-bottom:1px solid rgba(128,128,128,.35)}
@media (prefers-color-scheme:dark){.audit .fail{color:#ff7b7b}.audit .warn{color:#f0a860}}
"""
_PAGE_STYLE: Final = """
:root{color-scheme:light dark}body{margin:0 auto;max-width:66rem;padding:1.5rem 1rem 4rem;
 font:16px/1.5 system-ui,sans-serif}h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2rem}.wide{overflow-x:auto}
figure{margin:0;max-width:36rem}figcaption{font-weight:600;font-size:.9rem}
"""


def audit_page(result: AuditResult, *, title: str) -> str:
    """A self-contained page with the section; no script, nothing to fetch."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{escape(title)}</title><style>{_PAGE_STYLE}{STYLE}</style></head><body>"
        f"<header><h1>{escape(title)}</h1></header><main>{audit_section(result)}</main></body></html>\n"
    )


def audit_section(result: AuditResult) -> str:
    """One `<section>`; the page around it brings `pm.charts.STYLE`."""
    document = result.as_document()
    shared = [check for check in result.checks if check.component is None]
    parts = [
        f'<section class="audit"><style>{_STYLE}</style><h2>Leak audit: {escape(_WORDS[result.status])}</h2>',
        "<ul>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in result.verdicts) + "</ul>",
        _table("All components", shared),
    ]
    for component in result.components:
        mine = [check for check in result.checks if check.component == component]
        parts += [_table(component.replace("_", " ").capitalize(), mine), *_charts(component, mine)]
    parts.append(_method(document))
    return "\n".join([*parts, "</section>"])


def audit_rows(result: AuditResult) -> list[tuple[str, str, str, str]]:
    """Component, question, status and sentence of each check, for a terminal."""
    return [
        (check.component or "all", NAMES[check.name], check.status.replace("_", " "), check.sentence)
        for check in result.checks
    ]


def _table(caption: str, checks: Sequence[Check]) -> str:
    if not checks:
        return ""
    lines = "".join(
        f'<tr><th scope="row">{escape(NAMES[check.name])}</th>'
        f'<td class="status {check.status}">{escape(_WORDS[check.status])}</td>'
        f"<td>{escape(check.sentence)}{_figures(check)}</td></tr>"
        for check in checks
    )
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("question", "status", "what was found"))
    return (
        f'<h3>{escape(caption)}</h3><div class="wide" role="region" tabindex="0" aria-label="{escape(caption)}">'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _figures(check: Check) -> str:
    """The figures behind a sentence, folded away."""
    if not check.figures:
        return ""
    lines = "".join(
        f"<tr><td>{escape(name.replace('_', ' '))}</td><td>{escape(number_text(one))}</td><td>{one.n_rows:,} rows, "
        f"{one.n_positives:,} positive</td></tr>"
        for name, one in check.figures.items()
    )
    return f"<details><summary>figures {_INTERVAL}</summary><table><tbody>{lines}</tbody></table></details>"


def _charts(component: str, checks: Sequence[Check]) -> list[str]:
    """PR-AUC by the age of the features."""
    shifted = next((check for check in checks if check.name == "time_shift" and len(check.figures) > 1), None)
    if shifted is None:
        return []
    points = [
        (float(name.removesuffix("d")), one.value) for name, one in shifted.figures.items() if name[0] in "+-"
    ]  # fmt: skip
    base = shifted.figures["base_rate"].value
    known = ", ".join(f"{x:+.0f} d {y:.3f}" for x, y in points if y is not None)
    chart = line_chart(
        [Series("PR-AUC", sorted(points), "both")],
        title=f"PR-AUC by the day of the features, {component.replace('_', ' ')}",
        description=f"Features of days before (-) and after (+) the as-of: {known}",
        x_label="features of so many days after the as-of",
        y_label="PR-AUC",
        references=[] if base is None else [(base, "base rate")],
    )
    return [f"<figure><figcaption>Older and newer features</figcaption>{chart}</figure>"]


def _method(document: Mapping[str, Any]) -> str:
    kept = ("audit_id", "policy_id", "feature_set_id", "known_until", "seed", "quick", "cutoffs")
    items = "".join(
        f"<dt>{escape(name.replace('_', ' '))}</dt><dd><code>{escape(str(document[name]))}</code></dd>" for name in kept
    )
    return f"<h3>To reproduce it</h3><dl>{items}</dl>"
