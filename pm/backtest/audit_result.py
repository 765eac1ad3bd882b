"""What an audit says: checks, each with its status, a sentence and figures.

What belongs here: the types and how statuses add up. What is checked is its neighbours `audit_*`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from pm.backtest.figures import Figure

Status = Literal["pass", "warn", "fail", "not_possible"]
STATUSES: Final[tuple[Status, ...]] = ("fail", "warn", "pass", "not_possible")
"""Worst first; a check that was not possible says nothing, so it is the mildest."""

NAMES: Final[Mapping[str, str]] = {
    "honest": "Is the result too good?",
    "random_split": "What would a random row split report?",
    "separation": "Do training and test rows overlap?",
    "shuffled_labels": "Does it fall to chance with shuffled labels?",
    "time_shift": "How does it react to older and newer features?",
    "single_feature": "Does one feature carry it?",
    "identity": "Does a feature name the vehicle?",
    "new_vehicles": "Does it hold on vehicles never seen?",
    "arrivals": "Is every feature known at its as-of?",
    "label_clock": "Were the labels known when they were used?",
}
"""Check by its key: the question it answers."""


@dataclass(frozen=True)
class Check:
    """One question and its answer."""

    name: str
    """Key of NAMES."""
    component: str | None
    """None: about all components at once."""
    status: Status
    sentence: str
    figures: Mapping[str, Figure] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    """The features that an alarm is about, worst first."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able."""

    def as_document(self) -> dict[str, Any]:
        """JSON-able content."""
        return {
            "name": self.name,
            "component": self.component,
            "status": self.status,
            "sentence": self.sentence,
            "figures": {name: one.as_document() for name, one in self.figures.items()},
            "features": list(self.features),
            "details": dict(self.details),
        }


@dataclass(frozen=True)
class AuditResult:
    """A whole audit; the same inputs give the same result, whoever ran the components."""

    policy_id: str
    feature_set_id: str
    known_until: datetime
    seed: int
    cutoffs: tuple[str, ...]
    """Cutoffs of the folds that were audited."""
    components: tuple[str, ...]
    checks: tuple[Check, ...]
    quick: bool = False
    """Made with one cutoff and fewer runs."""

    @property
    def status(self) -> Status:
        """The worst of all checks."""
        return worst([check.status for check in self.checks])

    def status_of(self, component: str) -> Status:
        """The worst of a component's own checks and of those about all; not_possible without a result of its own."""
        own = [check.status for check in self.checks if check.component == component]
        shared = worst([check.status for check in self.checks if check.component is None])
        mine = worst(own)
        return mine if mine == "not_possible" and shared != "fail" else worst([mine, shared])

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The sentences of all alarms, failures first, then of what could not be checked; or that there is none."""
        alarms = [check.sentence for status in ("fail", "warn") for check in self.checks if check.status == status]
        unknown = [check.sentence for check in self.checks if check.status == "not_possible"]
        first = alarms or (["No leak was found."] if self.status == "pass" else [])
        return (*first, *unknown)

    @property
    def audit_id(self) -> str:
        """First 12 hex digits of the sha256 of the content."""
        return hashlib.sha256(json.dumps(self._content(), sort_keys=True).encode()).hexdigest()[:12]

    def as_document(self) -> dict[str, Any]:
        """JSON-able content."""
        return {"audit_id": self.audit_id, **self._content()}

    def _content(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "verdicts": list(self.verdicts),
            "status_of": {component: self.status_of(component) for component in self.components},
            "policy_id": self.policy_id,
            "feature_set_id": self.feature_set_id,
            "known_until": self.known_until.isoformat(),
            "seed": self.seed,
            "quick": self.quick,
            "cutoffs": list(self.cutoffs),
            "components": list(self.components),
            "checks": [check.as_document() for check in self.checks],
        }


def worst(statuses: Sequence[Status]) -> Status:
    """The worst; not_possible where there is none."""
    return next((status for status in STATUSES if status in statuses), "not_possible")


def number_text(figure: Figure) -> str:
    """A figure in a sentence: value with its interval, or a dash."""
    if figure.value is None:
        return f"– ({figure.reason})"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} [{figure.low:.3f} to {figure.high:.3f}]"
