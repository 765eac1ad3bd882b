"""A model as it is stored, sent and asked: estimator, calibration, threshold and where it came from.

What belongs here: the one document (canonical JSON, no pickle) and its reading with every field
checked. Its sha256 is the model's identity: the same rows, policy and seed give the same bytes.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final, Protocol

import numpy as np

from pm.errors import ModelError
from pm.models.baselines import RULES, read_rule
from pm.models.calibration import Calibration, read_calibration
from pm.models.gbm import read_gbm
from pm.models.panel import read_panel

KINDS: Final = ("gbm", "panel", *RULES)
FORMAT: Final = "pm-bundle-1"
MAXIMUM_BYTES: Final = 64 * 1024 * 1024
MAXIMUM_FEATURES: Final = 10_000


class Estimator(Protocol):
    """What a bundle asks of the model inside it."""

    def raw(self, features: np.ndarray) -> np.ndarray: ...

    def contributions(self, features: np.ndarray) -> np.ndarray: ...

    def as_document(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Bundle:
    """A trained model of one component."""

    component: str
    kind: str
    feature_names: tuple[str, ...]
    """Every feature of the set, in the set's order: the columns of `predict`."""
    horizon_d: int
    cutoff: datetime
    """Trained on labels known by then."""
    policy_id: str
    feature_set_id: str
    seed: int
    inputs_hash: str
    """Hash of the matured features and labels it was given."""
    n_rows: int
    n_positives: int
    n_calibration_rows: int
    n_calibration_positives: int
    estimator: Estimator
    calibration: Calibration
    threshold: float
    """Alert from this probability on; above every score where none keeps the budget."""
    feature_low: tuple[float | None, ...]
    feature_high: tuple[float | None, ...]
    """Usual range: 5 % and 95 % of the training rows without failure; None where never known."""

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Calibrated probability of failure within the horizon, shape (n,), float64.

        `features` has shape (n, f), float32, NaN for missing, columns as `feature_names`.

        Raises:
            ModelError: another shape.
        """
        return self.calibration.apply(self.estimator.raw(self._checked(features)))

    def contributions(self, features: np.ndarray) -> np.ndarray:
        """What each feature adds to the log odds before calibration, shape (n, f), float64."""
        return self.estimator.contributions(self._checked(features))

    def _checked(self, features: np.ndarray) -> np.ndarray:
        if features.ndim != 2 or features.shape[1] != len(self.feature_names):
            raise ModelError(
                f"model {self.component}/{self.kind}: expected features of shape (n, {len(self.feature_names)}), "
                f"but got {features.shape}"
            )
        return features.astype(np.float32, copy=False)

    @cached_property
    def _bytes(self) -> bytes:
        document = {name: getattr(self, name) for name in _PLAIN}
        document |= {
            "format": FORMAT,
            "cutoff": self.cutoff.isoformat(),
            "model": self.estimator.as_document(),
            "calibration": self.calibration.as_document(),
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()

    def to_bytes(self) -> bytes:
        """Canonical JSON; the same model gives the same bytes."""
        return self._bytes

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self._bytes).hexdigest()

    @property
    def model_id(self) -> str:
        """First 12 hex digits of the sha256."""
        return self.sha256[:12]

    @staticmethod
    def from_bytes(content: bytes) -> "Bundle":
        """Read what `to_bytes` wrote.

        Raises:
            ModelError: too big, no JSON, another format, or a field that does not fit.
        """
        return _read(content)


_PLAIN: Final[Mapping[str, type]] = {
    "component": str, "kind": str, "feature_names": list, "horizon_d": int, "policy_id": str,
    "feature_set_id": str, "seed": int, "inputs_hash": str, "n_rows": int, "n_positives": int,
    "n_calibration_rows": int, "n_calibration_positives": int, "threshold": float,
    "feature_low": list, "feature_high": list,
}  # fmt: skip
"""Fields that stand in the document as they are, with their JSON type."""


def _read(content: bytes) -> Bundle:
    document = _parse(content)
    fields = {name: _field(document, name, kind) for name, kind in _PLAIN.items()}
    names = tuple(fields.pop("feature_names"))
    low, high = _range(fields.pop("feature_low"), names), _range(fields.pop("feature_high"), names)
    _check_plain(fields, names)
    return Bundle(
        **fields,
        feature_names=names,
        feature_low=low,
        feature_high=high,
        cutoff=_instant(_field(document, "cutoff", str)),
        estimator=_estimator(fields["kind"], _field(document, "model", dict), len(names)),
        calibration=read_calibration(_field(document, "calibration", dict)),
    )


def _parse(content: bytes) -> dict[str, Any]:
    if len(content) > MAXIMUM_BYTES:
        raise ModelError(f"model bundle: expected at most {MAXIMUM_BYTES} bytes, but got {len(content)}")
    try:
        document = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as reason:
        raise ModelError(f"model bundle: expected JSON, but got: {reason}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        got = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise ModelError(f"model bundle: expected format {FORMAT}, but got {got!r}")
    return document


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _field(document: Mapping[str, Any], name: str, kind: type) -> Any:
    value = document.get(name)
    fits = type(value) in (int, float) if kind is float else type(value) is kind
    if not fits:
        raise ModelError(f"model bundle, {name}: expected {kind.__name__}, but got {type(value).__name__}")
    return value


def _check_plain(fields: Mapping[str, Any], names: tuple[str, ...]) -> None:
    if fields["kind"] not in KINDS:
        raise ModelError(f"model bundle: expected a kind of {KINDS}, but got {fields['kind']!r}")
    if not 1 <= len(names) <= MAXIMUM_FEATURES or len(set(names)) != len(names):
        raise ModelError(f"model bundle: expected 1 to {MAXIMUM_FEATURES} different features, but got {len(names)}")
    if not all(isinstance(name, str) for name in names) or fields["horizon_d"] < 1:
        raise ModelError("model bundle: expected feature names as text and a horizon of at least a day, but got others")
    if not math.isfinite(fields["threshold"]) or fields["threshold"] < 0:
        raise ModelError(f"model bundle: expected a threshold of at least 0, but got {fields['threshold']}")


def _range(values: list[Any], names: tuple[str, ...]) -> tuple[float | None, ...]:
    fits = all(value is None or (type(value) in (int, float) and math.isfinite(value)) for value in values)
    if not fits or len(values) != len(names):
        raise ModelError(
            f"model bundle: expected a usual range for {len(names)} features, but got {len(values)} values"
        )
    return tuple(None if value is None else float(value) for value in values)


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise ModelError(f"model bundle, cutoff: expected an instant with its offset, but got {text!r}")
    return instant


def _estimator(kind: str, document: Mapping[str, Any], n_features: int) -> Estimator:
    if kind == "gbm":
        return read_gbm(document, n_features)
    return read_panel(document, n_features) if kind == "panel" else read_rule(document, n_features)
