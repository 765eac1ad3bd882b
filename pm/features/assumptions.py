"""What the features assume of the daily aggregates, checked at the door.

What belongs here: the order of the checks, and how their findings become `ASSUMPTION` rows under the
policy. What a single check looks at is `pm.features.checks`. Only rows known at the as-of count, so
that what arrives later changes no earlier result.

Every check leaves one row of the whole fleet (vehicle 0), so that a check that was switched off or had
nothing to look at is seen; each subject of which an assumption does not hold has one more. A check
whose action is "block" blocks a vehicle, and the fleet where the frame itself is wrong or a large share
of the vehicles is blocked. Only signals that features are made of block; others are marked.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import polars as pl

from pm.asof import known, require_instant
from pm.errors import LeakageError
from pm.features.checks import plausible
from pm.features.checks.counters import check_counter_units, check_counters, counter_steps
from pm.features.checks.days import Numbers, SubjectDays, lay_out, lookback_start
from pm.features.checks.declared import check_declared, sound
from pm.features.checks.finding import Checked, Finding
from pm.features.checks.liveness import check_nulls, check_sampling, check_silent, check_stuck
from pm.features.checks.profile import ProfileOfSubjects, TrainingProfile, make_profile, of_subjects, read_profile
from pm.features.checks.ranges import check_range
from pm.features.checks.units import check_units
from pm.features.quantities import QUANTITIES, Quantity
from pm.policy import CHECKS, Assumptions, Policy
from pm.schema import Table
from pm.tables import ASSUMPTION, DAILY_SIGNAL

__all__ = [
    "CHECKED_DAILY",
    "FLEET",
    "TrainingProfile",
    "blocked_vehicles",
    "check_assumptions",
    "fleet_block",
    "lookback_start",
    "make_profile",
    "read_profile",
]

FLEET: Final = 0
"""The vehicle_id of rows that speak of the whole fleet."""
_MINIMUM_BLOCKED: Final = 3
"""Fewer blocked vehicles never block the fleet, whatever share of it they are."""
_LOOKED_AT: Final = (
    "vehicle_id", "day", "log_file_id", "known_at", "message", "signal", "channel", "source_address", "n_values",
    "mean", "m2", "minimum", "maximum", "first_at", "last_at", "first_value", "last_value",
)  # fmt: skip
_DIAGNOSTIC: Final = r"^DM\d{1,2}(_|$)"
"""Messages of J1939-73 by the name they have there: they come and go with trouble codes, which no sensor does."""
CHECKED_DAILY: Final = Table(
    DAILY_SIGNAL.name,
    DAILY_SIGNAL.meaning,
    DAILY_SIGNAL.key,
    tuple(column for column in DAILY_SIGNAL.columns if column.name in _LOOKED_AT),
)
"""The columns of DAILY_SIGNAL that are looked at."""


def check_assumptions(
    daily: pl.DataFrame,
    as_of: datetime,
    *,
    vehicles: pl.DataFrame,
    signals: pl.DataFrame,
    policy: Policy,
    checked_at: datetime,
    profile: TrainingProfile | None = None,
    quantities: Sequence[Quantity] = QUANTITIES,
) -> pl.DataFrame:
    """`ASSUMPTION` rows of one as-of, by key.

    Args:
        daily: CHECKED_DAILY of the days from `lookback_start` on; older days, and rows known later, change nothing.
        vehicles: VEHICLE.
        signals: SIGNAL, the declared units and ranges.
        profile: of the models in use; None where there is none, then what needs it is not checked.
        quantities: what features are made of.

    Raises:
        LeakageError: the profile is of a later cutoff than `as_of`.
    """
    require_instant(as_of, "as_of")
    if profile is not None and profile.as_of > as_of:
        raise LeakageError(f"training profile: expected one made by {as_of}, but got one of {profile.as_of}")
    seen = _seen(daily, as_of, policy.assumptions)
    checked = _run(seen, as_of, _Declared(vehicles, signals, profile, quantities), policy)
    fleet = _Fleet.of(seen, as_of, policy.assumptions, quantities)
    rows = [row for name in CHECKS for row in _rows(name, checked[name], fleet)]
    made = {"as_of": as_of, "checked_at": checked_at, "policy_id": policy.policy_id}
    return ASSUMPTION.frame([row | made for row in rows]).sort(ASSUMPTION.key)


def blocked_vehicles(assumptions: pl.DataFrame) -> dict[int, str]:
    """Of the ASSUMPTION rows of one as-of, each blocked vehicle with the reasons."""
    rows = assumptions.filter((pl.col("status") == "block") & (pl.col("vehicle_id") != FLEET)).sort(ASSUMPTION.key)
    reasons: dict[int, str] = {}
    for row in rows.iter_rows(named=True):
        name = ".".join(filter(None, (row["message"], row["signal"])))
        said = f"{row['check_name']}: {name + ': ' if name else ''}{row['reason']}"
        reasons[row["vehicle_id"]] = "; ".join(filter(None, (reasons.get(row["vehicle_id"]), said)))
    return reasons


def fleet_block(assumptions: pl.DataFrame) -> str | None:
    """Why the whole fleet is blocked, from the ASSUMPTION rows of one as-of; None: it is not."""
    rows = assumptions.filter((pl.col("status") == "block") & (pl.col("vehicle_id") == FLEET)).sort(ASSUMPTION.key)
    return "; ".join(f"{row['check_name']}: {row['reason']}" for row in rows.iter_rows(named=True)) or None


@dataclass(frozen=True)
class _Fleet:
    """What turns findings into rows."""

    given: Assumptions
    sources: frozenset[tuple[str, str]]
    n_vehicles: int
    known_at: datetime

    @classmethod
    def of(cls, seen: pl.DataFrame, as_of: datetime, given: Assumptions, quantities: Sequence[Quantity]) -> "_Fleet":
        """The fleet whose rows are `seen`, which need not fit their declaration."""
        n_vehicles = seen["vehicle_id"].n_unique() if "vehicle_id" in seen.columns else 0
        latest = seen["known_at"].max() if _has_clocks(seen) else None
        known_at = latest if isinstance(latest, datetime) else as_of
        return cls(given, frozenset(plausible.sources_of(quantities)), n_vehicles, known_at)


def _has_clocks(daily: pl.DataFrame) -> bool:
    return all(daily.schema.get(name) == CHECKED_DAILY.schema[name] for name in ("known_at", "day"))


def _seen(daily: pl.DataFrame, as_of: datetime, given: Assumptions) -> pl.DataFrame:
    """The rows that count: known at `as_of`, of the days looked back on; all of a frame that has no clocks."""
    if not _has_clocks(daily):
        return daily
    first = lookback_start(as_of, given.recent_d + given.past_d)
    return known(daily, as_of).filter(pl.col("day").is_between(first, as_of.date(), closed="left"))


@dataclass(frozen=True)
class _Declared:
    """What daily values are held against."""

    vehicles: pl.DataFrame
    signals: pl.DataFrame
    profile: TrainingProfile | None
    quantities: Sequence[Quantity]


def _run(rows: pl.DataFrame, as_of: datetime, declared: _Declared, policy: Policy) -> dict[str, Checked]:
    """What each check says."""
    tolerance = timedelta(seconds=policy.telemetry.future_tolerance_s)
    schema = check_declared(rows, CHECKED_DAILY, as_of, tolerance)
    if schema.whole_fleet:
        nothing = Checked((), 0, 0, 1, "the daily aggregates are not what is declared")
        return dict.fromkeys(CHECKS, nothing) | {"schema": schema}
    return {"schema": schema, **_run_on_days(sound(rows, tolerance), as_of, declared, policy.assumptions)}


def _run_on_days(rows: pl.DataFrame, as_of: datetime, declared: _Declared, given: Assumptions) -> dict[str, Checked]:
    quantities, n_days = declared.quantities, given.recent_d + given.past_d
    rows = rows.filter(~pl.col("message").str.contains(_DIAGNOSTIC))
    days = lay_out(rows, as_of, vehicles=known(declared.vehicles, as_of), quantities=quantities, n_days=n_days)
    beside = None if declared.profile is None else _beside(declared.profile, days, given)
    counters = plausible.counters(quantities, given.counter_kmh)
    steps = counter_steps(rows, as_of, counters)
    low, high, units = _declared_of(days, declared.signals, quantities)
    levels = check_units(days, units, days.of(list(counters)), given, None if beside is None else beside.reference)
    unit_of = dict(zip(days.signals.iter_rows(), units, strict=True))
    return {
        "units": _joined(levels, check_counter_units(steps, unit_of, given)),
        "range": check_range(days, low, high, units, given),
        "counters": check_counters(steps, as_of, given),
        "sampling": check_sampling(days, given, None if beside is None else beside.rows_an_hour),
        "stuck": check_stuck(
            days,
            np.array([unit != "" for unit in units], dtype=np.bool_),
            given,
            None if beside is None else beside.usually_varies,
        ),
        "silent": check_silent(days, given),
        "nulls": check_nulls(days, given, None if beside is None else beside.null_share),
    }


def _beside(profile: TrainingProfile, days: SubjectDays, given: Assumptions) -> ProfileOfSubjects:
    return of_subjects(profile, days, minimum_days=given.minimum_past_d, minimum_vehicles=given.minimum_peers)


def _joined(first: Checked, second: Checked) -> Checked:
    return replace(
        first,
        findings=first.findings + second.findings,
        n_checked=first.n_checked + second.n_checked,
        n_rows=first.n_rows + second.n_rows,
    )


def _declared_of(
    days: SubjectDays, signals: pl.DataFrame, quantities: Sequence[Quantity]
) -> tuple[Numbers, Numbers, tuple[str, ...]]:
    """The narrower range and the unit of each subject; NaN: an end that nothing declares."""
    declared = signals.select("message", "signal", "unit", "minimum", "maximum")
    narrow = pl.DataFrame(
        [(*name, *ends) for name, ends in plausible.range_by_signal(quantities).items()],
        schema={"message": pl.String, "signal": pl.String, "low": pl.Float64, "high": pl.Float64},
        orient="row",
    )
    found = days.signals
    for table in (declared, narrow):
        found = found.join(table, on=("message", "signal"), how="left", maintain_order="left")
    low = found.select(pl.max_horizontal("minimum", "low")).to_series()
    high = found.select(pl.min_horizontal("maximum", "high")).to_series()
    ends = (np.asarray(end.cast(pl.Float64).fill_null(np.nan).to_numpy()) for end in (low, high))
    return *ends, tuple(found["unit"].fill_null("").to_list())  # type: ignore[return-value]


def _rows(name: str, checked: Checked, fleet: _Fleet) -> list[dict[str, object]]:
    """The fleet's row of one check, then those of its findings."""
    action = fleet.given.action(name)
    if action == "off":
        return [_fleet_row(name, "not_checked", Checked((), 0), fleet, "switched off by the policy")]
    if checked.whole_fleet:
        return [_fleet_row(name, action, checked, fleet, checked.findings[0].reason)]
    statuses = [_status(finding, action, fleet.sources) for finding in checked.findings]
    rows = [
        asdict(finding) | {"check_name": name, "status": status}
        for finding, status in zip(checked.findings, statuses, strict=True)
    ]
    blocked = {row["vehicle_id"] for row in rows if row["status"] == "block"}
    said = _summary(checked, statuses, len(blocked))
    return [_fleet_row(name, _fleet_status(checked, len(blocked), fleet), checked, fleet, said), *rows]


def _status(finding: Finding, action: str, sources: frozenset[tuple[str, str]]) -> str:
    if action == "block" and finding.signal and (finding.message, finding.signal) not in sources:
        return "mark"
    return action


def _fleet_status(checked: Checked, n_blocked: int, fleet: _Fleet) -> str:
    if not checked.n_checked:
        return "not_checked"
    if n_blocked >= max(_MINIMUM_BLOCKED, fleet.given.fleet_share * fleet.n_vehicles):
        return "block"
    return "mark" if checked.findings else "pass"


def _summary(checked: Checked, statuses: Sequence[str], n_blocked: int) -> str:
    if not checked.n_checked and not checked.n_not_checked:
        return "there is nothing to look at: no daily values of the days looked back on are known"
    counts = Counter(statuses)
    said = f"{checked.n_checked:,} checked, {counts['mark']} marked, {counts['block']} blocked"
    said += f" (vehicles: {n_blocked})" if n_blocked else ""
    return f"{said}; {checked.n_not_checked:,} not checked: {checked.why_not}" if checked.n_not_checked else said


def _fleet_row(name: str, status: str, checked: Checked, fleet: _Fleet, reason: str) -> dict[str, object]:
    return {
        "check_name": name, "vehicle_id": FLEET, "message": "", "signal": "", "source_address": -1, "status": status,
        "value": float(len(checked.findings)), "expected_high": 0.0, "unit": "", "n_rows": checked.n_rows,
        "reason": reason, "known_at": fleet.known_at,
    }  # fmt: skip
