"""Daily partitions with all vehicles inside.

A partition is the UTC day D; what is computed for it is decided at D+1 00:00 UTC, the end of its
window. The running day is a partition too, so that files can be ingested as they arrive; the nightly
schedule decides for the day before. Vehicle x day partitions would break Dagster's automation at fleet size.
"""

from datetime import UTC, datetime

import dagster as dg

from pm.settings import read_settings

daily = dg.DailyPartitionsDefinition(start_date=read_settings().first_day.isoformat(), timezone="UTC", end_offset=1)


def window(context: dg.AssetExecutionContext) -> tuple[datetime, datetime]:
    """Start and end of the partition's day, UTC; the end is its as-of."""
    start, end = context.partition_time_window
    return start.astimezone(UTC), end.astimezone(UTC)
