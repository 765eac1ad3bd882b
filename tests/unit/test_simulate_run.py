"""The folder as a whole: same seed same bytes, reused, refused, whole or not at all."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from pm.canbus.logfile import open_log
from pm.errors import ConfigError, DataError
from pm.pipelines.executor import open_executor
from pm.settings import read_settings
from pm.simulate import FleetConfig, run, simulate
from pm.simulate.components import COMPONENTS

DBC = read_settings({}).dbc_files
SMALL = FleetConfig(n_vehicles=3, n_days=12, seed=11)


def hashes(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("simulate") / "fleet"
    simulate(SMALL, folder, dbc=DBC)
    return folder


def test_the_report_counts_what_is_there(out) -> None:
    report = simulate(SMALL, out, dbc=DBC)
    logs = [path for path in (out / "logs").rglob("*") if path.is_file()]
    assert report.reused
    assert (report.n_files, report.n_bytes) == (len(logs), sum(path.stat().st_size for path in logs))
    assert report.n_frames == sum(len(block) for path in logs for block in open_log(path).blocks())
    assert pl.read_csv(out / "uploads.csv").height == report.n_files
    assert pl.read_csv(out / "work_orders.csv").height == report.n_work_order_rows
    assert sum(n for _, n in report.n_failures) == pl.read_parquet(out / "truth" / "failures.parquet").height


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, open_executor])
def test_same_seed_same_bytes_in_any_executor(out, tmp_path, pool) -> None:
    with pool(2) as executor:
        report = simulate(SMALL, tmp_path / "again", dbc=DBC, executor=executor)
    assert not report.reused
    assert hashes(tmp_path / "again") == hashes(out)


def test_another_seed_gives_other_bytes(out, tmp_path) -> None:
    simulate(replace(SMALL, seed=12), tmp_path / "other", dbc=DBC)
    logs = [
        {digest for name, digest in hashes(folder).items() if name.startswith("logs/")}
        for folder in (out, tmp_path / "other")
    ]
    assert logs[0].isdisjoint(logs[1])


def test_a_truck_is_the_same_in_a_fleet_of_any_size(out, tmp_path) -> None:
    simulate(replace(SMALL, n_vehicles=1), tmp_path / "one", dbc=DBC)
    logs = {name: digest for name, digest in hashes(out).items() if name.startswith("logs/T-001/")}
    assert {name: d for name, d in hashes(tmp_path / "one").items() if name.startswith("logs/")} == logs


def test_formats_are_shared_out_in_turn_and_checked(tmp_path) -> None:
    config = replace(SMALL, formats=("mf4", "mf4", "blf"))
    simulate(config, tmp_path / "fleet", dbc=DBC)
    suffixes = [
        {path.suffix for path in (tmp_path / "fleet" / "logs" / f"T-00{number}").iterdir()} for number in (1, 2, 3)
    ]
    assert suffixes == [{".mf4"}, {".mf4"}, {".blf"}]
    for wrong in ((), ("asc",)):
        with pytest.raises(ConfigError, match="expected formats of candump, blf, mf4"):
            replace(SMALL, formats=wrong)


def test_a_file_sent_again_has_the_same_bytes_and_a_later_arrival(tmp_path) -> None:
    simulate(replace(SMALL, n_vehicles=8, n_days=40), tmp_path / "fleet", dbc=DBC)
    uploads = pl.read_csv(tmp_path / "fleet" / "uploads.csv", try_parse_dates=True).with_columns(
        sha256=pl.col("file").map_elements(
            lambda name: hashlib.sha256((tmp_path / "fleet" / name).read_bytes()).hexdigest(), return_dtype=pl.String
        )
    )
    twice = uploads.filter(pl.len().over("sha256") > 1)
    assert twice.height >= 2
    assert twice.group_by("sha256").agg(pl.col("vehicle_ref").n_unique(), pl.col("uploaded_at").n_unique()).select(
        pl.col("vehicle_ref").eq(1).all(), pl.col("uploaded_at").eq(2).all()
    ).row(0) == (True, True)
    spans = uploads.unique("sha256").with_columns(
        pl.col("file")
        .map_elements(
            lambda name: [
                int(f([b.time_us for b in open_log(tmp_path / "fleet" / name).blocks()])) for f in (_first, _last)
            ],
            return_dtype=pl.List(pl.Int64),
        )
        .alias("span")
    )
    ordered = spans.with_columns(pl.col("span").list.get(0).alias("from"), pl.col("span").list.get(1).alias("until"))
    ordered = ordered.sort("vehicle_ref", "from")
    overlapping = ordered.filter(pl.col("from") < pl.col("until").shift(1).over("vehicle_ref"))
    assert overlapping.height >= 1


def _first(times) -> int:
    return min(each.min() for each in times)


def _last(times) -> int:
    return max(each.max() for each in times)


def test_tracks_every_truck(tmp_path) -> None:
    seen = []

    def track(items, description, total):
        for item in items:
            seen.append((description, total))
            yield item

    simulate(SMALL, tmp_path / "fleet", dbc=DBC, track=track)
    assert seen == [("simulating trucks", 3)] * 3


def test_another_simulation_is_replaced_only_when_told(tmp_path) -> None:
    place = tmp_path / "fleet"
    simulate(SMALL, place, dbc=DBC)
    before = hashes(place)
    with pytest.raises(ConfigError, match="made with others"):
        simulate(replace(SMALL, seed=12), place, dbc=DBC)
    assert hashes(place) == before
    assert not simulate(replace(SMALL, seed=12), place, dbc=DBC, replace=True).reused
    assert json.loads((place / "manifest.json").read_text())["made_from"]["config"]["seed"] == 12
    assert [path.name for path in tmp_path.iterdir()] == ["fleet"]


def test_somebody_elses_folder_is_never_touched(tmp_path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(ConfigError, match="got other files"):
        simulate(SMALL, tmp_path, dbc=DBC, replace=True)
    with pytest.raises(ConfigError, match="got a file"):
        simulate(SMALL, tmp_path / "mine.txt", dbc=DBC, replace=True)
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_an_empty_folder_is_a_fine_place(tmp_path) -> None:
    (tmp_path / "fleet").mkdir()
    assert simulate(SMALL, tmp_path / "fleet", dbc=DBC).n_files > 0


@pytest.mark.parametrize("damage", ["table", "log"])
def test_a_damaged_simulation_is_not_reused(tmp_path, damage) -> None:
    place = tmp_path / "fleet"
    simulate(SMALL, place, dbc=DBC)
    if damage == "table":
        (place / "work_orders.csv").write_text("")
    else:
        next((place / "logs").rglob("*.blf")).unlink()
    with pytest.raises(DataError, match="changed files"):
        simulate(SMALL, place, dbc=DBC)


def test_trucks_that_never_drive_write_no_log(tmp_path) -> None:
    sunday = replace(SMALL, n_days=1, start=date(2026, 1, 4))
    report = simulate(sunday, tmp_path / "fleet", dbc=DBC)
    assert (report.n_files, report.n_driving_days) == (0, 0)
    assert pl.read_csv(tmp_path / "fleet" / "vehicles.csv").height == SMALL.n_vehicles


def test_nothing_half_written_stays(tmp_path, monkeypatch) -> None:
    def fail(*_):
        raise RuntimeError("power cut")

    monkeypatch.setattr(run, "write_tables", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        simulate(SMALL, tmp_path / "fleet", dbc=DBC)
    assert list(tmp_path.iterdir()) == []


def test_a_dbc_without_the_messages_is_refused(tmp_path) -> None:
    other = tmp_path / "other.dbc"
    signal = 'SG_ A : 0|8@1+ (1,0) [0|0] "" Vector__XXX'
    other.write_text(f'VERSION ""\n\nBU_:\n\nBO_ 2364540158 EEC1: 8 Vector__XXX\n {signal}\n')
    with pytest.raises(ConfigError, match="CCVS1"):
        simulate(SMALL, tmp_path / "fleet", dbc=[other])


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="expected a place to write"):
        simulate(SMALL, tmp_path / "file" / "fleet", dbc=DBC)


def test_the_truth_has_one_row_a_truck_component_and_day(out) -> None:
    hazards = pl.read_parquet(out / "truth" / "hazards.parquet")
    assert hazards.height == SMALL.n_vehicles * SMALL.n_days * len(COMPONENTS)
    assert hazards.columns == ["vehicle_ref", "component", "day", "wear", "p_failure_day", "p_failure_14d"]
    assert (hazards["day"].min(), hazards["day"].max()) == (SMALL.start, SMALL.start.replace(day=16))
    known = hazards.drop_nulls()["p_failure_14d"]
    assert ((known > 0) & (known < 1)).all()
