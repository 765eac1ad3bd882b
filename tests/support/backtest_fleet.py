"""A toy fleet for backtests, in memory and in a database, and a backtest of it that is killed on its way.

What belongs here: `toy_inputs` for `run_backtest`, `fill_database` for the pipeline, and the program that runs the
pipeline and kills itself when so many folds are stored: `python backtest_fleet.py URL FOLDER N_FOLDS`.
"""

import os
import signal
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import psycopg

from pm.features.featureset import Feature, FeatureSet
from pm.labels.failures import FailureRules, load_rules
from pm.pipelines.backtest import BacktestReport, backtest_models
from pm.policy import Backtest, Labels, Policy
from pm.store import backtests, connection, feature_vectors, frames, work_orders
from pm.tables import FAILURE, FEATURE_VECTOR, VEHICLE

START: Final = datetime(2026, 1, 5, tzinfo=UTC)
DAY: Final = timedelta(days=1)
N_VEHICLES: Final = 12
N_DAYS: Final = 120
KNOWN_UNTIL: Final = START + (N_DAYS + 25) * DAY
NAMES: Final = ("heat_mean_1d", "heat_mean_7d", "n_dtc_days_28d", "days_since_repair_cooling")
SET: Final = FeatureSet("toy", 1, tuple(Feature(name, "", "", ()) for name in NAMES))
POLICY: Final = replace(
    Policy(),
    labels=Labels(lag_d=8.0),
    backtest=Backtest(first_cutoff_after_d=70, step_d=10, bootstrap_samples=20, seed=5),
)
RULE_KINDS: Final = ("fault_count", "base_rate")
"""Kinds that are trained in no time."""


def toy_inputs() -> dict[str, Any]:
    """Arguments of `run_backtest`: cooling runs hot before it fails; nothing else fails."""
    rng = np.random.default_rng(3)
    failed = {vehicle: np.sort(rng.uniform(5, N_DAYS, 3)) for vehicle in range(1, N_VEHICLES + 1)}
    vectors = []
    for vehicle, at in failed.items():
        for day in range(N_DAYS):
            near = float(((at > day) & (at < day + 12)).any())
            numbers = [near + rng.normal(), near + rng.normal(0, 0.5), float(rng.poisson(2 * near)), None]
            as_of = START + day * DAY
            vectors.append([SET.feature_set_id, vehicle, as_of, as_of, numbers, "x"])
    born = {"fleet": "f", "in_service_at": START - 50 * DAY, "known_at": START - 50 * DAY}
    failures = [
        {
            "source_system": "shop",
            "work_order_id": f"{vehicle}-{number}",
            "line_no": 1,
            "known_at": START + float(day + 3) * DAY,
            "vehicle_id": vehicle,
            "component": "cooling",
            "kind": "failure",
            "failed_at": START + float(day) * DAY,
            "restored_at": START + float(day + 1) * DAY,
            "rule": "r",
        }
        for vehicle, at in failed.items()
        for number, day in enumerate(at)
    ]
    return {
        "vectors": pl.DataFrame(vectors, schema=FEATURE_VECTOR.schema, orient="row"),
        "feature_set": SET,
        "vehicles": VEHICLE.frame(
            [{"vehicle_id": v, "vehicle_ref": f"T{v:02}", "model": f"M{v % 2}", **born} for v in failed]
        ),
        "failures": FAILURE.frame(failures),
        "components": ("cooling", "brakes_air"),
        "policy": POLICY,
        "known_until": KNOWN_UNTIL,
        "observed_until": KNOWN_UNTIL,
    }


def fill_database(conn: psycopg.Connection) -> None:
    """Vehicles, failures and vectors of the toy fleet."""
    inputs = toy_inputs()
    frames.insert(conn, VEHICLE, inputs["vehicles"])
    work_orders.replace_failures(conn, inputs["failures"])
    feature_vectors.put_feature_set(conn, SET)
    feature_vectors.put_vectors(conn, inputs["vectors"])
    conn.commit()


def shipped_rules() -> FailureRules:
    """The rules that name the components."""
    return load_rules(Path(__file__).resolve().parents[2] / "config" / "failure_rules.toml")


def run_toy(conn: psycopg.Connection, folder: Path, **more: Any) -> BacktestReport:
    """The pipeline over the toy fleet in `conn`."""
    given: dict[str, Any] = {"kinds": RULE_KINDS, "created_at": KNOWN_UNTIL, **more}
    return backtest_models(
        conn, shipped_rules(), POLICY, known_until=KNOWN_UNTIL, artifact_folder=folder, configured=SET, **given
    )


def main() -> None:
    """Run the pipeline; die without a word when N_FOLDS are stored."""
    url, folder, n_folds = sys.argv[1:4]
    put_fold, stored = backtests.put_fold, []

    def put_and_die(conn: psycopg.Connection, fold: pl.DataFrame) -> int:
        if len(stored) == int(n_folds):
            os.kill(os.getpid(), signal.SIGKILL)
        stored.append(put_fold(conn, fold))
        return stored[-1]

    backtests.put_fold = put_and_die
    with connection.connect(url) as conn:
        run_toy(conn, Path(folder))


if __name__ == "__main__":
    main()
