"""Feature files: what they declare, and what they are told when they say what cannot be."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from feature_fleet import FILE, write_file

from pm.errors import ConfigError
from pm.features.daily import aggregate_signals
from pm.features.featurefile import MAXIMUM_BYTES, feature_set_of, load_feature_set
from pm.features.featureset import FeatureSet, Recipe, default_feature_set, read_set, wide_feature_set
from pm.features.ranges import BY_QUANTITY
from pm.features.windows import build_vectors
from pm.policy import Features, Policy
from pm.schema import UTC_INSTANT
from pm.settings import Settings, read_settings
from pm.tables import DAILY_FAULT, FAILURE, VEHICLE

SHORT = """
name = "machine"
version = 1
[quantities.vibration]
unit = "1"
meaning = "vibration"
sources = ["telemetry.vibration"]
[components.comp1]
words = "component 1"
events = ["error1"]
[[features]]
of = "vibration"
statistics = ["mean"]
"""


@pytest.fixture
def load(tmp_path):
    return lambda text: load_feature_set(write_file(tmp_path, text), Policy())


def test_a_short_file_is_a_set(load):
    made = load(SHORT)
    assert made.names == (*(f"vibration_mean_{days}d" for days in (1, 3, 7, 14, 28)), "n_days_with_data_14d")
    assert made.features[2].recipe == Recipe("mean", "vibration", 7)
    assert made.features[2].sources == ("telemetry.vibration",)
    assert [component.name for component in made.components] == ["comp1"]


def test_windows_are_the_policys_unless_named(tmp_path):
    path = write_file(tmp_path, SHORT)
    made = load_feature_set(path, Policy(features=Features(windows_d=(2, 4))))
    assert made.names[:2] == ("vibration_mean_2d", "vibration_mean_4d")
    own = load_feature_set(write_file(tmp_path, SHORT + "windows_d = [5]\n"), Policy())
    assert own.names[0] == "vibration_mean_5d"


def test_every_subject_makes_its_features(load):
    made = load(FILE)
    names = set(made.names)
    assert {"hot_c_peers_7d", "hot_c_above_speed_rpm_7d", "counter_h_since_repair_pump", "n_dtc_pump_7d"} <= names
    assert {"n_events_e2_14d", "days_since_event_e2_14d", "n_events_pump_7d", "n_failures_valve_28d"} <= names
    assert {"n_no_trouble_found_pump_7d", "n_dtc_days_together_14d", "age_a"} <= names
    assert made.lookback_d == 35


def test_a_stored_set_is_read_as_it_was_declared(load):
    policy = Policy()
    for made in (load(FILE), default_feature_set(policy), wide_feature_set(policy)):
        again = read_set(made.feature_set_id, made.name, made.version, made.definition_json)
        assert again.features == made.features
        assert again.definitions == made.definitions
    with pytest.raises(ConfigError, match="expected a set that this release computes"):
        read_set("machine-1-00000000", "machine", 1, made.definition_json)
    with pytest.raises(ConfigError, match="of another release"):
        read_set("truck-1-aabbccdd", "truck", 1, '[{"name": "a", "unit": "1", "meaning": "m", "sources": ["s"]}]')


RANGED = SHORT.replace('unit = "1"', 'unit = "bar"\nranges = [10, 20.5]\nstart = [2, 3]').replace(
    '["mean"]', '["share", "starts"]\nranges = [0, 1, 2]\nwindows_d = [7]'
)


def test_a_file_declares_ranges_of_its_quantities(load):
    made = load(RANGED)
    assert {feature.name: feature.meaning for feature in made.features[:4]} == {
        "vibration_range_0_7d": "share of time with vibration under 10 bar over the last 7 days",
        "vibration_range_1_7d": "share of time with vibration 10 to 20.5 bar over the last 7 days",
        "vibration_range_2_7d": "share of time with vibration 20.5 bar and more over the last 7 days",
        "n_starts_vibration_7d": "starts by vibration over the last 7 days",
    }
    counted = made.ranges_by_source
    assert counted["telemetry.vibration"].edges == (10.0, 20.5)
    assert counted["ET1.EngCoolantTemp"] == BY_QUANTITY["coolant_c"]
    again = read_set(made.feature_set_id, made.name, made.version, made.definition_json)
    assert again.ranges_by_source == counted
    edges, limits = load(RANGED.replace("20.5", "30")), load(RANGED.replace("[2, 3]", "[2, 4]"))
    assert changed(made, edges) == changed(made, limits) == set(made.names[:4])


def test_time_and_starts_are_counted_by_the_ranges_of_the_file(load):
    made = load(RANGED)
    day = datetime(2026, 3, 1, tzinfo=UTC)
    values = [0.0, 5.0, 15.0, 15.0, 1.0, 25.0, 0.0]
    rows = pl.DataFrame({
        "vehicle_id": pl.Series([1] * 7, dtype=pl.Int32), "log_file_id": [1] * 7,
        "known_at": pl.Series([day + timedelta(days=1)] * 7, dtype=UTC_INSTANT),
        "time": pl.Series([day + timedelta(seconds=10 * i) for i in range(7)], dtype=UTC_INSTANT),
        "channel": ["can0"] * 7, "source_address": pl.Series([0] * 7, dtype=pl.Int16),
        "vibration": pl.Series(values, dtype=pl.Float32),
    })  # fmt: skip
    fleet = VEHICLE.frame([{"vehicle_id": 1, "fleet": "f", "vehicle_ref": "1", "model": "A", "known_at": day}])
    found = {}
    for counted_by in (made, load(RANGED.replace("20.5", "30"))):
        signals = aggregate_signals(rows, "telemetry", counted_by.ranges_by_source)
        (vector,) = build_vectors(
            made, [day + timedelta(days=1)], vehicles=fleet, daily_signals=signals, daily_faults=DAILY_FAULT.empty(),
            failures=FAILURE.empty(), policy=Policy(),
        )["features"].to_list()  # fmt: skip
        found[counted_by is made] = vector[:4]
    assert found[True] == pytest.approx([0.5, 1 / 3, 1 / 6, 2.0])
    assert np.isnan(np.array(found[False], dtype=float)).all()


def changed(before, after):
    """Names of the features whose values are decided otherwise."""
    both = zip(before.names, before.definitions, after.definitions, strict=True)
    return {name for name, old, new in both if old != new}


def test_a_definition_is_of_what_decides_the_values(load):
    made = load(FILE)
    reworded = load(FILE.replace('meaning = "temperature"', 'meaning = "heat"'))
    assert reworded.definitions == made.definitions
    assert reworded.feature_set_id != made.feature_set_id
    other_signal = load(FILE.replace("A.hot", "A.hotter"))
    assert changed(made, other_signal) == {name for name in made.names if "hot_c" in name}
    other_codes = load(FILE.replace("spns = [46]", "spns = [47]"))
    assert changed(made, other_codes) == {
        name for name in made.names if "dtc" in name and ("valve" in name or "together" in name)
    } | {name for name in made.names if name.startswith(("n_events_valve", "counter_h_since_repair_valve"))}


def test_the_configured_set_is_that_of_the_file_or_the_shipped_one(tmp_path):
    settings = read_settings({"PM_HOME": str(tmp_path)})
    assert feature_set_of(settings, Policy()).name == "truck"
    path = write_file(tmp_path)
    given = read_settings({"PM_HOME": str(tmp_path), "PM_FEATURE_FILE": str(path)})
    assert isinstance(given, Settings)
    assert feature_set_of(given, Policy()).name == "machine"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "machine"', 'name = "Machine X"', "name: expected lower case letters"),
        ('name = "machine"', "", r"expected keys \['name'\]"),
        ("version = 1", "version = 0", "version: expected at least 1, but got 0"),
        ("version = 1", 'version = "1"', "version: expected int, but got '1'"),
        ("version = 1", "version = 1\ncolour = 1", "but got colour"),
        ("version = 1", "version = 1 1", "expected readable TOML"),
        ('unit = "1"', "", r"\[quantities.vibration\]: expected keys \['unit'\]"),
        ('["telemetry.vibration"]', '["vibration"]', "sources: expected \"message.signal\", but got 'vibration'"),
        ('["telemetry.vibration"]', "[]", "sources: expected at least one"),
        ('events = ["error1"]', "spns = [600000]", r"\[components.comp1\] spns: expected whole numbers"),
        ('events = ["error1"]', "events = [1]", r"\[components.comp1\] events: expected texts"),
        ('events = ["error1"]', 'quantities = ["no"]', r"\[components.comp1\] quantities: expected one of"),
        ('of = "vibration"', 'of = "colour"', r"\[\[features\]\] number 1 of: expected one of \['vibration'\]"),
        ('of = "vibration"', 'of = "vibration"\ncomponent = "comp1"', "expected at most one of"),
        ('of = "vibration"', 'component = "comp1"', "statistics: expected some of .*, but got 'mean'"),
        ('statistics = ["mean"]', "", r"expected keys \['statistics'\]"),
        ('statistics = ["mean"]', "statistics = []", "statistics: expected at least one"),
        ('statistics = ["mean"]', 'statistics = ["middle"]', "but got 'middle'"),
        ('statistics = ["mean"]', 'statistics = ["quantile"]', "quantiles together"),
        ('statistics = ["mean"]', 'statistics = ["quantile"]\nquantiles = [2]', "numbers from 0 to 1, but got 2"),
        ('statistics = ["mean"]', 'statistics = ["mean"]\nabove = "vibration"', "above together"),
        ('statistics = ["mean"]', 'statistics = ["share"]\nranges = [0]', "share: ranges of vibration: expected"),
        (
            'unit = "1"',
            'unit = "1"\nranges = [2, 1]',
            r"ranges of vibration: expected rising edges, but got \(2.0, 1.0\)",
        ),
        ('unit = "1"', 'unit = "1"\nranges = []', "expected at least one edge"),
        ('unit = "1"', 'unit = "1"\nranges = [nan]', "ranges: expected numbers, but got nan"),
        ('unit = "1"', 'unit = "1"\nstart = [1, 2]', "start: expected ranges beside it"),
        ('unit = "1"', 'unit = "1"\nranges = [1]\nstart = [1]', "start: expected two numbers"),
        ('unit = "1"', 'unit = "1"\nranges = [1]\nstart = [2, 1]', "expected start limits that rise"),
        ('statistics = ["mean"]', 'statistics = ["starts"]', r"starts of vibration: expected one of \[\]"),
        (
            "[components.comp1]",
            '[quantities.b]\nunit = "1"\nmeaning = "b"\nsources = ["telemetry.vibration"]\nranges = [3]\n'
            '[quantities.c]\nunit = "1"\nmeaning = "c"\nsources = ["telemetry.vibration"]\nranges = [4]\n'
            "[components.comp1]",
            "signal telemetry.vibration: expected one set of ranges",
        ),
        ('statistics = ["mean"]', 'statistics = ["mean"]\nwindows_d = [0]', "windows_d: expected whole numbers from 1"),
        ('statistics = ["mean"]', 'statistics = ["slope"]\nwindows_d = [3]', "expected at least 4 for slope"),
        ('statistics = ["mean"]', 'statistics = ["mean", "mean"]', "expected unique feature names"),
        ('of = "vibration"\nstatistics = ["mean"]', 'statistics = ["codes"]\nwindows_d = [60]', "at most 28 for codes"),
    ],
)
def test_what_cannot_be_is_refused_with_file_and_key(load, old, new, message):
    assert old in SHORT
    with pytest.raises(ConfigError, match=message) as refused:
        load(SHORT.replace(old, new, 1))
    assert "features.toml" in str(refused.value)


def test_a_file_that_is_missing_or_too_large_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="expected readable TOML"):
        load_feature_set(tmp_path / "none.toml", Policy())
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * (MAXIMUM_BYTES + 1))
    with pytest.raises(ConfigError, match="expected at most"):
        load_feature_set(large, Policy())


def test_a_set_names_nothing_twice():
    from pm.features.definition import Component
    from pm.features.quantities import Quantity

    quantity = Quantity("q", "1", "q", ("m.s",))
    with pytest.raises(ConfigError, match="unique quantities"):
        FeatureSet("s", 1, (), (quantity, quantity))
    with pytest.raises(ConfigError, match="unique components"):
        FeatureSet("s", 1, (), (), (Component("c", "c"), Component("c", "c")))
