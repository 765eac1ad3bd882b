"""What the checks of daily aggregates say of a simulated fleet, and what they cost.

What belongs here: a fleet's aggregates without encoding or a database, the share of vehicle days that are
marked though nothing is wrong with them, whether real sensor faults are found, and the time of one as-of
of a large fleet. Truth is the simulation's own list of sensor faults.

    python -m benchmarks.assumptions --trucks 12 --days 90
"""

import argparse
import json
import time
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from pm.asof import midnight
from pm.canbus.dbc import load_dbc
from pm.features.assumptions import CHECKED_DAILY, FLEET, check_assumptions, lookback_start, make_profile
from pm.features.daily import aggregate_signals
from pm.features.quantities import QUANTITIES
from pm.policy import Policy, load_policy
from pm.simulate.changes import Change, rescaled
from pm.simulate.fleet import DAY_S, FleetConfig, streams
from pm.simulate.sensor_faults import draw_sensor_faults
from pm.simulate.truck import MESSAGES, run_truck
from pm.tables import SIGNAL, VEHICLE

PROJECT: Final = Path(__file__).resolve().parents[1]
_LINGERS_D: Final = 16
"""A fault is still among the last driving days of a file that came so much later."""


def main() -> int:
    """Simulate, check every day, print; returns the exit code."""
    arguments = _arguments()
    policy = load_policy(PROJECT / "config" / "policy.toml")
    config = FleetConfig(n_vehicles=arguments.trucks, n_days=arguments.days, seed=arguments.seed)
    daily, vehicles, faults = simulated(config)
    result = {"fleet": rates(config, daily, vehicles, faults, policy)}
    if arguments.planted:
        result["planted"] = planted(config, policy)
    if arguments.cost:
        result["cost"] = cost(daily, vehicles, policy, n_vehicles=200, n_signals=60)
    print(json.dumps(result, indent=2, default=str))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.assumptions", description=__doc__.partition("\n")[0])
    parser.add_argument("--trucks", type=int, default=12)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--seed", type=int, default=20260105)
    parser.add_argument("--planted", action="store_true", help="also give one model's firmware other units, one by one")
    parser.add_argument("--cost", action="store_true", help="also time one as-of of 200 trucks and 60 signals")
    return parser.parse_args()


def simulated(config: FleetConfig) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Daily aggregates (CHECKED_DAILY), VEHICLE, and the true sensor faults of a simulated fleet."""
    dailies, vehicles, faults = [], [], []
    declared = declared_signals().with_columns(
        pl.col("minimum").fill_null(-np.inf), pl.col("maximum").fill_null(np.inf)
    )
    limits = {
        (m, s): (low, high) for m, s, low, high in declared.select("message", "signal", "minimum", "maximum").rows()
    }
    for index in range(config.n_vehicles):
        run, _ = run_truck(config, index)
        vehicle_id = index + 1
        recording = run.recording
        files = [
            (number, upload.from_day, upload.until_day, config.instant(upload.uploaded_s))
            for number, upload in enumerate(recording.uploads)
        ]
        for message in sorted({samples.message for samples in recording.samples}):
            frames = [
                _telemetry(config, files, samples, recording, limits).with_columns(
                    vehicle_id=pl.lit(vehicle_id, dtype=pl.Int32)
                )
                for samples in recording.samples
                if samples.message == message
            ]
            made = aggregate_signals(pl.concat(frames, how="diagonal"), message)
            dailies.append(made.select(CHECKED_DAILY.column_names))
        vehicles.append(
            {
                "vehicle_id": vehicle_id, "fleet": config.fleet, "vehicle_ref": run.vehicle.vehicle_ref,
                "model": run.vehicle.model.name, "known_at": config.start_at,
            }
        )  # fmt: skip
        faults += [
            {"vehicle_id": vehicle_id, "message": each.message, "signal": each.signal, "kind": each.kind,
             "from_day": each.from_day, "until_day": each.until_day}
            for each in draw_sensor_faults(config, streams(config, index)["sensors"])
        ]  # fmt: skip
    schema = {"vehicle_id": pl.Int32, "message": pl.String, "signal": pl.String, "kind": pl.String,
              "from_day": pl.Int64, "until_day": pl.Int64}  # fmt: skip
    return pl.concat(dailies), VEHICLE.frame(vehicles), pl.DataFrame(faults, schema=schema)


def _sent(ends: tuple[float, float], values: Any) -> Any:
    """As it is sent: null for not available and error, and what a signal cannot hold as its end."""
    return np.where(np.isfinite(values), np.clip(values, *ends), np.nan)


def _telemetry(
    config: FleetConfig, files: list[Any], samples: Any, recording: Any, limits: dict[Any, Any]
) -> pl.DataFrame:  # fmt: skip
    kept = recording.is_recorded(samples.time_s)
    time_s = samples.time_s[kept]
    day = (time_s // DAY_S).astype(np.int64)
    starts = np.array([from_day for _, from_day, _, _ in files])
    at = np.searchsorted(starts, day, side="right") - 1
    model = recording.vehicle.model.name
    values = {
        name: _sent(limits[samples.message, name], rescaled(config, model, name, day, each[kept]))
        for name, each in samples.values.items()
    }
    return pl.DataFrame(values).with_columns(
        log_file_id=pl.Series(at),
        known_at=pl.Series([files[one][3] for one in at.tolist()], dtype=pl.Datetime("us", "UTC")),
        time=pl.lit(config.start_at) + pl.duration(microseconds=pl.Series(np.rint(time_s * 1e6).astype(np.int64))),
        channel=pl.lit("can0"),
        source_address=pl.lit(samples.source_address, dtype=pl.Int16),
    )


def declared_signals() -> pl.DataFrame:
    """SIGNAL of the shipped DBC files, as far as the simulation sends them."""
    database = load_dbc(sorted((PROJECT / "dbc").glob("*.dbc")))
    rows = [
        {"message": name, "signal": plan.name, "table_name": name.lower(), "column_name": plan.name.lower(),
         "unit": plan.unit, "minimum": plan.minimum, "maximum": plan.maximum, "description": "", "dbc_sha256": ""}
        for name in MESSAGES
        for plan in database.message(name).signals
    ]  # fmt: skip
    return SIGNAL.frame(rows)


def rates(
    config: FleetConfig, daily: pl.DataFrame, vehicles: pl.DataFrame, faults: pl.DataFrame, policy: Policy
) -> dict[str, Any]:
    """Share of vehicle days with a row that no sensor fault explains, also by check; blocks; faults found."""
    signals = declared_signals()
    frozen_at = config.start_at + timedelta(days=config.n_days // 2)
    profile = make_profile(
        daily, frozen_at, feature_set_id="truck", vehicles=vehicles, quantities=QUANTITIES,
        profile_d=policy.assumptions.profile_d,
    )  # fmt: skip
    as_ofs = [config.start_at + timedelta(days=day) for day in range(1, config.n_days + 1)]
    found = [
        check_assumptions(
            daily, as_of, vehicles=vehicles, signals=signals, policy=policy, checked_at=as_of,
            profile=profile if as_of >= profile.as_of else None,
        )
        for as_of in as_ofs
    ]  # fmt: skip
    rows = pl.concat(found).filter(pl.col("vehicle_id") != FLEET)
    day = (pl.col("as_of") - config.start_at).dt.total_days()
    true = (
        rows.with_columns(day=day)
        .join(faults, on=("vehicle_id", "message", "signal"))
        .filter(pl.col("day") > pl.col("from_day"), pl.col("day") <= pl.col("until_day") + _LINGERS_D)
    )
    false = rows.join(true, on=("as_of", "check_name", "vehicle_id", "message", "signal"), how="anti")
    n_vehicle_days = config.n_vehicles * config.n_days
    days = ("as_of", "vehicle_id")
    by_check = {
        str(name[0]): part.select(days).n_unique() / n_vehicle_days for name, part in false.group_by("check_name")
    }
    caught = true.select("vehicle_id", "message", "signal", "from_day").n_unique()
    long = faults.filter(pl.col("until_day") - pl.col("from_day") >= 7)
    return {
        "vehicle_days": n_vehicle_days,
        "false_mark_share": false.select(days).n_unique() / n_vehicle_days,
        "false_mark_share_by_check": dict(sorted(by_check.items())),
        "false_blocks": false.filter(pl.col("status") == "block").height,
        "fleet_blocks": pl.concat(found).filter(pl.col("status") == "block", pl.col("vehicle_id") == FLEET).height,
        "examples": false.unique(["check_name", "vehicle_id", "message", "signal"], keep="first", maintain_order=True)
        .select("as_of", "check_name", "vehicle_id", "message", "signal", "reason").head(40).rows(),
        "sensor_faults": faults.height,
        "sensor_faults_of_a_week_or_more": long.height,
        "sensor_faults_found": caught,
        "found_by_kind": dict(Counter(true.unique(["vehicle_id", "signal", "from_day"])["kind"])),
    } | {"kinds": dict(Counter(faults["kind"]))}  # fmt: skip


PLANTED: Final = (
    ("EngCoolantTemp", 1.8, 32.0, "degrees Fahrenheit"),
    ("AmbientAirTemp", 1.8, 32.0, "degrees Fahrenheit"),
    ("PneumaticSupplyPressure", 1 / 6.894757293168361, 0.0, "psi"),
    ("ChargingSystemPotential", 0.5, 0.0, "volts of a 12 V system"),
    ("HighResTotalVehicleDistance", 1 / 1.609344, 0.0, "miles"),
    ("WheelBasedVehicleSpeed", 1 / 1.609344, 0.0, "miles an hour"),
)
"""Signal, scale, offset, and how the conversion's words begin."""
_MODEL: Final = "Borealis 480"


def planted(config: FleetConfig, policy: Policy) -> list[dict[str, Any]]:
    """For each change of unit, from the middle of the time on: trucks of the model, and those found in two weeks."""
    signals, made = declared_signals(), []
    for signal, scale, offset, words in PLANTED:
        change = Change("firmware_rescale", config.n_days // 2, model=_MODEL, signal=signal, scale=scale, offset=offset)
        daily, vehicles, _ = simulated(replace(config, changes=(change,)))
        as_ofs = [config.start_at + timedelta(days=config.n_days // 2 + more) for more in range(1, 15)]
        rows = pl.concat(
            check_assumptions(daily, as_of, vehicles=vehicles, signals=signals, policy=policy, checked_at=as_of)
            for as_of in as_ofs
        ).filter(pl.col("check_name") == "units", pl.col("vehicle_id") != FLEET, pl.col("signal") == signal)
        right = rows.filter(pl.col("conversion").str.starts_with(f"{words} in place"))
        of_model = vehicles.filter(pl.col("model") == _MODEL)["vehicle_id"]
        made.append(
            {
                "signal": signal,
                "trucks": of_model.len(),
                "found_with_the_right_unit": right.filter(pl.col("vehicle_id").is_in(of_model.implode()))[
                    "vehicle_id"
                ].n_unique(),
                "with_another_unit": rows.height - right.height,
                "other_trucks": rows.filter(~pl.col("vehicle_id").is_in(of_model.implode()))["vehicle_id"].n_unique(),
            }
        )
    return made


def cost(
    daily: pl.DataFrame, vehicles: pl.DataFrame, policy: Policy, *, n_vehicles: int, n_signals: int
) -> dict[str, float]:
    """Seconds of one as-of of a fleet of this size, the simulated trucks repeated."""
    names = daily.select("message", "signal").unique().sort("message", "signal").head(n_signals)
    few = daily.join(names, on=("message", "signal"), how="semi")
    n = vehicles.height
    copies = range(-(-n_vehicles // n))
    shifted = pl.col("vehicle_id") + pl.lit(0, dtype=pl.Int32)
    fleet = pl.concat([few.with_columns(vehicle_id=(shifted + copy * n).cast(pl.Int32)) for copy in copies])
    trucks = pl.concat([vehicles.with_columns(vehicle_id=(shifted + copy * n).cast(pl.Int32)) for copy in copies])
    fleet = fleet.filter(pl.col("vehicle_id") <= n_vehicles)
    as_of = midnight(fleet["day"].max()) + timedelta(days=1)  # type: ignore[arg-type, operator]
    given = policy.assumptions
    rows = fleet.filter(pl.col("day") >= lookback_start(as_of, given.recent_d + given.past_d))
    best, signals = float("inf"), declared_signals()
    for _ in range(3):
        began = time.perf_counter()
        check_assumptions(rows, as_of, vehicles=trucks, signals=signals, policy=policy, checked_at=as_of)
        best = min(best, time.perf_counter() - began)
    return {"vehicles": n_vehicles, "signals": names.height, "rows": rows.height, "seconds": best}


if __name__ == "__main__":
    raise SystemExit(main())
