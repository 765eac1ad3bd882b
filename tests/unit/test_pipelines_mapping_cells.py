"""Values of rows by their cells, and why rows are refused."""

import polars as pl
import pytest

from pm.pipelines.imports.mapping import CELLS, VEHICLE_CELLS, Cell, Target
from pm.pipelines.imports.mapping_cells import RowValues

DESCRIPTION = CELLS["work_order"]["description"]
ORDER = CELLS["work_order"]["work_order_id"]
KM = CELLS["work_order"]["odometer_km"]
PLANNED = CELLS["work_order"]["planned"]
LINE = CELLS["work_order"]["line_no"]
LAMP = CELLS["fault"]["lamp_red"]
COOLANT = Target("ET1.EngCoolantTemp", "number", unit="degC", minimum=-40, maximum=210)


def rows(decimal=".", **columns):
    frame = pl.DataFrame(columns)
    return RowValues(frame, pl.int_range(2, 2 + frame.height, dtype=pl.Int64, eager=True), decimal=decimal)


def refused(made):
    return [(row.line, row.reason) for row in made.refused()]


def test_a_text_has_no_white_space_around_it_and_nothing_is_null():
    made = rows(text=[" pump ", "", "  ", None])
    assert made.text(Cell(CELLS["work_order"]["vmrs"], ("text",))).to_list() == ["pump", None, None, None]
    assert refused(made) == []


def test_a_required_text_that_is_missing_refuses_its_row():
    made = rows(text=["pump", " "])
    made.text(Cell(DESCRIPTION, ("text",)))
    assert refused(made) == [(3, "description (text): expected a value, but got none")]
    assert made.is_good().to_list() == [True, False]


def test_several_columns_are_joined_and_a_key_needs_all_of_them():
    made = rows(a=["x", None, "y"], b=["1", "2", None])
    assert made.text(Cell(DESCRIPTION, ("a", "b"), separator=", ")).to_list() == ["x, 1", "2", "y"]
    assert made.text(Cell(ORDER, ("a", "b"), separator="/")).to_list() == ["x/1", None, None]
    assert [line for line, _ in refused(made)] == [3, 4]


def test_a_whole_number_in_a_column_of_fractions_is_text_without_a_point():
    made = rows(vehicle=[1794.0, None, 0.0, 2.5])
    cell = Cell(VEHICLE_CELLS["vehicle_ref"], ("vehicle",), prefix="bus-", missing=(0,))
    assert made.text(cell).to_list() == ["bus-1794", None, None, "bus-2.5"]


def test_a_map_says_what_texts_stand_for_and_refuses_others():
    made = rows(kind=["PM", "BD", "?", None])
    cell = Cell(PLANNED, ("kind",), values={"PM": True, "BD": False})
    assert made.flag(cell).to_list() == [True, False, None, None]
    assert refused(made) == [(4, "planned (kind): expected one of ['PM', 'BD'], but got '?'")]


def test_a_default_stands_where_nothing_is_and_not_for_what_cannot_be_read():
    made = rows(n=["", "7", "x"])
    assert made.number(Cell(LINE, ("n",), default=1)).to_list() == [1, 7, None]
    assert refused(made) == [(4, "line_no (n): expected a number, but got 'x'")]


@pytest.mark.parametrize(
    "words", [["yes", "No"], ["1", "0"], ["TRUE", "false"], [True, False], [1, 0], [1.0, 0.0], ["Y", "n"]]
)
def test_yes_and_no(words):
    assert rows(planned=words).flag(Cell(PLANNED, ("planned",))).to_list() == [True, False]


def test_a_number_is_scaled_into_the_unit_it_is_stored_in():
    made = rows(odo=["100", "1,609.344"])
    assert made.number(Cell(KM, ("odo",), unit="mi")).to_list() == [pytest.approx(160.9344), None]
    made = rows(odo=[100.0], raw=[500])
    assert made.number(Cell(KM, ("raw",), factor=0.125, offset=10.0, unit="m")).to_list() == [pytest.approx(0.0725)]


def test_a_comma_may_be_the_decimal_point():
    assert rows(",", odo=["1,5", "2"]).number(Cell(KM, ("odo",))).to_list() == [1.5, 2.0]


def test_nan_and_codes_for_missing_are_no_values_and_infinity_is_refused():
    made = rows(odo=["nan", "-9999", "n/a", "inf"])
    assert made.number(Cell(KM, ("odo",), missing=(-9999, "n/a"))).to_list()[:3] == [None, None, None]
    assert refused(made) == [(5, "odometer_km (odo): expected a finite number, but got 'inf'")]


def test_a_signal_outside_its_limits_is_no_value_and_counted():
    counts: dict[str, int] = {}
    made = rows(t=[212.0, 410.0, 411.0, -40.0, 900.0])
    found = made.number(Cell(COOLANT, ("t",), unit="degF", maximum=800), counts)
    assert found.to_list() == [pytest.approx(100), pytest.approx(210), None, pytest.approx(-40), None]
    assert counts == {"outside_limits": 2}
    assert refused(made) == []


def test_anything_else_outside_its_limits_refuses_the_row():
    made = rows(lamp=[0.0, 3.0, 4.0, 1.5])
    assert made.number(Cell(LAMP, ("lamp",))).to_list() == [0, 3, None, None]
    assert refused(made) == [
        (4, "lamp_red (lamp): expected a number of at least 0 and at most 3, but got '4'"),
        (5, "lamp_red (lamp): expected a whole number, but got '1.5'"),
    ]


def test_a_row_has_all_its_reasons():
    made = rows(n=["x"], p=["maybe"], d=[""])
    made.number(Cell(LINE, ("n",)))
    made.flag(Cell(PLANNED, ("p",)))
    made.text(Cell(DESCRIPTION, ("d",)))
    ((line, reason),) = refused(made)
    assert line == 2
    assert reason.split("; ") == [
        "line_no (n): expected a number, but got 'x'",
        "planned (p): expected true or false, but got 'maybe'",
        "description (d): expected a value, but got none",
    ]


def test_a_vin_is_in_no_reason_and_no_free_text():
    vin = "YV2RT40A5JB123456"
    made = rows(n=[vin], unit=[vin], text=[f"pump of {vin} replaced"])
    made.number(Cell(LINE, ("n",)))
    made.text(Cell(Target("vehicle_ref", "text", is_private=True), ("unit",), values={"a": "b"}))
    assert made.text(Cell(DESCRIPTION, ("text",))).to_list() == ["pump of VIN replaced"]
    assert vin not in str(refused(made))
    assert "line_no (n): expected a number, but got 'VIN'" in str(refused(made))


def test_texts_that_no_database_takes_are_refused():
    made = rows(text=["a\0b", "x" * 4001])
    made.text(Cell(DESCRIPTION, ("text",)))
    assert [reason.split(": ")[1] for _, reason in refused(made)] == [
        "expected text, but got a zero byte",
        "expected at most 4000 characters, but got more",
    ]
    assert "\0" not in str(refused(made))


def test_no_rows_are_no_trouble():
    made = rows(text=pl.Series([], dtype=pl.String))
    assert made.text(Cell(DESCRIPTION, constant="x")).len() == 0
    assert made.number(Cell(LINE, constant=1)).len() == 0
    assert made.is_good().len() == 0
    assert refused(made) == []
