"""The shipped feature set as a data dictionary."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from pm.errors import ConfigError
from pm.features.featureset import Feature, FeatureSet, Recipe, default_feature_set, read_set
from pm.features.quantities import COMPONENT_QUANTITIES, COMPONENT_SPNS, COMPONENT_WORDS, QUANTITIES
from pm.policy import Features, Policy
from pm.tables import COMPONENTS

DBC = Path(__file__).resolve().parents[2] / "dbc"
SHIPPED = default_feature_set(Policy())


def test_names_that_the_simple_rules_look_for_are_there():
    looked_for = {"n_dtc_days_28d", "n_days_with_data_14d", "n_red_lamp_days_14d"}
    for component in COMPONENTS:
        looked_for |= {f"n_dtc_{component}_14d", f"days_since_repair_{component}", f"n_failures_{component}"}
    assert looked_for <= set(SHIPPED.names)


def test_id_names_the_content():
    assert re.fullmatch(r"truck-2-[0-9a-f]{8}", SHIPPED.feature_set_id)
    assert default_feature_set(Policy()).feature_set_id == SHIPPED.feature_set_id
    reworded = replace(SHIPPED.features[0], meaning="something else")
    assert FeatureSet("truck", 1, (reworded, *SHIPPED.features[1:])).feature_set_id != SHIPPED.feature_set_id
    assert FeatureSet("truck", 1, SHIPPED.features[::-1]).feature_set_id != SHIPPED.feature_set_id


def test_every_feature_says_unit_meaning_and_sources():
    for entry in json.loads(SHIPPED.definition_json):
        assert entry["unit"]
        assert entry["meaning"][0].islower()
        assert entry["sources"]


def test_every_source_is_a_signal_of_the_shipped_dbc_or_a_table():
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(DBC.glob("*.dbc")))
    messages = dict(re.findall(r"^BO_ \d+ (\w+):.*\n((?: SG_ .*\n)*)", text, re.MULTILINE))
    for quantity in QUANTITIES:
        for source in quantity.sources:
            message, signal = source.split(".")
            assert f" SG_ {signal} :" in messages[message], source


def test_components_are_the_declared_ones():
    assert set(COMPONENT_WORDS) == set(COMPONENT_SPNS) == set(COMPONENTS)


def test_components_name_known_quantities():
    assert set(COMPONENT_QUANTITIES) == set(COMPONENTS)
    assert {name for names in COMPONENT_QUANTITIES.values() for name in names} <= {one.name for one in QUANTITIES}


def test_near_leaves_out_what_speaks_of_other_components_alone():
    near = {SHIPPED.names[position] for position in SHIPPED.near("cooling")}
    assert {
        "coolant_c_mean_7d",
        "coolant_c_above_ambient_c_7d",
        "n_dtc_cooling_14d",
        "days_since_repair_cooling",
    } <= near
    assert {"speed_kmh_mean_7d", "n_dtc_days_28d", "n_days_with_data_14d", "distance_km_7d", "age_a"} <= near
    assert not {"battery_v_mean_7d", "n_dtc_turbo_14d", "days_since_repair_turbo", "boost_kpa_mean_7d"} & near
    shared = {name for name in SHIPPED.names if name.startswith("exhaust_c_")}
    for component in ("aftertreatment", "turbo"):
        assert shared <= {SHIPPED.names[position] for position in SHIPPED.near(component)}


def test_every_feature_is_near_where_no_quantity_was_declared():
    everything = tuple(range(len(SHIPPED.features)))
    assert SHIPPED.near("gearbox") == everything
    bare = replace(SHIPPED, components=tuple(replace(one, quantities=()) for one in SHIPPED.components))
    assert bare.near("cooling") == everything


def test_a_stored_set_knows_what_is_near():
    read = read_set(SHIPPED.feature_set_id, SHIPPED.name, SHIPPED.version, SHIPPED.definition_json)
    for component in COMPONENTS:
        assert read.near(component) == SHIPPED.near(component)
    bare = replace(SHIPPED, components=tuple(replace(one, quantities=()) for one in SHIPPED.components))
    assert '"quantities": []' not in bare.definition_json
    assert bare.definitions == SHIPPED.definitions  # what is near decides no value


def test_windows_come_from_the_policy():
    other = default_feature_set(Policy(features=Features(windows_d=(2, 5, 10))))
    assert {"coolant_c_mean_2d", "coolant_c_mean_5d", "coolant_c_mean_10d"} <= set(other.names)
    assert other.feature_set_id != SHIPPED.feature_set_id
    with pytest.raises(ConfigError, match="at least one window"):
        default_feature_set(Policy(features=Features(windows_d=())))


def test_one_window_only_still_makes_a_set():
    assert "coolant_c_mean_7d" in default_feature_set(Policy(features=Features(windows_d=(7,)))).names


def test_lookback_is_the_longest_that_any_feature_needs():
    assert SHIPPED.lookback_d == 31
    assert (
        FeatureSet("s", 1, (Feature("a", "1", "m", ("failure",), Recipe("failures", "cooling", 400)),)).lookback_d == 0
    )
    assert FeatureSet("s", 1, (Feature("a", "1", "m", ("x.y",), Recipe("mean", "coolant_c", 7)),)).lookback_d == 7


def test_position_and_duplicates():
    assert SHIPPED.position(SHIPPED.names[5]) == 5
    with pytest.raises(ConfigError, match="got 'nonsense'"):
        SHIPPED.position("nonsense")
    with pytest.raises(ConfigError, match="unique feature names"):
        FeatureSet("s", 1, (SHIPPED.features[0], SHIPPED.features[0]))
