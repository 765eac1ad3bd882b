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
from pm.simulate import FleetConfig, simulate
from pm.simulate.codes import draw_episodes
from pm.simulate.fleet import DAY_S, streams
from pm.simulate.sensor_faults import draw_sensor_faults
from pm.simulate.truck import epoch_us, run_truck

DBC = Path(__file__).parents[2] / "dbc" / "j1939_open_subset.dbc"
CONFIG = FleetConfig(n_vehicles=2, n_days=24, seed=5)


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("logs") / "fleet"
    simulate(CONFIG, folder, dbc=[DBC])
    return folder


def logs_of(out: Path, vehicle_ref: str) -> list[Path]:
    return sorted((out / "logs" / vehicle_ref).glob("*.log"))


def simulated(index: int):
    """The samples of a truck that its logger recorded, by message and source address."""
    run, _ = run_truck(CONFIG, index)
    for each in run.samples:
        alive = ~run.dead[(each.time_s // DAY_S).astype(int)]
        values = {name: value[alive] for name, value in each.values.items()}
        yield each.message, each.source_address, epoch_us(CONFIG, each.time_s[alive]), values


def test_python_can_and_cantools_read_the_simulated_values(out) -> None:
    database = cantools.database.load_file(DBC, strict=False)
    payloads: dict[tuple[int, int], bytes] = {}
    n_read = 0
    for path in logs_of(out, "T-001"):
        with can.CanutilsLogReader(path) as reader:
            for message in reader:
                n_read += 1
                assert message.is_extended_id
                assert message.channel == "can1"
                payloads[round(message.timestamp * 1e6), message.arbitration_id] = bytes(message.data)
    n_lines = sum(path.read_bytes().count(b"\n") for path in logs_of(out, "T-001"))
    assert n_read == n_lines > 5_000
    n_compared = 0
    for name, source, time_us, values in simulated(0):
        layout = database.get_message_by_name(name)
        arbitration_id = layout.frame_id & 0x1FFFFF00 | source
        for row, time in enumerate(time_us.tolist()):
            decoded = layout.decode(payloads[time, arbitration_id], decode_choices=False)
            for signal, value in values.items():
                if np.isfinite(value[row]):
                    scale = layout.get_signal_by_name(signal).scale
                    assert float(decoded[signal]) == pytest.approx(value[row], abs=0.5001 * scale), (name, signal)
                    n_compared += 1
    assert n_compared > 20_000


def test_the_products_decoder_reads_the_simulated_values(out) -> None:
    decoder = LogDecoder(load_dbc([DBC]))
    frames: dict[str, list[pl.DataFrame]] = defaultdict(list)
    for path in logs_of(out, "T-002"):
        for batch in decoder.batches(open_log(path)):
            for name, frame in batch.signals.items():
                frames[name].append(frame)
    decoded = {name: pl.concat(parts) for name, parts in frames.items()}
    for name, source, time_us, values in simulated(1):
        sent = pl.DataFrame({"time": time_us, **values}).with_columns(
            pl.col("time").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        )
        got = decoded[name].filter(source_address=source)
        both = sent.join(got, on="time", how="left", suffix="_got", maintain_order="left")
        plan = {signal.name: signal for signal in load_dbc([DBC]).message(name).signals}
        for signal in values:
            want, have = both[signal].to_numpy(), both[f"{signal}_got"].to_numpy()
            valid = np.isfinite(want)
            assert np.isnan(have[~valid].astype(float)).all(), (name, signal)
            np.testing.assert_allclose(have[valid].astype(float), want[valid], atol=0.5001 * plan[signal].scale)


def test_trouble_codes_and_vin_arrive(out) -> None:
    decoder = LogDecoder(load_dbc([DBC]))
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
    sessions = run.life.sessions.select(~run.dead[run.life.sessions.day])
    spans = zip(sessions.start_s, sessions.end_s, strict=True)
    times = np.concatenate([np.arange(start + 45.0, end, 720.0) for start, end in spans])
    return {
        (episode.code.source_address, episode.code.spn, episode.code.fmi)
        for episode in episodes
        if ((times >= episode.from_s) & (times < episode.until_s)).any()
    }
