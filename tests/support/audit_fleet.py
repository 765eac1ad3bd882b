"""A small fleet with two clocks whose features are honest, or leak in a planted way.

Wear warms a component up in the weeks before most failures, trouble codes follow, and some failures
come without warning. Days are known when they are over, repairs days after they happened.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from pm.backtest.audit import run_audit
from pm.backtest.audit_arrivals import rebuild
from pm.backtest.audit_result import AuditResult
from pm.features.featureset import Feature, FeatureSet
from pm.policy import Audit, Backtest, Labels, Policy
from pm.schema import UTC_INSTANT
from pm.tables import FAILURE, FEATURE_VECTOR, VEHICLE, WORK_ORDER

START = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)
N_VEHICLES, N_DAYS = 30, 160
END = START + N_DAYS * DAY
COMPONENT = "cooling"
POLICY = replace(
    Policy(),
    labels=Labels(lag_d=8.0),
    backtest=Backtest(first_cutoff_after_d=80, step_d=21, as_of_step_d=2, seed=5),
    audit=Audit(permutations=100, bootstrap_samples=50, n_rebuilt_as_ofs=2),
)
NAMES = (
    "heat_1d", "heat_3d", "heat_14d", "heat_change", "n_codes_14d", "days_since_repair_cooling", "odometer_km",
    "age_a", "noise_1d", "noise_14d",
)  # fmt: skip


@dataclass(frozen=True)
class Fleet:
    """The sources, by name, and what is made of them."""

    vehicles: pl.DataFrame
    daily: pl.DataFrame
    """vehicle_id, day, known_at, heat, n_codes, km."""
    failures: pl.DataFrame
    work_orders: pl.DataFrame

    @property
    def sources(self) -> Mapping[str, pl.DataFrame]:
        return {"vehicles": self.vehicles, "daily": self.daily, "failures": self.failures}


def feature_set(*more: str) -> FeatureSet:
    """The fleet's features, and planted ones."""
    return FeatureSet("toy", 1, tuple(Feature(name, "", "", ()) for name in (*NAMES, *more)))


def make_fleet(seed: int, *, n_vehicles: int = N_VEHICLES) -> Fleet:
    """Same seed, same fleet."""
    rng = np.random.default_rng(seed)
    ids = np.arange(1, n_vehicles + 1)
    age = rng.integers(2014, 2025, n_vehicles)
    broken = [np.sort(rng.uniform(3, N_DAYS + 20, rng.poisson(2.2))) for _ in ids]
    daily = [
        _days(vehicle, at, rng.random(at.size) < 0.75, rng) for vehicle, at in zip(ids.tolist(), broken, strict=True)
    ]
    orders = [
        {"vehicle_id": vehicle, "at": float(day), "known": float(day + rng.uniform(0.5, 8)), "number": number}
        for vehicle, at in zip(ids.tolist(), broken, strict=True)
        for number, day in enumerate(at)
    ]
    born = {"fleet": "f", "in_service_at": START - 90 * DAY, "known_at": START - 90 * DAY}
    fleet = [
        {"vehicle_id": v, "vehicle_ref": f"T{v}", "model_year": int(year), **born}
        for v, year in zip(ids.tolist(), age, strict=True)
    ]
    return Fleet(VEHICLE.frame(fleet), pl.concat(daily), _failures(orders), _work_orders(orders))


def _days(vehicle: int, broken: np.ndarray, warns: np.ndarray, rng: np.random.Generator) -> pl.DataFrame:
    """Whole days from 30 before the start; day d is known when it is over."""
    days = np.arange(-30, N_DAYS + 1)
    left = np.array([[at - day for at in broken] or [np.inf] for day in days])
    warned = np.where(warns, left, np.inf) if broken.size else left
    wear = np.where((warned > 0) & (warned < 21), (21 - warned) / 21, 0.0).max(axis=1)
    today = ((left >= 0) & (left < 1)).any(axis=1)
    heat = 84 + rng.normal(0, 2.5) + 5 * wear + 25 * today + rng.normal(0, 2.0, days.size)
    return pl.DataFrame({
        "vehicle_id": pl.Series([vehicle] * days.size, dtype=pl.Int32),
        "day": pl.Series([(START + int(day) * DAY).date() for day in days]),
        "known_at": pl.Series([START + int(day) * DAY + DAY for day in days], dtype=UTC_INSTANT),
        "heat": heat,
        "n_codes": rng.poisson(0.05 + 0.8 * wear).astype(np.int64),
        "noise": rng.normal(size=days.size),
        "km": rng.uniform(0, 900_000) + np.cumsum(rng.uniform(200, 700, days.size)),
    })  # fmt: skip


def _line(order: Mapping[str, float]) -> dict[str, object]:
    return {
        "source_system": "shop", "work_order_id": f"{order['vehicle_id']}-{order['number']}", "line_no": 1,
        "known_at": START + order["known"] * DAY, "vehicle_id": order["vehicle_id"],
    }  # fmt: skip


def _failures(orders: list[dict[str, float]]) -> pl.DataFrame:
    return FAILURE.frame([
        {
            **_line(order), "component": COMPONENT, "kind": "failure", "failed_at": START + order["at"] * DAY,
            "restored_at": START + (order["at"] + 1) * DAY, "rule": "r",
        }
        for order in orders
    ])  # fmt: skip


def _work_orders(orders: list[dict[str, float]]) -> pl.DataFrame:
    return WORK_ORDER.frame([
        {**_line(order), "opened_at": START + order["at"] * DAY, "description": "leaks", "withdrawn": False}
        for order in orders
    ])  # fmt: skip


def build(as_of: datetime, sources: Mapping[str, pl.DataFrame], *, leak: str = "") -> pl.DataFrame:
    """FEATURE_VECTOR of one as-of. `leak`: "" (honest), "repair_orders" or "same_day"."""
    fleet = sources["vehicles"].filter(pl.col("known_at") <= as_of).sort("vehicle_id")
    daily = _window(sources["daily"], as_of, start=leak == "same_day")
    heat, ago = pl.col("heat"), pl.col("ago")
    made = daily.group_by("vehicle_id").agg(
        heat_1d=heat.filter(ago <= 1).mean(),
        heat_3d=heat.filter(ago <= 3).mean(),
        heat_14d=heat.filter(ago <= 14).mean(),
        heat_change=heat.filter(ago <= 3).mean() - heat.filter(ago > 3).mean(),
        n_codes_14d=pl.col("n_codes").filter(ago <= 14).sum().cast(pl.Float64),
        odometer_km=pl.col("km").max(),
        noise_1d=pl.col("noise").filter(ago <= 1).mean(),
        noise_14d=pl.col("noise").filter(ago <= 14).mean(),
    )
    table = (
        fleet.select("vehicle_id", age_a=(as_of.year - pl.col("model_year")).cast(pl.Float64))
        .join(made, on="vehicle_id", how="left")
        .join(_since_repair(sources["failures"], as_of), on="vehicle_id", how="left")
        .sort("vehicle_id")
    )
    names = list(NAMES)
    if leak == "repair_orders":
        table = table.join(_repairs_around(sources["failures"], as_of), on="vehicle_id", how="left")
        table = table.with_columns(pl.col("n_repairs_28d").fill_null(0.0)).sort("vehicle_id")
        names.append("n_repairs_28d")
    return pl.DataFrame({
        "feature_set_id": [feature_set(*names[len(NAMES) :]).feature_set_id] * table.height,
        "vehicle_id": table["vehicle_id"],
        "as_of": pl.repeat(as_of, table.height, dtype=UTC_INSTANT, eager=True),
        "data_until": pl.repeat(as_of, table.height, dtype=UTC_INSTANT, eager=True),
        "features": table.select(features=pl.concat_list(names).cast(pl.List(pl.Float32)))["features"],
        "inputs_hash": ["x"] * table.height,
    })  # fmt: skip


def _window(daily: pl.DataFrame, as_of: datetime, *, start: bool) -> pl.DataFrame:
    """Days before the as-of, by their end; `start` joins them on their start, which lets in the day that begins."""
    ago = (pl.lit(as_of.date()) - pl.col("day")).dt.total_days() + (1 if start else 0)
    seen = daily if start else daily.filter(pl.col("known_at") <= as_of)
    return seen.with_columns(ago=ago).filter(pl.col("ago").is_between(1, 28)).sort("vehicle_id", "day", "known_at")


def _since_repair(failures: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    done = failures.filter(pl.col("known_at") <= as_of, pl.col("restored_at") <= as_of, pl.col("kind") == "failure")
    return done.group_by("vehicle_id").agg(
        days_since_repair_cooling=(pl.lit(as_of) - pl.col("restored_at").max()).dt.total_hours() / 24
    )


def _repairs_around(failures: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """The leak: repairs within two weeks on either side, whenever they became known."""
    failed = failures.filter(pl.col("kind") == "failure")
    near = failed.filter(pl.col("failed_at").is_between(as_of - 3 * DAY, as_of + 14 * DAY))
    return near.group_by("vehicle_id").agg(n_repairs_28d=pl.len().cast(pl.Float64))


def vectors_of(fleet: Fleet, *, leak: str = "") -> pl.DataFrame:
    """Vectors of every day."""
    made = [build(START + day * DAY, fleet.sources, leak=leak) for day in range(N_DAYS)]
    return FEATURE_VECTOR.check(pl.concat(made))


def with_feature(vectors: pl.DataFrame, name: str, values: Mapping[int, float]) -> pl.DataFrame:
    """`vectors` with one more feature that is the same on every day of a vehicle."""
    value = pl.col("vehicle_id").replace_strict(values, default=0.0, return_dtype=pl.Float32)
    return vectors.with_columns(
        features=pl.concat_list("features", value), feature_set_id=pl.lit(feature_set(name).feature_set_id)
    )


def positive_days(fleet: Fleet) -> dict[int, float]:
    """Share of a vehicle's days that lie in the 14 before a failure: its target encoding."""
    shares = {}
    days = np.arange(N_DAYS)
    for vehicle in fleet.vehicles["vehicle_id"]:
        at = fleet.failures.filter(pl.col("vehicle_id") == vehicle)["failed_at"].to_list()
        left = np.array([[(one - START) / DAY - day for one in at] or [np.inf] for day in days])
        shares[vehicle] = float(((left > 0) & (left <= 14)).any(axis=1).mean())
    return shares


def audit_fleet(
    fleet: Fleet, vectors: pl.DataFrame, features: FeatureSet, *, leak: str = "", rebuilds: bool = True,
    seed: int = 5, policy: Policy = POLICY, **changed: object,
) -> AuditResult:  # fmt: skip
    """`run_audit` over the fleet; the vectors are made again with the same leak."""
    as_ofs = [START + 95 * DAY, START + 130 * DAY] if rebuilds else []
    rebuilt = [
        rebuild(as_of, vectors, fleet.sources, lambda at, sources: build(at, sources, leak=leak)) for as_of in as_ofs
    ]
    arguments: dict[str, object] = {
        "vectors": vectors, "feature_set": features, "vehicles": fleet.vehicles, "failures": fleet.failures,
        "components": (COMPONENT,), "policy": policy, "known_until": END, "observed_until": END, "seed": seed,
        "rebuilt": rebuilt, "not_rebuilt": "the test made none again", "work_orders": fleet.work_orders,
    }  # fmt: skip
    return run_audit(**{**arguments, **changed})  # type: ignore[arg-type]
