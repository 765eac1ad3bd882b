"""The policy: what is decided, read from TOML, frozen and hashed.

What belongs here: values that change results. Where things are (addresses, folders) is
`pm.settings`.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Final

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
class Assumptions:
    """What is checked of the daily aggregates; an action is off, mark or block."""

    schema: str = "block"
    units: str = "block"
    range: str = "mark"
    counters: str = "mark"
    sampling: str = "mark"
    stuck: str = "mark"
    silent: str = "mark"
    nulls: str = "mark"
    recent_d: int = 3
    past_d: int = 28
    minimum_past_d: int = 7
    minimum_peers: int = 3
    profile_d: int = 90
    unit_misfit: float = 5.0
    unit_fit: float = 2.0
    counter_fall: float = 1.0
    counter_kmh: float = 130.0
    rate_factor: float = 2.0
    stuck_d: int = 3
    silent_d: int = 3
    minimum_values: int = 20
    null_share_above: float = 0.2
    fleet_share: float = 0.8

    def action(self, check_name: str) -> str:
        """off, mark or block; `check_name` is one of `CHECKS`."""
        return str(getattr(self, check_name))


CHECKS: Final = ("schema", "units", "range", "counters", "sampling", "stuck", "silent", "nulls")
"""The checks of `[assumptions]`, in the order in which they are shown."""


@dataclass(frozen=True)
class Labels:
    lag_quantile: float = 0.95
    maximum_lag_d: float = 45.0
    lag_d: float | None = None
    booking_days: str = "estimate"
    holidays: tuple[date, ...] = ()
    closures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Backtest:
    first_cutoff_after_d: int = 70
    step_d: int = 21
    embargo_d: int = 14
    calibration_share: float = 0.5
    as_of_step_d: int = 1
    split_by_vehicle: bool = False
    bootstrap_samples: int = 200
    seed: int = 20260105


@dataclass(frozen=True)
class Booster:
    n_trees: int = 80
    num_leaves: int = 4
    learning_rate: float = 0.04
    feature_fraction: float = 0.4
    bagging_fraction: float = 0.7
    lambda_l2: float = 10.0


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
class Audit:
    """What a leak audit runs, and from where on it alarms; docs/audit.md gives the reasons."""

    required: bool = True
    folds: int = 2
    shuffles: int = 3
    permutations: int = 200
    bootstrap_samples: int = 100
    maximum_rows: int = 10_000
    older_d: tuple[int, ...] = (1, 7, 14, 28)
    newer_d: tuple[int, ...] = (7, 14)
    n_rebuilt_as_ofs: int = 3
    alarm_level: float = 0.01
    too_good_pr_auc: float = 0.9
    single_feature_pr_auc: float = 0.9
    single_feature_share: float = 0.95
    concentration: float = 0.5
    identity_correlation: float = 0.9
    sudden_loss: float = 0.75
    unmoved_share: float = 0.9
    new_vehicle_share: float = 0.25


@dataclass(frozen=True)
class Policy:
    """The whole policy; `policy_id` names its content."""

    horizon: Horizon = Horizon()
    telemetry: Telemetry = Telemetry()
    privacy: Privacy = Privacy()
    features: Features = Features()
    assumptions: Assumptions = Assumptions()
    labels: Labels = Labels()
    backtest: Backtest = Backtest()
    booster: Booster = Booster()
    alerts: Alerts = Alerts()
    costs: Costs = Costs()
    gates: Gates = Gates()
    audit: Audit = Audit()

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
        (policy.backtest.first_cutoff_after_d >= 1, "[backtest] first_cutoff_after_d: expected at least 1"),
        (policy.backtest.bootstrap_samples >= 0, "[backtest] bootstrap_samples: expected at least 0"),
        (min(asdict(policy.costs).values()) >= 0, "[costs]: expected amounts of at least 0"),
        (policy.backtest.step_d >= 1, "[backtest] step_d: expected at least 1"),
        (policy.backtest.as_of_step_d >= 1, "[backtest] as_of_step_d: expected at least 1"),
        (0 < policy.backtest.calibration_share < 1, "[backtest] calibration_share: expected between 0 and 1"),
        (1 <= policy.booster.n_trees <= 5000, "[booster] n_trees: expected 1 to 5000"),
        (2 <= policy.booster.num_leaves <= 4096, "[booster] num_leaves: expected 2 to 4096"),
        (0 < policy.booster.learning_rate <= 1, "[booster] learning_rate: expected above 0, at most 1"),
        (0 < policy.booster.feature_fraction <= 1, "[booster] feature_fraction: expected above 0, at most 1"),
        (0 < policy.booster.bagging_fraction <= 1, "[booster] bagging_fraction: expected above 0, at most 1"),
        (0 < policy.labels.lag_quantile < 1, "[labels] lag_quantile: expected between 0 and 1"),
        *_assumption_rules(policy.assumptions),
        *_audit_rules(policy.audit),
        (
            policy.labels.booking_days in ("estimate", "any", "weekdays", "month_end"),
            '[labels] booking_days: expected "estimate", "any", "weekdays" or "month_end"',
        ),
    )
    for holds, expected in rules:
        if not holds:
            raise ConfigError(f"policy {path}: {expected}, but got {_got(policy, expected)}")
    return policy


def _got(policy: Policy, expected: str) -> str:
    """The values that a rule's sentence begins with: `[section] key, key: expected …`, or those of the section."""
    place = expected.split(":", maxsplit=1)[0]
    section, keys = place[1 : place.index("]")], place[place.index("]") + 1 :].strip()
    given = getattr(policy, section)
    found = {key: getattr(given, key, None) for key in keys.split(", ")} if keys else asdict(given)
    return " and ".join(str(value) for value in found.values()) if len(found) <= 2 else str(found)


def _assumption_rules(given: Assumptions) -> tuple[tuple[bool, str], ...]:
    actions = tuple(
        (given.action(name) in ("off", "mark", "block"), f'[assumptions] {name}: expected "off", "mark" or "block"')
        for name in CHECKS
    )
    days = ("recent_d", "past_d", "minimum_past_d", "minimum_peers", "profile_d", "stuck_d", "silent_d")
    at_least_1 = tuple((getattr(given, name) >= 1, f"[assumptions] {name}: expected at least 1") for name in days)
    return (
        *actions,
        *at_least_1,
        (
            max(given.stuck_d, given.silent_d) <= given.recent_d,
            "[assumptions] stuck_d, silent_d: expected recent_d or less",
        ),
        (given.minimum_past_d <= given.past_d, "[assumptions] minimum_past_d: expected past_d or less"),
        (given.unit_fit < given.unit_misfit <= 10, "[assumptions] unit_misfit: expected above unit_fit, 10 or less"),
        (given.rate_factor > 1, "[assumptions] rate_factor: expected above 1"),
        (0 < given.fleet_share <= 1, "[assumptions] fleet_share: expected above 0, 1 or less"),
    )


def _audit_rules(given: Audit) -> tuple[tuple[bool, str], ...]:
    counts = ("folds", "shuffles", "permutations", "bootstrap_samples", "maximum_rows", "n_rebuilt_as_ofs")
    shares = (
        "alarm_level", "too_good_pr_auc", "single_feature_pr_auc", "single_feature_share", "concentration",
        "identity_correlation", "sudden_loss", "unmoved_share", "new_vehicle_share",
    )  # fmt: skip
    return (
        *((getattr(given, name) >= 1, f"[audit] {name}: expected at least 1") for name in counts),
        *((0 < getattr(given, name) <= 1, f"[audit] {name}: expected above 0, 1 or less") for name in shares),
        (
            given.alarm_level * (given.permutations + 1) >= 1,
            "[audit] permutations: expected enough for a p-value as small as alarm_level",
        ),
        (bool(given.older_d), "[audit] older_d: expected at least one shift"),
    )
