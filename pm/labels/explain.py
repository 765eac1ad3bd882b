"""Why a work order line was read as it was: the entry of the rules that decided, version by version.

What belongs here: the same rules as `pm.labels.failures`, asked for their reasons. Nothing is decided here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from pm.labels.failures import FailureRules, Rule, classify
from pm.tables import FAILURE

_NO_RULE: Final = "none"
_CONTEXT_CHARACTERS: Final = 80


@dataclass(frozen=True)
class Decision:
    """What one list of the rules said of a version."""

    outcome: str
    rule: str
    """The first entry that matched; "none" where none did."""
    matched_text: str | None
    """The words in the description that the entry's pattern found; None: it has no pattern."""
    also_matched: tuple[str, ...]
    """Entries further down that would have matched too."""


@dataclass(frozen=True)
class VersionExplanation:
    """One version of one line: what it says, how it was read, and until when it held."""

    source_system: str
    work_order_id: str
    line_no: int
    known_at: datetime
    held_until: datetime | None
    """When the next version of the line became known; None: it still holds."""
    description: str
    withdrawn: bool
    component: Decision
    kind: Decision
    read_as: str
    """The kind that labels are made from: `kind.outcome`, or withdrawn."""
    failed_at: datetime
    failed_at_from: str
    """The column that failed_at was taken from."""
    restored_at: datetime | None


def explain(work_orders: pl.DataFrame, rules: FailureRules) -> tuple[VersionExplanation, ...]:
    """Every version in `work_orders` (`WORK_ORDER`), in key order, with the entries that decided.

    Raises:
        DataError: the frame does not fit `WORK_ORDER`.
    """
    read = classify(work_orders, rules)
    both = work_orders.join(
        read.select(*FAILURE.key, "component", pl.col("kind").alias("read_as"), "failed_at", "restored_at"),
        on=FAILURE.key,
    ).sort(FAILURE.key)
    line = ["source_system", "work_order_id", "line_no"]
    both = both.with_columns(held_until=pl.col("known_at").shift(-1).over(line))
    return tuple(_version(both[at : at + 1], rules) for at in range(both.height))


def _version(one: pl.DataFrame, rules: FailureRules) -> VersionExplanation:
    row = one.row(0, named=True)
    names = [name for name in rules.failed_at if row[name] is not None]
    return VersionExplanation(
        row["source_system"],
        row["work_order_id"],
        row["line_no"],
        row["known_at"],
        row["held_until"],
        row["description"],
        row["withdrawn"],
        _decision(one, rules.component_rules),
        _decision(one, rules.kind_rules),
        row["read_as"],
        row["failed_at"],
        names[0] if names else "opened_at",
        row["restored_at"],
    )


def _decision(one: pl.DataFrame, rules: Sequence[Rule]) -> Decision:
    matching = [rule for rule in rules if one.select(rule.condition).item()]
    if not matching:
        return Decision("other", _NO_RULE, None, ())
    first = matching[0]
    found = None if first.text is None else one["description"].str.extract(f"({first.text})", 1).item()
    return Decision(
        first.outcome,
        first.name,
        found and found[:_CONTEXT_CHARACTERS],
        tuple(rule.name for rule in matching[1:]),
    )
