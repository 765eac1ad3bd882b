"""How a frame that crosses a door is declared and checked.

What belongs here: the `Column` and `Table` types. The declarations themselves are in `pm.tables`.
"""

from dataclasses import dataclass, field
from functools import cached_property

import polars as pl

from pm.errors import DataError

UTC_INSTANT = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Column:
    """One column: its polars type, unit and meaning."""

    name: str
    dtype: pl.DataType
    meaning: str
    unit: str = ""
    nullable: bool = False
    json: bool = False
    """A String column that holds one JSON document (`jsonb` in the database)."""


@dataclass(frozen=True)
class Table:
    """A frame's declaration; the database table of the same name has the same columns.

    `generated` names the columns the database fills on insert (an identity).
    """

    name: str
    meaning: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    generated: frozenset[str] = field(default_factory=frozenset)

    @cached_property
    def schema(self) -> pl.Schema:
        """Column names and polars types, in order."""
        return pl.Schema({column.name: column.dtype for column in self.columns})

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def empty(self) -> pl.DataFrame:
        """A frame of this table with no rows."""
        return pl.DataFrame(schema=self.schema)

    def frame(self, rows: list[dict[str, object]]) -> pl.DataFrame:
        """A checked frame from plain rows; a missing nullable column becomes null.

        Raises:
            DataError: a row does not fit the declaration.
        """
        try:
            made = pl.DataFrame(rows, schema=self.schema, orient="row")
        except (TypeError, ValueError, pl.exceptions.PolarsError) as reason:
            raise DataError(f"table {self.name}: rows do not fit its columns: {reason}") from None
        return self.check(made)

    def check(self, frame: pl.DataFrame, *, unique: bool = True) -> pl.DataFrame:
        """Return `frame` with this table's columns in order.

        Raises:
            DataError: a column is missing or of another type, a column that may not be null has
                nulls, or (with `unique`) two rows share the key.
        """
        absent = [name for name in self.column_names if name not in frame.columns]
        if absent:
            raise DataError(f"table {self.name}: expected columns {absent}, but got {frame.columns}")
        for column in self.columns:
            self._check_column(frame, column)
        checked = frame.select(self.column_names)
        if unique and self.key and checked.select(self.key).is_duplicated().any():
            twice = checked.filter(checked.select(self.key).is_duplicated()).select(self.key).row(0)
            raise DataError(f"table {self.name}: expected unique {self.key}, but got {twice} twice")
        return checked

    def _check_column(self, frame: pl.DataFrame, column: Column) -> None:
        where = f"table {self.name}, column {column.name}"
        got = frame.schema[column.name]
        if got != column.dtype:
            raise DataError(f"{where}: expected {column.dtype}, but got {got}")
        nulls = frame[column.name].null_count()
        if nulls and not column.nullable:
            raise DataError(f"{where}: expected no nulls, but got {nulls} in {frame.height} rows")
