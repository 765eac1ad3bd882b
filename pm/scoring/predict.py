"""Scores of one batch: every vehicle and component, ranked, with status, alert and reasons.

What belongs here: turning models and feature vectors into PREDICTION rows. Alerts are chosen in
`alerts`, reasons in `explain`; which model serves is decided in `pm.lifecycle`.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from pm.asof import require_instant
from pm.errors import ModelError
from pm.features.featureset import FeatureSet
from pm.models.baselines import RULES
from pm.policy import Policy
from pm.scoring.alerts import choose_alerts
from pm.scoring.batch import COVERAGE_FEATURE, Batch, lay_out
from pm.scoring.explain import Reason, describe, explain_row, reasons_json
from pm.tables import PREDICTION

_LOG = logging.getLogger(__name__)


class Scorer(Protocol):
    """What scoring needs of a model (`pm.models.bundle.Bundle`)."""

    @property
    def model_id(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def feature_set_id(self) -> str: ...
    @property
    def feature_names(self) -> tuple[str, ...]: ...
    @property
    def horizon_d(self) -> int: ...
    @property
    def threshold(self) -> float | None: ...
    @property
    def feature_low(self) -> Sequence[float | None]: ...
    @property
    def feature_high(self) -> Sequence[float | None]: ...
    def predict(self, features: npt.NDArray[np.float32], /) -> npt.NDArray[np.float64]: ...
    def contributions(self, features: npt.NDArray[np.float32], /) -> npt.NDArray[np.float64]: ...


@dataclass(frozen=True)
class _Answer:
    """What one model said of the vehicles with enough data, in the batch's row order."""

    model: Scorer
    role: str
    p_failure: npt.NDArray[np.float64]
    reasons: tuple[str, ...]


def score(
    bundles: Mapping[str, Scorer],
    vectors: pl.DataFrame,
    *,
    feature_set: FeatureSet,
    policy: Policy,
    fallbacks: Mapping[str, Scorer],
    scored_at: datetime,
    roles: Mapping[str, str] | None = None,
    vehicles: pl.DataFrame | None = None,
    recent: pl.DataFrame | None = None,
    withheld: Mapping[int, str] = MappingProxyType({}),
) -> pl.DataFrame:
    """One PREDICTION row a vehicle and component, ranked over the whole fleet.

    The serving bundle of a component answers in its role; where there is none, or it fails, the
    fallback rule answers with role and status "fallback". A vehicle with too little data gets
    "insufficient_data" and no probability; one whose last data is too old keeps its score and
    is marked "stale" (its role still says who answered).

    Args:
        bundles: the serving model by component.
        vectors: FEATURE_VECTOR rows of exactly one as-of.
        fallbacks: the simple rule by component.
        scored_at: when this is computed.
        roles: role of each serving model; champion where not named, fallback where it is a rule.
        vehicles: VEHICLE rows; those that left the fleet by the as-of are not scored.
        withheld: vehicles whose data must not be trusted, with the reason (`pm.features.assumptions`): they get
            "insufficient_data", no probability, and that reason.
        recent: earlier batches (at least the last 8 days), columns as for
            `pm.scoring.alerts.episode_starts`, for running alerts and the week's budget.

    Raises:
        DataError: the vectors are of several as-ofs or do not fit the feature set.
        LeakageError: a vector's data is newer than its as-of.
        ModelError: a component has no fallback, and no serving model or one that fails.
    """
    require_instant(scored_at, "scored_at")
    batch = lay_out(vectors, feature_set, vehicles)
    components = sorted(set(bundles) | set(fallbacks))
    if batch is None or not components:
        return PREDICTION.empty()
    is_withheld = batch.rows["vehicle_id"].is_in(list(withheld)).to_numpy()
    enough = batch.has_data(policy) & ~is_withheld
    named = roles or {}
    answers = {
        component: _answer(
            component,
            batch,
            enough,
            serving=bundles.get(component),
            fallback=fallbacks.get(component),
            role=named.get(component, "champion"),
        )
        for component in components
    }
    silent = _why_silent(batch, withheld, policy)
    rows = pl.concat([_rows(component, answer, batch, enough, silent, policy) for component, answer in answers.items()])
    # One threshold for the fleet, the lowest that a component's share of the budget allows: of two
    # trucks the likelier one is never passed over. The week's budget then limits how many.
    ranked = _rank(rows).with_columns(pl.col("threshold").min())
    earlier = PREDICTION.empty() if recent is None else recent
    n_vehicles = batch.rows.height
    alert = choose_alerts(ranked, earlier, as_of=batch.as_of, alerts=policy.alerts, n_vehicles=n_vehicles)
    instant = pl.lit(scored_at, dtype=PREDICTION.schema["scored_at"]).alias("scored_at")
    return PREDICTION.check(ranked.with_columns(alert, instant))


def _answer(
    component: str,
    batch: Batch,
    enough: npt.NDArray[np.bool_],
    *,
    serving: Scorer | None,
    fallback: Scorer | None,
    role: str,
) -> _Answer:
    if serving is not None:
        try:
            # A simple rule that serves because no model has earned it is a fallback, and says so.
            return _ask(serving, "fallback" if serving.kind in RULES else role, batch, enough)
        except Exception as reason:  # whatever breaks in a model, the rule answers and says so
            if fallback is None:
                raise ModelError(
                    f"{component}: model {serving.model_id} failed and no rule stands in: {reason}"
                ) from reason
            _LOG.warning("%s: model %s failed, %s answers: %s", component, serving.model_id, fallback.model_id, reason)
    if fallback is None:
        raise ModelError(f"{component}: expected a serving model or a fallback rule, but got neither")
    return _ask(fallback, "fallback", batch, enough)


def _ask(model: Scorer, role: str, batch: Batch, enough: npt.NDArray[np.bool_]) -> _Answer:
    if model.feature_set_id != batch.feature_set_id:
        raise ModelError(
            f"model {model.model_id}: expected features of {model.feature_set_id}, but got {batch.feature_set_id}"
        )
    matrix = batch.matrix(model.feature_names, enough)
    if not len(matrix):
        return _Answer(model, role, np.empty(0), ())
    p_failure = np.asarray(model.predict(matrix), dtype=np.float64)
    if p_failure.shape != (len(matrix),) or not np.all((p_failure >= 0) & (p_failure <= 1)):
        raise ModelError(f"model {model.model_id}: expected {len(matrix)} probabilities, but got {p_failure}")
    return _Answer(model, role, p_failure, _reasons(model, matrix, batch))


def _reasons(model: Scorer, matrix: npt.NDArray[np.float32], batch: Batch) -> tuple[str, ...]:
    parts = np.asarray(model.contributions(matrix), dtype=np.float64)
    if parts.shape != matrix.shape:
        raise ModelError(f"model {model.model_id}: expected contributions {matrix.shape}, but got {parts.shape}")
    low, high = (np.asarray(ends, dtype=np.float64) for ends in (model.feature_low, model.feature_high))
    features = tuple(batch.features[name] for name in model.feature_names)
    return tuple(reasons_json(explain_row(features, row, low, high, parts[at])) for at, row in enumerate(matrix))


def _rows(  # noqa: PLR0917 - private, called once
    component: str,
    answer: _Answer,
    batch: Batch,
    enough: npt.NDArray[np.bool_],
    silent: Sequence[str],
    policy: Policy,
) -> pl.DataFrame:
    """Unranked rows of one component: every column but position, alert and scored_at."""
    p_failure = np.full(batch.rows.height, np.nan)
    p_failure[enough] = answer.p_failure
    said = iter(answer.reasons)
    reasons = [next(said) if ok else silent[at] for at, ok in enumerate(enough)]
    threshold = answer.model.threshold
    known = None if threshold is None or not np.isfinite(threshold) else float(threshold)
    return batch.rows.select(
        "vehicle_id",
        pl.lit(component).alias("component"),
        "as_of",
        pl.lit(answer.model.model_id).alias("model_id"),
        pl.lit(answer.role).alias("role"),
        "data_until",
        pl.lit(answer.model.horizon_d, dtype=pl.Int16).alias("horizon_d"),
        _status(enough, answer.role, policy).alias("status"),
        pl.Series("p_failure", p_failure).fill_nan(None),
        pl.lit(known, dtype=pl.Float64).alias("threshold"),
        pl.Series("reasons_json", reasons, dtype=pl.String),
        "inputs_hash",
    )


def _status(enough: npt.NDArray[np.bool_], role: str, policy: Policy) -> pl.Expr:
    oldest = pl.col("as_of") - timedelta(days=policy.features.stale_after_d)
    return (
        pl.when(~pl.Series(enough))
        .then(pl.lit("insufficient_data"))
        .when(pl.col("data_until") < oldest)
        .then(pl.lit("stale"))
        .otherwise(pl.lit("fallback" if role == "fallback" else "ok"))
    )


def _why_silent(batch: Batch, withheld: Mapping[int, str], policy: Policy) -> list[str]:
    """For each row of the batch the reasons it would have without a score."""
    days = batch.days_with_data()
    return [
        _not_trusted(withheld[vehicle_id]) if vehicle_id in withheld else _too_little(batch, days[at], policy)
        for at, vehicle_id in enumerate(batch.rows["vehicle_id"])
    ]


def _not_trusted(why: str) -> str:
    meaning = "an assumption about the daily data"
    sentence = f"The data of this truck cannot be trusted: {why}"
    return reasons_json((Reason("assumption", meaning, "", None, None, None, 0.0, sentence),))


def _too_little(batch: Batch, n_days: float, policy: Policy) -> str:
    needed = policy.features.minimum_days_with_data
    feature = batch.features[COVERAGE_FEATURE]
    sentence = f"{describe(feature, n_days, None, None)}; a score needs at least {needed}"
    reason = Reason(feature.name, feature.meaning, feature.unit, n_days, float(needed), None, 0.0, sentence)
    return reasons_json((reason,))


def _rank(rows: pl.DataFrame) -> pl.DataFrame:
    """Position 1 is the likeliest failure; equal scores stand by vehicle, then component."""
    ordered = rows.sort("p_failure", "vehicle_id", "component", descending=[True, False, False], nulls_last=True)
    place = pl.int_range(1, pl.len() + 1, dtype=pl.Int32)
    return ordered.with_columns(pl.when(pl.col("p_failure").is_not_null()).then(place).alias("position"))
