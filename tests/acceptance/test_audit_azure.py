"""The audit on somebody else's data: a random row split of azure_pdm is called leaky, the split in time is not."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pm.backtest.audit import run_audit
from pm.backtest.audit_arrivals import rebuild
from pm.backtest.audit_result import AuditResult, Check
from pm.features.featureset import Feature, FeatureSet
from pm.policy import Audit, Backtest, Labels, Policy
from pm.schema import UTC_INSTANT
from pm.tables import FAILURE, FEATURE_VECTOR, VEHICLE

FIRST, JUNE, LAST = (datetime(2015, month, day, 6, tzinfo=UTC) for month, day in ((1, 15), (6, 1), (6, 30)))
END = datetime(2015, 8, 31, tzinfo=UTC)
DAY = timedelta(days=1)
SENSORS = ("volt", "rotate", "pressure", "vibration")
WINDOWS_D = (1, 3, 7, 14, 28)
ERRORS = tuple(f"error{number}" for number in range(1, 6))
COMPONENTS = tuple(f"comp{number}" for number in range(1, 5))
NAMES = (
    *(f"{sensor}_mean_{days}d" for sensor in SENSORS for days in WINDOWS_D),
    *(f"{sensor}_std_{days}d" for sensor in SENSORS for days in WINDOWS_D[2:]),
    *(f"n_{error}_{days}d" for error in ERRORS for days in WINDOWS_D),
    *(f"days_since_{component}" for component in COMPONENTS),
    "age_a",
)
SET = FeatureSet("azure", 1, tuple(Feature(name, "", "", ()) for name in NAMES))
POLICY = replace(
    Policy(),
    labels=Labels(lag_d=0.0),
    backtest=Backtest(first_cutoff_after_d=(JUNE - FIRST).days, step_d=30, embargo_d=14, as_of_step_d=1),
    audit=Audit(folds=1, shuffles=1, permutations=100, bootstrap_samples=50, maximum_rows=15_000, older_d=(1, 14)),
)
Sources = Mapping[str, pl.DataFrame]


def instants(frame: pl.DataFrame, name: str = "datetime") -> pl.Expr:
    return (
        pl.col(name).cast(UTC_INSTANT)
        if frame.schema[name] == UTC_INSTANT
        else pl.col(name).dt.replace_time_zone("UTC")
    )


def read(folder: Path) -> Sources:
    """Each table with a time or day, and known_at: nothing here is recorded late."""
    daily = pl.read_parquet(folder / "telemetry_daily_mean.parquet")
    known_at = pl.col("date").dt.replace_time_zone("UTC") + timedelta(hours=30)
    machines = pl.read_parquet(folder / "PdM_machines.parquet")
    made = {
        "daily": daily.select(
            *SENSORS, vehicle_id=pl.col("machineID").cast(pl.Int32), day=pl.col("date").dt.date(), known_at=known_at
        ),
        "vehicles": machines.select(
            "age", vehicle_id=pl.col("machineID").cast(pl.Int32), known_at=pl.lit(FIRST - 60 * DAY, UTC_INSTANT)
        ),
    }
    for name, kind in (("PdM_errors", "errorID"), ("PdM_maint", "comp"), ("PdM_failures", "failure")):
        table = pl.read_parquet(folder / f"{name}.parquet")
        time = instants(table)
        made[name] = table.select(vehicle_id=pl.col("machineID").cast(pl.Int32), word=kind, time=time, known_at=time)
    return made


def failures_of(sources: Sources) -> pl.DataFrame:
    """FAILURE of any component, recorded when it happened."""
    rows = sources["PdM_failures"].with_row_index("number").select(
        source_system=pl.lit("azure"), work_order_id=pl.col("number").cast(pl.String), line_no=pl.lit(1, pl.Int32),
        known_at="known_at", vehicle_id="vehicle_id", component=pl.lit("any"), kind=pl.lit("failure"),
        failed_at="time", restored_at="time", rule=pl.lit("r"),
    )  # fmt: skip
    return FAILURE.frame(rows.to_dicts())


def build(as_of: datetime, sources: Sources) -> pl.DataFrame:
    """FEATURE_VECTOR at one as-of; the row of a day ends at six the next morning."""
    known = {name: frame.filter(pl.col("known_at") <= as_of) for name, frame in sources.items()}
    ago = (pl.lit(as_of.date()) - pl.col("day")).dt.total_days()
    days = known["daily"].filter(ago.is_between(1, 28)).with_columns(ago=ago).sort("vehicle_id", "day")
    means = days.group_by("vehicle_id").agg(
        *(
            pl.col(one).filter(pl.col("ago") <= d).mean().alias(f"{one}_mean_{d}d")
            for one in SENSORS
            for d in WINDOWS_D
        ),
        *(
            pl.col(one).filter(pl.col("ago") <= d).std().alias(f"{one}_std_{d}d")
            for one in SENSORS
            for d in WINDOWS_D[2:]
        ),
    )
    past = pl.col("time") <= as_of
    errors = known["PdM_errors"].filter(past).group_by("vehicle_id").agg(
        ((pl.col("word") == error) & (pl.col("time") > as_of - d * DAY)).sum().cast(pl.Float64).alias(f"n_{error}_{d}d")
        for error in ERRORS
        for d in WINDOWS_D
    )  # fmt: skip
    since = known["PdM_maint"].filter(past).group_by("vehicle_id").agg(
        ((as_of - pl.col("time").filter(pl.col("word") == one).max()).dt.total_hours() / 24).alias(f"days_since_{one}")
        for one in COMPONENTS
    )  # fmt: skip
    table = known["vehicles"].select("vehicle_id", age_a=pl.col("age").cast(pl.Float64))
    for part in (means, errors, since):
        table = table.join(part, on="vehicle_id", how="left")
    table = table.with_columns(pl.col(f"n_{error}_{d}d").fill_null(0.0) for error in ERRORS for d in WINDOWS_D)
    values = table.sort("vehicle_id").select("vehicle_id", features=pl.concat_list(NAMES).cast(pl.List(pl.Float32)))
    return values.select(
        feature_set_id=pl.lit(SET.feature_set_id), vehicle_id="vehicle_id", as_of=pl.lit(as_of, UTC_INSTANT),
        data_until=pl.lit(as_of, UTC_INSTANT), features="features", inputs_hash=pl.lit("x"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def audit(shared: Callable[[str], Path]) -> AuditResult:
    sources = read(shared("outcomes/azure_pdm/PdM_machines.parquet").parent)
    as_ofs = [FIRST + number * DAY for number in range((LAST - FIRST).days + 1)]
    vectors = FEATURE_VECTOR.check(pl.concat([build(as_of, sources) for as_of in as_ofs]))
    born = {"fleet": "azure", "known_at": FIRST - 60 * DAY}
    return run_audit(
        vectors=vectors, feature_set=SET, failures=failures_of(sources), components=("any",), policy=POLICY,
        vehicles=VEHICLE.frame([{"vehicle_id": n, "vehicle_ref": f"machine-{n}", **born} for n in range(1, 101)]),
        known_until=END, observed_until=END, seed=1, rebuilt=[rebuild(JUNE, vectors, sources, build)],
    )  # fmt: skip


def check(audit: AuditResult, name: str) -> Check:
    return next(one for one in audit.checks if one.name == name)


def test_a_random_row_split_is_called_leaky_with_its_figures(audit: AuditResult) -> None:
    found = check(audit, "random_split")
    assert found.details["leaky"] is True
    random, honest = (found.figures[name].value for name in ("random", "honest"))
    assert random is not None
    assert honest is not None
    assert random > 0.75
    assert 0.33 < honest < 0.45
    assert found.details["near_share"] > 0.99
    assert found.details["honest_near_share"] == 0.0
    assert "random row split is leaky" in found.sentence


def test_the_split_in_time_is_clean_and_its_records_have_no_clock_of_their_own(audit: AuditResult) -> None:
    statuses = {one.name: one.status for one in audit.checks}
    assert statuses.pop("label_clock") == "warn"
    assert "clock of their own" in check(audit, "label_clock").sentence
    assert set(statuses.values()) == {"pass"}
    assert check(audit, "honest").figures["base_rate"].value == pytest.approx(0.270, abs=0.01)
