"""A few machines of no real kind, with everything that features are made from, drawn from a seed."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from pm.features.events import KNOWN_EVENT
from pm.features.windows import Sources
from pm.tables import DAILY_FAULT, DAILY_SIGNAL, FAILURE, VEHICLE

START = datetime(2025, 1, 1, tzinfo=UTC)
N_DAYS = 50
SOURCES = ("A.hot", "A.speed", "A.other", "B.counter")
FILE = """
name = "machine"
version = 1

[quantities.hot_c]
unit = "°C"
meaning = "temperature"
sources = ["A.hot"]

[quantities.speed_rpm]
unit = "rpm"
meaning = "speed"
sources = ["A.speed", "A.other"]

[quantities.counter_h]
unit = "h"
meaning = "hours"
sources = ["B.counter"]

[components.pump]
words = "the pump"
spns = [110, 111]
events = ["E1"]

[components.valve]
words = "the valve"
spns = [46]

[[features]]
of = ["hot_c", "speed_rpm"]
statistics = ["mean", "std", "min", "max"]
windows_d = [1, 3, 7, 14]

[[features]]
of = ["hot_c", "speed_rpm"]
statistics = ["slope"]
windows_d = [7, 14]

[[features]]
of = "hot_c"
statistics = ["change", "peers", "red_above"]
windows_d = [3, 7]

[[features]]
of = "hot_c"
above = "speed_rpm"
statistics = ["excess"]
windows_d = [7]

[[features]]
of = "counter_h"
statistics = ["gain", "latest", "transitions"]
windows_d = [7, 28]

[[features]]
component = "all"
counter = "counter_h"
statistics = [
    "codes", "code_streak", "code_day_share", "days_since_repair", "gain_since_repair", "failures",
    "no_trouble_found", "events",
]
windows_d = [7, 28]

[[features]]
event = "E2"
statistics = ["events", "days_since_event"]
windows_d = [14]

[[features]]
statistics = ["days_with_data", "component_days", "age", "code_days"]
windows_d = [14]
"""


def write_file(folder: Path, text: str = FILE) -> Path:
    """The feature file of these machines."""
    path = folder / "features.toml"
    path.write_text(text, encoding="utf-8")
    return path


def vehicles(n: int = 6):
    """VEHICLE rows, of two models and two duties."""
    return VEHICLE.frame([
        {"vehicle_id": i, "fleet": "f", "vehicle_ref": str(i), "model": "AB"[i == n], "duty": "xy"[i % 2],
         "model_year": 2020, "known_at": START}
        for i in range(1, n + 1)
    ])  # fmt: skip


def sources(seed: int, fleet=None) -> Sources:
    """Dailies, codes, repairs and events: days missing, several files a day, arrivals up to 12 days late."""
    generator = np.random.default_rng(seed)
    fleet = vehicles() if fleet is None else fleet
    signals, codes, visits, events, log_file_id = [], [], [], [], 0
    for vehicle_id in fleet["vehicle_id"].to_list():
        for number in np.flatnonzero(generator.random(N_DAYS) < 0.85).tolist():
            for _ in range(generator.integers(1, 3)):
                log_file_id += 1
                late_d = int(generator.integers(1, 48)) / 4 if generator.random() < 0.4 else 0
                known_at = START + timedelta(days=number + 1 + late_d)
                ids = {"vehicle_id": vehicle_id, "log_file_id": log_file_id, "known_at": known_at}
                days = ids | {"day": (START + timedelta(days=number)).date()}
                heard = [source for source in SOURCES if source != "A.speed" or vehicle_id % 2]
                signals += [_partial(generator, number, source) | days for source in heard]
                if generator.random() < 0.3:
                    codes.append(_code(generator, number) | days)
                if generator.random() < 0.4:
                    events.append(_event(generator, number) | ids)
        visits += [_visit(generator, vehicle_id, order) for order in range(3)]
    return Sources(
        fleet, DAILY_SIGNAL.frame(signals), DAILY_FAULT.frame(codes), FAILURE.frame(visits), KNOWN_EVENT.frame(events)
    )


def _partial(generator, number, source):
    message, signal = source.split(".")
    low, mean, high = np.sort(generator.normal(80, 7, 3)).tolist()
    first_at = START + timedelta(days=number, hours=int(generator.integers(0, 12)))
    counted = 1000.0 + 10 * number
    first, last = (counted, counted + 5) if signal == "counter" else generator.normal(80, 7, 2).tolist()
    return {
        "message": message, "signal": signal, "channel": "can0",
        "source_address": int(generator.choice([0, 23])) if signal == "hot" else 0,
        "n_values": int(generator.integers(2, 30_000)), "mean": mean, "m2": float(generator.random() * 1e5),
        "minimum": low, "maximum": high, "first_at": first_at, "last_at": first_at + timedelta(hours=5),
        "first_value": first, "last_value": last, "n_transitions": int(generator.integers(0, 9)),
    }  # fmt: skip


def _code(generator, number):
    first_at = START + timedelta(days=number)
    return {
        "channel": "can0", "source_address": 0, "spn": int(generator.choice([110, 46, 520_243])),
        "fmi": int(generator.integers(0, 3)), "n_reports": 5, "first_at": first_at, "last_at": first_at,
        "n_red": int(generator.integers(0, 2)), "n_amber": 1,
    }  # fmt: skip


def _event(generator, number):
    time = START + timedelta(days=number, minutes=int(generator.integers(0, 1440)))
    return {"time": time, "kind": "error", "code": str(generator.choice(["E1", "E2"]))}


def _visit(generator, vehicle_id, order):
    failed_at = START + timedelta(hours=int(generator.integers(0, N_DAYS * 24)))
    return {
        "source_system": "s", "work_order_id": f"{vehicle_id}/{order % 2}", "line_no": 1, "vehicle_id": vehicle_id,
        "component": str(generator.choice(["pump", "valve"])), "rule": "r", "failed_at": failed_at,
        "kind": str(generator.choice(["failure", "planned", "no_trouble_found"])),
        "restored_at": failed_at + timedelta(days=1),
        "known_at": failed_at + timedelta(hours=order, days=int(generator.integers(0, 10))),
    }  # fmt: skip
