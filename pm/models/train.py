"""From matured rows to a bundle, the same way for every kind of model.

What belongs here: which rows fit, calibrate and set the threshold, and when there are too few.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final

import numpy as np
import polars as pl

from pm.asof import require_instant
from pm.errors import ModelError
from pm.features.featureset import FeatureSet
from pm.models.baselines import RULES, fit_rule
from pm.models.bundle import KINDS, Bundle, Estimator
from pm.models.calibration import Calibration, fit_calibration, logit
from pm.models.gbm import fit_gbm
from pm.models.panel import fit_panel
from pm.models.rows import Rows, labelled_rows, latest_days, vehicle_groups
from pm.models.start import Start, fit_start
from pm.models.threshold import alert_threshold
from pm.policy import Policy

MINIMUM_FAILURES: Final = 3
"""Distinct failures a trained model needs besides the policy's positive rows: one failure alone
makes up to a horizon's worth of positive rows, and they all tell the same story."""
START: Final = "fault_count"
"""The rule whose log odds a booster starts from: the one it has to beat."""
N_GROUPS: Final = 4
"""Groups of vehicles for held-out scores: four more fits a trained model."""


def fit_bundle(  # noqa: PLR0917 - the order other rooms call it in
    kind: str,
    component: str,
    vectors: pl.DataFrame,
    labels: pl.DataFrame,
    feature_set: FeatureSet,
    policy: Policy,
    cutoff: datetime,
    seed: int,
    *,
    n_components: int = 1,
) -> Bundle:
    """Train on `vectors` and `labels` as known at `cutoff`: `fit_rows` on their labelled rows.

    `vectors` is a FEATURE_VECTOR frame, `labels` a LABEL frame with one matured row a vehicle and
    as-of (rows of other components and states are passed over).

    Raises:
        LeakageError: a label or vector is of after `cutoff`.
        ModelError: an unknown kind, too few positives, one class only, or a feature set that the
            kind cannot use.
    """
    require_instant(cutoff, "cutoff")
    rows = labelled_rows(component, vectors, labels, feature_set=feature_set, policy=policy, cutoff=cutoff)
    return fit_rows(kind, component, rows, feature_set, policy, cutoff, seed, n_components=n_components)


def fit_rows(  # noqa: PLR0917 - the order of `fit_bundle`
    kind: str,
    component: str,
    rows: Rows,
    feature_set: FeatureSet,
    policy: Policy,
    cutoff: datetime,
    seed: int,
    *,
    n_components: int = 1,
) -> Bundle:
    """Train, calibrate and set the alert threshold on `rows`, which had matured by `cutoff`.

    The model learns from all of them.
    It is calibrated on the latest `policy.backtest.calibration_share` of the as-of days with scores
    of models that never saw the vehicle: cross-validation, then one fit on everything, as J. Platt,
    "Probabilistic outputs for support vector machines", 1999, trains his sigmoid, here by groups of
    vehicles. Holding the latest days out would cost a young fleet most of its history, as they and
    a horizon before them could not train. A simple
    rule has nothing to overfit and is calibrated on all rows. The threshold keeps the alert budget on
    the calibration rows; the budget is the fleet's, so a component has 1/`n_components` of it.

    Raises:
        ModelError: an unknown kind, too few positives, one class only, or a feature set that the
            kind cannot use.
    """
    if kind not in KINDS:
        raise ModelError(f"expected a kind of {KINDS}, but got {kind!r}")
    _require_classes(kind, component, rows, policy)
    fit = partial(_fit, kind, component, feature_set, seed, policy=policy)
    estimator = fit(rows)
    judged, scores = (rows, estimator.raw(rows.features)) if kind in RULES else _held_out(fit, rows, policy, seed)
    calibration = _calibrate(kind, rows, judged.positive, scores, policy)
    p = calibration.apply(scores)
    low, high = rows.usual_range
    return Bundle(
        component=component,
        kind=kind,
        feature_names=tuple(feature_set.names),
        horizon_d=policy.horizon.days,
        cutoff=cutoff,
        policy_id=policy.policy_id,
        feature_set_id=feature_set.feature_set_id,
        seed=seed,
        inputs_hash=rows.sha256,
        n_rows=rows.n_rows,
        n_positives=rows.n_positives,
        n_calibration_rows=judged.n_rows,
        n_calibration_positives=judged.n_positives,
        estimator=estimator,
        calibration=calibration,
        threshold=alert_threshold(
            p,
            judged.vehicle,
            judged.day,
            budget=policy.alerts.budget_per_100_vehicles_week / n_components,
            step_d=policy.backtest.as_of_step_d,
        ),
        feature_low=low,
        feature_high=high,
    )


def _require_classes(kind: str, component: str, rows: Rows, policy: Policy) -> None:
    if kind == "base_rate":
        return
    where = f"component {component}, {kind}"
    if not 0 < rows.n_positives < rows.n_rows:
        raise ModelError(
            f"{where}: expected matured rows of both classes, but got {rows.n_positives} positive of {rows.n_rows}"
        )
    needed = policy.gates.minimum_positives
    if kind not in RULES and (rows.n_positives < needed or rows.n_failures < MINIMUM_FAILURES):
        raise ModelError(
            f"{where}: expected at least {needed} positive training rows of {MINIMUM_FAILURES} failures, "
            f"but got {rows.n_positives} rows of {rows.n_failures} failures"
        )


def _fit(kind: str, component: str, feature_set: FeatureSet, seed: int, rows: Rows, *, policy: Policy) -> Estimator:
    names = feature_set.names
    if kind == "gbm":
        columns, start = feature_set.near(component), _start(component, names, rows, policy)
        return fit_gbm(rows.features, rows.positive, seed, policy.booster, columns=columns, start=start)
    if kind == "panel":
        return fit_panel(names, rows.features, rows.positive, seed)
    return fit_rule(kind, component, names, rows.features)


def _start(component: str, names: tuple[str, ...], rows: Rows, policy: Policy) -> Start | None:
    """The fault count's log odds on the rows that the trees learn from; None where the set has nothing to count."""
    try:
        rule = fit_rule(START, component, names, rows.features)
    except ModelError:
        return None
    return fit_start(rule, rows.features, rows.positive, prior=_prior(rows), rows_per_failure=_rows_per_failure(policy))


def _held_out(fit: Callable[[Rows], Estimator], rows: Rows, policy: Policy, seed: int) -> tuple[Rows, np.ndarray]:
    """The latest rows, and their raw scores by models that never saw the row's vehicle.

    A group whose other vehicles hold only one class scores nothing and is left out.
    """
    calibrate = latest_days(rows, policy)
    group = vehicle_groups(rows, N_GROUPS, seed)
    scores = np.full(rows.n_rows, np.nan)
    for number in range(N_GROUPS):
        others, mine = rows.take(group != number), calibrate & (group == number)
        if mine.any() and 0 < others.n_positives < others.n_rows:
            scores[mine] = fit(others).raw(rows.features[mine])
    scored = ~np.isnan(scores)
    return rows.take(scored), scores[scored]


def _calibrate(kind: str, rows: Rows, positive: np.ndarray, scores: np.ndarray, policy: Policy) -> Calibration:
    prior = _prior(rows)
    if kind == "base_rate":
        return Calibration("prior", 0.0, float(logit(prior)))
    return fit_calibration(scores, positive, prior=prior, rows_per_failure=_rows_per_failure(policy))


def _prior(rows: Rows) -> float:
    """Share of positive rows; a rate of 0 or 1 is drawn in by half a row."""
    return (rows.n_positives + 0.5) / (rows.n_rows + 1)


def _rows_per_failure(policy: Policy) -> float:
    return policy.horizon.days / policy.backtest.as_of_step_d
