"""Vectors made again with later arrivals spoiled: the product's own are the same bits, leaky ones are not."""

from collections.abc import Callable
from datetime import timedelta

import feature_fleet
import polars as pl
import pytest

from pm.backtest.audit_arrivals import Build, Rebuilt, arrivals_check, rebuild
from pm.features.featurefile import load_feature_set
from pm.features.featureset import FeatureSet
from pm.features.windows import build_vectors
from pm.policy import Policy

AS_OF = feature_fleet.START + timedelta(days=40)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    return load_feature_set(feature_fleet.write_file(tmp_path_factory.mktemp("set")), Policy())


@pytest.fixture(scope="module")
def sources() -> dict[str, pl.DataFrame]:
    made = feature_fleet.sources(3)
    return {
        "vehicles": made.vehicles, "daily_signals": made.daily_signals, "daily_faults": made.daily_faults,
        "failures": made.failures, "events": made.events, "readings": made.daily_signals,
    }  # fmt: skip


@pytest.fixture(scope="module")
def product(features: FeatureSet) -> Build:
    return lambda as_of, sources: build_vectors(features, [as_of], policy=Policy(), **sources)


def found(rebuilt: Rebuilt, features: FeatureSet) -> dict[str, set[str]]:
    parts = {
        "stored": rebuilt.stored_differs, "later": rebuilt.later_matters, "same_day": rebuilt.same_day_matters,
    }  # fmt: skip
    return {part: {features.names[at] for at in positions} for part, positions in parts.items()}


def test_the_products_own_vectors_know_nothing_of_later(
    features: FeatureSet, sources: dict[str, pl.DataFrame], product: Build
) -> None:
    rebuilt = rebuild(AS_OF, product(AS_OF, sources), sources, product)
    assert found(rebuilt, features) == {"stored": set(), "later": set(), "same_day": set()}
    check = arrivals_check([rebuilt], features)
    assert check.status == "pass"
    assert f"All {len(features.names)} features are the same to the last bit" in check.sentence


def all_known(*names: str) -> Callable[[Build], Build]:
    """The product's vectors, of sources `names` whose later rows are stamped as known."""

    def leaky(product: Build) -> Build:
        def build(as_of: object, sources: object) -> pl.DataFrame:
            early = {
                name: frame.with_columns(
                    known_at=pl.min_horizontal("known_at", pl.lit(AS_OF, frame.schema["known_at"]))
                )
                if name in names
                else frame
                for name, frame in sources.items()  # type: ignore[attr-defined]
            }
            return product(as_of, early)  # type: ignore[arg-type]

        return build

    return leaky


@pytest.mark.parametrize(
    ("source", "named", "others"),
    [
        ("failures", "failures", "speed_rpm"),
        ("daily_signals", "hot_c", "failures"),
        ("daily_faults", "dtc", "speed_rpm"),
        ("events", "event", "speed_rpm"),
    ],
)
def test_a_source_read_without_its_clock_is_named_by_its_features(
    features: FeatureSet, sources: dict[str, pl.DataFrame], product: Build, source: str, named: str, others: str
) -> None:
    build = all_known(source)(product)
    rebuilt = rebuild(AS_OF, build(AS_OF, sources), sources, build)
    guilty = found(rebuilt, features)["later"]
    assert any(named in name for name in guilty)
    assert not any(others in name for name in guilty)
    assert arrivals_check([rebuilt], features).status == "fail"


def test_something_later_is_always_there_also_at_the_end_of_the_record(
    features: FeatureSet, sources: dict[str, pl.DataFrame], product: Build
) -> None:
    known = {name: frame.filter(pl.col("known_at") <= AS_OF) for name, frame in sources.items()}
    build = all_known("failures", "daily_signals")(product)
    rebuilt = rebuild(AS_OF, product(AS_OF, known), known, build)
    assert found(rebuilt, features)["later"]


def test_vectors_stored_from_other_data_are_told_from_a_leak(
    features: FeatureSet, sources: dict[str, pl.DataFrame], product: Build
) -> None:
    fewer = {**sources, "daily_signals": sources["daily_signals"].filter(pl.col("vehicle_id") != 1)}
    rebuilt = rebuild(AS_OF, product(AS_OF, fewer), sources, product)
    check = arrivals_check([rebuilt], features)
    assert check.status == "fail"
    assert "Build the features again" in check.sentence
    assert check.details["later"] == check.details["same_day"] == []


def test_other_vehicles_are_told_too(features: FeatureSet, sources: dict[str, pl.DataFrame], product: Build) -> None:
    stored = product(AS_OF, sources).filter(pl.col("vehicle_id") != 2)
    check = arrivals_check([rebuild(AS_OF, stored, sources, product)], features)
    assert (check.status, check.features) == ("fail", ())
    assert "Other vehicles" in check.sentence


def test_nothing_made_again_is_not_possible_with_its_reason(features: FeatureSet) -> None:
    check = arrivals_check([], features, "the features were handed over")
    assert check.status == "not_possible"
    assert "the features were handed over" in check.sentence
