"""Feature sets in the database: built, taken from each other, chosen and rolled back."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import psycopg
import pytest
from feature_fleet import FILE, N_DAYS, START, sources, vehicles, write_file

from pm.errors import ConfigError
from pm.features import windows
from pm.features.featurefile import load_feature_set
from pm.features.featureset import FeatureSet, default_feature_set
from pm.pipelines.feature_dictionary import describe_features
from pm.pipelines.feature_sets import choose_set, set_in_use
from pm.pipelines.features import build_features
from pm.policy import Policy
from pm.store import dailies, feature_sets, feature_vectors, frames, logs
from pm.tables import DAILY_FAULT, DAILY_SIGNAL, FAILURE, VEHICLE

AS_OFS = [START + timedelta(days=day) for day in range(20, N_DAYS + 2, 2)]
MORE = '\n[[features]]\nof = "speed_rpm"\nstatistics = ["peers"]\nwindows_d = [7]\n'
NOW = START + timedelta(days=100)


@pytest.fixture
def machine(tmp_path: Path) -> FeatureSet:
    return load_feature_set(write_file(tmp_path), Policy())


@pytest.fixture
def wider(tmp_path: Path) -> FeatureSet:
    return load_feature_set(write_file(tmp_path, FILE.replace("version = 1", "version = 2") + MORE), Policy())


@pytest.fixture
def filled(conn: psycopg.Connection) -> psycopg.Connection:
    rows = sources(0, vehicles(4))
    frames.insert(conn, VEHICLE, rows.vehicles)
    frames.insert(conn, DAILY_SIGNAL, rows.daily_signals)
    frames.insert(conn, DAILY_FAULT, rows.daily_faults)
    frames.insert(conn, FAILURE, rows.failures)
    return conn


def stored(conn: psycopg.Connection, feature_set: FeatureSet) -> pl.DataFrame:
    return feature_vectors.fetch_vectors(conn, feature_set.feature_set_id)


def build(conn: psycopg.Connection, feature_set: FeatureSet, as_ofs=AS_OFS, **more):
    return build_features(conn, as_ofs, Policy(), feature_set=feature_set, **more)


def test_stored_vectors_are_those_of_one_pass_over_everything(filled: psycopg.Connection, machine: FeatureSet) -> None:
    report = build(filled, machine)
    rows = sources(0, vehicles(4))
    counters = rows.daily_signals.filter(pl.col("signal") == "counter")
    whole = windows.build_vectors(
        machine, AS_OFS, vehicles=rows.vehicles, daily_signals=rows.daily_signals, daily_faults=rows.daily_faults,
        failures=rows.failures, policy=Policy(), readings=counters,
    )  # fmt: skip
    assert stored(filled, machine).equals(whole)
    assert report.n_computed == len(AS_OFS) * len(machine.names)
    assert report.n_taken == 0


def test_a_feature_more_computes_that_feature_only(
    filled: psycopg.Connection, machine: FeatureSet, wider: FeatureSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(filled, machine)
    asked: list[str] = []
    original = windows._plan

    def counted(feature_set, features):
        asked.extend(feature.name for feature in features)
        return original(feature_set, features)

    monkeypatch.setattr(windows, "_plan", counted)
    report = build(filled, wider)
    assert set(asked) == {"speed_rpm_peers_7d"}
    assert (report.n_computed, report.n_taken) == (len(AS_OFS), len(AS_OFS) * len(machine.names))
    taken = stored(filled, wider)
    build(filled, wider, again=True)
    assert stored(filled, wider).equals(taken)
    assert stored(filled, machine).height == taken.height


def test_what_is_there_is_not_made_again_until_its_inputs_change(
    filled: psycopg.Connection, machine: FeatureSet
) -> None:
    build(filled, machine)
    assert build(filled, machine).n_computed == 0
    before = stored(filled, machine)
    late = dailies.fetch_daily_signals(filled).filter(pl.col("day") == (START + timedelta(days=30)).date()).head(1)
    vehicle_id, day = late["vehicle_id"][0], late["day"][0]
    logs.mark_dirty(filled, vehicle_id, [day])
    same_day = dailies.fetch_daily_signals(filled).filter(pl.col("vehicle_id") == vehicle_id, pl.col("day") == day)
    codes = dailies.fetch_daily_faults(filled).filter(pl.col("vehicle_id") == vehicle_id, pl.col("day") == day)
    dailies.replace_days(filled, logs.fetch_dirty(filled), same_day.with_columns(mean=pl.col("mean") + 1), codes)
    report = build(filled, machine)
    touched = [a for a in AS_OFS if timedelta(0) < a.date() - day <= timedelta(days=machine.lookback_d)]
    known_by_then = [a for a in touched if (same_day["known_at"] <= a).any()]
    assert report.n_computed == len(known_by_then) * len(machine.names)
    now = stored(filled, machine)
    changed = now.join(before, on=("vehicle_id", "as_of", "inputs_hash"), how="anti")
    assert changed.height > 0
    assert set(changed["as_of"]) <= set(known_by_then)
    build(filled, machine, again=True)
    assert stored(filled, machine).equals(now)


def test_a_set_of_another_lookback_is_computed_as_a_whole(
    filled: psycopg.Connection, machine: FeatureSet, tmp_path: Path
) -> None:
    build(filled, machine, AS_OFS[:3])
    longer = FILE + '\n[[features]]\nof = "speed_rpm"\nstatistics = ["mean"]\nwindows_d = [60]\n'
    other = load_feature_set(write_file(tmp_path, longer), Policy())
    assert build(filled, other, AS_OFS[:3]).n_taken == 0


def test_choosing_is_kept_and_rolling_back_is_choosing_the_older(
    filled: psycopg.Connection, machine: FeatureSet, wider: FeatureSet
) -> None:
    policy = Policy()
    assert set_in_use(filled, policy).feature_set_id == default_feature_set(policy).feature_set_id
    assert set_in_use(filled, policy, machine) is machine
    build(filled, machine, AS_OFS[:2])
    build(filled, wider, AS_OFS[:2])
    for wanted, reason in ((wider, "trial"), (machine, "rolled back")):
        choose_set(filled, wanted.feature_set_id, policy, configured=wider, chosen_at=NOW, reason=reason)
        in_use = set_in_use(filled, policy, wider)
        assert in_use.feature_set_id == wanted.feature_set_id
        assert in_use.lookback_d == wanted.lookback_d
    assert build_features(filled, AS_OFS[:2], policy, configured=wider).feature_set_id == machine.feature_set_id
    assert stored(filled, wider).height > 0
    choices = feature_sets.fetch_choices(filled)
    assert choices["reason"].to_list() == ["trial", "rolled back"]
    report = choose_set(filled, "configured", policy, configured=wider, chosen_at=NOW, reason="back to the file")
    assert (report.choice_no, report.before) == (3, machine.feature_set_id)
    assert set_in_use(filled, policy, wider) is wider
    with pytest.raises(ConfigError, match="expected one of"):
        choose_set(filled, "nonsense", policy, configured=wider, chosen_at=NOW, reason="")


def test_a_set_of_another_release_is_not_taken_for_this_ones(
    filled: psycopg.Connection, machine: FeatureSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(filled, machine, AS_OFS[:1])
    choose_set(filled, machine.feature_set_id, Policy(), configured=machine, chosen_at=NOW, reason="")
    monkeypatch.setattr("pm.features.definition.COMPUTATIONS", {"mean": 2, "peers": 2})
    with pytest.raises(ConfigError, match="of another release"):
        set_in_use(filled, Policy())
    newer = replace(machine, version=3)
    report = build(filled, newer, AS_OFS[:1])
    n_means = sum(feature.recipe.kind == "mean" for feature in newer.features)
    assert report.n_computed == n_means


def test_the_dictionary_has_figures_of_the_latest_vectors(filled: psycopg.Connection, machine: FeatureSet) -> None:
    assert describe_features(filled, machine).find("hot_c_mean_7d").null_share is None
    build(filled, machine)
    found = describe_features(filled, machine)
    latest = AS_OFS[-14:]
    assert (found.first_as_of, found.last_as_of, found.n_vectors) == (latest[0], latest[-1], 4 * len(latest))
    column = machine.position("hot_c_mean_7d")
    values = stored(filled, machine).filter(pl.col("as_of") >= latest[0])["features"].list.get(column).drop_nulls()
    facts = found.find("hot_c_mean_7d")
    assert facts.distribution.median == pytest.approx(values.median())
    assert sum(facts.distribution.counts) == values.len()
    assert found.find("nothing") is None
