"""Instants as files write them: text, numbers, local clocks.

What belongs here: reading a column of times into UTC. Which column, and what an unreadable one does to its
row, is `pm.pipelines.imports.mapping_cells`.

A local time that a clock change makes happen twice is read as the earlier of the two where it says when
something happened, and as the later where it says when something was known: never known too early. One that
a clock change leaves out is no instant.
"""

from datetime import UTC, datetime
from typing import Final, Literal

import polars as pl

from pm.pipelines.imports.mapping import CLOCK_FORMATS, Cell
from pm.pipelines.imports.mapping_spans import NO_SPAN, Span
from pm.schema import UTC_INSTANT

Reading = Literal["earliest", "latest"]

FIRST: Final = datetime(1900, 1, 1, tzinfo=UTC)
LAST: Final = datetime(2200, 1, 1, tzinfo=UTC)
"""Instants outside are misreadings."""

_TICKS_A_SECOND: Final = dict(zip(CLOCK_FORMATS, (1, 1_000, 1_000_000), strict=True))
_LARGEST_S: Final = 7_258_118_400.0
"""2200 in seconds since 1970."""
_MICROSECONDS: Final = 1_000_000
# With an offset, then without; polars takes one format at a time.
_ZONED: Final = ("%+", "%Y-%m-%dT%H:%M%#z")
_LOCAL: Final = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M")
_OFFSET: Final = r"(?:[Zz]|[+-]\d{2}:?\d{2})$"
_ZONED_FORMAT: Final = ("%z", "%:z", "%#z", "%::z", "%+")


def read_instants(values: pl.Series, cell: Cell, reading: Reading) -> pl.Series:
    """UTC instants of `values`, null where there is none.

    Args:
        values: texts without white space around them, numbers (with a unix format), dates or instants.
    """
    found = _read(values, cell, reading)
    inside = (found >= FIRST) & (found < LAST)
    return pl.select(pl.when(inside).then(found)).to_series()


def _read(values: pl.Series, cell: Cell, reading: Reading) -> pl.Series:
    if cell.format in CLOCK_FORMATS:
        return _shifted(_of_numbers(values, _TICKS_A_SECOND[cell.format]), cell.shift)
    if values.dtype == pl.String():
        return _of_texts(values, cell, reading)
    if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone is not None:
        return _shifted(values.dt.convert_time_zone("UTC").cast(UTC_INSTANT), cell.shift)
    return _localised(values.cast(pl.Datetime("us")), cell, reading)


def _of_numbers(values: pl.Series, ticks: int) -> pl.Series:
    numbers = values.cast(pl.Float64(), strict=False)
    seconds = numbers / ticks
    possible = (seconds.abs() < _LARGEST_S).fill_null(value=False)
    kept = pl.select(pl.when(possible).then(numbers * (_MICROSECONDS // ticks))).to_series()
    return kept.round().cast(pl.Int64()).cast(UTC_INSTANT)


def _of_texts(values: pl.Series, cell: Cell, reading: Reading) -> pl.Series:
    if cell.format:
        if any(mark in cell.format for mark in _ZONED_FORMAT):
            return _shifted(_parsed(values, cell.format, zoned=True), cell.shift)
        return _localised(_parsed(values, cell.format, zoned=False), cell, reading)
    # One form: a T between day and time, and a time.
    texts = values.str.replace(r"^(\d{4}-\d{2}-\d{2})[ t]+", "${1}T").str.replace(
        r"^(\d{4}-\d{2}-\d{2})$", "${1}T00:00:00"
    )
    zoned = texts.str.contains(_OFFSET)
    with_offset = pl.select(pl.when(zoned).then(texts)).to_series()
    without = pl.select(pl.when(~zoned).then(texts)).to_series()
    return _first(
        _shifted(_first(*(_parsed(with_offset, each, zoned=True) for each in _ZONED)), cell.shift),
        _localised(_first(*(_parsed(without, each, zoned=False) for each in _LOCAL)), cell, reading),
    )


def _parsed(texts: pl.Series, format: str, *, zoned: bool) -> pl.Series:
    if texts.null_count() == len(texts):
        return pl.Series(texts.name, [None] * len(texts), UTC_INSTANT if zoned else pl.Datetime("us"))
    zone = "UTC" if zoned else None
    return texts.str.to_datetime(format, time_unit="us", time_zone=zone, strict=False)


def _first(*found: pl.Series) -> pl.Series:
    return pl.select(pl.coalesce(*map(pl.lit, found))).to_series() if len(found) > 1 else found[0]


def _localised(local: pl.Series, cell: Cell, reading: Reading) -> pl.Series:
    """A clock without offset: calendar days are added to it, then its zone says which instant it is."""
    if not cell.time_zone:
        return pl.Series(local.name, [None] * len(local), UTC_INSTANT)
    day_later = local.dt.offset_by(f"{cell.shift.days}d") if cell.shift.days else local
    there = day_later.dt.replace_time_zone(cell.time_zone, ambiguous=reading, non_existent="null")
    return _shifted(there.dt.convert_time_zone("UTC"), Span(0, cell.shift.elapsed))


def _shifted(instants: pl.Series, shift: Span) -> pl.Series:
    if shift == NO_SPAN:
        return instants
    return pl.select(pl.lit(instants) + pl.duration(days=shift.days) + pl.lit(shift.elapsed)).to_series()
