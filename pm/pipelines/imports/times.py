"""Which rows of an import may be stored, by their two clocks.

What belongs here: the limits on event time and knowledge time of imported telemetry and events, and the
sentence that refuses a row. How times are read from a file is `pm.pipelines.imports.mapping_times`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from pm.asof import midnight
from pm.policy import Policy
from pm.store import logs
from pm.store.connection import Connection


@dataclass(frozen=True)
class TimeLimits:
    """What the times of an imported row must keep to."""

    floor: datetime
    """The policy's: nothing happened before it."""
    dropped_before: datetime | None
    """Telemetry from before this was dropped for its age and is not taken again."""
    imported_at: datetime
    """Nothing became known after it."""
    tolerance: timedelta
    """A row may have happened this much after it became known: clocks differ."""

    def reason(self) -> pl.Expr:
        """Of a frame with `time` and `known_at`: why a row cannot be stored (String), null where it can."""
        time, known_at = pl.col("time"), pl.col("known_at")
        dropped = self.floor if self.dropped_before is None else self.dropped_before
        return (
            pl.when(time < self.floor)
            .then(pl.format(f"time: expected {self.floor.date()} or later, but got {{}}", time.dt.date()))
            .when(time < dropped)
            .then(pl.lit(f"time: expected {dropped.isoformat()} or later: what is older was dropped for its age"))
            .when(known_at > self.imported_at)
            .then(
                pl.lit(
                    f"known_at: expected an instant up to the import at {self.imported_at.isoformat()}, but got a later"
                )
            )
            .when(time > known_at + self.tolerance)
            .then(pl.lit("known_at: expected an instant at or after the event time, but got an earlier one"))
        )


def time_limits(conn: Connection, policy: Policy, *, imported_at: datetime) -> TimeLimits:
    """The limits in force: the policy's floor and tolerance, and what retention has dropped."""
    return TimeLimits(
        midnight(policy.telemetry.floor),
        logs.dropped_before(conn),
        imported_at,
        timedelta(seconds=policy.telemetry.future_tolerance_s),
    )
