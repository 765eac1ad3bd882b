"""A fleet that stands in memory, and the service over it: what tests of routes and pages ask."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl

from pm.api.app import create_app
from pm.features.definition import Feature, FeatureSet
from pm.features.dictionary import FeatureDictionary, describe
from pm.settings import Settings
from pm.store.dictionary import DICTIONARY
from pm.store.serving import BatchState
from pm.tables import (
    ASSUMPTION,
    BACKTEST,
    FEATURE_VECTOR,
    MODEL_VERSION,
    PREDICTION,
    STAGE_TRANSITION,
    VEHICLE,
    WORK_ORDER,
)

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


def known_signal(message: str, signal: str, **other: object) -> dict[str, object]:
    return {
        "message": message, "signal": signal, "table_name": message.lower(), "column_name": signal.lower(),
        "pgn": 65262, "spn": 110, "unit": "degC", "minimum": -40.0, "maximum": 210.0,
        "description": f"what {signal} is",
        "dbc_sha256": "ab" * 32, "readable_view": message.lower(), "readable_column": "eng_coolant_temp_c",
        "first_seen_at": AS_OF - timedelta(days=30), "last_seen_at": AS_OF, "n_files": 12, "n_rows": 40000,
        "n_values": 30000, "null_share": 0.25,
    } | other  # fmt: skip


_NEVER_SEEN: dict[str, object] = dict.fromkeys(
    ("first_seen_at", "last_seen_at", "n_files", "n_rows", "n_values", "null_share")
)
SIGNALS = [
    known_signal("ET1", "EngCoolantTemp"),
    known_signal("TELL", "<b>Lamp</b>", pgn=None, spn=None, unit="", minimum=None, maximum=None, **_NEVER_SEEN),
    known_signal("VI", "VehicleIdentNumber", spn=237, readable_view=None, readable_column=None, null_share=1.0),
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
    known_signals: list[dict[str, object]] = field(default_factory=lambda: list(SIGNALS))
    checked: list[dict[str, object]] = field(default_factory=list)
    with_backtest: bool = True
    with_audit: bool = True

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

    def signals(self, *, text: str = "", message: str | None = None, limit: int | None = None) -> pl.DataFrame:
        rows = [row for row in self.known_signals if text.lower() in f"{row['message']} {row['signal']}".lower()]
        return DICTIONARY.frame([row for row in rows if message in (None, row["message"])][:limit])

    def count_signals(self, *, text: str = "", message: str | None = None) -> int:
        return self.signals(text=text, message=message).height

    def assumptions(self) -> pl.DataFrame:
        return ASSUMPTION.frame(self.checked)

    def features(self, feature_set_id: str | None = None) -> FeatureDictionary | None:
        return None if feature_set_id == "nothing" else described(with_vectors=feature_set_id != "empty")

    def latest_audit(self, backtest_id: str) -> dict[str, Any] | None:
        assert backtest_id == "bt"
        return {"report_sha256": "f" * 64} if self.with_audit else None

    def artifact(self, sha256: str) -> bytes:
        assert sha256 == "f" * 64
        return REPORT


def described(*, with_vectors: bool = True) -> FeatureDictionary:
    """Three features, one of which has markup in its meaning and no value."""
    features = (
        Feature("coolant_c_mean_7d", "°C", "mean coolant temperature", ("ET1.EngCoolantTemp",)),
        Feature("n_failures", "1", "known failures", ("failure",)),
        Feature("odd", "1", "<b>bold</b> & more", ("X.y",)),
    )
    feature_set = FeatureSet("truck", 7, features)
    rows = [
        {"feature_set_id": feature_set.feature_set_id, "vehicle_id": number, "as_of": AS_OF, "data_until": None,
         "features": [80.0 + number, None if number == 1 else 1.0, None], "inputs_hash": "h"}
        for number in range(1, 5 if with_vectors else 1)
    ]  # fmt: skip
    return describe(feature_set, FEATURE_VECTOR.frame(rows), {"ET1.EngCoolantTemp": 110})


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
