"""The values of a batch of rows, by the cells of a mapping, and why rows are refused.

What belongs here: text, numbers, yes and no, and instants out of columns as a file has them. The same table
gives the same values whether it comes as CSV, JSON lines or Parquet.
"""

import math
from typing import Final

import polars as pl

from pm.pipelines.imports.mapping import Cell
from pm.pipelines.imports.mapping_times import Reading, read_instants
from pm.pipelines.imports.mapping_units import conversion
from pm.pipelines.imports.tabular import TEXT_LIMIT_CHARACTERS, RejectedRow
from pm.pipelines.sifting import without_vin

_SHOWN: Final = 60
_LONG_WORD: Final = r"[A-Za-z0-9]{17}"
_FLAGS: Final = {
    "true": True, "yes": True, "y": True, "t": True, "1": True,
    "false": False, "no": False, "n": False, "f": False, "0": False,
}  # fmt: skip
_LARGEST_WHOLE: Final = 2.0**53
_EDGE: Final = 1e-9


class RowValues:
    """The values of one batch; each reading may refuse rows."""

    def __init__(self, columns: pl.DataFrame, lines: pl.Series, *, decimal: str = ".") -> None:
        """`columns` as the file has them, and the line of each row."""
        self.columns, self.lines, self._decimal = columns, lines, decimal
        self._reasons: list[pl.Series] = []
        self._texts: dict[str, pl.Series] = {}

    @property
    def n_rows(self) -> int:
        return len(self.lines)

    def value(self, cell: Cell) -> pl.Series:
        """The cell's values by the kind of its target: String, Float64, Int64, Boolean or UTC instants."""
        kind = cell.target.kind
        if kind == "text":
            return self.text(cell)
        if kind == "instant":
            return self.instant(cell)
        return self.flag(cell) if kind == "flag" else self.number(cell)

    def text(self, cell: Cell) -> pl.Series:
        if not cell.columns:
            return self._constant(cell, pl.String())
        before = len(self._reasons)
        found = self._mapped(cell, pl.String()) if cell.values else self._given(cell)
        if not (cell.target.is_key or cell.target.is_private):
            found = _without_vins(found)
        if cell.prefix:
            found = cell.prefix + found
        too_long = found.str.len_chars() > TEXT_LIMIT_CHARACTERS
        self.refuse(too_long, f"{_name(cell)}: expected at most {TEXT_LIMIT_CHARACTERS} characters, but got more")
        self.refuse(found.str.contains("\0", literal=True), f"{_name(cell)}: expected text, but got a zero byte")
        return self._required(cell, found, before)

    def number(self, cell: Cell, counts: dict[str, int] | None = None) -> pl.Series:
        """Numbers in the target's unit. With `counts`, one outside its limits is no value and counted there;
        without, it refuses its row."""
        if not cell.columns:
            return self._constant(cell, pl.Int64() if cell.target.kind == "whole" else pl.Float64())
        before = len(self._reasons)
        found = (self._mapped(cell, pl.Float64()) if cell.values else self._numbers(cell)).fill_nan(None)
        self._refuse_shown(cell, found.is_infinite(), "a finite number")
        found = self._in_limits(cell, cell.minimum, cell.maximum, found, counts)
        found = _scaled(found, cell)
        found = self._in_limits(cell, cell.target.minimum, cell.target.maximum, found, counts)
        if cell.target.kind == "whole":
            is_whole = (found == found.round()) & (found.abs() < _LARGEST_WHOLE)
            self._refuse_shown(cell, ~is_whole, "a whole number")
            found = pl.select(pl.when(is_whole).then(found)).to_series().cast(pl.Int64())
        return self._required(cell, found, before)

    def flag(self, cell: Cell) -> pl.Series:
        if not cell.columns:
            return self._constant(cell, pl.Boolean())
        before = len(self._reasons)
        if cell.values:
            return self._required(cell, self._mapped(cell, pl.Boolean()), before)
        given = self._given(cell)
        found = given.str.to_lowercase().replace_strict(_FLAGS, default=None, return_dtype=pl.Boolean())
        self._refuse_shown(cell, found.is_null() & given.is_not_null(), "true or false")
        return self._required(cell, found, before)

    def instant(self, cell: Cell, reading: Reading = "earliest", *, refuses: bool = True) -> pl.Series:
        """UTC instants; `reading` of a local time that happens twice. Without `refuses`, no row is refused."""
        before = len(self._reasons)
        if not cell.columns:
            constant = pl.Series([cell.constant] * self.n_rows, dtype=pl.String())
            return self._required(cell, read_instants(constant, cell, reading), before)
        given = self._given(cell)
        raw = self.columns[cell.columns[0]] if cell.columns[0] in self.columns.columns else given
        is_clock = raw.dtype.is_temporal() and not cell.format.startswith("unix_")
        found = read_instants(_where_given(raw, given) if is_clock else given, cell, reading)
        if not refuses:
            return found
        zone = (
            f"that exists in {cell.time_zone}" if cell.time_zone else "with an offset (or a time_zone in the mapping)"
        )
        form = f" as {cell.format}" if cell.format else ""
        self._refuse_shown(cell, found.is_null() & given.is_not_null(), f"an instant{form} {zone}")
        return self._required(cell, found, before)

    def refuse(self, mask: pl.Series, reason: str | pl.Series) -> None:
        """Refuse the rows where `mask` is true (null: not)."""
        hit = mask.fill_null(value=False)
        if hit.any():
            said = pl.lit(reason)
            self._reasons.append(pl.select(pl.when(pl.lit(hit)).then(said)).to_series().alias("reason"))

    def is_good(self) -> pl.Series:
        """True for each row that nothing has refused so far."""
        good = pl.Series([True]).new_from_index(0, self.n_rows) if self.n_rows else pl.Series([], dtype=pl.Boolean())
        for reasons in self._reasons:
            good &= reasons.is_null()
        return good

    def refused(self) -> list[RejectedRow]:
        """The refused rows with every reason, in the file's order."""
        if not self._reasons:
            return []
        named = [reasons.alias(str(number)) for number, reasons in enumerate(self._reasons)]
        joined = pl.DataFrame([self.lines.alias("line"), *named]).filter(~self.is_good())
        texts = joined.select(
            "line",
            pl.concat_list(str(number) for number in range(len(named)))
            .list.drop_nulls()
            .list.join("; ")
            .alias("reason"),
        )
        return [RejectedRow(line, without_vin(reason.replace("\0", "\\0"))) for line, reason in texts.iter_rows()]

    def plain(self, name: str) -> pl.Series:
        """A column as text: without white space around it, null where nothing is left."""
        if name not in self._texts:
            column = (
                self.columns[name]
                if name in self.columns.columns
                else pl.Series([None] * self.n_rows, dtype=pl.String())
            )
            self._texts[name] = as_text(column)
        return self._texts[name]

    def _given(self, cell: Cell) -> pl.Series:
        """The cell's columns as one text, null where it is empty or stands for no value."""
        texts = [self._kept(cell, name) for name in cell.columns]
        if len(texts) == 1:
            return texts[0]
        joined = pl.concat_str(*map(pl.lit, texts), separator=cell.separator, ignore_nulls=not cell.target.is_key)
        found = pl.select(
            pl.when(pl.any_horizontal(*(pl.lit(text.is_not_null()) for text in texts))).then(joined)
        ).to_series()
        return found.str.strip_chars() if found.dtype == pl.String() else found

    def _kept(self, cell: Cell, name: str) -> pl.Series:
        text = self.plain(name)
        if not cell.missing:
            return text
        gone = text.is_in([one for one in cell.missing if isinstance(one, str)])
        numbers = [float(one) for one in cell.missing if not isinstance(one, str)]
        if numbers:
            gone |= self.numbers(name).is_in(numbers).fill_null(value=False)
        return pl.select(pl.when(~gone).then(text)).to_series()

    def numbers(self, name: str) -> pl.Series:
        """A column as numbers: Float64, null where it is none."""
        column = self.columns[name] if name in self.columns.columns else self.plain(name)
        if column.dtype.is_numeric() or column.dtype == pl.Boolean():
            return column.cast(pl.Float64())
        text = self.plain(name)
        return (text.str.replace(",", ".", literal=True) if self._decimal == "," else text).cast(
            pl.Float64(), strict=False
        )

    def _numbers(self, cell: Cell) -> pl.Series:
        name = cell.columns[0]
        numbers = self.numbers(name)
        if name in self.columns.columns and self.columns[name].dtype.is_numeric() and not cell.missing:
            return numbers  # no text of it is needed
        given = self._given(cell).is_not_null()
        self._refuse_shown(cell, numbers.is_null() & given, "a number")
        return pl.select(pl.when(given).then(numbers)).to_series()

    def _mapped(self, cell: Cell, dtype: pl.DataType) -> pl.Series:
        given = self._given(cell)
        found = given.replace_strict(dict(cell.values), default=None, return_dtype=dtype)
        self._refuse_shown(cell, found.is_null() & given.is_not_null(), f"one of {list(cell.values)[:20]}")
        return found

    def _in_limits(
        self, cell: Cell, low: float | None, high: float | None, found: pl.Series, counts: dict[str, int] | None
    ) -> pl.Series:
        if low is None and high is None:
            return found
        # A limit that was converted may be missed by a rounding error.
        room = _EDGE * max(1.0, *(abs(limit) for limit in (low, high) if limit is not None))
        least = -math.inf if low is None else low - room
        most = math.inf if high is None else high + room
        outside = ((found < least) | (found > most)).fill_null(value=False)
        n_outside = int(outside.sum())
        if not n_outside:
            return found
        if counts is None:
            said = " and ".join(
                f"{word} {limit:g}" for word, limit in (("at least", low), ("at most", high)) if limit is not None
            )
            self._refuse_shown(cell, outside, f"a number of {said}")
        else:
            counts["outside_limits"] = counts.get("outside_limits", 0) + n_outside
        return pl.select(pl.when(~outside).then(found)).to_series()

    def _constant(self, cell: Cell, dtype: pl.DataType) -> pl.Series:
        return (
            pl.Series([cell.constant], dtype=dtype).new_from_index(0, self.n_rows)
            if self.n_rows
            else pl.Series([], dtype=dtype)
        )

    def _required(self, cell: Cell, found: pl.Series, before: int) -> pl.Series:
        """The values with the cell's default where there was none.

        Refuses rows without a value, where this cell has not refused them (since `before`) for another reason.
        """
        if cell.default is not None and found.null_count():
            nothing = self._given(cell).is_null()
            found = pl.select(pl.when(nothing).then(pl.lit(cell.default, found.dtype)).otherwise(found)).to_series()
        if cell.target.required and found.null_count():
            empty = found.is_null()
            for reasons in self._reasons[before:]:
                empty &= reasons.is_null()
            self.refuse(empty, f"{_name(cell)}: expected a value, but got none")
        return found

    def _refuse_shown(self, cell: Cell, mask: pl.Series, expected: str) -> None:
        if not mask.fill_null(value=False).any():
            return
        said = f"{_name(cell)}: expected {expected}, but got "
        if cell.target.is_private:
            self.refuse(mask, f"{said}something else")
        else:
            self.refuse(mask, said + "'" + self._given(cell).fill_null("").str.slice(0, _SHOWN) + "'")


def as_text(column: pl.Series) -> pl.Series:
    """A column of a file as text; a whole number has no decimal point, nothing but white space is null."""
    if column.dtype.is_float():
        whole = (column == column.round()) & (column.abs() < _LARGEST_WHOLE)
        digits = pl.select(pl.when(whole).then(column)).to_series().cast(pl.Int64()).cast(pl.String())
        return pl.select(pl.coalesce(pl.lit(digits), pl.lit(column.fill_nan(None).cast(pl.String())))).to_series()
    if isinstance(column.dtype, pl.Datetime):
        zone = "" if column.dtype.time_zone is None else "%:z"
        return column.dt.to_string(f"%Y-%m-%dT%H:%M:%S%.f{zone}")
    text = column.cast(pl.String()).str.strip_chars()
    return pl.select(pl.when(text.str.len_bytes() > 0).then(text)).to_series()


def _without_vins(texts: pl.Series) -> pl.Series:
    """Free text with VIN in place of words that look like one: people write them everywhere."""
    suspects = texts.str.contains(_LONG_WORD).fill_null(value=False)
    if not suspects.any():
        return texts
    pairs = zip(texts.to_list(), suspects.to_list(), strict=True)
    masked = [without_vin(text) if suspect else text for text, suspect in pairs]
    return pl.Series(texts.name, masked, dtype=pl.String())


def _where_given(raw: pl.Series, given: pl.Series) -> pl.Series:
    return (
        raw if given.null_count() == raw.null_count() else pl.select(pl.when(given.is_not_null()).then(raw)).to_series()
    )


def _scaled(found: pl.Series, cell: Cell) -> pl.Series:
    scale = conversion(cell.unit, cell.target.unit) if cell.unit and cell.target.unit else None
    if (cell.factor, cell.offset) != (1.0, 0.0):
        found = found * cell.factor + cell.offset
    return found if scale is None else found * scale.factor + scale.offset


def _name(cell: Cell) -> str:
    """The target, and the column where that has another name."""
    columns = " + ".join(cell.columns)
    return cell.target.name if columns in ("", cell.target.name) else f"{cell.target.name} ({columns})"
