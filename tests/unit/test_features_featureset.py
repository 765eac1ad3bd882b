"""The shipped feature set as a data dictionary."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from pm.errors import ConfigError
from pm.features.featureset import Feature, FeatureSet, Recipe, default_feature_set
from pm.features.quantities import COMPONENT_SPNS, COMPONENT_WORDS, QUANTITIES
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
