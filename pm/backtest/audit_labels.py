"""Were labels known when they were used? Checked against the failures and the work orders themselves.

What belongs here: the clocks of labels, failures and work orders, and whether training and test rows
overlap. It asks nothing of `pm.labels`, so that a mistake there is seen here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import polars as pl

from pm.backtest.audit_result import Check
from pm.backtest.audit_rows import FoldLabels
from pm.backtest.figures import Figure
from pm.policy import Policy

_LINE: Final = ("source_system", "work_order_id", "line_no")
_CLOCKS_DIFFER: Final = timedelta(days=1)
"""Shops write dates in local time, and by hand."""
_INSTANT_SHARE: Final = 0.9
"""More failures than this known at the very instant they happened: the import had no second clock."""


@dataclass(frozen=True)
class Faults:
    """Rows that break a rule, by rule."""

    counts: dict[str, int]

    @property
    def said(self) -> str:
        return ", ".join(f"{n:,} {words}" for words, n in self.counts.items() if n)


def separation_check(folds: Sequence[FoldLabels], policy: Policy) -> Check:
    """No training row's horizon may reach into a fold's test days, and no row may stand on both sides."""
    overlapping = sum(_overlaps(one, policy) for one in folds)
    twice = sum(_twice(one) for one in folds)
    n_rows = sum(one.training.height for one in folds)
    figures = {
        "overlapping_rows": Figure(float(overlapping), n_rows=n_rows),
        "rows_on_both_sides": Figure(float(twice), n_rows=n_rows),
    }
    if not n_rows:
        return Check("separation", None, "not_possible", "No fold has a training row: nothing could overlap.")
    if overlapping or twice:
        sentence = (
            f"Training and test overlap: the horizon of {overlapping:,} of {n_rows:,} training rows reaches past the "
            f"cutoff, and {twice:,} rows stand on both sides."
        )
        return Check("separation", None, "fail", sentence, figures)
    sentence = (
        f"No horizon of {n_rows:,} training rows over {len(folds)} cutoffs reaches past its cutoff, and no row stands "
        "on both sides."
    )
    return Check("separation", None, "pass", sentence, figures)


def _overlaps(one: FoldLabels, policy: Policy) -> int:
    end = pl.col("as_of") + timedelta(days=policy.horizon.days)
    return one.training.filter(end > one.fold.cutoff).height


def _twice(one: FoldLabels) -> int:
    return one.training.join(one.judged, on=["vehicle_id", "component", "as_of"], how="semi").height


def label_check(
    folds: Sequence[FoldLabels],
    failures: pl.DataFrame,
    policy: Policy,
    *,
    work_orders: pl.DataFrame | None = None,
    stored: pl.DataFrame | None = None,
) -> Check:
    """Every label's knowledge time against its cutoff, its failure and its work order.

    Args:
        failures: FAILURE, all versions.
        work_orders: WORK_ORDER, all versions; None: not looked at.
        stored: LABEL, the history of states; None: not looked at.
    """
    known = _known_from(failures)
    counts = _training_counts(folds, known, policy)
    counts["failures known before they happened"] = failures.filter(
        pl.col("kind") == "failure", pl.col("known_at") < pl.col("failed_at") - _CLOCKS_DIFFER
    ).height
    if work_orders is not None:
        counts["failures known before their work order was"] = _before_orders(failures, work_orders)
    if stored is not None:
        counts["stored labels positive before the failure was known"] = _too_early(stored, known, unrecorded=False)
    n_rows = sum(one.training.height for one in folds)
    broken = Faults(counts)
    details: dict[str, Any] = {"counts": counts, "n_training_rows": n_rows}
    if broken.said:
        sentence = f"Labels were known too early: {broken.said} (of {n_rows:,} training rows)."
        return Check("label_clock", None, "fail", sentence, details=details)
    if not n_rows:
        return Check("label_clock", None, "not_possible", "No fold has a training label to check.", details=details)
    at_once = _at_once(failures)
    if at_once is not None and at_once > _INSTANT_SHARE:
        sentence = (
            f"{at_once:.0%} of the failures are recorded as known at the instant they happened: the records have no "
            "clock of their own, so that how late labels come cannot be seen. Import when each was entered, or set "
            "[labels] lag_d."
        )
        return Check("label_clock", None, "warn", sentence, details={**details, "known_at_once": at_once})
    sentence = (
        f"All {n_rows:,} training labels had matured and were known by their cutoff, and none was known before its "
        "failure's own record."
    )
    return Check("label_clock", None, "pass", sentence, details=details)


def _training_counts(folds: Sequence[FoldLabels], known: pl.DataFrame, policy: Policy) -> dict[str, int]:
    late = young = early = 0
    for one in folds:
        cutoff, training = one.fold.cutoff, one.training
        ripe = pl.col("as_of") + timedelta(days=policy.horizon.days + one.lag.lag_d)
        late += training.filter(pl.col("known_at") > cutoff).height
        young += training.filter(ripe > cutoff).height
        early += _too_early(training, known.filter(pl.col("since") <= cutoff))
    return {
        "training labels known only after the cutoff": late,
        "training labels that had not matured by the cutoff": young,
        "training labels positive before the failure was known": early,
    }


def _known_from(failures: pl.DataFrame) -> pl.DataFrame:
    """Since when each failure was on record: vehicle_id, component, failed_at, since."""
    said = failures.filter(pl.col("kind") == "failure")
    return said.group_by("vehicle_id", "component", "failed_at").agg(since=pl.col("known_at").min())


def _too_early(labels: pl.DataFrame, known: pl.DataFrame, *, unrecorded: bool = True) -> int:
    """Positive labels whose known_at lies before every record of their failure.

    `unrecorded`: count those without a record too. A stored history keeps labels of failures that later
    rules read otherwise; that is no leak.
    """
    positive = labels.filter(pl.col("state") == "positive")
    found = positive.join(known, on=["vehicle_id", "component", "failed_at"], how="left")
    return found.filter((pl.col("known_at") < pl.col("since")).fill_null(value=unrecorded)).height


def _before_orders(failures: pl.DataFrame, work_orders: pl.DataFrame) -> int:
    first = work_orders.group_by(_LINE).agg(ordered_at=pl.col("known_at").min())
    found = failures.join(first, on=_LINE, how="left")
    return found.filter(pl.col("ordered_at").is_null() | (pl.col("known_at") < pl.col("ordered_at"))).height


def _at_once(failures: pl.DataFrame) -> float | None:
    said = failures.filter(pl.col("kind") == "failure")
    return float((said["known_at"] == said["failed_at"]).mean()) if said.height else None  # type: ignore[arg-type]
