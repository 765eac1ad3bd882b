"""Does the component fail within the horizon? The label's state as known at one instant.

What belongs here: `FAILURE` versions in, `LABEL` rows out, and what changed since the rows stored
before. When a label may be trained on is `pm.labels.maturation`.

A row of (vehicle, component, as_of a, horizon H) at knowledge time k is
  positive  a failure with failed_at in (a, a + H] is known by k
  censored  else, if the vehicle left, or the component was renewed by plan or in a campaign, in
            (a, a + H] (known by k), or observation ended before a + H and k is past it; or a failure
            is dated after a + H on the first day after closed ones that began before a + H, so that
            nobody knows on which side it happened
  negative  else, if k >= a + H + lag and the bookings due then are over (`pm.labels.booking`)
  pending   else
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from pm.asof import known, latest_known, require_instant
from pm.labels.booking import ANY_TIME, Booking, Calendar
from pm.labels.maturation import ripe_at
from pm.policy import Policy
from pm.schema import UTC_INSTANT
from pm.tables import FAILURE, LABEL, VEHICLE

_LINE: Final = ("source_system", "work_order_id", "line_no")
_SAID: Final = ("vehicle_id", "component", "kind", "failed_at")
"""What a version says about labels; one that changes something else begins nothing new."""
_ROW: Final = ("vehicle_id", "component", "as_of")
_LABEL: Final = (*_ROW, "horizon_d")
_INSTANTS: Final = {"as_of": UTC_INSTANT, "ripe_at": UTC_INSTANT}
_RENEWED: Final = ("planned", "campaign")
_TICK: Final = timedelta(microseconds=1)


def label_rows(
    as_ofs: Sequence[datetime],
    *,
    vehicles: pl.DataFrame,
    failures: pl.DataFrame,
    components: Sequence[str],
    known_at: datetime,
    observed_until: datetime,
    lag_d: float,
    policy: Policy,
    booking: Booking = ANY_TIME,
) -> pl.DataFrame:
    """`LABEL` as known at `known_at`: one row a vehicle, component and as-of, in key order.

    The column known_at is the instant from which the state held: for a positive when that failure
    became known, for a negative `ripe_at` (or the later instant at which a failure was taken
    back), for pending and censored the given `known_at`.

    No row where the vehicle was not in the fleet at a, or was broken or in the workshop then
    (failed_at <= a < restored_at of any visit known by `known_at`; a visit without restored_at ends
    `policy.labels.maximum_lag_d` after it began).

    Args:
        failures: `FAILURE`, all versions.
        observed_until: end of the record: failures after it could not have been seen.
        booking: the days on which failures are recorded and dated, from the lag's estimate.

    Raises:
        DataError: a frame does not fit its table, or an instant carries no UTC.
    """
    for name, instant in (("known_at", known_at), ("observed_until", observed_until)):
        require_instant(instant, name)
    fleet = known(VEHICLE.check(vehicles), known_at)
    versions = FAILURE.check(failures)
    rows = _grid(as_ofs, fleet, components, known_at, policy, lag_d=lag_d, booking=booking)
    rows = _drop_in_workshop(rows, latest_known(versions, known_at, _LINE), policy)
    spells = _with_undated(_spells(known(versions, known_at)), booking.dated)
    state = _with_state(rows, spells, known_at, observed_until)
    return LABEL.check(state.sort(LABEL.key))


def changed_labels(stored: pl.DataFrame, now: pl.DataFrame, *, known_at: datetime | None = None) -> pl.DataFrame:
    """The rows of `now` to append to the history `stored` (`LABEL` both), in key order.

    A row is appended where the label is new, or its state or failed_at differs from the latest
    stored. History only grows: what was stored as true at an instant stays true for it, so the new
    row's known_at is after the stored one's.

    Args:
        known_at: the knowledge time of `now`. If given, a stored label that is no row of `now` any
            more (the vehicle turned out to be broken then) is appended as censored; `stored` must
            then hold only the as-ofs and components that `now` was made for.
    """
    latest = LABEL.check(stored).sort(LABEL.key).unique(list(_LABEL), keep="last", maintain_order=True)
    before = latest.rename({"known_at": "was_known_at", "state": "was", "failed_at": "was_failed_at"})
    both = LABEL.check(now).join(before, on=_LABEL, how="left")
    changed = both.filter(
        pl.col("was").is_null()
        | (pl.col("was") != pl.col("state"))
        | pl.col("was_failed_at").ne_missing(pl.col("failed_at"))
    )
    parts = [changed] if known_at is None else [changed, _vanished(before, now, known_at)]
    grown = pl.concat([part.select(*changed.columns) for part in parts]).with_columns(
        known_at=pl.max_horizontal("known_at", pl.col("was_known_at") + _TICK)
    )
    return LABEL.check(grown.sort(LABEL.key))


def _vanished(before: pl.DataFrame, now: pl.DataFrame, known_at: datetime) -> pl.DataFrame:
    gone = before.join(now, on=_LABEL, how="anti").filter(pl.col("was") != "censored")
    return gone.with_columns(
        known_at=pl.lit(known_at, UTC_INSTANT), state=pl.lit("censored"), failed_at=pl.lit(None, UTC_INSTANT)
    )


def _spells(failures: pl.DataFrame) -> pl.DataFrame:
    """What each line said, from when (known_at) until a later version said otherwise (ended_at; null: still)."""
    ordered = failures.sort([*_LINE, "known_at"])
    same_line = pl.all_horizontal(pl.col(name) == pl.col(name).shift(1) for name in _LINE)
    same = same_line & pl.all_horizontal(pl.col(name) == pl.col(name).shift(1) for name in _SAID)
    begins = ordered.filter(~same.fill_null(value=False))
    next_same_line = pl.all_horizontal(pl.col(name) == pl.col(name).shift(-1) for name in _LINE)
    return begins.with_columns(ended_at=pl.when(next_same_line).then(pl.col("known_at").shift(-1))).select(
        *_SAID, "ended_at", since="known_at"
    )


def _with_undated(spells: pl.DataFrame, dated: Calendar) -> pl.DataFrame:
    """Adds undated_since: where the closed days begin on which the failure may have happened; null: on its day."""
    instants = spells["failed_at"].unique()
    since = pl.Series([dated.undated_since(instant) for instant in instants], dtype=UTC_INSTANT)
    return spells.join(pl.DataFrame({"failed_at": instants, "undated_since": since}), on="failed_at", how="left")


def _grid(
    as_ofs: Sequence[datetime],
    fleet: pl.DataFrame,
    components: Sequence[str],
    known_at: datetime,
    policy: Policy,
    *,
    lag_d: float,
    booking: Booking,
) -> pl.DataFrame:
    instants = [require_instant(as_of, "as_of") for as_of in sorted(set(as_ofs))]
    left_known = pl.when(pl.col("left_at") <= known_at).then("left_at")
    horizon_d = policy.horizon.days
    ripe = [ripe_at(as_of, horizon_d, lag_d, booking) for as_of in instants]
    return (
        fleet.select("vehicle_id", "in_service_at", left_at=left_known)
        .join(pl.DataFrame({"as_of": instants, "ripe_at": ripe}, schema=_INSTANTS), how="cross")
        .filter(
            pl.col("in_service_at").is_null() | (pl.col("in_service_at") <= pl.col("as_of")),
            pl.col("left_at").is_null() | (pl.col("left_at") > pl.col("as_of")),
        )
        .join(pl.DataFrame({"component": sorted(set(components))}, schema={"component": pl.String}), how="cross")
        .with_columns(
            horizon_d=pl.lit(horizon_d, pl.Int16), horizon_end=pl.col("as_of") + timedelta(days=horizon_d)
        )
    )  # fmt: skip


def _drop_in_workshop(rows: pl.DataFrame, current: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    longest = timedelta(days=policy.labels.maximum_lag_d)
    visits = current.filter(pl.col("kind") != "withdrawn").select(
        "vehicle_id", "failed_at", until=pl.coalesce("restored_at", pl.col("failed_at") + longest)
    )
    places = rows.select("vehicle_id", "as_of").unique()
    blocked = (
        places.join(visits, on="vehicle_id")
        .filter(pl.col("failed_at") <= pl.col("as_of"), pl.col("as_of") < pl.col("until"))
        .select("vehicle_id", "as_of")
        .unique()
    )
    return rows.join(blocked, on=("vehicle_id", "as_of"), how="anti")


def _with_state(rows: pl.DataFrame, spells: pl.DataFrame, known_at: datetime, observed_until: datetime) -> pl.DataFrame:
    near = rows.select(*_ROW, "horizon_end").join(spells, on=("vehicle_id", "component")).filter(
        pl.col("failed_at") > pl.col("as_of")
    )  # fmt: skip
    in_horizon = near.filter(pl.col("failed_at") <= pl.col("horizon_end"))
    found = (
        rows.join(_first_failures(in_horizon), on=_ROW, how="left")
        .join(_renewed(in_horizon), on=_ROW, how="left")
        .join(_undecided(near), on=_ROW, how="left")
    )
    now, ripe = pl.lit(known_at, UTC_INSTANT), pl.col("ripe_at")
    over = (pl.col("horizon_end") > observed_until) & (now >= pl.col("horizon_end"))
    left = (pl.col("left_at") < pl.col("horizon_end")).fill_null(value=False)
    censored = pl.col("renewed").is_not_null() | pl.col("undecided").is_not_null() | left | over
    state = (
        pl.when(pl.col("failed_at").is_not_null()).then(pl.lit("positive"))
        .when(censored).then(pl.lit("censored"))
        .when(now >= ripe).then(pl.lit("negative"))
        .otherwise(pl.lit("pending"))
    )  # fmt: skip
    return found.with_columns(state=state).with_columns(
        known_at=pl.when(pl.col("state") == "positive").then("positive_since")
        .when(pl.col("state") == "negative").then(pl.max_horizontal(ripe, "taken_back_at"))
        .otherwise(now)
    )  # fmt: skip


def _first_failures(in_horizon: pl.DataFrame) -> pl.DataFrame:
    """For each row the first failure known, since when it is the first, and when the last one was taken back.

    The first failure changes when an earlier one becomes known or is taken back; `positive_since` is
    the last of these instants.
    """
    failures = in_horizon.filter(pl.col("kind") == "failure")
    current = pl.col("ended_at").is_null()
    firsts = failures.with_columns(first=pl.col("failed_at").filter(current).min().over(_ROW))
    is_first = current & (pl.col("failed_at") == pl.col("first"))
    earlier_ended = pl.col("failed_at") < pl.col("first")
    return firsts.group_by(_ROW).agg(
        failed_at=pl.col("first").first(),
        positive_since=pl.max_horizontal(
            pl.col("since").filter(is_first).min(), pl.col("ended_at").filter(earlier_ended).max()
        ),
        taken_back_at=pl.col("ended_at").max(),
    )


def _renewed(in_horizon: pl.DataFrame) -> pl.DataFrame:
    """Rows whose component was renewed before it could fail."""
    renewed = in_horizon.filter(pl.col("kind").is_in(_RENEWED), pl.col("ended_at").is_null())
    return renewed.select(_ROW).unique().with_columns(renewed=pl.lit(value=True))


def _undecided(near: pl.DataFrame) -> pl.DataFrame:
    """Rows with a failure dated just after the horizon that may have happened in it."""
    after = near.filter(
        pl.col("kind") == "failure",
        pl.col("ended_at").is_null(),
        pl.col("failed_at") > pl.col("horizon_end"),
        pl.col("undated_since") < pl.col("horizon_end"),
    )
    return after.select(_ROW).unique().with_columns(undecided=pl.lit(value=True))
