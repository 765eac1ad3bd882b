"""Telemetry with readable views over it: what tests of schema `readable` ask."""

from datetime import UTC, datetime, timedelta

import polars as pl
import psycopg

from pm.canbus.dbc import MessagePlan, SignalPlan
from pm.schema import UTC_INSTANT
from pm.store import log_signals, logs, telemetry, vehicles
from pm.tables import LOG_SIGNAL

T0 = datetime(2026, 3, 1, tzinfo=UTC)
KNOWN = T0 + timedelta(days=2)
SECOND = timedelta(seconds=1)
VIN = "1FUJGLDR5CSBF0001"


def signal(name: str, unit: str = "", *, length: int = 16, spn: int | None = None, is_text: bool = False) -> SignalPlan:
    return SignalPlan(
        name, 0, length, "little_endian", False, False, 1.0, 0.0, 0.0, 250.0, unit, spn, f"what {name} is",
        is_text=is_text,
    )  # fmt: skip


def message(name: str, *signals: SignalPlan) -> MessagePlan:
    return MessagePlan(name, 0x0CFEEE00, True, 65262, 8, signals, f"what {name} holds", "ab" * 32)


ET1 = message("ET1", signal("EngCoolantTemp", "degC", spn=110), signal("EngOilTemp1", "degC", spn=175))
VI = message("VI", signal("VehicleIdentNumber", length=136, spn=237, is_text=True), signal("Known", "%"))


def rows(plan: MessagePlan, *times: datetime, value: float | None = 80.0) -> pl.DataFrame:
    """One row a time; every number is `value`, every text a VIN."""
    return pl.DataFrame(
        {
            "time": pl.Series(times, dtype=UTC_INSTANT),
            "channel": ["can0"] * len(times),
            "source_address": pl.Series([0] * len(times), dtype=pl.Int16),
            "destination_address": pl.Series([255] * len(times), dtype=pl.Int16),
        }
    ).with_columns(
        pl.lit(VIN if each.is_text else value, pl.String() if each.is_text else pl.Float64()).alias(each.name)
        for each in plan.signals
    )


def add_truck(conn: psycopg.Connection, ref: str, *, vin: str | None = None) -> int:
    return vehicles.add_vehicle(conn, fleet="north", vehicle_ref=ref, known_at=T0, model="Hauler", vin=vin)


def add_file(conn: psycopg.Connection, truck: int, name: str, *, rejected_json: str = "{}") -> int:
    file = logs.claim(
        conn, sha256=name, vehicle_id=truck, file_name=f"{name}.log", format="candump", known_at=KNOWN, dbc_sha256=[],
        decoder_version="1",
    )  # fmt: skip
    assert file is not None
    logs.finish(conn, file, first_at=T0, last_at=T0, n_frames=9, n_decoded=8, rejected_json=rejected_json)
    return file


def store(conn: psycopg.Connection, plan: MessagePlan, frame: pl.DataFrame, truck: int, file: int) -> None:
    telemetry.insert_signals(conn, plan, frame, vehicle_id=truck, log_file_id=file)


def saw(conn: psycopg.Connection, file: int, name: str, at: datetime | None, *, n_rows: int, n_values: int) -> None:
    """Count a signal of ET1 in one file."""
    row = {"log_file_id": file, "message": "ET1", "signal": name, "n_rows": n_rows, "n_values": n_values,
           "first_at": at, "last_at": None if at is None else at + SECOND}  # fmt: skip
    log_signals.insert_log_signals(conn, LOG_SIGNAL.frame([row]))
