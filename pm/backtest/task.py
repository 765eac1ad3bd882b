"""What a fold is given and what it gives back.

What belongs here: frozen values that any executor can carry. Running a fold is `pm.backtest.fold_run`.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import polars as pl

from pm.backtest.folds import Fold
from pm.backtest.vectors import VectorFiles, Vectors
from pm.features.featureset import FeatureSet
from pm.policy import Policy
from pm.schema import UTC_INSTANT

SCORE_SCHEMA: Final = pl.Schema({
    "fold": pl.Int32(), "component": pl.String(), "vehicle_id": pl.Int32(), "as_of": UTC_INSTANT, "kind": pl.String(),
    "p_failure": pl.Float64(), "threshold": pl.Float64(), "alert": pl.Boolean(), "state": pl.String(),
    "failed_at": UTC_INSTANT, "judged": pl.Boolean(), "age_d": pl.Float64(), "interval_d": pl.Float64(),
})  # fmt: skip
"""`BacktestResult.scores`; judged: the label is positive or negative and has matured. age_d: days since the
part was renewed; interval_d: the replacement interval that looked best before the cutoff (null: none)."""


LABEL_COLUMNS: Final = [
    name for name in SCORE_SCHEMA.names() if name not in {"kind", "p_failure", "threshold", "alert"}
]
"""`FoldResult.labels`: what is true of a row whoever scored it."""


@dataclass(frozen=True)
class FoldTask:
    """Everything one fold needs; frames and frozen values, so that any executor can carry it."""

    fold: Fold
    vectors: pl.DataFrame | Vectors | VectorFiles
    """As-ofs after the fold's last test as-of are passed over."""
    feature_set: FeatureSet
    vehicles: pl.DataFrame
    failures: pl.DataFrame
    components: tuple[str, ...]
    kinds: tuple[str, ...]
    policy: Policy
    known_until: datetime
    observed_until: datetime


@dataclass(frozen=True)
class Trained:
    """What became of one kind for one component in one fold."""

    component: str
    kind: str
    model_id: str | None
    """None: not trained, `reason` says why. With a split by vehicle: hash of the groups' models."""
    n_rows: int
    n_positives: int
    n_calibration_rows: int
    n_calibration_positives: int
    calibration: str | None
    threshold: float | None
    reason: str | None


@dataclass(frozen=True)
class FoldRecord:
    """One fold as it was run."""

    number: int
    cutoff: datetime
    test_from: datetime
    test_until: datetime
    """Last as-of tested."""
    lag_d: float
    """Reporting lag as estimated at the cutoff."""
    lag_source: str
    inputs_hash: str
    """Hash of the vectors, training labels and judging labels of this fold."""
    trained: tuple[Trained, ...]
    intervals_d: dict[str, float | None] = field(default_factory=dict)
    """By component, the replacement interval that looked best before the cutoff; None: run to failure."""


@dataclass(frozen=True)
class FoldResult:
    """What a fold gives back: its record, its scores, and its labels once a row."""

    record: FoldRecord
    scores: pl.DataFrame
    labels: pl.DataFrame
    """LABEL_COLUMNS, one row a vehicle, component and test as-of that has a vector."""
    judged_lag_d: float
    """Reporting lag as estimated at `known_until`."""
