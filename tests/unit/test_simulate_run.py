"""The folder as a whole: same seed same bytes, reused, refused, whole or not at all."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from pm.errors import ConfigError, DataError
from pm.simulate import FleetConfig, run, simulate

DBC = [Path(__file__).parents[2] / "dbc" / "j1939_open_subset.dbc"]
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
    logs = list((out / "logs").rglob("*.log"))
    assert report.reused
    assert (report.n_files, report.n_bytes) == (len(logs), sum(path.stat().st_size for path in logs))
    assert report.n_frames == sum(path.read_bytes().count(b"\n") for path in logs)
    assert pl.read_csv(out / "uploads.csv").height == report.n_files
    assert pl.read_csv(out / "work_orders.csv").height == report.n_work_order_rows
    assert sum(n for _, n in report.n_failures) == pl.read_parquet(out / "truth" / "failures.parquet").height


def test_same_seed_same_bytes_in_a_pool_too(out, tmp_path) -> None:
    with ThreadPoolExecutor(2) as executor:
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
        next((place / "logs").rglob("*.log")).unlink()
    with pytest.raises(DataError, match="changed files"):
        simulate(SMALL, place, dbc=DBC)


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
    assert hazards.height == SMALL.n_vehicles * SMALL.n_days * 3
    assert hazards.columns == ["vehicle_ref", "component", "day", "wear", "p_failure_day", "p_failure_14d"]
    assert (hazards["day"].min(), hazards["day"].max()) == (SMALL.start, SMALL.start.replace(day=16))
    known = hazards.drop_nulls()["p_failure_14d"]
    assert ((known > 0) & (known < 1)).all()
