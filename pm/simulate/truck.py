"""One truck from its seed to its files.

What belongs here: putting the parts in order (identity, driving, wear, signals, codes, uploads, work
orders). One call is independent of all other trucks, so it can run in any process.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pm.canbus.dbc import MessagePlan
from pm.simulate import candump
from pm.simulate.codes import dm1_frames, draw_episodes
from pm.simulate.components import COMPONENTS, ENGINE
from pm.simulate.drive import drive
from pm.simulate.encode import Frames, encode, join
from pm.simulate.fleet import DAY_S, FleetConfig, Vehicle, make_vehicle, streams
from pm.simulate.operation import Sessions, daily_mean_c, plan_sessions
from pm.simulate.sensor_faults import apply_sensor_faults, draw_sensor_faults
from pm.simulate.signals import Samples, Truck, sample
from pm.simulate.transport import broadcast
from pm.simulate.uploads import Upload, dead_days, plan_uploads
from pm.simulate.wear import Life, live
from pm.simulate.workshop import Meters, as_row, write_orders

PGN_VI: Final = 65260
MESSAGES: Final = (
    "EEC1", "CCVS1", "ET1", "EFL_P1", "IC1", "AMB", "VEP1", "AIR1", "LFE1", "HOURS", "VDHR", "VD",
)  # fmt: skip
"""Messages whose layout is taken from the DBC; DM1 and VI are made here."""


@dataclass(frozen=True)
class TruckRun:
    """What one truck did, before anything is encoded."""

    vehicle: Vehicle
    life: Life
    samples: list[Samples]
    other_frames: Frames
    """DM1, ready as frames."""
    meters: Meters
    dead: NDArray[np.bool_]
    uploads: list[Upload]


@dataclass(frozen=True)
class TruckFiles:
    """What was written for one truck, and its rows of the fleet's tables."""

    vehicle: dict[str, object]
    uploads: list[dict[str, object]]
    work_orders: list[dict[str, object]]
    failures: list[dict[str, object]]
    replacements: list[dict[str, object]]
    hazards: dict[str, NDArray[np.float64]]
    """By `<component>/<what>`, one entry a day."""
    n_frames: int
    n_bytes: int
    n_driving_days: int


def run_truck(config: FleetConfig, index: int) -> tuple[TruckRun, dict[str, np.random.Generator]]:
    """Live one truck's time; nothing is written. The streams come back for what follows."""
    rng = streams(config, index)
    vehicle = make_vehicle(config, index, rng["identity"])
    temperature_c = daily_mean_c(config)[vehicle.region]
    planned = plan_sessions(config, vehicle, rng["operation"])
    life = live(config, vehicle, planned, temperature_c, rng["wear"])
    driven = drive(vehicle, life.sessions, temperature_c, life.symptoms, rng["signals"])
    samples = sample(Truck(vehicle, life.sessions, driven, life.symptoms, rng["signals"]))
    faults = draw_sensor_faults(config, rng["sensors"])
    episodes = draw_episodes(config, life.sessions, life.symptoms, faults, rng["faults"])
    run = TruckRun(
        vehicle=vehicle,
        life=life,
        samples=apply_sensor_faults(samples, faults, rng["sensors"]),
        other_frames=dm1_frames(config, life.sessions, episodes),
        meters=Meters(driven.time_s, driven.odometer_km, driven.engine_h),
        dead=dead_days(config, rng["uploads"]),
        uploads=plan_uploads(vehicle, rng["uploads"]),
    )
    return run, rng


def write_truck(config: FleetConfig, index: int, plans: Mapping[str, MessagePlan], folder: Path) -> TruckFiles:
    """Simulate truck `index` and write its logs under `folder`/logs.

    Args:
        plans: the DBC's plan for each of `MESSAGES`.
    """
    run, rng = run_truck(config, index)
    vehicle, life = run.vehicle, run.life
    uploads, n_frames, n_bytes = _write_logs(config, run, plans, folder)
    orders = write_orders(config, vehicle, life, run.meters, rng["workshop"])
    return TruckFiles(
        vehicle=_vehicle_row(config, vehicle),
        uploads=uploads,
        work_orders=[as_row(config, vehicle, run.meters, line) for line in orders],
        failures=_failure_rows(config, vehicle, life),
        replacements=[
            {"vehicle_ref": vehicle.vehicle_ref, "component": r.component, "day": r.day, "wear": r.wear}
            for r in life.replacements
        ],
        hazards=_hazards(life),
        n_frames=n_frames,
        n_bytes=n_bytes,
        n_driving_days=len(np.unique(life.sessions.day)),
    )


def encode_truck(config: FleetConfig, run: TruckRun, plans: Mapping[str, MessagePlan]) -> Frames:
    """All frames the logger recorded, in time order, but for the VIN that opens each file."""
    parts = [
        encode(plans[each.message], each.source_address, epoch_us(config, each.time_s), each.values)
        for each in run.samples
    ]
    frames = join([*parts, run.other_frames])
    day = (frames.time_us // 1_000_000 - config.start_s) // DAY_S
    return frames.select(~run.dead[day])


def epoch_us(config: FleetConfig, time_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """Microseconds of the Unix epoch for seconds from the fleet's start."""
    return np.rint(time_s * 1e6).astype(np.int64) + config.start_s * 1_000_000


def _write_logs(
    config: FleetConfig, run: TruckRun, plans: Mapping[str, MessagePlan], folder: Path
) -> tuple[list[dict[str, object]], int, int]:
    frames = encode_truck(config, run, plans)
    logs = folder / "logs" / run.vehicle.vehicle_ref
    logs.mkdir(parents=True)
    rows: list[dict[str, object]] = []
    n_frames = n_bytes = 0
    midnights = [(config.start_s + upload.from_day * DAY_S) * 1_000_000 for upload in run.uploads]
    edges = np.searchsorted(frames.time_us, np.array([*midnights, 2**62]))
    for upload, low, high in zip(run.uploads, edges[:-1], edges[1:], strict=True):
        if low == high:
            continue
        content = join([_vin_frames(config, run, upload), frames.select(slice(int(low), int(high)))])
        text = candump.lines(content).tobytes()
        uploaded_at = config.instant(upload.uploaded_s)
        path = logs / f"{uploaded_at:%Y%m%dT%H%M%SZ}.log"
        path.write_bytes(text)
        rows.append(
            {
                "file": path.relative_to(folder).as_posix(),
                "vehicle_ref": run.vehicle.vehicle_ref,
                "uploaded_at": uploaded_at,
                "n_frames": len(content),
            }
        )
        n_frames, n_bytes = n_frames + len(content), n_bytes + len(text)
    return rows, n_frames, n_bytes


def _vin_frames(config: FleetConfig, run: TruckRun, upload: Upload) -> Frames:
    """Vehicle identification (VI) once, some seconds into the file's first recorded session."""
    sessions: Sessions = run.life.sessions
    mine = (sessions.day >= upload.from_day) & (sessions.day < upload.until_day) & ~run.dead[sessions.day]
    first = np.flatnonzero(mine)[:1]
    # 3.7 s in: no other broadcast of the engine is under way then.
    times = epoch_us(config, sessions.start_s[first] + 3.7)
    return broadcast(PGN_VI, ENGINE, f"{run.vehicle.vin}*".encode("ascii"), times)


def _vehicle_row(config: FleetConfig, vehicle: Vehicle) -> dict[str, object]:
    return {
        "fleet": config.fleet,
        "vehicle_ref": vehicle.vehicle_ref,
        "model": vehicle.model.name,
        "model_year": vehicle.model_year,
        "duty": vehicle.duty.name,
        "in_service_at": f"{vehicle.in_service_on.isoformat()}T00:00:00Z",
        "left_at": config.instant(vehicle.left_day * DAY_S) if vehicle.leaves else None,
        "vin": vehicle.vin,
    }


def _failure_rows(config: FleetConfig, vehicle: Vehicle, life: Life) -> list[dict[str, object]]:
    return [
        {
            "vehicle_ref": vehicle.vehicle_ref,
            "component": failure.component,
            "mode": failure.mode,
            "failed_at": config.instant(failure.failed_s),
            "returned_at": config.instant(failure.returned_s),
            "is_shock": failure.is_shock,
            "wear": failure.wear,
        }
        for failure in life.failures
    ]


def _hazards(life: Life) -> dict[str, NDArray[np.float64]]:
    columns = {}
    for component in COMPONENTS:
        columns[f"{component.name}/wear"] = life.wear[component.name]
        columns[f"{component.name}/p_failure_day"] = life.p_day[component.name]
        columns[f"{component.name}/p_failure_14d"] = life.p_horizon[component.name]
    return columns
