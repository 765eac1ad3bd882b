"""The service over a fleet that stands in memory: routes, problems, headers, health."""

import json

import pytest
from api_fleet import REASONS, Fleet, ask, assert_problem

from pm.errors import DataError, StoreError


class TestPredictions:
    def test_the_likeliest_failure_stands_first_and_shadows_are_no_answer(self) -> None:
        body = ask("/v1/predictions").json()
        assert [(row["vehicle_id"], row["component"], row["position"]) for row in body["predictions"]] == [
            (1, "cooling", 1), (2, "brakes_air", 2), (1, "brakes_air", 3), (2, "cooling", 4),
            (3, "charging_starting", 5), (4, "cooling", None),
        ]  # fmt: skip
        assert (body["as_of"], body["n_matching"], body["limit"]) == ("2026-06-20T00:00:00Z", 6, 100)

    def test_a_prediction_says_everything_and_never_a_score_without_a_status(self) -> None:
        first, *_, last = ask("/v1/predictions").json()["predictions"]
        assert first == {
            "vehicle_id": 1, "vehicle_ref": "T-001", "component": "cooling", "status": "ok", "p_failure": 0.62,
            "horizon_d": 14, "as_of": "2026-06-20T00:00:00Z", "data_until": "2026-06-19T21:00:00Z",
            "scored_at": "2026-06-20T01:00:00Z", "position": 1, "threshold": 0.3, "alert": True, "reasons": REASONS,
            "recommended_action": first["recommended_action"], "model_id": "model-cooling", "role": "champion",
        }  # fmt: skip
        assert first["recommended_action"]["component"] == "Cooling system"
        assert (last["status"], last["p_failure"], last["data_until"]) == ("insufficient_data", None, None)

    @pytest.mark.parametrize(
        ("query", "vehicles"),
        [
            ("component=cooling", [1, 2, 4]),
            ("vehicle_id=2", [2, 2]),
            ("alert=true", [1]),
            ("alert=false&component=brakes_air", [2, 1]),
            ("limit=2", [1, 2]),
            ("component=unheard_of", []),
            ("as_of=2026-06-20T02:00:00%2B02:00", [1, 2, 1, 2, 3, 4]),
            ("as_of=2026-06-19T00:00:00Z", []),
        ],
    )
    def test_filters(self, query: str, vehicles: list[int]) -> None:
        body = ask(f"/v1/predictions?{query}").json()
        assert [row["vehicle_id"] for row in body["predictions"]] == vehicles

    def test_an_instant_asked_for_is_answered_even_where_nothing_was_scored(self) -> None:
        body = ask("/v1/predictions?as_of=2026-06-19T00:00:00Z").json()
        assert (body["as_of"], body["n_matching"]) == ("2026-06-19T00:00:00Z", 0)

    def test_before_the_first_batch_the_list_is_empty(self) -> None:
        assert ask("/v1/predictions", Fleet(rows=[])).json() == {
            "as_of": None, "n_matching": 0, "limit": 100, "predictions": [],
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ("limit=0", {"limit"}),
            ("limit=501", {"limit"}),
            ("limit=many&alert=maybe", {"limit", "alert"}),
            ("vehicle_id=0", {"vehicle_id"}),
            ("vehicle_id=2147483648", {"vehicle_id"}),
            ("component=Cooling%20or%20so", {"component"}),
            ("component=a%00b", {"component"}),
            ("as_of=2026-06-20", {"as_of"}),
            ("as_of=2026-06-20T00:00:00", {"as_of"}),
            ("as_of=0001-01-01T00:00:00%2B14:00", {"as_of"}),
            ("as_of=9999-12-31T23:59:59-14:00", {"as_of"}),
            ("limits=3", {"limits"}),
        ],
    )
    def test_every_violation_is_named(self, query: str, names: set[str]) -> None:
        body = assert_problem(ask(f"/v1/predictions?{query}"), 422)
        assert {error["name"] for error in body["errors"]} == names
        assert {error["location"] for error in body["errors"]} == {"query"}


class TestVehicle:
    def test_facts_predictions_and_orders_but_no_vin(self) -> None:
        body = ask("/v1/vehicles/1").json()
        assert "vin" not in json.dumps(body).lower()
        assert (body["vehicle_ref"], body["model"], body["model_year"], body["fleet"]) == (
            "T-001",
            "Hauler",
            2021,
            "north",
        )
        assert (body["as_of"], body["data_until"]) == ("2026-06-20T00:00:00Z", "2026-06-19T21:00:00Z")
        assert [row["component"] for row in body["predictions"]] == ["cooling", "brakes_air"]

    def test_the_newest_version_of_each_order_line_and_no_withdrawn_one(self) -> None:
        orders = ask("/v1/vehicles/1").json()["work_orders"]
        assert [(row["work_order_id"], row["description"]) for row in orders] == [
            ("WO-2", "done in WO-2"),
            ("WO-1", "water pump renewed"),
        ]

    @pytest.mark.parametrize("number", ["99", "2147483647"])
    def test_an_unknown_vehicle_is_404(self, number: str) -> None:
        body = assert_problem(ask(f"/v1/vehicles/{number}"), 404)
        assert body["detail"] == f"expected a known vehicle, but got {number}"
        assert body["instance"] == f"/v1/vehicles/{number}"

    @pytest.mark.parametrize("number", ["0", "-1", "2147483648", "T-001", "1.5", "%00"])
    def test_what_is_no_vehicle_number_is_422(self, number: str) -> None:
        body = assert_problem(ask(f"/v1/vehicles/{number}"), 422)
        assert [error["name"] for error in body["errors"]] == ["vehicle_id"]

    def test_a_vehicle_without_prediction_still_has_its_facts(self) -> None:
        body = ask("/v1/vehicles/3", Fleet(rows=[])).json()
        assert (body["vehicle_ref"], body["as_of"], body["predictions"]) == ("T-003", None, [])


class TestModels:
    def test_what_serves_stands_with_its_proof_beside_the_simple_rule(self) -> None:
        models = ask("/v1/models").json()["models"]
        assert [(row["component"], row["stage"], row["kind"]) for row in models] == [
            ("brakes_air", "champion", "gbm"),
            ("cooling", "champion", "gbm"),
            ("starter", "candidate", "gbm"),
        ]
        proof = {row["name"]: row for row in models[1]["proof"]["measures"]}
        assert proof["pr_auc"] == {
            "name": "pr_auc", "value": 0.41, "low": 0.3, "high": 0.5, "baseline": "fault_count", "baseline_value": 0.2,
            "reason": None,
        }  # fmt: skip
        assert proof["alert_recall_7d"]["baseline_value"] is None

    def test_a_figure_that_is_missing_says_why(self) -> None:
        models = ask("/v1/models").json()["models"]
        missing = {row["name"]: row["reason"] for row in models[1]["proof"]["measures"] if row["value"] is None}
        assert missing["brier"] == "the backtest has no brier of gbm"
        assert all(row["value"] is None and row["reason"] for row in models[0]["proof"]["measures"])

    def test_before_the_first_backtest_there_is_no_proof(self) -> None:
        models = ask("/v1/models", Fleet(with_backtest=False)).json()["models"]
        assert {row["proof"] for row in models} == {None}


class TestProblems:
    def test_an_unknown_path_is_404(self) -> None:
        assert_problem(ask("/v1/nothing"), 404)

    def test_another_method_is_405_and_says_which(self) -> None:
        answer = ask("/v1/predictions", method="DELETE")
        assert_problem(answer, 405)
        assert answer.headers["allow"] == "GET"

    def test_a_database_that_does_not_answer_is_503_and_says_nothing_inner(self) -> None:
        answer = ask("/v1/predictions", StoreError("expected a database at host 10.1.2.3, but got nothing"))
        assert_problem(answer, 503)
        assert "10.1.2.3" not in answer.text
        assert answer.headers["retry-after"] == "5"

    def test_data_that_cannot_be_used_is_422_and_says_why(self) -> None:
        body = assert_problem(ask("/v1/predictions", DataError("expected x, but got y")), 422)
        assert body["detail"] == "expected x, but got y"

    def test_a_surprise_is_a_bare_500_with_every_header(self) -> None:
        answer = ask("/v1/predictions", RuntimeError("secret inner state"))
        assert_problem(answer, 500)
        assert "secret" not in answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"

    def test_a_browser_gets_a_page(self) -> None:
        answer = ask("/vehicles/99", accept="text/html,*/*;q=0.8")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "Expected a known vehicle, but got 99." in answer.text


class TestHealth:
    def test_alive_without_a_database(self) -> None:
        assert ask("/livez", StoreError("gone")).json() == {"status": "ok", "reasons": []}

    def test_ready(self) -> None:
        answer = ask("/readyz")
        assert (answer.status_code, answer.json()["status"]) == (200, "ok")

    def test_not_ready_says_what_is_missing(self) -> None:
        answer = ask("/readyz", Fleet(reasons=["there are no predictions yet"]))
        assert answer.status_code == 503
        assert answer.json() == {"status": "unavailable", "reasons": ["there are no predictions yet"]}

    def test_not_ready_without_a_database(self) -> None:
        answer = ask("/readyz", StoreError("expected a database at host 10.1.2.3, but got nothing"))
        assert answer.status_code == 503
        assert "the database does not answer" in answer.text
        assert "10.1.2.3" not in answer.text
