"""Feature vectors, labels, predictions."""

from datetime import UTC, datetime, timedelta

import polars as pl
import psycopg
import pytest

from pm.errors import DataError
from pm.features.featureset import default_feature_set
from pm.policy import Policy
from pm.store import feature_vectors, labels, predictions, vehicles
from pm.tables import FEATURE_VECTOR, LABEL, PREDICTION

T0 = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def truck(conn: psycopg.Connection) -> int:
    return vehicles.add_vehicle(conn, fleet="north", vehicle_ref="T1", known_at=T0)


def vector(truck: int, day: int, value: float | None, feature_set_id: str) -> pl.DataFrame:
    row: dict[str, object] = {"feature_set_id": feature_set_id, "vehicle_id": truck, "as_of": T0 + day * DAY}
    return FEATURE_VECTOR.frame([row | {"data_until": None, "features": [value, None], "inputs_hash": "h"}])


def test_vectors_are_written_over_and_read_by_set_and_as_of(conn: psycopg.Connection, truck: int) -> None:
    feature_set = default_feature_set(Policy())
    name = feature_set.feature_set_id
    for _ in range(2):
        feature_vectors.put_feature_set(conn, feature_set)
    assert feature_vectors.fetch_feature_set(conn, name)["name"].to_list() == [feature_set.name]
    feature_vectors.put_vectors(conn, pl.concat([vector(truck, day, 1.0, name) for day in range(3)]))
    assert feature_vectors.put_vectors(conn, vector(truck, 1, None, name)) == 1
    found = feature_vectors.fetch_vectors(conn, name, since=T0 + DAY, until=T0 + 2 * DAY)
    assert found.equals(pl.concat([vector(truck, 1, None, name), vector(truck, 2, 1.0, name)]))
    assert feature_vectors.fetch_vectors(conn, "other").equals(FEATURE_VECTOR.empty())
    assert feature_vectors.fetch_as_ofs(conn, until=T0 + DAY) == [T0, T0 + DAY]
    assert feature_vectors.newest_as_of(conn, name) == T0 + 2 * DAY


def test_vectors_of_an_unknown_set_and_as_ofs_of_none_are_refused(conn: psycopg.Connection, truck: int) -> None:
    with pytest.raises(DataError, match="feature_set"):
        feature_vectors.put_vectors(conn, vector(truck, 0, 1.0, "nothing"))
    with pytest.raises(DataError, match="expected at least one as-of"):
        feature_vectors.newest_as_of(conn)
    with pytest.raises(DataError, match="feature set nothing: expected a stored set"):
        feature_vectors.fetch_feature_set(conn, "nothing")


def label(truck: int, known: int, state: str, as_of: int = 0) -> dict[str, object]:
    row: dict[str, object] = {"vehicle_id": truck, "component": "cooling", "as_of": T0 + as_of * DAY, "horizon_d": 14}
    return row | {"known_at": T0 + known * DAY, "state": state, "failed_at": T0 if state == "positive" else None}


def test_a_label_has_the_state_that_was_known_then(conn: psycopg.Connection, truck: int) -> None:
    history = LABEL.frame(
        [
            label(truck, 0, "pending"),
            label(truck, 5, "positive"),
            label(truck, 9, "negative"),
            label(truck, 9, "pending", 1),
        ]
    )
    assert labels.append_labels(conn, history) == 4
    assert labels.append_labels(conn, history) == 4
    for known, states in ((-1, []), (4, ["pending"]), (5, ["positive"]), (9, ["negative", "pending"])):
        assert labels.fetch_labels(conn, known_by=T0 + known * DAY)["state"].to_list() == states
    assert labels.fetch_labels(conn, known_by=T0 + 9 * DAY, component="brakes_air").height == 0
    assert labels.fetch_labels(conn, known_by=T0 + 9 * DAY, horizon_d=7).height == 0
    assert labels.fetch_history(conn).equals(history)


def prediction(truck: int, component: str, position: int | None, day: int = 0, **changed: object) -> pl.DataFrame:
    row: dict[str, object] = {"vehicle_id": truck, "component": component, "as_of": T0 + day * DAY, "model_id": "m"}
    row |= {"role": "champion", "scored_at": T0, "data_until": None, "horizon_d": 14, "status": "ok", "p_failure": 0.25}
    row |= {"position": position, "threshold": 0.5, "alert": False, "reasons_json": "[]", "inputs_hash": "h"}
    return PREDICTION.frame([row | changed])


def test_predictions_of_an_as_of_are_replaced_and_ranked(conn: psycopg.Connection, truck: int) -> None:
    assert predictions.fetch_latest(conn).equals(PREDICTION.empty())
    predictions.replace_predictions(conn, T0, prediction(truck, "cooling", 1))
    unranked = prediction(truck, "charging_starting", None, 1, p_failure=None, status="stale")
    shadow = prediction(truck, "cooling", 9, 1, model_id="s", role="shadow")
    parts = [unranked, prediction(truck, "cooling", 2, 1), shadow, prediction(truck, "brakes_air", 1, 1)]
    for _ in range(2):
        assert predictions.replace_predictions(conn, T0 + DAY, pl.concat(parts)) == 4
    assert predictions.latest_as_of(conn) == T0 + DAY
    assert predictions.fetch_latest(conn)["component"].to_list() == ["brakes_air", "cooling", "charging_starting"]
    assert predictions.fetch_predictions(conn, as_of=T0 + DAY, roles=["shadow"])["model_id"].to_list() == ["s"]
    assert predictions.fetch_predictions(conn, as_of=T0).equals(prediction(truck, "cooling", 1))
    assert predictions.fetch_between(conn, since=T0, until=T0 + DAY).height == 4
    assert predictions.fetch_of_vehicle(conn, truck)["as_of"].to_list() == [T0 + DAY] * 3 + [T0]
    assert predictions.replace_predictions(conn, T0 + DAY, PREDICTION.empty()) == 0
    assert predictions.latest_as_of(conn) == T0


def test_predictions_of_another_as_of_or_no_probability_are_refused(conn: psycopg.Connection, truck: int) -> None:
    with pytest.raises(DataError, match="expected as_of 2026-03-02"):
        predictions.replace_predictions(conn, T0 + DAY, prediction(truck, "cooling", 1))
    with pytest.raises(DataError, match="prediction_p_failure_check"):
        predictions.replace_predictions(conn, T0, prediction(truck, "cooling", 1, p_failure=1.5))
    assert predictions.fetch_latest(conn).height == 0
