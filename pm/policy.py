"""The policy: what is decided, read from TOML, frozen and hashed.

What belongs here: values that change results. Where things are (addresses, folders) is
`pm.settings`.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from pm.errors import ConfigError
from pm.sections import load_sections


@dataclass(frozen=True)
class Horizon:
    days: int = 14


@dataclass(frozen=True)
class Telemetry:
    sample_period_s: float = 1.0
    floor: date = date(2000, 1, 1)
    old_conversion_method: int = 3
    future_tolerance_s: float = 300.0
    fault_period_s: float = 10.0


@dataclass(frozen=True)
class Privacy:
    positions: bool = False
    driver_ids: str = "drop"


@dataclass(frozen=True)
class Features:
    windows_d: tuple[int, ...] = (1, 3, 7, 14, 28)
    minimum_days_with_data: int = 3
    stale_after_d: int = 7


@dataclass(frozen=True)
class Labels:
    lag_quantile: float = 0.95
    maximum_lag_d: float = 45.0
    lag_d: float | None = None


@dataclass(frozen=True)
class Backtest:
    first_cutoff_after_d: int = 70
    step_d: int = 21
    embargo_d: int = 14
    calibration_share: float = 0.5
    as_of_step_d: int = 1
    bootstrap_samples: int = 200
    seed: int = 20260105


@dataclass(frozen=True)
class Alerts:
    budget_per_100_vehicles_week: float = 10.0
    lead_days: tuple[int, ...] = (3, 7, 10)


@dataclass(frozen=True)
class Costs:
    missed_breakdown: float = 4200.0
    needless_visit: float = 350.0
    planned_repair: float = 1100.0


@dataclass(frozen=True)
class Gates:
    minimum_positives: int = 10


@dataclass(frozen=True)
class Policy:
    """The whole policy; `policy_id` names its content."""

    horizon: Horizon = Horizon()
    telemetry: Telemetry = Telemetry()
    privacy: Privacy = Privacy()
    features: Features = Features()
    labels: Labels = Labels()
    backtest: Backtest = Backtest()
    alerts: Alerts = Alerts()
    costs: Costs = Costs()
    gates: Gates = Gates()

    def as_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), default=str)

    @property
    def policy_id(self) -> str:
        """First 12 hex digits of the sha256 of the canonical JSON."""
        return hashlib.sha256(self.as_json().encode()).hexdigest()[:12]


def load_policy(path: Path) -> Policy:
    """Read a policy; a key that is not there keeps its default.

    Raises:
        ConfigError: the file cannot be read, names an unknown key, or asks for what cannot hold.
    """
    return _check(load_sections(path, Policy, "policy"), path)


def _check(policy: Policy, path: Path) -> Policy:
    rules = (
        (policy.horizon.days >= 1, "[horizon] days: expected at least 1"),
        (policy.telemetry.old_conversion_method in (1, 2, 3), "[telemetry] old_conversion_method: expected 1, 2 or 3"),
        (policy.privacy.driver_ids in ("drop", "hash"), '[privacy] driver_ids: expected "drop" or "hash"'),
        (policy.backtest.embargo_d >= policy.horizon.days, "[backtest] embargo_d: expected at least the horizon"),
        (policy.backtest.step_d >= 1, "[backtest] step_d: expected at least 1"),
        (policy.backtest.as_of_step_d >= 1, "[backtest] as_of_step_d: expected at least 1"),
        (0 < policy.backtest.calibration_share < 1, "[backtest] calibration_share: expected between 0 and 1"),
        (0 < policy.labels.lag_quantile < 1, "[labels] lag_quantile: expected between 0 and 1"),
    )
    for holds, expected in rules:
        if not holds:
            raise ConfigError(f"policy {path}: {expected}, but the file says otherwise")
    return policy
