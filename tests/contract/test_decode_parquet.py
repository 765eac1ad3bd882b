"""`decode_to_parquet`: the files it promises, whole or not at all."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pm.errors import ConfigError, DataError
from pm.pipelines.decode import decode_to_parquet

SUBSET = Path(__file__).resolve().parents[2] / "dbc" / "j1939_open_subset.dbc"
SHARED = SUBSET.parents[2] / "shared" / "can"

INSTANT = pa.timestamp("us", "UTC")
ROW = [("time", INSTANT), ("channel", pa.string()), ("source_address", pa.int16()), ("destination_address", pa.int16())]
FAULTS = [
    ("time", INSTANT), ("channel", pa.string()), ("source_address", pa.int16()), ("dm", pa.int16()),
    ("spn", pa.int32()), ("fmi", pa.int16()), ("occurrence_count", pa.int16()), ("conversion_method", pa.int16()),
    ("lamp_mil", pa.int16()), ("lamp_red", pa.int16()), ("lamp_amber", pa.int16()), ("lamp_protect", pa.int16()),
    ("flash_mil", pa.int16()), ("flash_red", pa.int16()), ("flash_amber", pa.int16()), ("flash_protect", pa.int16()),
]  # fmt: skip
MESSAGES = [
    ("first_time", INSTANT), ("last_time", INSTANT), ("channel", pa.string()), ("pgn", pa.int32()),
    ("source_address", pa.int16()), ("destination_address", pa.int16()), ("payload", pa.binary()),
]  # fmt: skip

ENGINE = "({:.6f}) can0 0CF00400#FFFFFF{:04X}FFFFFF\n"


def engine_log(path: Path, first: int, n_frames: int = 10) -> Path:
    path.write_text("".join(ENGINE.format(1.6e9 + first + n, 0x401F) for n in range(n_frames)))
    return path


def columns(path: Path) -> list[tuple[str, pa.DataType]]:
    return [(field.name, field.type) for field in pq.read_schema(path)]


def test_layout_of_the_output(tmp_path: Path) -> None:
    log = engine_log(tmp_path / "a.log", 0)
    log.write_text(log.read_text() + "(1600000100.000000) can0 18FECA0B#04FF540009080000\n(1600000100.5) can0 123#R\n")
    out = tmp_path / "deep" / "out"
    summary = decode_to_parquet([log], [SUBSET], out)
    assert sorted(entry.name for entry in out.iterdir()) == [
        "faults.parquet", "messages.parquet", "report.json", "signals",
    ]  # fmt: skip
    assert sorted(entry.name for entry in (out / "signals").iterdir()) == ["DM1.parquet", "EEC1.parquet"]
    found = columns(out / "signals" / "EEC1.parquet")
    assert found[:4] == ROW
    assert [name for name, _ in found[4:8]] == [
        "EngTorqueMode", "ActlEngPrcntTorqueHighResolution", "DriversDemandEngPercentTorque", "ActualEngPercentTorque",
    ]  # fmt: skip
    assert {kind for _, kind in found[4:]} == {pa.float64()}
    assert columns(out / "faults.parquet") == FAULTS
    assert columns(out / "messages.parquet") == MESSAGES
    engine = pq.read_table(out / "signals" / "EEC1.parquet").to_pylist()
    assert engine[0]["EngSpeed"] == 1000.0
    assert engine[0]["EngTorqueMode"] is None
    assert engine[0]["time"] == datetime.fromtimestamp(1.6e9, UTC)
    assert pq.read_table(out / "faults.parquet").to_pylist()[0]["spn"] == 84
    report = json.loads((out / "report.json").read_text())
    assert (report["frames"], report["decoded"], report["rejected"]) == (11, 11, {"remote_frame": 1})
    assert report["seconds"] > 0
    assert report["files"][0]["format"] == "candump"
    assert (summary.n_frames, summary.n_decoded, summary.rows) == (11, 11, {"EEC1": 10, "DM1": 1})


def test_several_files_follow_each_other_in_the_order_given(tmp_path: Path) -> None:
    late, early = engine_log(tmp_path / "b.log", 1000), engine_log(tmp_path / "a.log", 0)
    summary = decode_to_parquet([late, early], [SUBSET], tmp_path / "out")
    times = pq.read_table(tmp_path / "out" / "signals" / "EEC1.parquet")["time"].to_pylist()
    assert [time.timestamp() - 1.6e9 for time in times] == [*range(1000, 1010), *range(10)]
    assert [file.report.n_frames for file in summary.files] == [10, 10]


def test_start_moves_relative_times(tmp_path: Path) -> None:
    log = tmp_path / "a.txt"
    log.write_text(" (000.500000)  can0  0CF00400   [8]  FF FF FF 40 1F FF FF FF\n")
    start = datetime(2024, 1, 2, tzinfo=UTC)
    decode_to_parquet([log], [SUBSET], tmp_path / "out", start=start)
    time = pq.read_table(tmp_path / "out" / "signals" / "EEC1.parquet")["time"][0].as_py()
    assert (time - start).total_seconds() == 0.5


def test_earlier_output_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    decode_to_parquet([engine_log(tmp_path / "a.log", 0)], [SUBSET], out)
    decode_to_parquet([engine_log(tmp_path / "b.log", 0, 3)], [SUBSET], out)
    assert pq.read_table(out / "signals" / "EEC1.parquet").num_rows == 3
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.log", "b.log", "out"]


@pytest.mark.parametrize("strange", ["notes.txt", "report.json"])
def test_folder_with_something_else_is_left_alone(tmp_path: Path, strange: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / strange).write_text("{}")
    with pytest.raises(DataError, match="earlier output"):
        decode_to_parquet([engine_log(tmp_path / "a.log", 0)], [SUBSET], out)
    assert [entry.name for entry in out.iterdir()] == [strange]


def test_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(DataError, match="expected a folder"):
        decode_to_parquet([engine_log(tmp_path / "a.log", 0)], [SUBSET], tmp_path / "out")


@pytest.mark.parametrize("second", [b"", b"\x00\x01garbage", b"LOGG" + bytes(200), b"MDF     4.10    " + bytes(48)])
def test_bad_log_leaves_nothing_behind(tmp_path: Path, second: bytes) -> None:
    bad = tmp_path / "bad.log"
    bad.write_bytes(second)
    good = engine_log(tmp_path / "a.log", 0)
    with pytest.raises(DataError, match=r"bad\.log"):
        decode_to_parquet([good, bad], [SUBSET], tmp_path / "out")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.log", "bad.log"]


def test_failing_run_keeps_the_earlier_output(tmp_path: Path) -> None:
    out = tmp_path / "out"
    good = engine_log(tmp_path / "a.log", 0)
    decode_to_parquet([good], [SUBSET], out)
    cut = tmp_path / "cut.blf"
    cut.write_bytes(b"LOGG" + bytes(400))
    with pytest.raises(DataError, match=r"cut\.blf"):
        decode_to_parquet([good, cut], [SUBSET], out)
    assert pq.read_table(out / "signals" / "EEC1.parquet").num_rows == 10


def test_bad_dbc_and_missing_files_are_refused(tmp_path: Path) -> None:
    log, bad = engine_log(tmp_path / "a.log", 0), tmp_path / "bad.dbc"
    bad.write_text("this is no DBC")
    with pytest.raises(ConfigError, match=r"bad\.dbc"):
        decode_to_parquet([log], [bad], tmp_path / "out")
    with pytest.raises(ConfigError, match="at least one"):
        decode_to_parquet([log], [], tmp_path / "out")
    with pytest.raises(DataError, match=r"none\.log"):
        decode_to_parquet([tmp_path / "none.log"], [SUBSET], tmp_path / "out")
    with pytest.raises(DataError, match="at least one"):
        decode_to_parquet([], [SUBSET], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is missing: real MF4 logs to cut off")
@pytest.mark.parametrize("share", [0.0005, 0.1, 0.5, 0.9, 0.9999])
@pytest.mark.parametrize("name", ["logs/P2_css_11111111_truck.mf4", "derived/P5_normal_ops2.mf4"])
def test_truncated_mf4_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, share: float) -> None:
    whole = (SHARED / name).read_bytes()
    cut = tmp_path / "cut.mf4"
    cut.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DataError, match=r"cut\.mf4"):
        decode_to_parquet([cut], [SUBSET], tmp_path / "out")
    assert [entry.name for entry in tmp_path.iterdir()] == ["cut.mf4"]
    assert capfd.readouterr() == ("", "")
