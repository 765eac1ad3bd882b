"""Is every feature made only from what was known at its as-of? Made again, with later arrivals spoiled.

What belongs here: the sources without, and with spoiled, knowledge of later, and the comparison bit for
bit. Where sources come from is `pm.pipelines.audit`; how vectors are made is `pm.features.windows`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from pm.asof import known
from pm.backtest.audit_result import Check
from pm.features.featureset import FeatureSet

Sources = Mapping[str, pl.DataFrame]
Build = Callable[[datetime, Sources], pl.DataFrame]
"""Makes the FEATURE_VECTOR rows of one as-of out of sources, as the product does."""

_KEPT: Final = frozenset((
    "vehicle_id", "log_file_id", "known_at", "day", "time", "message", "signal", "channel", "source_address",
    "spn", "fmi", "source_system", "work_order_id", "line_no", "component", "in_service_at",
))  # fmt: skip
"""Columns that say which row it is; spoiling those would make rows that nobody looks at."""
_TICK: Final = timedelta(microseconds=1)
_NEAR: Final = timedelta(hours=36)
_SHOWN: Final = 8


@dataclass(frozen=True)
class Rebuilt:
    """One as-of made again; positions of the features whose values differ."""

    as_of: datetime
    stored_differs: frozenset[int]
    """Stored against made from what was known."""
    later_matters: frozenset[int]
    """Made with later arrivals there, true and spoiled ones, against made without them."""
    same_day_matters: frozenset[int]
    """Made with spoiled values of the day that begins at the as-of, stamped as known, against without."""
    rows_differ: bool
    """Whether other vehicles have a row at all."""


def rebuild(as_of: datetime, stored: pl.DataFrame, sources: Sources, build: Build) -> Rebuilt:
    """Make the vectors of one as-of from what was known, and twice more with spoiled rows beside it.

    `sources` are frames by name with a known_at, and a day or time where they have one; `stored` are the
    rows of FEATURE_VECTOR that the backtest used.
    """
    then = {name: _then(frame, as_of) for name, frame in sources.items()}
    honest = build(as_of, then)
    later = build(as_of, {name: _with_later(then[name], frame, as_of) for name, frame in sources.items()})
    same_day = build(as_of, {name: _with_same_day(frame, as_of) for name, frame in then.items()})
    stored = stored.filter(pl.col("as_of") == as_of)
    return Rebuilt(
        as_of,
        _different(stored, honest),
        _different(later, honest),
        _different(same_day, honest),
        any(_rows(one) != _rows(honest) for one in (stored, later, same_day)),
    )


def _rows(vectors: pl.DataFrame) -> list[int]:
    return vectors["vehicle_id"].sort().to_list()


def _then(frame: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """What was known: rows by then, and no end of service that lay ahead."""
    rows = known(frame, as_of)
    if "left_at" in rows.columns:
        return rows.with_columns(left_at=pl.when(pl.col("left_at") <= as_of).then("left_at"))
    return rows


def _with_later(then: pl.DataFrame, frame: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """`then`, the rows known later, a later version with other values of each row known then, and invented repairs.

    So that something of later is always there, also where nothing came later.
    """
    if "left_at" in then.columns:
        return then.with_columns(left_at=pl.col("left_at").fill_null(as_of + timedelta(days=1)))
    known_at = pl.lit(as_of + _TICK, dtype=frame.schema["known_at"])
    versions = _spoiled(then).with_columns(known_at=known_at)
    parts = [then, frame.filter(pl.col("known_at") > as_of), versions]
    if "failed_at" in then.columns:
        parts.append(_invented(frame, as_of).with_columns(known_at=known_at))
    return pl.concat(parts)


def _invented(failures: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """A failure of each vehicle and component just before, and one just after, the as-of."""
    once = failures.unique(["vehicle_id", "component"], keep="first", maintain_order=True)
    return pl.concat([
        once.with_columns(
            kind=pl.lit("failure"),
            work_order_id=pl.format("{} {}", "work_order_id", pl.lit(str(ago))),
            failed_at=pl.lit(as_of - ago, dtype=failures.schema["failed_at"]),
            restored_at=pl.lit(as_of - ago / 2, dtype=failures.schema["restored_at"]),
        )
        for ago in (_NEAR, -_NEAR)
    ])  # fmt: skip


def _with_same_day(then: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """`then` and its rows once more, moved to the day or instant of the as-of and known at once.

    A day that begins at the as-of is not over: whatever is said of it then has come from later.
    """
    if "day" in then.columns:
        moved = {"day": pl.lit(as_of.date())}
    elif "time" in then.columns:
        moved = {"time": pl.lit(as_of + _TICK, dtype=then.schema["time"])}
    else:
        return then
    again = _spoiled(then).with_columns(known_at=pl.lit(as_of, dtype=then.schema["known_at"]), **moved)
    return pl.concat([then, again])


def _spoiled(frame: pl.DataFrame) -> pl.DataFrame:
    """Other numbers, flags and instants in every column that does not say which row it is.

    A repair that was not one becomes a failure, and the other way round.
    """
    changed = {}
    for name, dtype in frame.schema.items():
        if name in _KEPT:
            continue
        if dtype.is_float():
            changed[name] = pl.col(name).fill_null(0.0).abs() * 3 + 1e4
        elif dtype.is_integer():
            changed[name] = (pl.col(name).fill_null(0) // 2 + 3).cast(dtype)
        elif dtype == pl.Boolean:
            changed[name] = ~pl.col(name).fill_null(value=False)
        elif dtype.is_temporal() and dtype != pl.Date:
            changed[name] = pl.col(name) - _NEAR
        elif name == "kind" and "failed_at" in frame.columns:
            changed[name] = pl.when(pl.col(name) == "failure").then(pl.lit("planned")).otherwise(pl.lit("failure"))
    return frame.with_columns(**changed)


def _different(one: pl.DataFrame, other: pl.DataFrame) -> frozenset[int]:
    """Positions at which a vehicle that has a row in both has other bits."""
    both = one.select("vehicle_id", mine="features").join(
        other.select("vehicle_id", theirs="features"), on="vehicle_id"
    )  # fmt: skip
    unequal = both.filter(pl.col("mine").ne_missing(pl.col("theirs")))
    found: set[int] = set()
    for mine, theirs in unequal.select("mine", "theirs").iter_rows():
        found |= {at for at, (a, b) in enumerate(zip(mine, theirs, strict=True)) if a != b}
    return frozenset(found)


def arrivals_check(rebuilt: Sequence[Rebuilt], feature_set: FeatureSet, reason: str = "") -> Check:
    """The verdict over all as-ofs; `reason` says why none could be made again."""
    if not rebuilt:
        told = reason or "no as-of was made again"
        sentence = f"Whether each feature was known at its as-of could not be checked: {told}."
        return Check("arrivals", None, "not_possible", sentence)
    parts = {
        "later": frozenset[int]().union(*(one.later_matters for one in rebuilt)),
        "same_day": frozenset[int]().union(*(one.same_day_matters for one in rebuilt)),
        "stored": frozenset[int]().union(*(one.stored_differs for one in rebuilt)),
    }
    names = {part: [feature_set.names[at] for at in sorted(positions)] for part, positions in parts.items()}
    other_rows = any(one.rows_differ for one in rebuilt)
    details = {"as_ofs": [one.as_of.isoformat() for one in rebuilt], **names, "other_rows": other_rows}
    guilty = dict.fromkeys([*names["same_day"], *names["later"], *names["stored"]])
    sentence = _sentence(names, len(rebuilt), len(feature_set.names), other_rows=other_rows)
    return Check(
        "arrivals", None, "fail" if guilty or other_rows else "pass", sentence, features=tuple(guilty), details=details
    )


def _sentence(names: Mapping[str, Sequence[str]], n_as_ofs: int, n_features: int, *, other_rows: bool) -> str:
    where = f"at {n_as_ofs} sampled as-ofs"
    if names["same_day"]:
        return (
            f"A leak: {_listed(names['same_day'])} changed when values of the day that begins at the as-of were "
            f"spoiled ({where}): a day is used before it is over."
        )
    if names["later"]:
        return (
            f"A leak: {_listed(names['later'])} changed when rows that became known only after the as-of were "
            f"there too ({where})."
        )
    if names["stored"]:
        return (
            f"The stored values of {_listed(names['stored'])} are not those that what was known then gives ({where}), "
            "though making them reacts to nothing later: they were made from other data. Build the features again."
        )
    if other_rows:
        return f"Other vehicles have a row than what was known then gives ({where}): build the features again."
    return (
        f"All {n_features} features are the same to the last bit without, and with spoiled, later arrivals ({where})."
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
