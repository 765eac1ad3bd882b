"""From vectors and labels to a bundle and back: which rows are used, what is refused, same bytes."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from pm.errors import LeakageError, ModelError
from pm.features.featureset import Feature, FeatureSet
from pm.models.bundle import KINDS, Bundle
from pm.models.gbm import GbmModel
from pm.models.rows import feature_matrix, labelled_rows, latest_days, vehicle_groups
from pm.models.train import fit_bundle
from pm.policy import Gates, Policy
from pm.tables import FEATURE_VECTOR, LABEL

START = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)
N_VEHICLES, N_DAYS = 20, 60
CUTOFF = START + 90 * DAY
NAMES = (*tuple(f"heat_mean_{days}d" for days in (1, 7, 28)), "n_dtc_cooling_14d", "days_since_repair_cooling")
SET = FeatureSet("toy", 1, tuple(Feature(name, "", "", ()) for name in NAMES))
POLICY = Policy()


@pytest.fixture(scope="module")
def frames() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Every third vehicle fails on its own day; heat rises before. Vectors and matured labels."""
    rng = np.random.default_rng(11)
    vectors, labels = [], []
    for vehicle in range(N_VEHICLES):
        fails = 10 + 2.6 * vehicle if vehicle % 3 == 0 else None
        for day in range(N_DAYS):
            positive = fails is not None and day < fails <= day + 14
            heat = rng.normal() + (2.0 if positive else 0.0)
            values = [
                heat,
                heat * 0.8,
                0.1,
                float(positive and rng.random() < 0.6),
                None if vehicle % 2 else 10.0 + day,
            ]
            as_of = START + day * DAY
            vectors.append(
                {
                    "feature_set_id": SET.feature_set_id,
                    "vehicle_id": vehicle,
                    "as_of": as_of,
                    "data_until": as_of,
                    "features": values,
                    "inputs_hash": "x",
                }
            )
            labels.append(
                {
                    "vehicle_id": vehicle,
                    "component": "cooling",
                    "as_of": as_of,
                    "horizon_d": 14,
                    "known_at": as_of + 20 * DAY,
                    "state": "positive" if positive else "negative",
                    "failed_at": START + fails * DAY if positive and fails is not None else None,
                }
            )
    return FEATURE_VECTOR.frame(vectors), LABEL.frame(labels)


def fit(kind: str, frames: tuple[pl.DataFrame, pl.DataFrame], policy: Policy = POLICY, seed: int = 3) -> Bundle:
    return fit_bundle(kind, "cooling", *frames, SET, policy, CUTOFF, seed, n_components=3)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_trains_repeats_and_survives_storage(kind: str, frames: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    bundle, again = (
        fit(kind, frames),
        fit(kind, (frames[0].reverse(), frames[1].sample(fraction=1, shuffle=True, seed=1))),
    )
    assert bundle.to_bytes() == again.to_bytes()
    read = Bundle.from_bytes(bundle.to_bytes())
    features = feature_matrix(frames[0], len(NAMES))
    assert np.array_equal(read.predict(features), bundle.predict(features))
    assert (read.sha256, read.model_id) == (bundle.sha256, bundle.sha256[:12])
    assert read.cutoff == CUTOFF
    assert read.contributions(features).shape == features.shape
    assert ((read.predict(features) > 0) & (read.predict(features) < 1)).all()


@pytest.mark.parametrize("kind", ["gbm", "panel", "fault_count"])
def test_failing_trucks_score_higher_and_on_average_right(kind: str, frames: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    bundle = fit(kind, frames)
    positive = (frames[1]["state"] == "positive").to_numpy()
    p = bundle.predict(feature_matrix(frames[0], len(NAMES)))
    assert p[positive].mean() > 1.3 * p[~positive].mean()
    assert p.mean() == pytest.approx(positive.mean(), abs=0.06)


def test_a_booster_starts_from_the_fault_count_and_sees_what_is_near(
    frames: tuple[pl.DataFrame, pl.DataFrame],
) -> None:
    bundle = fit("gbm", frames)
    assert isinstance(bundle.estimator, GbmModel)
    assert bundle.estimator.columns == tuple(range(len(NAMES)))
    assert bundle.estimator.start is not None
    assert bundle.estimator.start.rule.column == NAMES.index("n_dtc_cooling_14d")
    read = Bundle.from_bytes(bundle.to_bytes())
    features = feature_matrix(frames[0], len(NAMES))
    rest = bundle.estimator.raw(features) - read.contributions(features).sum(axis=1)
    assert np.ptp(rest) < 1e-6


def test_without_a_count_a_booster_starts_from_the_base_rate(frames: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    named = FeatureSet("toy", 1, tuple(Feature(f"x{at}", "", "", ()) for at in range(len(NAMES))))
    vectors = frames[0].with_columns(feature_set_id=pl.lit(named.feature_set_id))
    bundle = fit_bundle("gbm", "cooling", vectors, frames[1], named, POLICY, CUTOFF, 3)
    assert isinstance(bundle.estimator, GbmModel)
    assert bundle.estimator.start is None


def test_usual_range_comes_from_rows_without_failure(frames: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    bundle = fit("base_rate", frames)
    heat = (
        frames[0].join(frames[1].filter(state="negative"), on=["vehicle_id", "as_of"], how="semi")["features"].list[0]
    )
    assert bundle.feature_low[0] == pytest.approx(heat.quantile(0.05, "linear"), abs=1e-6)
    assert bundle.feature_high[0] == pytest.approx(heat.quantile(0.95, "linear"), abs=1e-6)
    unknown = frames[0].with_columns(features=pl.concat_list(*[pl.lit(None, pl.Float32)] * len(NAMES)))
    assert fit("base_rate", (unknown, frames[1])).feature_low == (None,) * len(NAMES)


def test_the_latest_days_calibrate(frames: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    rows = labelled_rows("cooling", *frames, feature_set=SET, policy=POLICY, cutoff=CUTOFF)
    calibrate = latest_days(rows, POLICY)
    assert np.unique(rows.day[calibrate]).size == 30  # half of 60 days
    assert rows.day[calibrate].min() > rows.day[~calibrate].max()


def test_groups_keep_a_vehicle_together_and_share_out_the_failures(frames: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    rows = labelled_rows("cooling", *frames, feature_set=SET, policy=POLICY, cutoff=CUTOFF)
    group = vehicle_groups(rows, 4, seed=1)
    for vehicle in np.unique(rows.vehicle):
        assert np.unique(group[rows.vehicle == vehicle]).size == 1
    failing = [np.unique(rows.vehicle[rows.positive & (group == number)]).size for number in range(4)]
    assert max(failing) - min(failing) <= 1
    assert np.array_equal(group, vehicle_groups(rows, 4, seed=1))
    assert not np.array_equal(group, vehicle_groups(rows, 4, seed=2))


def test_a_memorised_vehicle_does_not_make_the_calibration_sure_of_itself(
    frames: tuple[pl.DataFrame, pl.DataFrame],
) -> None:
    """A feature that only names the vehicle fits the training rows and tells nothing of others."""
    vectors, labels = frames
    name = pl.col("vehicle_id").hash(seed=7).mod(997).cast(pl.Float32)
    named = vectors.with_columns(features=pl.concat_list(*[name] * len(NAMES)))
    bundle = fit("gbm", (named, labels))
    p = bundle.predict(feature_matrix(named, len(NAMES)))
    rows = labelled_rows("cooling", named, labels, feature_set=SET, policy=POLICY, cutoff=CUTOFF)
    assert p.max() < 3 * rows.positive.mean()


def test_as_of_step_thins_the_rows(frames: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    policy = replace(POLICY, backtest=replace(POLICY.backtest, as_of_step_d=7))
    rows = labelled_rows("cooling", *frames, feature_set=SET, policy=policy, cutoff=CUTOFF)
    assert set(np.diff(np.unique(rows.day)).tolist()) == {7}


def test_the_latest_state_of_a_label_counts(frames: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    vectors, labels = frames
    first = labels.filter(state="positive").head(1)
    withdrawn = first.with_columns(known_at=pl.lit(CUTOFF), state=pl.lit("pending"), failed_at=None)
    history = pl.concat([labels, withdrawn.cast(dict(labels.schema))])
    before = labelled_rows("cooling", vectors, labels, feature_set=SET, policy=POLICY, cutoff=CUTOFF)
    after = labelled_rows("cooling", vectors, history, feature_set=SET, policy=POLICY, cutoff=CUTOFF)
    assert (after.n_rows, after.n_positives) == (before.n_rows - 1, before.n_positives - 1)


def test_a_label_known_after_the_cutoff_is_a_leak(frames: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    with pytest.raises(LeakageError, match="labels of cooling"):
        fit_bundle("gbm", "cooling", *frames, SET, POLICY, START + 70 * DAY, 3)


def test_a_vector_after_the_cutoff_is_a_leak(frames: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    early = frames[1].with_columns(known_at=pl.lit(START + 30 * DAY).cast(frames[1].schema["known_at"]))
    with pytest.raises(LeakageError, match="as_of"):
        fit_bundle("gbm", "cooling", frames[0], early, SET, POLICY, START + 40 * DAY, 3)


@pytest.mark.parametrize("kind", ["gbm", "panel", "fault_count"])
def test_one_class_is_refused(kind: str, frames: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    with pytest.raises(ModelError, match="both classes"):
        fit(kind, (frames[0], frames[1].filter(state="negative")))


def test_base_rate_needs_no_positive(frames: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    bundle = fit("base_rate", (frames[0], frames[1].filter(state="negative")))
    assert 0 < bundle.predict(np.zeros((1, len(NAMES)), dtype=np.float32))[0] < 0.01


def test_too_few_positives_are_refused(frames: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    with pytest.raises(ModelError, match="at least 500 positive"):
        fit("gbm", frames, replace(POLICY, gates=Gates(minimum_positives=500)))


def test_many_rows_of_two_failures_are_too_few(frames: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    labels = frames[1].filter((pl.col("state") == "negative") | pl.col("vehicle_id").is_in([3, 6]))
    with pytest.raises(ModelError, match="of 3 failures, but got .* of 2 failures"):
        fit("gbm", (frames[0], labels))


def test_no_label_other_set_other_horizon_other_kind_are_refused(frames: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    vectors, labels = frames
    with pytest.raises(ModelError, match="but got none"):
        fit("gbm", (vectors, labels.clear()))
    with pytest.raises(ModelError, match="expected feature set"):
        fit("gbm", (vectors.with_columns(feature_set_id=pl.lit("other")), labels))
    with pytest.raises(ModelError, match="horizon of 14 d"):
        fit("gbm", (vectors, labels.with_columns(horizon_d=pl.lit(7, pl.Int16))))
    with pytest.raises(ModelError, match="expected a kind"):
        fit("oracle", frames)
    short = vectors.with_columns(features=pl.col("features").list.head(2))
    with pytest.raises(ModelError, match="expected 5 numbers"):
        fit("gbm", (short, labels))


def test_a_bundle_refuses_another_width(frames: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    with pytest.raises(ModelError, match=r"expected features of shape \(n, 5\)"):
        fit("base_rate", frames).predict(np.zeros((2, 4), dtype=np.float32))


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"}, {"kind": "magic"}, {"threshold": None}, {"threshold": -1}, {"n_rows": "many"},
        {"feature_names": ["a", "a"]}, {"feature_low": [1]}, {"cutoff": "yesterday"}, {"cutoff": "2026-01-01T00:00:00"},
        {"model": []}, {"calibration": {}}, {"horizon_d": 0}, {"feature_high": ["x"] * 5},
    ],
)  # fmt: skip
def test_a_spoiled_bundle_is_refused(change: dict[str, object], frames: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    document = json.loads(fit("fault_count", frames).to_bytes()) | change
    with pytest.raises(ModelError, match="expected"):
        Bundle.from_bytes(json.dumps(document).encode())


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"format": NaN}', b"[" * 100_000])
def test_what_is_no_bundle_is_refused(content: bytes) -> None:
    with pytest.raises(ModelError, match="model bundle: expected"):
        Bundle.from_bytes(content)
