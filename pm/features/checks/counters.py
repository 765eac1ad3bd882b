"""Odometers and hour meters: they count up, and no faster than a truck can drive.

What belongs here: falls and jumps within a day and from one day to the next, a controller and channel
at a time, and whether a change of unit explains one. Two controllers with different counts in one truck
(an engine that was changed) are two counters; neither is wrong.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from pm.asof import known
from pm.features.checks.conversions import Conversion, conversions_of
from pm.features.checks.days import NEW_D
from pm.features.checks.finding import Checked, Finding, number
from pm.policy import Assumptions

_COUNTER: Final = ("vehicle_id", "message", "signal", "source_address", "channel")
_S_PER_H: Final = 3600.0
_EXACT: Final = 1e-4
"""Share by which a reading may differ through rounding in another unit."""


def counter_steps(daily: pl.DataFrame, as_of: datetime, fastest: Mapping[tuple[str, str], float]) -> pl.DataFrame:
    """Every step of every counter, from rows known at `as_of`: before, after, hours between, and the day it ends on.

    A step leads from one day's last value to the next day's first, or from a day's first to its last; a
    fall inside a day shows as an extreme beyond its ends.

    Args:
        daily: DAILY_SIGNAL.
        fastest: for each counter's (message, signal) the most it gains an hour.
    """
    speeds = pl.DataFrame(
        [(*name, gain) for name, gain in fastest.items()],
        schema={"message": pl.String, "signal": pl.String, "fastest": pl.Float64},
        orient="row",
    )
    rows = known(daily, as_of).filter(pl.col("day") < as_of.date()).join(speeds, on=("message", "signal"))
    by_day = (
        rows.sort(*_COUNTER, "day", "first_at", "log_file_id")
        .group_by(*_COUNTER, "day", "fastest", maintain_order=True)
        .agg(
            pl.col("known_at").max(),
            first=pl.col("first_value").first(),
            first_at=pl.col("first_at").first(),
            last=pl.col("last_value").sort_by("last_at", maintain_order=True).last(),
            last_at=pl.col("last_at").max(),
            low=pl.col("minimum").min(),
            high=pl.col("maximum").max(),
        )
        .sort(*_COUNTER, "day")
    )
    inside = pl.concat(
        [
            by_day.with_columns(step=pl.lit(1), before="first", after="low", since="first_at", until="last_at"),
            by_day.with_columns(step=pl.lit(2), before="high", after="last", since="first_at", until="last_at"),
            by_day.with_columns(step=pl.lit(3), before="first", after="high", since="first_at", until="last_at"),
        ]
    )
    between = by_day.with_columns(
        step=pl.lit(0),
        before=pl.col("last").shift(1).over(_COUNTER),
        after="first",
        since=pl.col("last_at").shift(1).over(_COUNTER),
        until="first_at",
    ).filter(pl.col("before").is_not_null())
    steps = pl.concat([inside, between]).with_columns(
        hours=(pl.col("until") - pl.col("since")).dt.total_microseconds() / 1e6 / _S_PER_H
    )
    return steps.sort(*_COUNTER, "day", "step").select(
        *_COUNTER, "day", "known_at", "before", "after", "hours", "fastest"
    )


def check_counters(steps: pl.DataFrame, as_of: datetime, policy: Assumptions) -> Checked:
    """Counters that fell, or gained more than a truck can, on their last or new days."""
    is_last = pl.col("day").rank("dense", descending=True).over(_COUNTER).cast(pl.Int64) <= policy.recent_d
    recent = steps.filter(is_last | (pl.col("known_at") > as_of - timedelta(days=NEW_D)))
    bad = _impossible(recent, policy).unique(_COUNTER, keep="last", maintain_order=True)
    n_counters = recent.select(_COUNTER).n_unique() if recent.height else 0
    found = tuple(_finding(row, _words(row)) for row in _one_a_subject(bad).iter_rows(named=True))
    return Checked(found, n_counters, recent.select(*_COUNTER, "day").n_unique() if recent.height else 0)


def check_counter_units(steps: pl.DataFrame, units: Mapping[tuple[str, str], str], policy: Assumptions) -> Checked:
    """Counters with an impossible step that another unit explains, and none back since: they still send that one."""
    found = []
    for _, bad in _impossible(steps, policy).group_by(_COUNTER, maintain_order=True):
        explained = _explained(bad.to_dicts(), units, policy)
        if explained is not None:
            row, conversion = explained
            unit = units.get((row["message"], row["signal"]), "")
            read = (row["after"] - conversion.offset) / conversion.scale
            reason = f"{_words(row)} {unit}; read as {conversion.words} it is {read:,.1f}"
            found.append(_finding(row, reason, unit=unit, conversion=conversion.words))
    # Of one controller that is heard on two channels, one.
    subjects = {(one.vehicle_id, one.message, one.signal, one.source_address): one for one in found}
    n_counters = steps.select(_COUNTER).n_unique() if steps.height else 0
    n_rows = steps.select(*_COUNTER, "day").n_unique() if steps.height else 0
    return Checked(tuple(subjects[key] for key in sorted(subjects)), n_counters, n_rows)


def _explained(
    bad: Sequence[dict[str, Any]], units: Mapping[tuple[str, str], str], policy: Assumptions
) -> tuple[dict[str, Any], Conversion] | None:
    """The last of a counter's impossible steps that a conversion explains; None: none, or it went back since."""
    for at in range(len(bad) - 1, -1, -1):
        row = bad[at]
        slack = policy.counter_fall + _EXACT * abs(row["before"])
        most = row["before"] + row["fastest"] * row["hours"] + slack
        for conversion in conversions_of(units.get((row["message"], row["signal"]), "")):
            if row["before"] - slack <= (row["after"] - conversion.offset) / conversion.scale <= most:
                went_back = any(_falls(later) != _falls(row) for later in bad[at + 1 :])
                return None if went_back else (row, conversion)
    return None


def _falls(row: Mapping[str, Any]) -> bool:
    return bool(row["after"] < row["before"])


def _impossible(steps: pl.DataFrame, policy: Assumptions) -> pl.DataFrame:
    before, after = pl.col("before"), pl.col("after")
    fell = after < before - policy.counter_fall
    jumped = after > before + pl.col("fastest") * pl.col("hours") + policy.counter_fall
    return steps.filter(fell | jumped)


def _one_a_subject(bad: pl.DataFrame) -> pl.DataFrame:
    """The latest step of each controller, whatever channel it was heard on."""
    subject = _COUNTER[:-1]
    return bad.sort(*subject, "day", "channel").unique(subject, keep="last", maintain_order=True)


def _words(row: Mapping[str, Any]) -> str:
    how = "falls" if _falls(row) else "jumps"
    hours = "" if how == "falls" else f" within {number(row['hours'])} h"
    return f"the counter {how} from {row['before']:,.1f} to {row['after']:,.1f}{hours} on {row['day']}"


def _finding(row: Mapping[str, Any], reason: str, *, unit: str = "", conversion: str | None = None) -> Finding:
    return Finding(
        row["vehicle_id"], row["message"], row["signal"], row["source_address"],
        reason=reason, n_rows=1, known_at=row["known_at"], value=row["after"], expected_low=row["before"],
        expected_high=row["before"] + row["fastest"] * row["hours"], unit=unit, conversion=conversion,
    )  # fmt: skip
