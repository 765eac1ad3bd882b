"""The logs are real logs: python-can and the product read them, and the values are those simulated."""

from collections import defaultdict
from pathlib import Path

import can
import cantools
import numpy as np
import polars as pl
import pytest

from pm.canbus.dbc import load_dbc
from pm.canbus.decode import LogDecoder
from pm.canbus.logfile import open_log
from pm.settings import read_settings
from pm.simulate import FleetConfig, simulate
from pm.simulate.codes import draw_episodes
from pm.simulate.encode import valid_maximum
from pm.simulate.fleet import streams
from pm.simulate.logs import epoch_us
from pm.simulate.sensor_faults import draw_sensor_faults
from pm.simulate.truck import run_truck

FILES = read_settings({}).dbc_files
CONFIG = FleetConfig(n_vehicles=3, n_days=16, seed=5)
SUFFIXES = {".log": 0, ".blf": 1, ".mf4": 2}
"""Which of the trucks writes what."""


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("logs") / "fleet"
    simulate(CONFIG, folder, dbc=FILES)
    return folder


def logs_of(out: Path, vehicle_ref: str) -> list[Path]:
    return sorted((out / "logs" / vehicle_ref).iterdir())


def simulated(index: int):
    """The samples of a truck that its logger recorded, by message and source address."""
    recording = run_truck(CONFIG, index)[0].recording
    for each in recording.samples:
        kept = recording.is_recorded(each.time_s)
        values = {name: value[kept] for name, value in each.values.items()}
        yield each.message, each.source_address, epoch_us(CONFIG, each.time_s[kept]), values


def frames_by_python_can(path: Path) -> list[tuple[int, int, bool, bytes, int]]:
    """(microseconds, identifier, is it extended, payload, bus from 0) of each frame, in order."""
    if path.suffix == ".mf4":
        pytest.importorskip("asammdf")
    first = {".log": 0, ".blf": 0, ".mf4": 1}[path.suffix]
    with can.LogReader(path) as reader:
        return [
            (
                round(message.timestamp * 1e6),
                message.arbitration_id,
                message.is_extended_id,
                bytes(message.data),
                int(str(message.channel).removeprefix("can")) - first,
            )
            for message in reader
        ]


def test_each_truck_has_files_of_one_format_and_all_three_are_written(out) -> None:
    found = [{path.suffix for path in logs_of(out, f"T-{index + 1:03d}")} for index in range(CONFIG.n_vehicles)]
    assert found == [{suffix} for suffix in SUFFIXES]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_python_can_and_cantools_read_the_simulated_values(out, suffix) -> None:
    index = SUFFIXES[suffix]
    database = cantools.database.Database(strict=False)
    for file in FILES:
        database.add_dbc_file(file)
    payloads: dict[tuple[int, int], bytes] = {}
    for path in logs_of(out, f"T-{index + 1:03d}"):
        for time_us, arbitration_id, is_extended, data, _ in frames_by_python_can(path):
            assert is_extended
            payloads[time_us, arbitration_id] = data
    n_compared = 0
    for name, source, time_us, values in simulated(index):
        layout = database.get_message_by_name(name)
        arbitration_id = layout.frame_id & 0x1FFFFF00 | source
        for row, time in enumerate(time_us.tolist()):
            decoded = layout.decode(payloads[time, arbitration_id], decode_choices=False)
            for signal, value in values.items():
                if np.isfinite(value[row]):
                    plan = layout.get_signal_by_name(signal)
                    # What is beyond the valid range is sent as its end.
                    top = plan.offset + plan.scale * valid_maximum(plan.length)
                    sent = min(max(value[row], plan.offset), top)
                    assert float(decoded[signal]) == pytest.approx(sent, abs=0.5001 * plan.scale), (name, signal)
                    n_compared += 1
    assert n_compared > 10_000


@pytest.mark.parametrize("index", range(CONFIG.n_vehicles))
def test_python_can_and_the_product_read_the_same_frames(out, index) -> None:
    for path in logs_of(out, f"T-{index + 1:03d}"):
        theirs = frames_by_python_can(path)
        ours = []
        first = 0 if path.suffix == ".log" else 1
        for block in open_log(path).blocks():
            ours += [
                (
                    int(time_us),
                    int(can_id),
                    bool(extended),
                    data[:length].tobytes(),
                    int(block.channels[channel].removeprefix("can")) - first,
                )
                for time_us, can_id, extended, data, length, channel in zip(
                    block.time_us, block.can_id, block.is_extended, block.data, block.length, block.channel, strict=True
                )
            ]
        assert ours == theirs
        assert [row[0] for row in ours] == sorted(row[0] for row in ours)


@pytest.mark.parametrize("index", range(CONFIG.n_vehicles))
def test_the_products_decoder_reads_the_simulated_values(out, index) -> None:
    decoder = LogDecoder(load_dbc(FILES))
    frames: dict[str, list[pl.DataFrame]] = defaultdict(list)
    for path in logs_of(out, f"T-{index + 1:03d}"):
        for batch in decoder.batches(open_log(path)):
            for name, frame in batch.signals.items():
                frames[name].append(frame)
    # Of frames in two files, both say the same.
    decoded = {name: pl.concat(parts).unique(["time", "source_address"]) for name, parts in frames.items()}
    for name, source, time_us, values in simulated(index):
        sent = pl.DataFrame({"time": time_us, **values}).with_columns(
            pl.col("time").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        )
        got = decoded[name].filter(source_address=source)
        both = sent.join(got, on="time", how="left", suffix="_got", maintain_order="left")
        plan = {signal.name: signal for signal in load_dbc(FILES).message(name).signals}
        for signal in values:
            want, have = both[signal].to_numpy(), both[f"{signal}_got"].to_numpy()
            valid = np.isfinite(want)
            assert np.isnan(have[~valid].astype(float)).all(), (name, signal)
            scale, offset = plan[signal].scale, plan[signal].offset
            sent_as = np.clip(want[valid], offset, offset + scale * valid_maximum(plan[signal].length))
            np.testing.assert_allclose(have[valid].astype(float), sent_as, atol=0.5001 * scale)


def test_trouble_codes_and_vin_arrive(out) -> None:
    decoder = LogDecoder(load_dbc(FILES))
    faults, messages, n_files = [], [], 0
    for index in range(CONFIG.n_vehicles):
        for path in logs_of(out, f"T-{index + 1:03d}"):
            n_files += 1
            for batch in decoder.batches(open_log(path)):
                faults.append(batch.faults)
                messages.append(batch.messages)
    seen = set(pl.concat(faults).select("source_address", "spn", "fmi").iter_rows())
    expected = set()
    for index in range(CONFIG.n_vehicles):
        run, _ = run_truck(CONFIG, index)
        expected |= _codes(index, run)
    assert seen == expected
    identification = pl.concat(messages).filter(pgn=65260)
    assert identification.height == n_files
    vins = set(pl.read_csv(out / "vehicles.csv")["vin"].to_list())
    assert {payload.decode("ascii").rstrip("*") for payload in identification["payload"]} == vins


def _codes(index: int, run) -> set[tuple[int, int, int]]:
    """Codes active at some DM1 of a recorded session, drawn again from the truck's own streams."""
    rng = streams(CONFIG, index)
    faults = draw_sensor_faults(CONFIG, rng["sensors"])
    episodes = draw_episodes(CONFIG, run.life.sessions, run.life.symptoms, faults, rng["faults"])
    spans = zip(run.life.sessions.start_s, run.life.sessions.end_s, strict=True)
    times = np.concatenate([np.arange(start + 45.0, end, 720.0) for start, end in spans])
    times = times[run.recording.is_recorded(times)]
    return {
        (episode.code.source_address, episode.code.spn, episode.code.fmi)
        for episode in episodes
        if ((times >= episode.from_s) & (times < episode.until_s)).any()
    }
