"""The measures document as flat tables.

What belongs here: frames for files, one row a figure or point, nothing rounded. The document itself is
`pm.backtest.measure`, the page `pm.backtest.report`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import polars as pl

_FIGURE: Final = ("value", "low", "high", "n_rows", "n_positives", "reason")
_PLACE: Final = {"part": pl.String, "component": pl.String, "model": pl.String, "fold": pl.Int32, "kind": pl.String}
_MEASURES: Final = pl.Schema({
    **_PLACE, "measure": pl.String, "value": pl.Float64, "low": pl.Float64, "high": pl.Float64, "n_rows": pl.Int64,
    "n_positives": pl.Int64, "reason": pl.String,
})  # fmt: skip


def measure_tables(measures: Mapping[str, Any]) -> dict[str, pl.DataFrame]:
    """Tables by name.

    measures: every figure with its interval, counts and reason; part says of what (component, pooled,
    truck_model, each also a fold of it). curves: points of the precision-recall, reliability and cost
    curves in long form. lead_times: days of each right alert. labels: test rows by state. folds: what
    each kind was trained on.
    """
    return {
        "measures": pl.DataFrame(list(_figures(measures)), schema=_MEASURES, orient="row"),
        "curves": pl.DataFrame(list(_curves(measures)), schema=_CURVES, orient="row"),
        "lead_times": pl.DataFrame(list(_leads(measures)), schema=_LEADS, orient="row"),
        "labels": pl.DataFrame(
            [{"component": name, **section["labels"]} for name, section in measures["components"].items()]
        ),
        "folds": pl.DataFrame(list(_folds(measures)), infer_schema_length=None),
    }


_CURVES: Final = pl.Schema({
    "component": pl.String, "kind": pl.String, "curve": pl.String, "point": pl.Int32, "name": pl.String,
    "value": pl.Float64,
})  # fmt: skip
_LEADS: Final = pl.Schema({"component": pl.String, "kind": pl.String, "lead_d": pl.Float64})


def _sections(measures: Mapping[str, Any]) -> Iterator[tuple[str | None, Mapping[str, Any]]]:
    """Each component with its section, then all together under None."""
    yield from measures["components"].items()
    yield None, measures["pooled"]


def _figures(measures: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    for component, section in _sections(measures):
        part = "pooled" if component is None else "component"
        yield from _kinds((part, component, None, None), section["kinds"])
        for fold in section.get("folds", []):
            yield from _kinds((part, component, None, fold["fold"]), fold["kinds"])
        for model, of_model in section.get("models", {}).items():
            yield from _kinds(("truck_model", component, model, None), of_model["kinds"])


def _kinds(place: tuple[Any, ...], kinds: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    for kind, made in kinds.items():
        for name, figure in made["figures"].items():
            yield (*place, kind, name, *(figure[field] for field in _FIGURE))
        if not made["figures"]:
            yield (*place, kind, None, None, None, None, 0, 0, made["reason"])


def _curves(measures: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    for component, section in _sections(measures):
        for kind, made in section["kinds"].items():
            points = [dict(zip(("recall", "precision"), point, strict=True)) for point in made.get("pr_curve", [])]
            curves = {
                "precision_recall": points,
                **{name: made.get(name, []) for name in ("reliability", "cost_curve")},
            }
            for curve, listed in curves.items():
                for number, point in enumerate(listed, 1):
                    for name, value in point.items():
                        yield component, kind, curve, number, name, None if value is None else float(value)


def _leads(measures: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    for component, section in _sections(measures):
        for kind, made in section["kinds"].items():
            for lead_d in made.get("alerts", {}).get("lead_d", []):
                yield component, kind, lead_d


def _folds(measures: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for fold in measures["folds_run"]:
        about = {name: fold[name] for name in ("fold", "cutoff", "test_from", "test_until", "lag_d", "inputs_hash")}
        for one in fold["trained"]:
            yield {**about, "interval_d": fold["intervals_d"].get(one["component"]), **one}
