"""The two clocks of imported rows: when it happened, and when it could be known.

What belongs here: event time and knowledge time by the mapping. What they must keep to is
`pm.pipelines.imports.times`.
"""

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from pm.errors import ConfigError
from pm.pipelines.imports.mapping import Cell, FileMapping, Knowledge
from pm.pipelines.imports.mapping_cells import RowValues
from pm.pipelines.imports.mapping_spans import Span
from pm.pipelines.imports.times import TimeLimits
from pm.schema import UTC_INSTANT


def read_clocks(rows: RowValues, mapping: FileMapping, limits: TimeLimits) -> tuple[pl.Series, pl.Series]:
    """Event time and knowledge time of rows of telemetry or events; rows whose times cannot be are refused."""
    cell = mapping.time
    if cell is None:
        raise ConfigError("mapping: expected a section [time], but got none")
    time = rows.instant(cell)
    later = rows.instant(cell, "latest", refuses=False) if _counts_from(mapping.knowledge, cell) else time
    known_at = knowledge_time(rows, mapping.knowledge, [later], limits.imported_at)
    clocks = pl.DataFrame([time.alias("time"), known_at.alias("known_at")])
    reason = clocks.select(limits.reason()).to_series()
    rows.refuse(reason.is_not_null(), reason)
    return time, known_at


def _counts_from(knowledge: Knowledge, cell: Cell) -> bool:
    """Whether knowledge time is counted from an event time that a local clock may have shown twice."""
    return knowledge.cell is None and knowledge.after is not None and cell.time_zone not in ("", "UTC")


def knowledge_time(
    rows: RowValues, knowledge: Knowledge, happened: Sequence[pl.Series], imported_at: datetime
) -> pl.Series:
    """When each row became known: by its own instant, counted from the latest of what `happened`, or at the import.

    A row without an instant of its own was known when it was imported, never when the work was completed.
    """
    default = pl.Series([imported_at], dtype=UTC_INSTANT).new_from_index(0, rows.n_rows)
    if knowledge.cell is not None:
        own = _after(rows.instant(knowledge.cell, "latest"), knowledge.after)
        known_at = pl.select(pl.coalesce(pl.lit(own), pl.lit(default))).to_series()
    elif knowledge.after is not None:
        known_at = _after(pl.select(pl.max_horizontal(*map(pl.lit, happened))).to_series(), knowledge.after)
    else:
        known_at = default
    return known_at.alias("known_at")


def _after(instants: pl.Series, span: Span | None) -> pl.Series:
    if span is None:
        return instants
    return pl.select(pl.lit(instants) + pl.duration(days=span.days) + pl.lit(span.elapsed)).to_series()
