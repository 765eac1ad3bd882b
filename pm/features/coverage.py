"""On which days there is any telemetry at all, as known at an instant.

What belongs here: whether a truck was heard, whatever it said; a silent logger must not look like a
healthy truck.
"""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from pm.asof import known

Numbers = npt.NDArray[np.float64]


def presence(daily_signals: pl.DataFrame) -> pl.DataFrame:
    """One row a vehicle, day and known_at that brought data, with the last value's instant."""
    return daily_signals.group_by("vehicle_id", "day", "known_at").agg(pl.col("last_at").max())


class Coverage:
    """On which of the last days each vehicle has telemetry known at `as_of`, and until when."""

    def __init__(
        self, presence: pl.DataFrame, as_of: datetime, *, vehicle_ids: Sequence[int], lookback_d: int
    ) -> None:  # fmt: skip
        ago = known(presence, as_of).with_columns(ago=(pl.lit(as_of.date()) - pl.col("day")).dt.total_days())
        self._places = pl.DataFrame({"vehicle_id": vehicle_ids}, schema={"vehicle_id": pl.Int32})
        self._seen = ago.filter(pl.col("ago").is_between(1, lookback_d))
        placed = self._seen.join(self._places.with_row_index("place"), on="vehicle_id")
        self._there = np.zeros((lookback_d, len(vehicle_ids)), dtype=np.bool_)
        self._there[placed["ago"].to_numpy() - 1, placed["place"].to_numpy()] = True

    def n_days_with_data(self, days: int) -> Numbers:
        """Days [vehicle] with data among the last `days`."""
        return np.asarray(self._there[:days].sum(axis=0), dtype=np.float64)

    @property
    def data_until(self) -> pl.Series:
        """Instant of the last value [vehicle]; null: no data in the lookback."""
        until = self._seen.group_by("vehicle_id").agg(pl.col("last_at").max())
        return self._places.join(until, on="vehicle_id", how="left", maintain_order="left")["last_at"]
