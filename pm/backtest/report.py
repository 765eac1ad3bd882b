"""The backtest as one HTML file that needs nothing else: no script, no font, no picture to fetch.

What belongs here: the page's order and markup. Its words are `pm.backtest.report_words`, its
charts `pm.backtest.report_charts`. Everything that comes from data is escaped.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from pm.backtest.report_charts import alerts_chart, calibration_chart, cost_chart, fold_chart, lead_chart, pr_chart
from pm.backtest.report_models import truck_models
from pm.backtest.report_table import shade as _shade
from pm.backtest.report_table import table as _table
from pm.backtest.report_words import (
    component_name,
    figure_text,
    kind_name,
    measures_shown,
    plain_sentence,
    verdict_sentence,
)
from pm.backtest.run import BacktestResult
from pm.charts import STYLE

_TOGETHER: Final = "all components"
_PAGE_STYLE: Final = """
:root{color-scheme:light dark;--page:#fbfbfa;--ink:#1b1f24;--soft:#5a6270;--line:#d9dce1;--mark:#eaf2fb}
@media (prefers-color-scheme:dark){:root{--page:#15181c;--ink:#e7e9ec;--soft:#a3abb6;--line:#353b44;--mark:#1d2b3b}}
body{margin:0 auto;max-width:66rem;padding:1.5rem 1rem 4rem;background:var(--page);color:var(--ink);
 font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.6rem;margin:.2rem 0 .8rem}h2{font-size:1.25rem;margin:2.4rem 0 .5rem;text-transform:none}
h3{font-size:1rem;margin:1.4rem 0 .3rem}.soft{color:var(--soft)}small,.small{font-size:.82rem}
.first{font-size:1.2rem;font-weight:600;margin:.2rem 0 .6rem}
.verdicts{background:var(--mark);border-radius:8px;padding:.8rem 1rem .8rem 2rem;margin:0 0 1rem;font-size:1.05rem}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.88rem}
th,td{padding:.35rem .5rem;border-bottom:1px solid var(--line);vertical-align:top;text-align:right}
th[scope=row],th:first-child,td.text{text-align:left}thead th{vertical-align:bottom}
tbody th{font-weight:600}tbody th small{display:block;font-weight:400;color:var(--soft);min-width:13rem;max-width:19rem}
caption{text-align:left;padding:.2rem .5rem}
td small{display:block;color:var(--soft);white-space:nowrap}
td small.why{white-space:normal}td.best,th.best{background:var(--mark)}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(26rem,100%),1fr));gap:1rem 1.5rem}
figure{margin:0}figcaption{font-size:.9rem;font-weight:600;margin:.6rem 0 .2rem}
dt{font-weight:600}dd{margin:0 0 .4rem}code{font-size:.85em;overflow-wrap:anywhere}
"""


def render_report(
    result: BacktestResult,
    *,
    title: str,
    vehicle_names: Mapping[int, str] | None = None,
    lag: tuple[str, str] | None = None,
) -> str:
    """The whole page as text: which kind is best, verdicts, then measures and charts a component, then the method.

    `vehicle_names` are the words for vehicles in the charts; without them a vehicle goes by its number.
    `lag` is the chart of the reporting lag (an `<svg>`) and what it says.
    """
    measures = result.measures
    names = vehicle_names or {}
    parts = [
        "<header>",
        f'<p class="first">{escape(measures["first_line"])}</p>',
        _verdicts(measures["components"]),
        f"<h1>{escape(title)}</h1>",
        _summary(result),
        "</header><main>",
        *(_component(name, section, result, names) for name, section in measures["components"].items()),
        _pooled(result),
        truck_models(result.measures["pooled"], result.kinds, result.policy),
        _labels(result, lag),
        _folds(result),
        _method(result),
        "</main>",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{escape(title)}</title><style>{_PAGE_STYLE}{STYLE}</style></head><body>"
        + "\n".join(part for part in parts if part)
        + "</body></html>\n"
    )


def _verdicts(components: Mapping[str, Any]) -> str:
    lines = "".join(f"<li>{escape(verdict_sentence(name, section))}</li>" for name, section in components.items())
    return f'<ul class="verdicts">{lines}</ul>'


def _summary(result: BacktestResult) -> str:
    measures = result.measures
    runs = measures["folds_run"]
    return (
        f"<p>Replayed {len(runs)} cutoffs from {runs[0]['cutoff']} to {runs[-1]['cutoff']}. At each, every model was "
        f"trained only on what was known on that day, scored the days that followed, and is judged here by what was "
        f"known on {result.known_until.date()}. A row asks: does this component of this truck fail within "
        f"{measures['horizon_d']} days? Every kind is measured on the same rows; the simple rules stand beside the "
        "models on purpose.</p>"
    )


def _component(name: str, section: Mapping[str, Any], result: BacktestResult, names: Mapping[int, str]) -> str:
    model = result.kinds[0]
    horizon_d = result.measures["horizon_d"]
    charts = []
    if section["folds_used"]:
        alerts, hidden = alerts_chart(name, result.scores, model, result.measures["step_d"], names)
        more = f" ({hidden} more trucks are not shown)" if hidden else ""
        charts = [
            '<div class="charts">',
            _figure("Precision and recall", pr_chart(name, section)),
            _figure("Are the probabilities right?", calibration_chart(name, section)),
            _figure(f"Lead time of right alerts, {kind_name(model)}", lead_chart(name, section, model, horizon_d)),
            _figure("PR-AUC at each cutoff", fold_chart(name, section["folds"], result.kinds)),
            _figure("What other thresholds would have cost", cost_chart(name, section)),
            "</div>",
            _figure(f"Alerts of {kind_name(model)} and failures{more}", alerts) if alerts else "",
        ]
    heading = escape(component_name(name).capitalize())
    return "".join([
        f"<section><h2>{heading}</h2>",
        f"<p>{escape(plain_sentence(section, model, horizon_d))}</p>",
        _measure_table(section, result),
        *charts,
        "</section>",
    ])  # fmt: skip


def _pooled(result: BacktestResult) -> str:
    section, model = result.measures["pooled"], result.kinds[0]
    used = ", ".join(component_name(name) for name in section["components_used"]) or "none"
    horizon_d = result.measures["horizon_d"]
    charts = (
        '<div class="charts">'
        + _figure("Precision and recall", pr_chart(_TOGETHER, section))
        + _figure("Are the probabilities right?", calibration_chart(_TOGETHER, section))
        + _figure(f"Lead time of right alerts, {kind_name(model)}", lead_chart(_TOGETHER, section, model, horizon_d))
        + _figure("PR-AUC at each cutoff", fold_chart(_TOGETHER, section["folds"], result.kinds))
        + _figure("What other thresholds would have cost", cost_chart(_TOGETHER, section))
        + "</div>"
    )
    return (
        f"<section><h2>All components together</h2><p>Rows of {escape(used)}, one under the other.</p>"
        + _measure_table(section, result)
        + (charts if section["folds_used"] else "")
        + "</section>"
    )


def _figure(caption: str, chart: str) -> str:
    return f"<figure><figcaption>{escape(caption)}</figcaption>{chart}</figure>"


def _measure_table(section: Mapping[str, Any], result: BacktestResult) -> str:
    rows, best = section["rows"], section["best_rule"]
    kinds = [kind for kind in result.kinds if section["kinds"][kind]["figures"]]
    absent = [kind for kind in result.kinds if kind not in kinds]
    missing = "".join(
        f"<p>{escape(kind_name(kind))}: not measured ({escape(str(section['kinds'][kind]['reason']))}).</p>"
        for kind in absent
    )
    if not kinds:
        return missing
    shown = measures_shown(result.policy.alerts.lead_days, result.measures["horizon_d"])
    lines = [
        f'<tr><th scope="row">{escape(one.name)}<small>{escape(one.meaning)}</small></th>'
        + "".join(_cell(section["kinds"][kind]["figures"].get(one.key), one.style, kind == best) for kind in kinds)
        + "</tr>"
        for one in shown
    ]
    caption = (
        f"{rows['n_rows']:,} judged rows ({rows['n_positives']:,} positive) of {rows['n_vehicles']} trucks with "
        f"{rows['n_failures']} failures; small: 95 % interval over trucks. The best simple rule is shaded."
    )
    heads = [
        f'<th scope="col"{_shade(kind == best)}>{escape(kind_name(kind))}<br/><small class="soft">'
        f"{_counted(section['kinds'][kind]['alerts']['n_judged_episodes'], 'judged alert')}</small></th>"
        for kind in kinds
    ]
    table = _table(caption, ['<th scope="col">measure</th>', *heads], lines)
    return table + missing


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _cell(figure: Mapping[str, Any] | None, style: Any, shaded: bool) -> str:
    value, below = figure_text(figure, style)
    wraps = ' class="why"' if figure is None or figure["low"] is None else ""
    return f"<td{_shade(shaded)}>{escape(value)}<small{wraps}>{escape(below)}</small></td>"


def _labels(result: BacktestResult, lag: tuple[str, str] | None) -> str:
    measures = result.measures
    names = ("positive", "negative", "pending", "censored", "early")
    heads = [f'<th scope="col">{name}</th>' for name in ("component", *names)]
    lines = [
        f'<tr><th scope="row">{escape(component_name(component))}</th>'
        + "".join(f"<td>{section['labels'][name]:,}</td>" for name in names)
        + "</tr>"
        for component, section in measures["components"].items()
    ]
    return (
        "<section><h2>How the labels matured</h2>"
        f"<p>A work order reaches the records late: {measures['lag_d']:.1f} days is the reporting lag used for "
        f"judging. A row counts once its {measures['horizon_d']} days and the lag have passed. <b>Pending</b> rows are "
        "too young and <b>censored</b> rows can never be known (the truck left, or the part was replaced as planned): "
        "neither is counted, least of all as healthy. <b>Early</b> rows are known already, but the other trucks of the "
        "same day are not, so counting them would bend every figure.</p>"
        + _table("Test rows by state of their label", heads, lines)
        + (f"{_figure('How late failures are recorded', lag[0])}<p>{escape(lag[1])}</p>" if lag else "")
        + "</section>"
    )


def _folds(result: BacktestResult) -> str:
    heads = [
        f'<th scope="col">{name}</th>'
        for name in (
            "cutoff",
            "lag then, days",
            "component",
            "training rows",
            "positive",
            "calibrated on",
            "not trained",
        )
    ]
    lines = [
        _fold_line(fold, component, [one for one in fold["trained"] if one["component"] == component], result.kinds[0])
        for fold in result.measures["folds_run"]
        for component in result.components
    ]
    caption = f"What {kind_name(result.kinds[0])} was trained on at each cutoff, and which kinds could not be trained"
    return "<section><h2>The cutoffs</h2>" + _table(caption, heads, lines) + "</section>"


def _fold_line(fold: Mapping[str, Any], component: str, trained: Sequence[Mapping[str, Any]], model: str) -> str:
    one = next(item for item in trained if item["kind"] == model)
    reasons = sorted({f"{kind_name(item['kind'])}: {item['reason']}" for item in trained if item["reason"]})
    numbers = ("–", "–", "–")
    if one["model_id"]:
        how = f"{one['n_calibration_rows']:,} rows, {one['n_calibration_positives']} positive ({one['calibration']})"
        numbers = (f"{one['n_rows']:,}", f"{one['n_positives']:,}", how)
    cells = "".join(f"<td>{escape(text)}</td>" for text in numbers)
    return (
        f'<tr><th scope="row">{escape(fold["cutoff"])}</th><td>{fold["lag_d"]:.1f}</td>'
        f'<td class="text">{escape(component_name(component))}</td>{cells}'
        f'<td class="text">{"<br/>".join(escape(reason) for reason in reasons)}</td></tr>'
    )


def _method(result: BacktestResult) -> str:
    measures, policy = result.measures, result.policy
    costs = policy.costs
    terms = {
        "Alert": "as it would have been served. Before the cutoff each component gets the threshold that keeps its "
        f"share of the budget of {policy.alerts.budget_per_100_vehicles_week:g} alerts a 100 trucks and week; the "
        f"lowest of the {len(result.components)} holds for the whole list, and each week's budget goes to the "
        "likeliest of all components. Consecutive alerts on one truck and component are one alert episode, which "
        "costs budget once.",
        "Right": f"the component failed within {measures['horizon_d']} days of the episode's start.",
        "Interval": f"95 %, from {policy.backtest.bootstrap_samples} resamples of whole trucks, because the days of "
        "one truck tell nearly the same story. Differences are taken on the same resamples.",
        "Verdict": "better only if the whole interval of the difference in PR-AUC lies above 0. The best simple rule "
        "is chosen after the fact on the same rows, which favours the rules.",
        "Last score carried forward": "what the model said at the last as-of before the cutoff, kept until the next "
        "cutoff: what looking every day adds to looking at each cutoff.",
        "Fixed intervals": "each part replaced when it reaches an age, the age with the least cost on what was known "
        "before the cutoff (or never). Its failures come at the rate that was seen on parts below that age.",
        "Cost curve": "every threshold on the test rows themselves, without a weekly budget: what there was to gain, "
        "not what a threshold set beforehand reaches.",
        "Costs": f"a missed breakdown {costs.missed_breakdown:,.0f}, a needless visit {costs.needless_visit:,.0f}, a "
        f"planned repair {costs.planned_repair:,.0f}; a repair can be planned with a lead of "
        f"{min(policy.alerts.lead_days or (1,))} days.",
        "Dash": "it could not be computed; the reason stands below it.",
    }
    items = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in terms.items())
    inputs = {
        "backtest": result.backtest_id,
        "policy": result.policy_id,
        "feature set": result.feature_set_id,
        "known until": result.known_until.isoformat(),
        "observed until": result.observed_until.isoformat(),
        "seed": str(policy.backtest.seed),
        **{f"inputs of fold {fold['fold']}": fold["inputs_hash"] for fold in measures["folds_run"]},
    }
    identity = "".join(f"<dt>{escape(key)}</dt><dd><code>{escape(value)}</code></dd>" for key, value in inputs.items())
    return (
        f"<section><h2>How it was measured</h2><dl>{items}</dl>"
        f'<h3>To reproduce it</h3><dl class="small">{identity}</dl></section>'
    )
