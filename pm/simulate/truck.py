"""One truck from its seed to its files.

What belongs here: putting the parts in order (identity, driving, wear, signals, codes, uploads, work
orders). One call is independent of all other trucks, so it can run in any process.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pm.canbus.dbc import MessagePlan
from pm.simulate.codes import dm1_frames, draw_episodes
from pm.simulate.components import COMPONENTS
from pm.simulate.drive import drive
from pm.simulate.drivers import assign_drivers
from pm.simulate.fleet import DAY_S, FleetConfig, Vehicle, make_vehicle, streams
from pm.simulate.logger import make_logger
from pm.simulate.logs import LogFile, Recording, write_logs
from pm.simulate.operation import daily_mean_c, plan_sessions
from pm.simulate.sensor_faults import apply_sensor_faults, draw_sensor_faults
from pm.simulate.signals import MESSAGES, Truck, sample
from pm.simulate.uploads import dead_days, plan_uploads, with_repeats
from pm.simulate.wear import Life, live
from pm.simulate.workshop import Meters, as_row, write_orders

__all__ = ["MESSAGES", "TruckFiles", "TruckRun", "run_truck", "write_truck"]


@dataclass(frozen=True)
class TruckRun:
    """What one truck did, before anything is encoded."""

    vehicle: Vehicle
    life: Life
    meters: Meters
    recording: Recording


@dataclass(frozen=True)
class TruckFiles:
    """What was written for one truck, and its rows of the fleet's tables."""

    vehicle: dict[str, object]
    logs: list[LogFile]
    work_orders: list[dict[str, object]]
    failures: list[dict[str, object]]
    replacements: list[dict[str, object]]
    hazards: dict[str, NDArray[np.float64]]
    """By `<component>/<what>`, one entry a day."""
    n_driving_days: int


def run_truck(config: FleetConfig, index: int) -> tuple[TruckRun, dict[str, np.random.Generator]]:
    """Live one truck's time; nothing is written. The streams come back for what follows."""
    rng = streams(config, index)
    vehicle = make_vehicle(config, index, rng["identity"])
    temperature_c = daily_mean_c(config)[vehicle.region]
    planned = plan_sessions(config, vehicle, rng["operation"])
    drivers = assign_drivers(config, index)
    life = live(config, vehicle, planned, temperature_c, rng["wear"], drivers=drivers)
    driven = drive(vehicle, life.sessions, temperature_c, life.symptoms, rng["signals"], drivers=drivers)
    samples = sample(Truck(vehicle, life.sessions, driven, life.symptoms, rng["signals"]))
    faults = draw_sensor_faults(config, rng["sensors"])
    episodes = draw_episodes(config, life.sessions, life.symptoms, faults, rng["faults"])
    dead = dead_days(config, rng["uploads"])
    recording = Recording(
        vehicle=vehicle,
        sessions=life.sessions,
        samples=apply_sensor_faults(samples, faults, rng["sensors"]),
        other_frames=dm1_frames(config, life.sessions, episodes),
        dead=dead,
        logger=make_logger(config, vehicle, rng["logger"]),
        uploads=with_repeats(plan_uploads(vehicle, rng["uploads"]), rng["logger"]),
    )
    meters = Meters(driven.time_s, driven.odometer_km, driven.engine_h)
    run = TruckRun(vehicle=vehicle, life=life, meters=meters, recording=recording)
    return run, rng


def write_truck(config: FleetConfig, index: int, plans: Mapping[str, MessagePlan], folder: Path) -> TruckFiles:
    """Simulate truck `index` and write its logs under `folder`/logs.

    Args:
        plans: the DBC's plan for each of `MESSAGES`.
    """
    run, rng = run_truck(config, index)
    vehicle, life = run.vehicle, run.life
    logs = write_logs(config, run.recording, plans, folder)
    orders = write_orders(config, vehicle, life, run.meters, rng["workshop"])
    return TruckFiles(
        vehicle=_vehicle_row(config, vehicle),
        logs=logs,
        work_orders=[as_row(config, vehicle, run.meters, line) for line in orders],
        failures=_failure_rows(config, vehicle, life),
        replacements=[
            {"vehicle_ref": vehicle.vehicle_ref, "component": r.component, "day": r.day, "wear": r.wear}
            for r in life.replacements
        ],
        hazards=_hazards(life),
        n_driving_days=len(np.unique(life.sessions.day)),
    )


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
