"""Declared ranges."""

import pytest

from pm.errors import ConfigError
from pm.features.quantities import BY_NAME, QUANTITIES, Quantity
from pm.features.ranges import BY_QUANTITY, STARTED, TRUCK_RANGES, Ranges, ranges_by_source


def test_every_range_is_of_a_quantity_in_its_unit():
    assert {ranges.name: ranges.unit for ranges in TRUCK_RANGES} == {
        ranges.name: BY_NAME[ranges.name].unit for ranges in TRUCK_RANGES
    }
    assert len(BY_QUANTITY) == len(TRUCK_RANGES)
    assert [ranges.name for ranges in TRUCK_RANGES if ranges.start] == [STARTED]


def test_all_sources_of_a_quantity_have_its_ranges():
    found = ranges_by_source()
    assert found["VEP1.BatteryPotential_PowerInput1"] is found["VEP1.KeyswitchBatteryPotential"]
    assert set(found) == {source for name in BY_QUANTITY for source in BY_NAME[name].sources}


def test_a_change_of_edges_gap_or_start_has_another_id():
    base = Ranges("x", "1", (1.0,), ("low", "high"))
    others = [
        Ranges("x", "1", (2.0,), ("low", "high")),
        Ranges("x", "1", (1.0,), ("low", "high"), longest_gap_s=30),
        Ranges("x", "1", (1.0,), ("low", "high"), start=(0.0, 1.0)),
    ]
    assert len({each.ranges_id for each in (base, *others)}) == 4
    assert Ranges("y", "V", (1.0,), ("under", "over")).ranges_id == base.ranges_id
    assert 0 <= base.ranges_id < 2**31


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"edges": (2.0, 1.0)}, "rising edges"),
        ({"edges": ()}, "rising edges"),
        ({"edges": (float("nan"), 1.0)}, "rising edges"),
        ({"words": ("a",)}, "3 words for 2 edges"),
        ({"longest_gap_s": 0.0}, "a gap of up to a day"),
        ({"start": (3.0, 2.0)}, "start limits that rise"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused(given, said):
    with pytest.raises(ConfigError, match=said):
        Ranges(**{"name": "x", "unit": "1", "edges": (1.0, 2.0), "words": ("a", "b", "c")} | given)


def test_one_signal_has_one_set_of_ranges():
    quantities = (*QUANTITIES, Quantity("other_c", "°C", "", ("ET1.EngCoolantTemp",)))
    declared = {**BY_QUANTITY, "other_c": Ranges("other_c", "°C", (50.0,), ("a", "b"))}
    with pytest.raises(ConfigError, match=r"signal ET1\.EngCoolantTemp: expected one set of ranges"):
        ranges_by_source(quantities, declared)
