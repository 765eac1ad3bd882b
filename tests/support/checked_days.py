"""Daily aggregates made up by hand, and what the checks say of them."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import psycopg

from pm.features.assumptions import CHECKED_DAILY, FLEET, TrainingProfile, check_assumptions
from pm.policy import Policy
from pm.store import frames
from pm.store import vehicles as vehicle_store
from pm.tables import DAILY_SIGNAL, SIGNAL, VEHICLE

FIRST = date(2026, 3, 2)
N_DAYS = 30
AS_OF = datetime(2026, 4, 1, tzinfo=UTC)
"""After 30 days."""
CHECKED_AT = datetime(2026, 4, 1, 3, tzinfo=UTC)
UNITS = {
    "EngCoolantTemp": ("ET1", "degC", -40.0, 210.0),
    "PneumaticSupplyPressure": ("AIR1", "kPa", 0.0, 2000.0),
    "BatteryPotential_PowerInput1": ("VEP1", "V", 0.0, 3212.75),
    "HighResTotalVehicleDistance": ("VDHR", "km", 0.0, 21_055_406.0),
    "EngTotalHoursOfOperation": ("HOURS", "h", 0.0, 210_554_060.0),
    "EngSpeed": ("EEC1", "rpm", 0.0, 8031.875),
    "CabInteriorTemp": ("AMB", "degC", -273.0, 1735.0),
}
KM_A_DAY, H_A_DAY = 500.0, 8.0
LEVELS = {
    "EngCoolantTemp": (82.0, 60.0, 95.0),
    "PneumaticSupplyPressure": (880.0, 700.0, 950.0),
    "BatteryPotential_PowerInput1": (28.0, 24.0, 28.6),
    "EngSpeed": (1200.0, 600.0, 1900.0),
    "CabInteriorTemp": (21.0, 12.0, 26.0),
}
"""Mean, lowest and highest of a usual day."""


def at(day: int, hour: float = 0.0) -> datetime:
    return datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC) + timedelta(days=day, hours=hour)


def row(vehicle_id: int, day: int, signal: str, **other: object) -> dict[str, object]:
    """One row of a usual day: driven from 6 to 14, known at 20 o'clock."""
    values = counter(vehicle_id, day, signal) if signal not in LEVELS else level(vehicle_id, day, signal)
    return {
        "vehicle_id": vehicle_id, "day": FIRST + timedelta(days=day), "log_file_id": 1000 * vehicle_id + day,
        "known_at": at(day, 20), "message": UNITS[signal][0], "signal": signal, "channel": "can0",
        "source_address": 0, "n_values": 480, "first_at": at(day, 6), "last_at": at(day, 14),
    } | values | other  # fmt: skip


def level(vehicle_id: int, day: int, signal: str) -> dict[str, object]:
    """Every day and truck a little different, in the way of 1 % of the level."""
    mean, low, high = LEVELS[signal]
    wobble = 0.01 * mean * (((7 * day + 3 * vehicle_id) % 5) - 2) / 2
    return {
        "mean": mean + wobble, "m2": 480.0 * (0.1 * mean) ** 2, "minimum": low + wobble, "maximum": high + wobble,
        "first_value": mean, "last_value": mean,
    }  # fmt: skip


def counter(vehicle_id: int, day: int, signal: str) -> dict[str, object]:
    gain = KM_A_DAY if signal.endswith("Distance") else H_A_DAY
    first = 10_000.0 * vehicle_id + gain * day
    return {
        "mean": first + gain / 2, "m2": 480.0 * gain**2 / 12, "minimum": first, "maximum": first + gain,
        "first_value": first, "last_value": first + gain,
    }  # fmt: skip


def fleet(n_vehicles: int = 5, n_days: int = N_DAYS) -> list[dict[str, object]]:
    """Rows of a fleet with which nothing is wrong."""
    return [row(v, d, signal) for v in range(1, n_vehicles + 1) for d in range(n_days) for signal in UNITS]


def converted(rows: list[dict[str, object]], scale: float, offset: float = 0.0) -> list[dict[str, object]]:
    """The same rows as a sender in another unit would send them."""
    linear = ("mean", "minimum", "maximum", "first_value", "last_value")
    return [
        one | {name: scale * one[name] + offset for name in linear} | {"m2": scale**2 * one["m2"]}  # type: ignore[operator]
        for one in rows
    ]


def changed(
    rows: list[dict[str, object]], vehicle_id: int, signal: str, since: int, scale: float, offset: float = 0.0
) -> list[dict[str, object]]:
    """`rows` with one truck's signal in another unit from day `since` on."""
    day = FIRST + timedelta(days=since)
    is_it = [r["vehicle_id"] == vehicle_id and r["signal"] == signal and r["day"] >= day for r in rows]  # type: ignore[operator]
    return [converted([r], scale, offset)[0] if it else r for r, it in zip(rows, is_it, strict=True)]


def daily(rows: list[dict[str, object]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=CHECKED_DAILY.schema, orient="row")


def vehicles(n_vehicles: int = 5) -> pl.DataFrame:
    return VEHICLE.frame(
        [
            {"vehicle_id": v, "fleet": "north", "vehicle_ref": f"T-{v}", "model": "Hauler", "known_at": at(0)}
            for v in range(1, n_vehicles + 1)
        ]
    )


def signals() -> pl.DataFrame:
    return SIGNAL.frame(
        [
            {"message": message, "signal": name, "table_name": message.lower(), "column_name": name.lower(),
             "unit": unit, "minimum": low, "maximum": high, "description": "", "dbc_sha256": "ab" * 32}
            for name, (message, unit, low, high) in UNITS.items()
        ]
    )  # fmt: skip


def check(
    frame: pl.DataFrame | list[dict[str, object]],
    *,
    as_of: datetime = AS_OF,
    policy: Policy | None = None,
    profile: TrainingProfile | None = None,
    n_vehicles: int = 5,
) -> pl.DataFrame:
    """ASSUMPTION of the frame or rows."""
    return check_assumptions(
        daily(frame) if isinstance(frame, list) else frame,
        as_of,
        vehicles=vehicles(n_vehicles),
        signals=signals(),
        policy=policy or Policy(),
        checked_at=CHECKED_AT,
        profile=profile,
    )


def findings(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of vehicles."""
    return rows.filter(pl.col("vehicle_id") != FLEET)


def told(rows: pl.DataFrame) -> list[tuple[str, int, str, str]]:
    """check, vehicle, signal and status of each finding, in order."""
    return findings(rows).select("check_name", "vehicle_id", "signal", "status").rows()


def fleet_status(rows: pl.DataFrame, check_name: str) -> str:
    is_it = (pl.col("vehicle_id") == FLEET) & (pl.col("check_name") == check_name)
    return str(rows.filter(is_it)["status"].item())


def store(conn: psycopg.Connection, rows: list[dict[str, object]]) -> dict[int, int]:
    """Store the rows for vehicles of their own; the stored number of each by its made-up one."""
    made = sorted({int(str(row["vehicle_id"])) for row in rows})
    numbers = {
        v: vehicle_store.add_vehicle(conn, fleet="north", vehicle_ref=f"T-{v}", model="Hauler", known_at=at(0))
        for v in made
    }
    insert(conn, rows, numbers)
    frames.insert(conn, SIGNAL, signals(), on_conflict="ignore")
    return numbers


def insert(conn: psycopg.Connection, rows: list[dict[str, object]], numbers: dict[int, int]) -> None:
    """Store the rows under the vehicles' stored numbers."""
    frame = daily(rows).with_columns(pl.col("vehicle_id").replace_strict(numbers, return_dtype=pl.Int32))
    others = [column for column in DAILY_SIGNAL.columns if column.name not in frame.columns]
    nulls = [pl.lit(None, dtype=column.dtype).alias(column.name) for column in others]
    frames.insert(conn, DAILY_SIGNAL, frame.with_columns(nulls))
