"""The service over a real database, on each engine."""

import asyncio
import dataclasses
import json
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest
from readable_fleet import ET1

from pm.api.app import create_app
from pm.settings import Settings
from pm.store import artifacts, predictions, registry, serving, vehicles, views, work_orders
from pm.store.telemetry_tables import ensure_table
from pm.tables import BACKTEST, MODEL_VERSION, PREDICTION, WORK_ORDER

AS_OF = datetime(2026, 6, 20, tzinfo=UTC)
DAY = timedelta(days=1)


def ask(settings: Settings, path: str) -> httpx.Response:
    async def answer() -> httpx.Response:
        transport = httpx.ASGITransport(app=create_app(settings), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get(path)

    return asyncio.run(answer())


def prediction(vehicle_id: int, component: str, position: int | None, **other: object) -> dict[str, object]:
    return {
        "vehicle_id": vehicle_id, "component": component, "as_of": AS_OF, "model_id": "m1", "role": "champion",
        "scored_at": AS_OF, "data_until": AS_OF, "horizon_d": 14, "status": "ok" if position else "insufficient_data",
        "p_failure": 1 / (1 + position) if position else None, "position": position, "threshold": 0.4, "alert": False,
        "reasons_json": "[]", "inputs_hash": "h",
    } | other  # fmt: skip


@pytest.fixture
def fleet(conn: psycopg.Connection, settings: Settings) -> dict[str, int]:
    """Three trucks with two batches, work orders, a model and a backtest; vehicle numbers by unit number."""
    ids = {
        ref: vehicles.add_vehicle(
            conn, fleet="north", vehicle_ref=ref, known_at=AS_OF, vin=f"VINVINVINVIN0000{ref[-1]}"
        )
        for ref in ("T-1", "T-2", "T-3")
    }
    one, two, three = ids.values()
    rows = [
        prediction(one, "cooling", 1, alert=True),
        prediction(two, "cooling", 2),
        prediction(one, "brakes_air", 3),
        prediction(three, "cooling", None, data_until=None),
        prediction(two, "cooling", 1, model_id="m2", role="shadow", alert=True),
    ]
    predictions.replace_predictions(conn, AS_OF, PREDICTION.frame(rows))
    before = [row | {"as_of": AS_OF - DAY, "alert": False} for row in rows[:2]]
    predictions.replace_predictions(conn, AS_OF - DAY, PREDICTION.frame(before))
    _orders(conn, one)
    _proof(conn, settings)
    return ids


def _orders(conn: psycopg.Connection, vehicle_id: int) -> None:
    line = {"source_system": "shop", "work_order_id": "WO-1", "line_no": 1, "vehicle_id": vehicle_id,
            "opened_at": AS_OF - 9 * DAY, "withdrawn": False}  # fmt: skip
    versions = [
        line | {"known_at": AS_OF - 8 * DAY, "description": "coolant hose"},
        line | {"known_at": AS_OF - 2 * DAY, "description": "water pump"},
    ]
    work_orders.insert_versions(conn, WORK_ORDER.frame(versions))


def _proof(conn: psycopg.Connection, settings: Settings) -> None:
    model = {
        "model_id": "m1", "component": "cooling", "kind": "gbm", "cutoff": AS_OF, "feature_set_id": "truck-1",
        "policy_id": "p", "inputs_hash": "h", "metrics_json": "{}", "bundle_sha256": "0" * 64, "created_at": AS_OF,
    }  # fmt: skip
    registry.put_model(conn, MODEL_VERSION.frame([model]))
    for at, (from_stage, to_stage) in enumerate(((None, "candidate"), ("candidate", "champion"))):
        registry.move(
            conn,
            "cooling",
            "m1",
            from_stage=from_stage,
            to_stage=to_stage,
            reason="it beats the rule",
            moved_at=AS_OF,
            expected_move_no=at,
        )
    report = artifacts.put(settings.artifacts, b"<!doctype html><p>the report</p>")
    measures = {"pooled": {"kinds": {}}, "components": {}}
    row = {
        "backtest_id": "bt", "policy_id": "p", "feature_set_id": "truck-1", "known_until": AS_OF,
        "measures_json": json.dumps(measures), "report_sha256": report, "created_at": AS_OF,
    }  # fmt: skip
    registry.put_backtest(conn, BACKTEST.frame([row]))


def test_predictions_are_ranked_filtered_and_counted_by_the_database(settings: Settings, fleet: dict[str, int]) -> None:
    body = ask(settings, "/v1/predictions?limit=2").json()
    assert [(row["vehicle_ref"], row["component"]) for row in body["predictions"]] == [
        ("T-1", "cooling"),
        ("T-2", "cooling"),
    ]
    assert (body["as_of"], body["n_matching"]) == ("2026-06-20T00:00:00Z", 4)
    for query, refs in (
        ("component=cooling", ["T-1", "T-2", "T-3"]),
        (f"vehicle_id={fleet['T-1']}", ["T-1", "T-1"]),
        ("alert=true", ["T-1"]),
        ("as_of=2026-06-19T00:00:00Z", ["T-1", "T-2"]),
    ):
        found = ask(settings, f"/v1/predictions?{query}").json()
        assert [row["vehicle_ref"] for row in found["predictions"]] == refs
        assert found["n_matching"] == len(refs)


def test_a_vehicle_has_its_newest_orders_and_never_its_vin(settings: Settings, fleet: dict[str, int]) -> None:
    answer = ask(settings, f"/v1/vehicles/{fleet['T-1']}")
    body = answer.json()
    assert [row["component"] for row in body["predictions"]] == ["cooling", "brakes_air"]
    assert [row["description"] for row in body["work_orders"]] == ["water pump"]
    assert "VINVIN" not in answer.text


def test_an_unknown_vehicle_is_404(settings: Settings, fleet: dict[str, int]) -> None:
    unknown = next(number for number in range(1, 10) if number not in fleet.values())
    assert ask(settings, f"/v1/vehicles/{unknown}").status_code == 404


def test_models_pages_report_and_readiness(settings: Settings, fleet: dict[str, int]) -> None:
    (model,) = ask(settings, "/v1/models").json()["models"]
    assert (model["model_id"], model["stage"], model["reason"]) == ("m1", "champion", "it beats the rule")
    assert ask(settings, "/backtest").text == "<!doctype html><p>the report</p>"
    page = ask(settings, "/").text
    assert page.count('<a href="/vehicles/') == 3
    assert ask(settings, f"/vehicles/{fleet['T-3']}").status_code == 200
    assert ask(settings, "/readyz").json() == {"status": "ok", "reasons": []}


def test_counts_of_a_batch(conn: psycopg.Connection, fleet: dict[str, int]) -> None:
    state = serving.batch_state(conn, AS_OF)
    assert (state.n_vehicles, state.n_alerted, state.n_without_score, state.n_stale) == (3, 1, 1, 0)
    assert state.components == ("brakes_air", "cooling")
    assert serving.batch_state(conn, AS_OF + DAY).n_vehicles == 0


def test_the_alert_history_shows_batches_without_alerts_and_no_shadows(
    conn: psycopg.Connection, fleet: dict[str, int]
) -> None:
    history = serving.fetch_alert_history(conn, AS_OF - 2 * DAY, AS_OF)
    assert history.rows() == [
        (0, "", AS_OF - DAY, False),
        (0, "", AS_OF, False),
        (fleet["T-1"], "cooling", AS_OF, True),
    ]
    assert serving.fetch_alert_history(conn, AS_OF, AS_OF + DAY).is_empty()


def test_an_empty_database_is_not_ready_and_says_why(settings: Settings) -> None:
    answer = ask(settings, "/readyz")
    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["there are no predictions yet: run `pm score` first"]
    assert ask(settings, "/").status_code == 200


def test_the_dictionary_is_answered_from_the_database(conn: psycopg.Connection, settings: Settings) -> None:
    ensure_table(conn, ET1)
    views.refresh_views(conn)
    body = ask(settings, "/v1/signals?text=coolant&limit=1").json()
    assert (body["n_matching"], body["signals"][0]["readable_column"]) == (1, "eng_coolant_temp_c")
    assert ask(settings, "/v1/signals?limit=1").json()["n_matching"] == 2
    assert "EngOilTemp1" in ask(settings, "/signals").text.replace("<wbr>", "")


def test_a_database_without_migrations_is_not_ready_and_says_why(settings: Settings, empty_database_url: str) -> None:
    answer = ask(dataclasses.replace(settings, database_url=empty_database_url), "/readyz")
    assert answer.status_code == 503
    assert "migrations are not applied to the database, the first is 0001_" in answer.json()["reasons"][0]


def test_no_database_is_a_503_problem_without_its_address(settings: Settings) -> None:
    gone = dataclasses.replace(settings, database_url="postgresql://pm:secret@127.0.0.1:1/pm")
    for path in ("/v1/predictions", "/"):
        answer = ask(gone, path)
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert "127.0.0.1" not in answer.text
        assert "secret" not in answer.text
    assert ask(gone, "/readyz").status_code == 503
    assert ask(gone, "/livez").status_code == 200
