"""CSV from outside."""

from datetime import UTC, datetime

import polars as pl
import pytest

from pm.errors import DataError
from pm.pipelines.imports.tabular import read_rows
from pm.schema import UTC_INSTANT, Column

COLUMNS = (
    Column("order", pl.String(), ""),
    Column("opened_at", UTC_INSTANT, ""),
    Column("line_no", pl.Int32(), ""),
    Column("planned", pl.Boolean(), "", nullable=True),
    Column("odometer_km", pl.Float64(), "", nullable=True),
)


def rows(folder, text):
    path = folder / "orders.csv"
    path.write_text(text, encoding="utf-8")
    return read_rows(path, COLUMNS)


def test_cells_are_typed_instants_are_utc_and_an_absent_nullable_column_is_null(tmp_path):
    found = rows(tmp_path, "order,line_no,opened_at,planned\nA,1,2026-01-05T10:00:00+02:00,TRUE\n")
    assert found.rejected == ()
    assert found.frame.row(0, named=True) == {
        "line": 2,
        "order": "A",
        "opened_at": datetime(2026, 1, 5, 8, tzinfo=UTC),
        "line_no": 1,
        "planned": True,
        "odometer_km": None,
    }


def test_a_bad_row_is_set_aside_with_line_and_every_reason(tmp_path):
    found = rows(tmp_path, "order,line_no,opened_at,planned\nA,1,2026-01-05T10:00:00Z,\nB,x,yesterday,maybe\n")
    assert found.frame["order"].to_list() == ["A"]
    (refused,) = found.rejected
    assert refused.line == 3
    assert "line_no: expected Int32, but got 'x'" in refused.reason
    assert "but got 'yesterday'" in refused.reason
    assert "planned: expected Boolean, but got 'maybe'" in refused.reason


def test_an_instant_without_an_offset_is_no_instant(tmp_path):
    found = rows(tmp_path, "order,line_no,opened_at\nA,1,2026-01-05T10:00:00\n")
    assert found.frame.is_empty()
    assert "opened_at" in found.rejected[0].reason


def test_a_bad_header_refuses_the_file(tmp_path):
    with pytest.raises(DataError, match=r"orders.csv: expected columns \['opened_at'\] in the header"):
        rows(tmp_path, "order,line_no\nA,1\n")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00binary\x00"])
def test_no_csv_at_all_is_refused(tmp_path, content):
    path = tmp_path / "orders.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match="orders.csv: expected"):
        read_rows(path, COLUMNS)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="nothing.csv"):
        read_rows(tmp_path / "nothing.csv", COLUMNS)
