"""What the views of `sql/views` show."""

from datetime import timedelta

import psycopg
import pytest
from readable_fleet import KNOWN, T0, add_file, add_truck

from pm.store import faults, frames, predictions, views, work_orders
from pm.tables import EVENT, FAULT, PREDICTION, WORK_ORDER

DAY = timedelta(days=1)
SIGNALLED = {
    "channel": "can0",
    "source_address": 0,
    "spn": 110,
    "fmi": 0,
    "occurrence_count": 3,
    "conversion_method": 4,
}


@pytest.fixture
def truck(conn: psycopg.Connection) -> int:
    views.refresh_views(conn)
    return add_truck(conn, "T-1")


def shown(conn: psycopg.Connection, query: str) -> list[tuple[object, ...]]:
    return conn.execute(query.encode()).fetchall()


def test_a_fault_has_its_lamps_in_words(conn: psycopg.Connection, truck: int) -> None:
    lamps = {"lamp_mil": 0, "lamp_red": 1, "lamp_amber": 2, "lamp_protect": 3}
    flashes = {"flash_mil": 0, "flash_red": 1, "flash_amber": 2, "flash_protect": 3}
    row = {"vehicle_id": truck, "time": T0, "log_file_id": add_file(conn, truck, "one"), **SIGNALLED, **lamps}
    older = {**row, "dm": 2, "time": T0 + DAY}
    faults.insert_faults(conn, FAULT.frame([row | flashes | {"dm": 1}, older]))
    query = (
        "SELECT vehicle, spn, fmi, state, known_at, malfunction_lamp, red_stop_lamp, amber_warning_lamp, protect_lamp, "
        "malfunction_flash, red_stop_flash, amber_warning_flash, protect_flash FROM readable.fault ORDER BY time"
    )
    assert shown(conn, query) == [
        ("T-1", 110, 0, "active", KNOWN, "off", "on", "error", "not available", "slow", "fast", "reserved", "none"),
        ("T-1", 110, 0, "previously active", KNOWN, "off", "on", "error", "not available", None, None, None, None),
    ]


def test_an_event_has_its_vehicle(conn: psycopg.Connection, truck: int) -> None:
    row = {"vehicle_id": truck, "time": T0, "kind": "tell_tale", "code": "COOLANT", "severity": "RED", "value": 2.5,
           "log_file_id": add_file(conn, truck, "one")}  # fmt: skip
    frames.insert(conn, EVENT, EVENT.frame([row]))
    assert shown(conn, "SELECT * FROM readable.event") == [
        (T0, "north", "T-1", "Hauler", "tell_tale", "COOLANT", "RED", 2.5, KNOWN)
    ]


def test_the_newest_version_of_an_order_line_is_marked(conn: psycopg.Connection, truck: int) -> None:
    line = {"source_system": "shop", "work_order_id": "WO-1", "vehicle_id": truck, "opened_at": T0, "withdrawn": False}
    versions = [
        line | {"line_no": 1, "known_at": T0, "description": "hose"},
        line | {"line_no": 1, "known_at": T0 + DAY, "description": "pump"},
        line | {"line_no": 2, "known_at": T0, "description": "belt"},
    ]
    work_orders.insert_versions(conn, WORK_ORDER.frame(versions))
    query = "SELECT line_no, description, is_newest FROM readable.work_order WHERE vehicle = 'T-1' ORDER BY 1, known_at"
    assert shown(conn, query) == [(1, "hose", False), (1, "pump", True), (2, "belt", True)]


def test_a_log_file_has_the_sum_of_its_rejects_and_each_reason_a_row(conn: psycopg.Connection, truck: int) -> None:
    add_file(conn, truck, "one", rejected_json='{"not_in_dbc": 5, "impossible_time": 2, "note": "x", "zero": 0}')
    add_file(conn, truck, "two")
    files = "SELECT file_name, vehicle, n_frames, n_decoded, n_rejected FROM readable.log_file ORDER BY file_name"
    assert shown(conn, files) == [("one.log", "T-1", 9, 8, 7), ("two.log", "T-1", 9, 8, 0)]
    reasons = "SELECT file_name, vehicle, reason, n_rejected FROM readable.log_reject ORDER BY reason"
    assert shown(conn, reasons) == [("one.log", "T-1", "impossible_time", 2), ("one.log", "T-1", "not_in_dbc", 5)]


def test_the_latest_answer_of_each_component(conn: psycopg.Connection, truck: int) -> None:
    add_truck(conn, "T-2")

    def row(component: str, day: int, p: float, **other: object) -> dict[str, object]:
        return {
            "vehicle_id": truck, "component": component, "as_of": T0 + day * DAY, "model_id": "m", "role": "champion",
            "scored_at": T0, "horizon_d": 14, "status": "ok", "p_failure": p, "position": 1, "threshold": 0.4,
            "alert": False, "reasons_json": '[{"sentence": "hot"}]', "inputs_hash": "h",
        } | other  # fmt: skip

    earlier = [row("cooling", 0, 0.1), row("brakes_air", 0, 0.2, reasons_json="[]")]
    latest = [row("cooling", 1, 0.3), row("cooling", 1, 0.9, model_id="s", role="shadow")]
    predictions.replace_predictions(conn, T0, PREDICTION.frame(earlier))
    predictions.replace_predictions(conn, T0 + DAY, PREDICTION.frame(latest))
    query = "SELECT vehicle, component, as_of, p_failure, reason FROM readable.prediction ORDER BY component"
    assert shown(conn, query) == [
        ("T-1", "brakes_air", T0, 0.2, None),
        ("T-1", "cooling", T0 + DAY, 0.3, "hot"),
    ]


def test_answering_roles_are_those_of_the_pages(conn: psycopg.Connection) -> None:
    for role in predictions.SERVED_ROLES:
        assert f"'{role}'" in views.fixed_views()["prediction"]
    assert "shadow'" not in views.fixed_views()["prediction"]
