"""Why a score is what it is: the features that moved it, in sentences a fleet manager understands.

What belongs here: choosing and wording reasons. The contributions themselves come from the model
(`Bundle.contributions`, TreeSHAP for a booster: Lundberg et al. 2020, doi:10.1038/s42256-019-0138-9).
"""

import json
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

AT_MOST = 5
AT_LEAST = 3


class Described(Protocol):
    """What a reason needs to know of a feature (`pm.features.featureset.Feature`)."""

    @property
    def name(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def meaning(self) -> str: ...


@dataclass(frozen=True)
class Reason:
    """One feature's part in a score; `contribution` is in the model's own scale (log-odds)."""

    feature: str
    meaning: str
    unit: str
    value: float | None
    usual_low: float | None
    usual_high: float | None
    contribution: float
    sentence: str


def explain_row(
    features: tuple[Described, ...],
    values: npt.NDArray[np.float32],
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
    contributions: npt.NDArray[np.float64],
) -> tuple[Reason, ...]:
    """The three to five features that say most about one score; arrays have one entry a feature.

    Features that raise the score come first, strongest first. Where fewer than three do, the
    strongest of those that lower it follow. A feature without any part in the score is no reason,
    so a rule that looks at no feature has none.
    """
    order = np.argsort(-contributions, kind="stable")
    raising = [int(at) for at in order if contributions[at] > 0][:AT_MOST]
    lowering = [int(at) for at in order[::-1] if contributions[at] < 0]
    chosen = raising + lowering[: max(0, AT_LEAST - len(raising))]
    return tuple(
        _reason(features[at], _number(values[at]), _number(low[at]), _number(high[at]), float(contributions[at]))
        for at in chosen
    )


def reasons_json(reasons: tuple[Reason, ...]) -> str:
    """The `reasons_json` document of a prediction."""
    return json.dumps([asdict(reason) for reason in reasons], separators=(",", ":"), allow_nan=False)


def _reason(
    feature: Described, value: float | None, low: float | None, high: float | None, contribution: float
) -> Reason:
    sentence = describe(feature, value, low, high)
    return Reason(feature.name, feature.meaning, feature.unit, value, low, high, contribution, sentence)


def describe(feature: Described, value: float | None, low: float | None, high: float | None) -> str:
    """For instance `Coolant temperature, 3-day maximum: 109 degC, usually 84 to 101`."""
    meaning = feature.meaning[:1].upper() + feature.meaning[1:].rstrip(".")
    said = "no value" if value is None else f"{_plain(value)}{_unit_words(feature)}"
    if low is None or high is None:
        return f"{meaning}: {said}"
    usual = _plain(low) if _plain(low) == _plain(high) else f"{_plain(low)} to {_plain(high)}"
    return f"{meaning}: {said}, usually {usual}"


def _unit_words(feature: Described) -> str:
    """The unit as written after a value; none for a plain number or a count of days that says so."""
    if feature.unit in ("", "1") or (feature.unit == "d" and feature.meaning.startswith("days")):
        return ""
    return " days" if feature.unit == "d" else f" {feature.unit}"


def _number(value: np.floating) -> float | None:
    """Null for what is not a finite number; float32 is widened by its shortest decimal."""
    return float(str(value)) if np.isfinite(value) else None


def _plain(value: float) -> str:
    """Three significant digits, whole above 100, never an exponent: 0.0412, 4.12, 41.2, 41,235."""
    if value == 0:
        return "0"
    decimals = min(6, max(0, 2 - int(np.floor(np.log10(abs(value))))))
    text = f"{value:,.{decimals}f}"
    shown = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if shown in {"-0", ""} else shown
