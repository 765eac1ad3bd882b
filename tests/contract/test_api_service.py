"""The service over a fleet that stands in memory: routes, pages, problems, headers."""

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import polars as pl
import pytest

from pm.api.app import create_app
from pm.errors import DataError, StoreError
from pm.settings import Settings
from pm.store.serving import BatchState
from pm.tables import BACKTEST, MODEL_VERSION, PREDICTION, STAGE_TRANSITION, VEHICLE, WORK_ORDER

PROJECT = Path(__file__).resolve().parents[2]
SETTINGS = Settings(project=PROJECT, home=PROJECT / "no-such-home", database_url=None)
AS_OF = datetime(2026, 6, 20, tzinfo=UTC)
REPORT = b"<!doctype html><title>Backtest</title><style>b{color:red}</style><p>report</p>"

REASONS = [
    {
        "feature": "coolant_c_max_7d", "meaning": "highest coolant temperature over the last 7 days", "unit": "°C",
        "value": 109.0, "usual_low": 84.2, "usual_high": 101.0, "contribution": 1.31,
        "sentence": "Highest coolant temperature over the last 7 days: 109 °C, usually 84.2 to 101",
    },
    {
        "feature": "coolant_level_pct_min_7d", "meaning": "lowest coolant level over the last 7 days", "unit": "%",
        "value": None, "usual_low": 61.0, "usual_high": 98.0, "contribution": 0.42,
        "sentence": "Lowest coolant level over the last 7 days: no value, usually 61 to 98",
    },
    {
        "feature": "n_dtc_cooling_14d", "unit": "1", "value": 6.0, "usual_low": 0.0, "usual_high": 0.0,
        "meaning": "trouble codes about the cooling system, each counted once a day, over the last 14 days",
        "contribution": -0.12, "sentence": "Trouble codes about the cooling system: 6, usually 0",
    },
]  # fmt: skip


def figure(value: float | None, low: float | None = None, high: float | None = None) -> dict[str, object]:
    reason = None if value is not None else "no alert"
    return {"value": value, "low": low, "high": high, "n_rows": 900, "n_positives": 40, "reason": reason}


def section(**kinds: dict[str, object]) -> dict[str, object]:
    """A part of a backtest's measures."""
    return {
        "best_rule": "fault_count",
        "comparison": {"model": "gbm", "rule": "fault_count", "difference": figure(0.2, 0.1, 0.3), "verdict": "better"},
        "kinds": {kind: {"figures": figures, "reason": None} for kind, figures in kinds.items()},
    }


PART = section(
    gbm={"pr_auc": figure(0.41, 0.3, 0.5), "alert_precision": figure(0.55, 0.4, 0.7), "alert_recall_7d": figure(0.6)},
    fault_count={"pr_auc": figure(0.2), "alert_precision": figure(0.21, 0.1, 0.3), "alert_recall_7d": figure(None)},
)
MEASURES = {"pooled": PART, "components": {"cooling": PART}}


def prediction(
    vehicle_id: int, component: str, position: int | None, p: float | None, **other: object
) -> dict[str, object]:
    return {
        "vehicle_id": vehicle_id, "component": component, "as_of": AS_OF, "model_id": f"model-{component}",
        "role": "champion", "scored_at": AS_OF + timedelta(hours=1), "data_until": AS_OF - timedelta(hours=3),
        "horizon_d": 14, "status": "ok", "p_failure": p, "position": position, "threshold": 0.3, "alert": False,
        "reasons_json": json.dumps(REASONS), "inputs_hash": "hash",
    } | other  # fmt: skip


PREDICTIONS = [
    prediction(1, "cooling", 1, 0.62, alert=True),
    prediction(2, "brakes_air", 2, 0.34),
    prediction(1, "brakes_air", 3, 0.05),
    prediction(2, "cooling", 4, 0.0004, status="stale", data_until=AS_OF - timedelta(days=9)),
    prediction(3, "charging_starting", 5, 0.11, role="fallback", status="fallback", model_id="rule", reasons_json="[]"),
    prediction(4, "cooling", None, None, status="insufficient_data", data_until=None),
    prediction(1, "cooling", 1, 0.99, role="shadow", model_id="shadow-cooling"),
]


def order(vehicle_id: int, number: str, day: int, *, withdrawn: bool = False, **other: object) -> dict[str, object]:
    at = AS_OF - timedelta(days=60 - day)
    return {
        "source_system": "shop", "work_order_id": number, "line_no": 1, "known_at": at + timedelta(days=3),
        "vehicle_id": vehicle_id, "opened_at": at, "completed_at": at + timedelta(days=1), "planned": False,
        "roadside": True, "description": f"done in {number}", "withdrawn": withdrawn, "odometer_km": 312000.0,
    } | other  # fmt: skip


@dataclass
class Fleet:
    """Reads over rows in memory."""

    rows: list[dict[str, object]] = field(default_factory=lambda: list(PREDICTIONS))
    reasons: list[str] = field(default_factory=list)
    with_backtest: bool = True

    def missing(self) -> list[str]:
        return self.reasons

    def answering(self) -> pl.DataFrame:
        frame = PREDICTION.frame(self.rows).filter(pl.col("role") != "shadow")
        return frame.sort("position", "vehicle_id", "component", nulls_last=True)

    def latest_as_of(self) -> datetime | None:
        return self.answering()["as_of"].max()

    def predictions(self, as_of: datetime, *, limit: int | None = None, **wanted: object) -> pl.DataFrame:
        filters = [pl.col(name) == value for name, value in ({"as_of": as_of} | wanted).items() if value is not None]
        return self.answering().filter(*filters).head(limit or 10**6)

    def count_predictions(self, as_of: datetime, **wanted: object) -> int:
        return self.predictions(as_of, **wanted).height

    def one_a_vehicle(self, as_of: datetime, *, component: str | None, limit: int) -> pl.DataFrame:
        rows = self.predictions(as_of, component=component)
        return rows.unique("vehicle_id", keep="first", maintain_order=True).head(limit)

    def batch_state(self, as_of: datetime) -> BatchState:
        return BatchState(4, 1, 1, 1, tuple(self.predictions(as_of)["component"].unique().sort()))

    def alert_history(self, since: datetime, until: datetime) -> pl.DataFrame:
        rows = self.answering().filter((pl.col("as_of") > since) & (pl.col("as_of") <= until))
        return rows.select("vehicle_id", "component", "as_of", "alert")

    def vehicle(self, vehicle_id: int) -> pl.DataFrame:
        return self.vehicles().filter(pl.col("vehicle_id") == vehicle_id)

    def vehicle_refs(self, vehicle_ids: list[int]) -> dict[int, str]:
        rows = self.vehicles().select("vehicle_id", "vehicle_ref").rows()
        return {number: ref for number, ref in rows if number in vehicle_ids}

    def vehicles(self) -> pl.DataFrame:
        made = [
            {"vehicle_id": at, "fleet": "north", "vehicle_ref": f"T-{at:03}", "model": "Hauler", "model_year": 2021,
             "duty": "long_haul", "in_service_at": AS_OF - timedelta(days=400), "known_at": AS_OF}
            for at in range(1, 5)
        ]  # fmt: skip
        made[3] |= {"vehicle_ref": "<script>alert(1)</script>", "model": None, "model_year": None, "duty": None}
        return VEHICLE.frame(made)

    def work_orders(self, vehicle_id: int, *, limit: int) -> pl.DataFrame:
        later = order(1, "WO-1", 10, description="water pump renewed", known_at=AS_OF - timedelta(days=1))
        taken_back = order(1, "WO-3", 30, withdrawn=True)
        rows = [order(1, "WO-1", 10), later, order(1, "WO-2", 20), taken_back, order(2, "WO-4", 5)]
        return WORK_ORDER.frame(rows).filter(pl.col("vehicle_id") == vehicle_id).head(limit)

    def models(self) -> pl.DataFrame:
        same = {
            "kind": "gbm", "cutoff": AS_OF, "feature_set_id": "truck-1", "policy_id": "policy", "inputs_hash": "h",
            "metrics_json": "{}", "bundle_sha256": "0" * 64, "created_at": AS_OF,
        }  # fmt: skip
        names = ("cooling", "brakes_air", "starter", "old")
        return MODEL_VERSION.frame([{"model_id": f"model-{name}", "component": name} | same for name in names])

    def moves(self) -> pl.DataFrame:
        stages = {"cooling": "champion", "brakes_air": "champion", "starter": "candidate", "old": "retired"}
        return STAGE_TRANSITION.frame(
            [
                {"component": name, "move_no": 1, "model_id": f"model-{name}", "to_stage": stage, "moved_at": AS_OF,
                 "reason": "it beats the simple rule"}
                for name, stage in stages.items()
            ]
        )  # fmt: skip

    def latest_backtest(self) -> pl.DataFrame:
        if not self.with_backtest:
            return BACKTEST.empty()
        return BACKTEST.frame(
            [
                {"backtest_id": "bt", "policy_id": "policy", "feature_set_id": "truck-1", "known_until": AS_OF,
                 "measures_json": json.dumps(MEASURES), "report_sha256": "f" * 64, "created_at": AS_OF}
            ]
        )  # fmt: skip

    def artifact(self, sha256: str) -> bytes:
        assert sha256 == "f" * 64
        return REPORT


def ask(path: str, fleet: object = None, *, method: str = "GET", **headers: str) -> httpx.Response:
    """The answer of an application over `fleet`."""

    @contextmanager
    def open_reads() -> Iterator[object]:
        if isinstance(fleet, Exception):
            raise fleet
        yield Fleet() if fleet is None else fleet

    async def answer() -> httpx.Response:
        app = create_app(SETTINGS, open_reads=open_reads)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(answer())


def page(path: str, fleet: object = None) -> str:
    answer = ask(path, fleet, accept="text/html")
    assert answer.status_code == 200, answer.text
    return answer.text


def assert_problem(answer: httpx.Response, status: int) -> dict[str, object]:
    """RFC 9457: media type, and status repeated in the body."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], body["type"]) == (status, "about:blank")
    assert body["title"]
    assert body["detail"]
    assert "Traceback" not in answer.text
    return body


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


class TestPages:
    def test_one_line_a_truck_in_order(self) -> None:
        lines = re.findall(r'<a href="/vehicles/(\d+)">', page("/"))
        assert lines == ["1", "2", "3", "4"]

    def test_a_line_says_why_and_what_to_do(self) -> None:
        text = page("/")
        assert REASONS[0]["sentence"] in text
        assert "pressure-test the system" in text
        assert "62 %" in text

    def test_what_stands_above_the_threshold_without_alert_says_that_the_budget_is_used_up(self) -> None:
        assert page("/").count("Next in line: the alert budget of these 7 days is used up") == 1

    def test_a_threshold_nobody_can_reach_is_no_percentage(self) -> None:
        text = page("/vehicles/1", Fleet(rows=[prediction(1, "cooling", 1, 0.62, threshold=1.2)]))
        assert "No threshold here keeps the alert budget" in text
        assert "120 %" not in text

    def test_the_filter_is_a_plain_form_that_keeps_its_choice(self) -> None:
        text = page("/?component=brakes_air")
        assert re.findall(r'<a href="/vehicles/(\d+)">', text) == ["2", "1"]
        assert '<option value="brakes_air" selected>' in text
        assert '<form method="get" action="/"' in text

    def test_a_component_nobody_knows_gives_an_empty_table(self) -> None:
        assert "No truck has a prediction for this component" in page("/?component=unheard_of")

    def test_the_proof_stands_above_the_table(self) -> None:
        assert (
            "In the backtest, of 100 alerts by the trained model 55 (95 % interval 40 to 70) were right, by the best "
            "simple rule (fault count) 21 (95 % interval 10 to 30)."
        ) in page("/")

    def test_the_budget_of_the_week(self) -> None:
        day_before = [row | {"as_of": AS_OF - timedelta(days=1), "alert": False} for row in PREDICTIONS]
        text = re.sub(r"<[^>]+>|\s+", " ", page("/", Fleet(rows=PREDICTIONS + day_before)))
        assert re.search(r"New alerts in 7 days\s+1\s+of 1 in the budget", text)

    def test_before_the_first_batch(self) -> None:
        assert "There are no predictions yet" in page("/", Fleet(rows=[], with_backtest=False))

    def test_truck_page_shows_reasons_and_orders(self) -> None:
        text = page("/vehicles/1")
        assert "Highest coolant temperature over the last 7 days" in text
        assert "84.2 to 101" in text
        assert "water pump renewed" in text
        assert "WO-3" not in text

    def test_truck_page_without_score_says_so(self) -> None:
        assert "No score:" in page("/vehicles/4")

    def test_what_users_wrote_is_escaped(self) -> None:
        for path in ("/", "/vehicles/4"):
            text = page(path)
            assert "<script>alert" not in text
            assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text

    def test_the_report_is_served_as_written_under_its_own_policy(self) -> None:
        answer = ask("/backtest")
        assert answer.content == REPORT
        policy = answer.headers["content-security-policy"]
        assert "style-src 'unsafe-inline'" in policy
        assert "script" not in policy

    def test_without_a_backtest_the_report_is_404(self) -> None:
        assert_problem(ask("/backtest", Fleet(with_backtest=False)), 404)

    @pytest.mark.parametrize("path", ["/", "/vehicles/1", "/vehicles/4"])
    def test_pages_keep_to_the_policy_and_can_be_used_without_sight_or_mouse(self, path: str) -> None:
        text = page(path)
        assert not re.search(r"<script|\sstyle=|<style|\son\w+=|https?://", text)
        assert '<html lang="en">' in text
        assert 'class="skip" href="#main"' in text
        assert text.count("<h1>") == 1
        assert text.count("<table") == text.count("<caption>")
        for cell in re.findall(r"<th [^>]*>", text):
            assert "scope=" in cell
        assert len(re.findall(r'id="([^"]+)"', text)) == len(set(re.findall(r'id="([^"]+)"', text)))

    @pytest.mark.parametrize("path", ["/", "/vehicles/1", "/livez", "/v1/predictions", "/static/style.css", "/no-such"])
    def test_every_answer_carries_the_headers(self, path: str) -> None:
        headers = ask(path).headers
        assert headers["content-security-policy"].startswith(
            "default-src 'none'; style-src 'self'; img-src 'self' data:;"
        )
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-frame-options"] == "DENY"

    def test_static_files_are_found_under_their_hash_and_kept(self) -> None:
        (address,) = re.findall(r'<link rel="stylesheet" href="([^"]+)">', page("/"))
        answer = ask(address)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/css; charset=utf-8"
        assert "immutable" in answer.headers["cache-control"]
        assert ask("/static/../app.py").status_code == 404

    def test_no_page_of_foreign_scripts(self) -> None:
        assert ask("/docs").status_code == 404
        assert ask("/redoc").status_code == 404
