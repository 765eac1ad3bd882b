"""Frames at doors: what is refused, and how it is said."""

import polars as pl
import pytest

from pm.errors import DataError
from pm.schema import Column, Table

TABLE = Table(
    "reading",
    "for tests",
    ("name",),
    (Column("name", pl.String(), "a name"), Column("value", pl.Float64(), "a value", nullable=True)),
)


def test_columns_come_back_in_declared_order_and_others_are_left_out():
    frame = pl.DataFrame({"value": [1.0], "other": [1], "name": ["a"]})
    assert TABLE.check(frame).columns == ["name", "value"]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"name": ["a"]}, r"expected columns \['value'\]"),
        ({"name": ["a"], "value": [1]}, "column value: expected Float64, but got Int64"),
        ({"name": [None], "value": [1.0]}, "column name: expected .*"),
        ({"name": ["a", "a"], "value": [1.0, 2.0]}, r"expected unique \('name',\), but got \('a',\) twice"),
    ],
)
def test_a_frame_that_does_not_fit_is_refused(columns, said):
    with pytest.raises(DataError, match=said):
        TABLE.check(pl.DataFrame(columns))


def test_nulls_are_counted_in_the_message():
    frame = pl.DataFrame({"name": ["a", None], "value": [1.0, None]})
    with pytest.raises(DataError, match="column name: expected no nulls, but got 1 in 2 rows"):
        TABLE.check(frame)


def test_rows_become_a_checked_frame_with_nulls_where_nothing_was_given():
    assert TABLE.frame([{"name": "a"}])["value"].to_list() == [None]
    with pytest.raises(DataError, match="reading"):
        TABLE.frame([{"name": "a", "value": "not a number"}])
