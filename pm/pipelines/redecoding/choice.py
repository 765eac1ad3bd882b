"""Which stored logs a span of event time is decoded again from."""

from datetime import datetime, timedelta

import polars as pl

from pm.asof import midnight
from pm.policy import Telemetry
from pm.tables import LOG_FILE


def logs_to_redecode(files: pl.DataFrame, *, start: datetime, end: datetime, telemetry: Telemetry) -> pl.DataFrame:
    """Of stored logs (LOG_FILE), those that have a frame in start <= time < end, and those that overlap them.

    Of two overlapping files one keeps the rows they share; what the other lost is nowhere stored. So files
    of a vehicle that overlap, one after the other, are decoded again together. Times that cannot be
    (before the policy's floor, after the file was known) join no files.

    Returns LOG_FILE, those known first ahead, then by sha256: the order in which rows have precedence.
    """
    touches = (pl.col("first_at") < end) & (pl.col("last_at") >= start)
    tolerance = timedelta(seconds=telemetry.future_tolerance_s)
    ahead = (
        LOG_FILE.check(files)
        .with_columns(
            _first=pl.max_horizontal("first_at", pl.lit(midnight(telemetry.floor), LOG_FILE.schema["first_at"])),
            _last=pl.min_horizontal("last_at", pl.col("known_at") + tolerance),
        )
        .sort("vehicle_id", "_first", "_last")
        .with_columns(_reached=pl.col("_last").cum_max().shift(1).over("vehicle_id"))
    )
    begins = pl.col("_reached").is_null() | (pl.col("_first") > pl.col("_reached"))
    grouped = ahead.with_columns(_group=begins.cum_sum(), _touches=touches)
    chosen = grouped.filter(pl.col("_touches").any().over("_group"))
    return chosen.select(LOG_FILE.column_names).sort("known_at", "sha256", "vehicle_id")
