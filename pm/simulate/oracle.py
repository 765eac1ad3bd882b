"""The ceiling: how well the true hazards rank the rows on which models are judged.

What belongs here: measuring true probabilities on judged rows, and models beside them. The truth is
read by `pm.simulate.truth`, for the command `pm simulate oracle` alone.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from pm.backtest.metrics import average_precision, roc_auc
from pm.errors import DataError
from pm.schema import UTC_INSTANT
from pm.simulate.truth import ROW, oracle_p, true_rows
from pm.simulate.wear import HORIZON_D

__all__ = [
    "ModelShare",
    "OracleReport",
    "OracleScore",
    "model_shares",
    "oracle_p",
    "oracle_report",
    "oracle_scores",
    "read_rows",
    "true_rows",
]

_NO_POSITIVE: Final = "no positive row"
_NO_NEGATIVE: Final = "no negative row"


@dataclass(frozen=True)
class OracleScore:
    """How well the true probabilities rank the judged rows of one component."""

    component: str | None
    """None: the rows of all components together."""
    n_rows: int
    n_positives: int
    n_without_truth: int
    """Judged rows left out, because the truck was in truth broken, or in no fleet, at that midnight."""
    base_rate: float | None
    """Share of positive rows: the PR-AUC of a model that knows nothing."""
    pr_auc: float | None
    roc_auc: float | None
    undefined: str | None
    """Why a figure is None."""


@dataclass(frozen=True)
class ModelShare:
    """How near a kind of model comes to the ceiling, on the same rows."""

    component: str | None
    """None: the rows of all components together."""
    kind: str
    n_rows: int
    pr_auc: float | None
    share: float | None
    """Its PR-AUC over the oracle's on these rows."""
    undefined: str | None
    """Why there is no share."""


@dataclass(frozen=True)
class OracleReport:
    """The ceiling on a set of rows, and the models that were judged on them."""

    folder: Path
    rows: str
    """Which rows were judged."""
    horizon_d: int
    scores: tuple[OracleScore, ...]
    models: tuple[ModelShare, ...]
    """Empty where the rows carry no model's scores."""


def oracle_scores(truth: pl.DataFrame, rows: pl.DataFrame) -> tuple[OracleScore, ...]:
    """PR-AUC, ROC-AUC and base rate of the true probabilities on judged rows, a component, then all together.

    Args:
        truth: vehicle_ref, component, as_of, p_failure, as `oracle_p` gives it.
        rows: vehicle_ref, component, as_of, state; positive and negative rows count, others do not.
            A column `judged`, if there is one, must be true as well.

    Raises:
        DataError: a column is missing, or a row stands twice.
    """
    for name, frame, needed in (("true probabilities", truth, (*ROW, "p_failure")), ("rows", rows, (*ROW, "state"))):
        missing = sorted(set(needed) - set(frame.columns))
        if missing:
            raise DataError(f"oracle: expected {name} with columns {', '.join(needed)}, but got none of {missing}")
    judged = _judged(rows)
    if judged.select(ROW).is_duplicated().any():
        raise DataError("oracle: expected each vehicle, component and as-of once, but got some more often")
    instant = pl.col("as_of").cast(UTC_INSTANT)
    both = judged.select(*ROW, "state").with_columns(instant).join(
        truth.select(*ROW, "p_failure").with_columns(instant), on=ROW, how="left", maintain_order="left"
    )  # fmt: skip
    parts = [(name, both.filter(component=name)) for name in both["component"].unique().sort()]
    return tuple(_score(name, part) for name, part in [*parts, (None, both)])


def model_shares(truth: pl.DataFrame, scores: pl.DataFrame) -> tuple[ModelShare, ...]:
    """PR-AUC of each kind of model and its share of the oracle's on the rows it judged and the truth has.

    Args:
        truth: as of `oracle_scores`.
        scores: vehicle_ref, component, as_of, state, kind, p_failure: what a backtest judged.
    """
    instant = pl.col("as_of").cast(UTC_INSTANT)
    judged = _judged(scores).with_columns(instant)
    p_true = truth.select(*ROW, p_true="p_failure").with_columns(instant)
    both = judged.join(p_true, on=ROW, how="inner", maintain_order="left")
    components = [*both["component"].unique().sort(), None]
    kinds = both["kind"].unique().sort()
    parts = ((name, kind, both.filter(_is_of(name), kind=kind)) for name in components for kind in kinds)
    return tuple(_share(name, kind, part) for name, kind, part in parts if part.height)


def oracle_report(rows: pl.DataFrame, folder: Path, what: str = "given rows") -> OracleReport:
    """The ceiling on `rows` (as of `oracle_scores`) of the fleet in `folder`; `what` says which rows they are.

    Rows that carry `kind` and `p_failure`, as a backtest's scores do, stand once a kind of model; the
    models' shares of the ceiling are then told too.

    Raises:
        DataError: as `oracle_p` and `oracle_scores`, or none of the rows is one of this fleet.
    """
    truth = oracle_p(folder)
    is_scored = {"kind", "p_failure", *ROW} <= set(rows.columns)
    distinct = rows.unique([*ROW], keep="first", maintain_order=True) if is_scored else rows
    scores = oracle_scores(truth, distinct)
    if scores[-1].n_without_truth and not scores[-1].n_rows:
        raise DataError(f"oracle: expected rows of the fleet in {folder}, but got none whose truck and day it has")
    return OracleReport(folder, what, HORIZON_D, scores, model_shares(truth, rows) if is_scored else ())


def read_rows(path: Path) -> pl.DataFrame:
    """Judged rows of a Parquet file.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError):
        raise DataError(f"{path}: expected a Parquet file of judged rows, but got no readable one") from None


def _judged(rows: pl.DataFrame) -> pl.DataFrame:
    found = rows.filter(pl.col("state").is_in(["positive", "negative"]))
    return found.filter("judged") if "judged" in found.columns else found


def _is_of(component: str | None) -> pl.Expr:
    return pl.lit(value=True) if component is None else pl.col("component") == component


def _share(component: str | None, kind: str, rows: pl.DataFrame) -> ModelShare:
    positive, weights = (rows["state"] == "positive").to_numpy(), np.ones((1, rows.height))
    pr_auc, ceiling = (
        _number(average_precision(positive, rows[name].to_numpy(), weights)[0]) for name in ("p_failure", "p_true")
    )
    share = None if pr_auc is None or not ceiling else pr_auc / ceiling
    return ModelShare(component, kind, rows.height, pr_auc, share, _NO_POSITIVE if share is None else None)


def _score(component: str | None, rows: pl.DataFrame) -> OracleScore:
    known = rows.drop_nulls("p_failure")
    positive, p = (known["state"] == "positive").to_numpy(), known["p_failure"].to_numpy()
    weights = np.ones((1, known.height))
    pr_auc, roc = (_number(measure(positive, p, weights)[0]) for measure in (average_precision, roc_auc))
    undefined = _NO_POSITIVE if pr_auc is None else _NO_NEGATIVE if roc is None else None
    return OracleScore(
        component=component,
        n_rows=known.height,
        n_positives=int(positive.sum()),
        n_without_truth=rows.height - known.height,
        base_rate=float(positive.mean()) if known.height else None,
        pr_auc=pr_auc,
        roc_auc=roc,
        undefined=undefined,
    )


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
