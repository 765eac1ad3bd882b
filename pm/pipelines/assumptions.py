"""Daily aggregates -> what of the assumptions about them holds at an as-of, and who may not be scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from pm.errors import DataError
from pm.features.assumptions import (
    FLEET,
    TrainingProfile,
    blocked_vehicles,
    check_assumptions,
    fleet_block,
    lookback_start,
    make_profile,
)
from pm.features.featureset import FeatureSet
from pm.pipelines.feature_sets import set_in_use
from pm.policy import Policy
from pm.progress import Track, silent
from pm.store import assumptions, registry, vehicles
from pm.store.connection import Connection, transaction


@dataclass(frozen=True)
class AssumptionsReport:
    """What was found at one as-of."""

    as_of: datetime
    profile_id: str | None
    n_written: int
    status_by_check: dict[str, str]
    n_marked: int
    n_blocked: int
    blocked_vehicles: dict[int, str]
    fleet_blocked: str | None


def check_daily(
    conn: Connection,
    as_ofs: Sequence[datetime],
    policy: Policy,
    *,
    checked_at: datetime,
    configured: FeatureSet | None = None,
    track: Track = silent,
) -> tuple[AssumptionsReport, ...]:
    """Check the aggregates known at each as-of and store what was found; one report an as-of.

    Args:
        configured: the feature set where none was chosen; None: the shipped truck set. Its quantities are what
            may block, and its newest training profile, of those made by then, is compared with.
    """
    in_use = set_in_use(conn, policy, configured)
    known_vehicles, signals = vehicles.fetch_vehicles(conn), assumptions.fetch_declared(conn)
    registry.put_policy(conn, policy)
    reports = []
    for as_of in track(as_ofs, "assumptions", len(as_ofs)):
        profile = assumptions.newest_profile(conn, in_use.feature_set_id, as_of)
        found = check_assumptions(
            _daily(conn, as_of, policy),
            as_of,
            vehicles=known_vehicles,
            signals=signals,
            policy=policy,
            checked_at=checked_at,
            profile=profile,
            quantities=in_use.quantities,
        )
        with transaction(conn):
            n_written = assumptions.replace_assumptions(conn, as_of, found)
        reports.append(_report(as_of, profile, n_written, found))
    return tuple(reports)


def freeze_profile(
    conn: Connection,
    cutoff: datetime,
    policy: Policy,
    *,
    feature_set: FeatureSet,
    created_at: datetime,
) -> TrainingProfile:
    """Sum up the last driving days known at `cutoff` and store it, for checks of as-ofs from then on."""
    n_days = policy.assumptions.profile_d
    daily = assumptions.fetch_checked_daily(
        conn, start=lookback_start(cutoff, n_days), end=cutoff.date(), known_by=cutoff
    )
    profile = make_profile(
        daily,
        cutoff,
        feature_set_id=feature_set.feature_set_id,
        vehicles=vehicles.fetch_vehicles(conn),
        quantities=feature_set.quantities,
        profile_d=n_days,
    )
    assumptions.put_profile(conn, profile, created_at=created_at)
    return profile


def require_fleet_unblocked(conn: Connection, as_ofs: Sequence[datetime]) -> None:
    """
    Raises:
        DataError: the check of one of these as-ofs blocked the whole fleet.
    """
    blocking = assumptions.fetch_blocking(conn, as_ofs)
    for as_of in sorted(set(blocking["as_of"].to_list())):
        reason = fleet_block(blocking.filter(pl.col("as_of") == as_of))
        if reason is not None:
            raise DataError(
                f"{as_of.isoformat()}: expected daily aggregates that can be used, but the whole fleet is "
                f"blocked: {reason}; see `pm check`, and [assumptions] in the policy"
            )


def withheld_vehicles(conn: Connection, as_of: datetime) -> dict[int, str]:
    """The vehicles that must not be scored at `as_of`, with the reason; empty where nothing was checked."""
    return blocked_vehicles(assumptions.fetch_blocking(conn, [as_of]))


def _daily(conn: Connection, as_of: datetime, policy: Policy) -> pl.DataFrame:
    given = policy.assumptions
    start = lookback_start(as_of, given.recent_d + given.past_d)
    return assumptions.fetch_checked_daily(conn, start=start, end=as_of.date(), known_by=as_of)


def _report(as_of: datetime, profile: TrainingProfile | None, n_written: int, found: pl.DataFrame) -> AssumptionsReport:
    of_fleet, of_vehicles = (found.filter((pl.col("vehicle_id") == FLEET) == is_fleet) for is_fleet in (True, False))
    return AssumptionsReport(
        as_of,
        profile.profile_id if profile else None,
        n_written,
        dict(of_fleet.select("check_name", "status").iter_rows()),
        int((of_vehicles["status"] == "mark").sum()),
        int((of_vehicles["status"] == "block").sum()),
        blocked_vehicles(found),
        fleet_block(found),
    )
