"""Models and their moves, backtests, policies."""

import threading
from datetime import UTC, datetime, timedelta

import polars as pl
import psycopg
import pytest

from pm.errors import DataError, LifecycleError, ModelError
from pm.policy import Policy
from pm.store import registry
from pm.store.connection import connect
from pm.tables import BACKTEST, MODEL_VERSION

T0 = datetime(2026, 3, 1, tzinfo=UTC)


def model(model_id: str, component: str = "cooling") -> pl.DataFrame:
    row: dict[str, object] = {"model_id": model_id, "component": component, "kind": "gbm", "cutoff": T0}
    row |= {"feature_set_id": "f", "policy_id": "p", "inputs_hash": "h", "metrics_json": "{}", "created_at": T0}
    return MODEL_VERSION.frame([row | {"bundle_sha256": f"sha of {model_id}"}])


def move(conn: psycopg.Connection, model_id: str, before: str | None, to: str, last: int) -> int:
    return registry.move(
        conn, "cooling", model_id, from_stage=before, to_stage=to, reason="because", moved_at=T0, expected_move_no=last
    )


@pytest.fixture
def models(conn: psycopg.Connection) -> None:
    registry.put_model(conn, pl.concat([model("a"), model("b"), model("c", "brakes_air")]))


def test_a_model_is_registered_once(conn: psycopg.Connection, models: None) -> None:
    assert registry.put_model(conn, model("a").with_columns(bundle_sha256=pl.lit("other"))) == 0
    assert registry.bundle_sha256(conn, "a") == "sha of a"
    assert registry.fetch_model(conn, "a").equals(model("a"))
    assert registry.fetch_models(conn, component="cooling")["model_id"].to_list() == ["a", "b"]
    with pytest.raises(ModelError, match="model z: expected a registered model"):
        registry.fetch_model(conn, "z")


def test_moves_are_numbered_and_the_champion_serves(conn: psycopg.Connection, models: None) -> None:
    assert registry.last_move_no(conn, "cooling") == 0
    assert registry.stage_of(conn, "a") is None
    assert move(conn, "a", None, "candidate", 0) == 1
    assert registry.serving(conn) == {}
    assert move(conn, "a", "candidate", "champion", 1) == 2
    assert registry.serving(conn) == {"cooling": "a"}
    assert (registry.last_move_no(conn, "cooling"), registry.stage_of(conn, "a")) == (2, "champion")
    move(conn, "a", "champion", "retired", 2)
    move(conn, "b", None, "champion", 3)
    assert registry.serving(conn) == {"cooling": "b"}
    moves = registry.fetch_moves(conn, component="cooling")
    assert moves.select("move_no", "model_id", "from_stage", "to_stage").rows() == [
        (1, "a", None, "candidate"), (2, "a", "candidate", "champion"), (3, "a", "champion", "retired"),
        (4, "b", None, "champion"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("model_id", "before", "to", "last", "reason"),
    [
        ("b", None, "candidate", 0, "expected move 0 to be the last, but got 1: another move came first"),
        ("b", None, "candidate", 2, "expected move 2 to be the last"),
        ("b", "candidate", "shadow", 1, "expected stage candidate, but got None"),
        ("b", None, "champion", 1, "expected no champion beside it, but got a"),
        ("c", None, "candidate", 1, "expected a registered model of this component"),
        ("z", None, "candidate", 1, "expected a registered model of this component"),
    ],
)
def test_a_move_that_does_not_fit_is_refused(
    conn: psycopg.Connection, models: None, model_id: str, before: str | None, to: str, last: int, reason: str
) -> None:
    move(conn, "a", None, "champion", 0)
    with pytest.raises(LifecycleError, match=reason):
        move(conn, model_id, before, to, last)
    assert registry.last_move_no(conn, "cooling") == 1


def test_an_unknown_stage_is_refused(conn: psycopg.Connection, models: None) -> None:
    with pytest.raises(DataError, match="stage_transition_to_stage_check"):
        move(conn, "a", None, "king", 0)


def test_of_two_that_move_at_once_one_comes_first(conn: psycopg.Connection, database_url: str, models: None) -> None:
    start, refused = threading.Barrier(2), []

    def work(model_id: str) -> None:
        with connect(database_url) as own:
            start.wait(10)
            try:
                move(own, model_id, None, "champion", 0)
            except LifecycleError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=work, args=(model_id,)) for model_id in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(refused) == 1
    assert "another move came first" in refused[0]
    assert registry.fetch_moves(conn).height == 1


def test_the_latest_backtest_is_the_one_stored_last(conn: psycopg.Connection) -> None:
    assert registry.latest_backtest(conn) is None
    row: dict[str, object] = {"policy_id": "p", "feature_set_id": "f", "known_until": T0, "report_sha256": "r"}
    row |= {"measures_json": '{"brier": null}'}
    later = T0 + timedelta(days=1)
    registry.put_backtest(conn, BACKTEST.frame([row | {"backtest_id": "new", "created_at": later}]))
    registry.put_backtest(conn, BACKTEST.frame([row | {"backtest_id": "old", "created_at": T0}]))
    found = registry.latest_backtest(conn)
    assert found is not None
    assert (found["backtest_id"], found["measures_json"]) == ("new", '{"brier": null}')
    registry.put_backtest(conn, BACKTEST.frame([row | {"backtest_id": "old", "created_at": later + timedelta(days=1)}]))
    assert registry.fetch_latest_backtest(conn)["backtest_id"].to_list() == ["old"]


def test_a_policy_is_recorded_once(conn: psycopg.Connection) -> None:
    for _ in range(2):
        registry.put_policy(conn, Policy())
    assert registry.fetch_policies(conn)["policy_id"].to_list() == [Policy().policy_id]
