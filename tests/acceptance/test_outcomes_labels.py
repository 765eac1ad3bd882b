"""Failure data of others, by the files in examples/: labels and short backtests on slices of seconds.

The full figures stand in docs/real_data.md. Imports are tests/store/test_pipelines_import_outcomes.py.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score

from pm.asof import daily_as_ofs
from pm.canbus.dbc import load_dbc
from pm.errors import DataError
from pm.features.featurefile import load_feature_set
from pm.labels.booking import estimate_booking
from pm.labels.failures import load_rules
from pm.models.gbm import fit_gbm
from pm.pipelines.backtest import backtest_models
from pm.pipelines.dailies import refresh_dailies
from pm.pipelines.features import build_features
from pm.pipelines.imports.events import import_events
from pm.pipelines.imports.mapping_file import load_mapping
from pm.pipelines.imports.telemetry import import_telemetry
from pm.pipelines.imports.vehicles import import_mapped_vehicles
from pm.pipelines.imports.work_orders import import_mapped_work_orders
from pm.pipelines.labels import classify_work_orders, update_labels
from pm.policy import Policy, load_policy
from pm.store import connection, feature_vectors, labels, vehicles, work_orders

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
IMPORTED_AT = datetime(2026, 6, 1, tzinfo=UTC)


def day(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class Fleet:
    """One example folder over a database of its own."""

    def __init__(self, conn, url, settings, name, *, rules=None):
        self.conn, self.url, self.folder = conn, url, EXAMPLES / name
        self.database = load_dbc(settings.dbc_files)
        self.policy = load_policy(self.folder / "policy.toml")
        self.rules = load_rules(self.folder / (rules or "failure_rules.toml"))
        self.features = load_feature_set(self.folder / "features.toml", self.policy)

    def take(self, kind, path, mapping):
        plan = load_mapping(self.folder / f"{mapping}.toml", kind)
        if kind == "telemetry":
            return import_telemetry(
                self.conn, path, plan, database=self.database, policy=Policy(), imported_at=IMPORTED_AT
            )
        if kind == "events":
            return import_events(self.conn, path, plan, policy=Policy(), imported_at=IMPORTED_AT)
        import_mapped = import_mapped_vehicles if kind == "vehicles" else import_mapped_work_orders
        return import_mapped(self.conn, path, plan, imported_at=IMPORTED_AT)

    def prepare(self, first, last):
        """Failures, dailies and vectors of the daily as-ofs."""
        classify_work_orders(self.conn, self.rules)
        self.conn.commit()
        refresh_dailies(self.url)
        build_features(self.conn, daily_as_ofs(first, last), self.policy, configured=self.features)

    def label(self, as_ofs, known_at):
        update_labels(self.conn, as_ofs, self.rules, self.policy, known_at=known_at)
        return labels.fetch_labels(self.conn, known_by=known_at)

    def backtest(self, known_until, artifacts, policy=None):
        return backtest_models(
            self.conn, self.rules, policy or self.policy, known_until=known_until, artifact_folder=artifacts,
            created_at=IMPORTED_AT, configured=self.features,
        )  # fmt: skip


@pytest.fixture
def open_fleet(postgres_server, settings_of_slice, shared):
    """`open_fleet(name)` is that example over a fresh database; skips where the data are missing."""
    opened = []

    def fleet(name, **given):
        shared(f"outcomes/{name}")
        conn = connection.connect(settings_of_slice.database_url)
        opened.append(conn)
        return Fleet(conn.__enter__(), settings_of_slice.database_url, settings_of_slice, name, **given)

    yield fleet
    for conn in opened:
        conn.__exit__(None, None, None)


@pytest.fixture
def settings_of_slice(postgres_server, tmp_path, request):
    found = replace(postgres_server.settings, home=tmp_path / "home")
    url = connection.ensure_database(postgres_server.admin_url, f"outcomes_{request.node.name[:40].lower()}")
    connection.migrate_database(found, url)
    return replace(found, database_url=url)


def part(path, tmp_path, keep):
    """The rows of a Parquet file that `keep` (an expression) chooses, as a file of that name."""
    made = tmp_path / path.name
    pl.read_parquet(path).filter(keep).write_parquet(made)
    return made


def azure(open_fleet, shared, tmp_path, rules):
    """Twenty machines until the middle of July."""
    fleet = open_fleet("azure_pdm", rules=rules)
    source = shared("outcomes/azure_pdm")
    keep = pl.col("machineID") <= 20
    for kind, name, mapping in (
        ("vehicles", "PdM_machines", "vehicles"), ("events", "PdM_errors", "errors"),
        ("events", "PdM_maint", "replacements"), ("events", "PdM_failures", "failure_events"),
        ("work-orders", "PdM_maint", "maintenance"), ("work-orders", "PdM_failures", "failures"),
        ("telemetry", "telemetry_daily_mean", "telemetry_daily"),
    ):  # fmt: skip
        fleet.take(kind, part(source / f"{name}.parquet", tmp_path, keep), mapping)
    fleet.prepare(day("2015-05-25"), day("2015-06-30"))
    return fleet


def test_azure_rows_are_those_of_the_reference_task(open_fleet, shared, tmp_path):
    """As-of 06:00 of the machines' clock is UTC midnight: labels of June counted by hand from the source."""
    fleet = azure(open_fleet, shared, tmp_path, "any_failure/failure_rules.toml")
    june = daily_as_ofs(day("2015-06-01"), day("2015-06-30"))
    found = fleet.label(june, day("2015-07-16"))
    assert set(found["state"]) == {"positive", "negative"}
    failures = pl.read_parquet(shared("outcomes/azure_pdm/PdM_failures.parquet")).filter(pl.col("machineID") <= 20)
    expected = 0
    for machine in range(1, 21):
        failed = failures.filter(machineID=machine)["datetime"].to_list()
        for number in range(30):
            as_of = datetime(2015, 6, 1, 6) + timedelta(days=number)
            expected += any(as_of < one <= as_of + timedelta(days=14) for one in failed)
    assert (found.height, found.filter(state="positive").height) == (600, expected)
    early = fleet.label(june, day("2015-07-10"))
    assert "pending" in set(early["state"])  # the last 14 days' labels are pending, not negative


def test_azure_vectors_see_the_day_that_has_just_ended_and_learn(open_fleet, shared, tmp_path):
    fleet = azure(open_fleet, shared, tmp_path, "any_failure/failure_rules.toml")
    vectors = feature_vectors.fetch_vectors(fleet.conn, fleet.features.feature_set_id, until=day("2015-06-30"))
    names = dict(vehicles.fetch_vehicles(fleet.conn).select("vehicle_id", "vehicle_ref").iter_rows())
    first = next(row for row in vectors.iter_rows(named=True)
                 if names[row["vehicle_id"]] == "machine-1" and row["as_of"] == day("2015-06-01"))  # fmt: skip
    daily = pl.read_parquet(shared("outcomes/azure_pdm/telemetry_daily_mean.parquet"))
    last = daily.filter(pl.col("machineID") == 1, pl.col("date").dt.date() == datetime(2015, 5, 31).date())
    assert first["features"][fleet.features.position("volt_mean_1d")] == pytest.approx(last["volt"].item(), rel=1e-5)
    known = fleet.label(vectors["as_of"].unique().to_list(), day("2015-07-16"))
    rows = vectors.join(known, on=["vehicle_id", "as_of"]).sort("as_of", "vehicle_id")
    features, positive = np.array(rows["features"].to_list(), dtype="f4"), (rows["state"] == "positive").to_numpy()
    model = fit_gbm(features, positive, 0, fleet.policy.booster)
    assert average_precision_score(positive, model.raw(features)) > 2 * positive.mean()  # it can learn them by heart


def drives(open_fleet, shared, tmp_path):
    """The failed drives, those that disappeared, and some that stayed."""
    fleet = open_fleet("backblaze_2013")
    path = shared("outcomes/backblaze_2013/drive_stats.parquet")
    last = pl.read_parquet(path).group_by("serial_number").agg(pl.col("date").max(), pl.col("failure").max())
    failed = last.filter(pl.col("failure") == 1)["serial_number"].sort()
    gone = last.filter(pl.col("failure") == 0, pl.col("date") < last["date"].max())["serial_number"].sort().head(30)
    stayed = last.filter(pl.col("date") == last["date"].max())["serial_number"].sort().head(120)
    chosen = pl.concat([failed, gone, stayed])
    slice_path = part(path, tmp_path, pl.col("serial_number").is_in(chosen.implode()))
    for kind, mapping in (("vehicles", "vehicles"), ("telemetry", "telemetry"), ("work-orders", "failures")):
        fleet.take(kind, slice_path, mapping)
    classify_work_orders(fleet.conn, fleet.rules)
    return fleet, gone.to_list()


def test_a_drive_that_left_without_failing_is_censored(open_fleet, shared, tmp_path):
    fleet, gone = drives(open_fleet, shared, tmp_path)
    found = fleet.label(daily_as_ofs(day("2013-04-11"), day("2013-04-25")), day("2013-05-05"))
    names = dict(vehicles.fetch_vehicles(fleet.conn).select("vehicle_id", "vehicle_ref").iter_rows())
    left = vehicles.fetch_vehicles(fleet.conn).filter(pl.col("vehicle_ref").is_in(gone)).select("vehicle_id", "left_at")
    near = found.join(left, on="vehicle_id").filter(
        pl.col("as_of") + timedelta(days=fleet.policy.horizon.days) > pl.col("left_at")
    )
    assert near.height > 0
    assert set(near["state"]) == {"censored"}
    assert {names[one] for one in near["vehicle_id"]} <= set(gone)


def test_weekends_carry_no_failures_and_give_no_false_negatives(open_fleet, shared, tmp_path):
    """A drive dated dead on a Tuesday after a weekend without records is no negative of a horizon that ended in it."""
    fleet, _ = drives(open_fleet, shared, tmp_path)
    failures = work_orders.fetch_failures(fleet.conn)
    weekend = {5, 6}
    dated = [(instant - timedelta(microseconds=1)).weekday() for instant in failures["failed_at"]]
    assert weekend.isdisjoint(dated)
    booking = estimate_booking(failures, day("2013-05-05"), fleet.policy)
    assert booking.dated.closed_weekdays == weekend
    found = fleet.label(daily_as_ofs(day("2013-04-11"), day("2013-04-28")), day("2013-05-08"))
    horizon = timedelta(days=fleet.policy.horizon.days)
    firsts = failures.select("vehicle_id", dead_at="failed_at")
    for row in found.join(firsts, on="vehicle_id").filter(state="negative").iter_rows(named=True):
        since = booking.dated.undated_since(row["dead_at"])
        assert since is None or not since < row["as_of"] + horizon < row["dead_at"]


def test_fourteen_days_are_too_long_for_a_record_of_25(open_fleet, shared, tmp_path):
    fleet, _ = drives(open_fleet, shared, tmp_path)
    fleet.conn.commit()
    refresh_dailies(fleet.url)
    build_features(fleet.conn, daily_as_ofs(day("2013-04-20"), day("2013-04-22")), fleet.policy,
                   configured=fleet.features)  # fmt: skip
    two_horizons = replace(fleet.policy.backtest, first_cutoff_after_d=28, embargo_d=14)
    asked = replace(fleet.policy, horizon=Policy().horizon, backtest=two_horizons)
    with pytest.raises(DataError, match="before the first cutoff"):
        fleet.backtest(day("2013-05-05"), tmp_path / "artifacts", asked)


def test_nodes_known_through_failures_alone_have_labels_vectors_and_a_backtest(open_fleet, shared, tmp_path):
    fleet = open_fleet("lanl")
    keep = (pl.col("System") == "2") & pl.col("nodenum").is_in(["0", "1", "2", "3", "4", "5", "6", "7"])
    fleet.take("work-orders", part(shared("outcomes/lanl/lanl_failures.parquet"), tmp_path, keep), "work_orders")
    fleet.prepare(day("2004-01-01"), day("2004-04-30"))
    quick = replace(
        fleet.policy,
        backtest=replace(fleet.policy.backtest, first_cutoff_after_d=75, step_d=30, bootstrap_samples=20),
    )
    report = fleet.backtest(day("2004-06-15"), tmp_path / "artifacts", quick)
    rows = report.measures["pooled"]["rows"]
    assert rows["n_rows"] > 0
    vectors = feature_vectors.fetch_vectors(fleet.conn, fleet.features.feature_set_id, until=day("2004-04-30"))
    assert vectors["data_until"].null_count() == vectors.height  # not one day of telemetry, and nobody thrown away
    source = pl.read_parquet(shared("outcomes/lanl/lanl_failures.parquet")).filter(keep)
    failed_before = source.filter(pl.col("Prob Fixed_ts") < datetime(2004, 4, 28))
    assert (
        vectors["vehicle_id"].n_unique() == failed_before["nodenum"].n_unique()
    )  # a node is known by its first failure


def test_buses_known_through_incidents_alone_have_labels(open_fleet, shared, tmp_path):
    fleet = open_fleet("ttc")
    keep = pl.col("vehicle").is_between(8000, 8040) & pl.col("ts").is_between(
        datetime(2019, 1, 1), datetime(2019, 6, 1)
    )
    path = part(shared("outcomes/ttc/bus.parquet"), tmp_path, keep)
    fleet.take("events", path, "incidents")
    fleet.take("work-orders", path, "work_orders")
    fleet.prepare(day("2019-03-01"), day("2019-03-07"))
    found = fleet.label(daily_as_ofs(day("2019-03-01"), day("2019-03-07")), day("2019-05-01"))
    assert {"positive", "negative"} <= set(found["state"])
    vectors = feature_vectors.fetch_vectors(fleet.conn, fleet.features.feature_set_id, until=day("2019-03-07"))
    counts = [row[fleet.features.position("n_events_bus_28d")] for row in vectors["features"]]
    assert max(counts) > 0
    assert None not in counts
