"""CSV files from outside: a bad header refuses the file, a bad row is set aside with its reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from pm.errors import DataError
from pm.schema import UTC_INSTANT, Column
from pm.store.imports import RejectedRow

__all__ = ["RejectedRow", "Rows", "read_rows"]

SIZE_LIMIT_BYTES: Final = 256 * 1024 * 1024
TEXT_LIMIT_CHARACTERS: Final = 4000


@dataclass(frozen=True)
class Rows:
    """The rows that fit, in file order and with their `line`, and those that do not."""

    frame: pl.DataFrame
    rejected: tuple[RejectedRow, ...]


def read_rows(path: Path, columns: Sequence[Column]) -> Rows:
    """Read a CSV file with a header into `columns`.

    A nullable column may be absent. Instants are ISO 8601 with an offset or `Z`; booleans are
    true/false. Columns the declaration does not name are ignored.

    Raises:
        DataError: the file cannot be read, is larger than `SIZE_LIMIT_BYTES`, or lacks a column.
    """
    raw = _read_text_columns(path)
    absent = [column.name for column in columns if column.name not in raw.columns and not column.nullable]
    if absent:
        raise DataError(f"{path}: expected columns {absent} in the header, but got {raw.columns}")
    lines = pl.int_range(2, raw.height + 2, dtype=pl.Int64)
    typed = raw.select(lines.alias("line"), *(_typed(raw, column) for column in columns))
    wrong = [_wrong(raw, typed, column) for column in columns]
    reasons = (
        raw.select(
            pl.concat_list([mask.alias(f"_{number}") for number, mask in enumerate(wrong)])
            .list.drop_nulls()
            .list.join("; ")
        ).to_series()
        if wrong
        else pl.Series([""] * raw.height)
    )
    bad = reasons.str.len_bytes() > 0
    rejected = tuple(
        RejectedRow(line, reason)
        for line, reason in zip(typed.filter(bad)["line"].to_list(), reasons.filter(bad).to_list(), strict=True)
    )
    return Rows(typed.filter(~bad), rejected)


def _read_text_columns(path: Path) -> pl.DataFrame:
    try:
        size = path.stat().st_size
        if size > SIZE_LIMIT_BYTES:
            raise DataError(f"{path}: expected at most {SIZE_LIMIT_BYTES} bytes, but got {size}")
        return pl.read_csv(path, infer_schema=False, encoding="utf8")
    except (OSError, pl.exceptions.PolarsError) as reason:
        raise DataError(f"{path}: expected a CSV file with a header, but got: {reason}") from None


def _typed(raw: pl.DataFrame, column: Column) -> pl.Expr:
    if column.name not in raw.columns:
        return pl.lit(None, dtype=column.dtype).alias(column.name)
    text = pl.col(column.name).str.strip_chars()
    text = pl.when(text.str.len_bytes() > 0).then(text)
    if column.dtype == UTC_INSTANT:
        return text.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False).alias(column.name)
    if column.dtype == pl.Boolean():
        lower = text.str.to_lowercase()
        return lower.replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean()).alias(
            column.name
        )
    if column.dtype == pl.String():
        return pl.when(text.str.len_chars() <= TEXT_LIMIT_CHARACTERS).then(text).alias(column.name)
    return text.cast(column.dtype, strict=False).alias(column.name)


def _wrong(raw: pl.DataFrame, typed: pl.DataFrame, column: Column) -> pl.Series:
    """Null where the cell is fine, else the sentence that says what is wrong with it."""
    got = typed[column.name].is_null()
    if column.name not in raw.columns:
        return pl.Series(column.name, [None] * raw.height, dtype=pl.String())
    text = raw[column.name].str.strip_chars().fill_null("")
    given = text.str.len_bytes() > 0
    bad = got & given if column.nullable else got
    sentence = pl.format(f"{column.name}: expected {column.dtype}, but got '{{}}'", pl.lit(text).str.slice(0, 60))
    return pl.select(pl.when(pl.lit(bad)).then(sentence)).to_series()
