"""Of trouble codes that are reported over and over, those that tell something new are kept."""

import polars as pl
import pytest

from pm.canbus.fault_repeats import FaultRepeats
from pm.canbus.faults import FAULT_SCHEMA

LAMPS = {
    f"{kind}_{lamp}": value
    for kind, value in (("lamp", 0), ("flash", 3))
    for lamp in ("mil", "red", "amber", "protect")
}


def report(second: float, **other: object) -> dict[str, object]:
    row = {"time": round(second * 1e6), "channel": "can0", "source_address": 0, "spn": 110, "fmi": 0, "dm": 1}
    return row | {"occurrence_count": 1, "conversion_method": 4} | LAMPS | other


def frame(*rows: dict[str, object]) -> pl.DataFrame:
    columns = {name: pl.Series([row[name] for row in rows]).cast(dtype) for name, dtype in FAULT_SCHEMA.items()}
    return pl.DataFrame(columns, schema=FAULT_SCHEMA)


def test_a_code_that_stays_is_kept_once_a_period():
    rows = [report(second) for second in range(25)]
    assert FaultRepeats(10).news(frame(*rows)).nonzero()[0].tolist() == [0, 10, 20]


def test_without_a_period_every_report_is_kept():
    assert FaultRepeats(0).news(frame(report(0), report(1), report(1))).all()


@pytest.mark.parametrize(
    "change",
    [{"spn": 111}, {"fmi": 1}, {"dm": 2}, {"source_address": 11}, {"channel": "can1"}, {"occurrence_count": 2},
     {"occurrence_count": None}, {"lamp_red": 1}, {"flash_mil": 1}, {"conversion_method": 3}],
)  # fmt: skip
def test_a_change_is_kept_and_so_is_the_way_back_where_it_is_the_same_code(change):
    news = FaultRepeats(10).news(frame(report(0), report(1, **change), report(2), report(3)))
    is_other_code = set(change) <= {"spn", "fmi", "dm", "source_address", "channel"}
    assert news.tolist() == [True, True, not is_other_code, False]


def test_a_clock_that_steps_back_hides_nothing():
    assert FaultRepeats(10).news(frame(report(100), report(50), report(51))).tolist() == [True, True, False]


@pytest.mark.parametrize("cut", range(1, 24))
def test_where_a_log_is_cut_into_batches_changes_nothing(cut):
    rows = [report(second, spn=110 + second % 2, lamp_red=second // 7 % 2) for second in range(24)]
    whole, parts = FaultRepeats(5), FaultRepeats(5)
    found = parts.news(frame(*rows[:cut])).tolist() + parts.news(frame(*rows[cut:])).tolist()
    assert found == whole.news(frame(*rows)).tolist()
    assert 2 < sum(found) < 24
